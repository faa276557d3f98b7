"""Deleting a data folder: what it made, and nothing that a link of it names."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from features.errors import ShopstreamError
from shopstream.embedded import account, removal, state_file
from shopstream.embedded.account import ServerAccount, reachable_folder
from shopstream.embedded.state_file import Record
from shopstream.settings import Settings

STRANGER = ServerAccount(uid=64_999, gid=64_999, name="stranger")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has Elasticsearch's files elsewhere")


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Elasticsearch's account cannot enter; stand-ins are kept beside it."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and "pytest" in str(folder):
            folder.chmod(0o755)
    monkeypatch.setattr(account, "SHARED_STATE", tmp_path / "shared")
    monkeypatch.setattr(account.reachable_folder, "__defaults__", (tmp_path / "shared",))
    monkeypatch.setattr(account.made_by, "__defaults__", (tmp_path / "shared",))
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    return folder


def data_folder(home: Path) -> Path:
    """A data folder with Elasticsearch's files; returns where these are."""
    home.mkdir()
    state_file.write(home, Record())
    folder = reachable_folder(home / "elasticsearch", STRANGER)
    (folder / "index").write_text("rows")
    return folder


@as_root
def test_folders_outside_the_data_folder_are_deleted_with_it(closed: Path) -> None:
    folder = data_folder(closed / "home")
    assert (closed / "home" / "elasticsearch").is_symlink()
    assert removal.remove_data(Settings(home=closed / "home")) == []
    assert not (closed / "home").exists()
    assert not folder.parent.exists()


@as_root
def test_a_copy_deletes_nothing_of_the_original(closed: Path) -> None:
    folder = data_folder(closed / "home")
    shutil.copytree(closed / "home", closed / "copy", symlinks=True)
    assert removal.remove_data(Settings(home=closed / "copy")) == [folder]
    assert not (closed / "copy").exists()
    assert (folder / "index").read_text() == "rows"
    assert removal.remove_data(Settings(home=closed / "home")) == []


@as_root
def test_a_copy_is_not_started_over_the_original(closed: Path) -> None:
    folder = data_folder(closed / "home")
    shutil.copytree(closed / "home", closed / "copy", symlinks=True)
    with pytest.raises(ShopstreamError, match="is a copy of it") as caught:
        reachable_folder(closed / "copy" / "elasticsearch", STRANGER)
    assert f"rm {closed / 'copy' / 'elasticsearch'}" in caught.value.remedy
    assert reachable_folder(closed / "home" / "elasticsearch", STRANGER) == folder


@as_root
def test_moved_data_folder_retains_its_linked_folder(closed: Path) -> None:
    folder = data_folder(closed / "home")
    (closed / "home").rename(closed / "moved")
    assert reachable_folder(closed / "moved" / "elasticsearch", STRANGER) == folder
    assert removal.remove_data(Settings(home=closed / "moved")) == []
    assert not folder.exists()


def test_a_link_to_a_larger_disk_is_removed_and_not_followed(tmp_path: Path) -> None:
    disk, home = tmp_path / "disk", tmp_path / "home"
    disk.mkdir()
    (disk / "unrelated.jpg").write_text("picture")
    home.mkdir()
    state_file.write(home, Record())
    (home / "elasticsearch").symlink_to(disk)
    (home / "state").symlink_to(disk)
    assert removal.remove_data(Settings(home=home)) == [disk, disk]
    assert (disk / "unrelated.jpg").read_text() == "picture"
    assert not home.exists()


def test_folder_made_by_format_1_is_not_deleted(closed: Path) -> None:
    """It does not say whose it is."""
    folder = closed.parent / "shared" / "root-elasticsearch-abc"
    folder.mkdir(parents=True)
    home = closed / "home"
    home.mkdir()
    state_file.write(home, Record())
    (home / "elasticsearch").symlink_to(folder)
    assert removal.remove_data(Settings(home=home)) == [folder]
    assert folder.is_dir()


def test_a_home_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    state_file.write(tmp_path / "real", Record())
    (tmp_path / "home").symlink_to("real")
    with pytest.raises(ShopstreamError, match="is a link") as caught:
        removal.remove_data(Settings(home=tmp_path / "home"))
    assert str(tmp_path / "real") in caught.value.remedy


def test_state_file_and_locks_are_private_under_any_umask(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".servers.lock").touch(0o666)  # readable by others
    before = os.umask(0)
    try:
        state_file.write(home, Record())
        with removal.exclusive(home, removal.Console(quiet=True)):
            pass
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
    assert modes == {state_file.RECORD_FILE: 0o600, ".servers.lock": 0o600}
