"""The unprivileged account: which one, and what it can reach."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from features.errors import ShopstreamError
from shopstream.servers.account import Account, obstacle, reachable_folder, server_account

STRANGER = Account(uid=64_999, gid=64_999, name="stranger")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")


@pytest.fixture
def open_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that everybody can reach; pytest's own are private."""
    folder = tmp_path_factory.mktemp("open").resolve()
    root = Path(tempfile.gettempdir()).resolve()
    for place in (folder, *folder.parents):  # a worker of xdist has a folder more above its own
        if place.stat().st_uid == os.geteuid() and place.is_relative_to(root) and place != root:
            place.chmod(0o755)
    return folder


def test_only_root_changes_the_account() -> None:
    assert server_account(None, root=False) is None
    account = server_account(None, root=True)
    assert account is not None
    assert account.name == "nobody"
    assert account.uid != 0


def test_a_uid_needs_no_name() -> None:
    assert server_account("64999", root=True) == Account(64_999, 64_999, "64999")


@pytest.mark.parametrize("name", ["root", "0", "no-such-user"])
def test_root_and_unknown_users_are_refused(name: str) -> None:
    with pytest.raises(ShopstreamError) as caught:
        server_account(name, root=True)
    assert "RUN_AS" in caught.value.remedy


def test_obstacle_is_the_first_closed_folder(open_path: Path) -> None:
    inner = open_path / "closed" / "inner"
    inner.mkdir(parents=True)
    assert obstacle(inner, STRANGER) is None
    inner.parent.chmod(0o700)
    assert obstacle(inner, STRANGER) == inner.parent
    assert obstacle(inner, Account(os.geteuid(), os.getegid(), "me")) is None
    inner.parent.chmod(0o755)


def test_without_another_account_it_is_just_made(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "elasticsearch"
    assert reachable_folder(folder, None) == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@as_root
def test_reachable_home_holds_the_folder_itself(open_path: Path) -> None:
    folder = reachable_folder(open_path / "home" / "elasticsearch", STRANGER, shared=open_path / "shared")
    assert folder == open_path / "home" / "elasticsearch"
    status = folder.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (STRANGER.uid, 0o700)
    assert not (open_path / "shared").exists()


@as_root
def test_closed_home_gets_a_linked_stand_in_and_keeps_it(open_path: Path) -> None:
    closed = open_path / "private"
    closed.mkdir(mode=0o700)
    path = closed / "home" / "elasticsearch"
    folder = reachable_folder(path, STRANGER, shared=open_path / "shared")
    assert folder.parent == open_path / "shared"
    assert path.resolve() == folder.resolve()
    (folder / "data").touch()
    assert reachable_folder(path, STRANGER, shared=open_path / "shared") == folder
    # deleted by hand: a new one, not the old data
    path.unlink()
    assert not (reachable_folder(path, STRANGER, shared=open_path / "shared") / "data").exists()


@as_root
def test_no_reachable_place_says_so_with_the_remedy(open_path: Path) -> None:
    closed = open_path / "private"
    closed.mkdir(mode=0o700)
    with pytest.raises(ShopstreamError, match="cannot enter") as caught:
        reachable_folder(closed / "home" / "elasticsearch", STRANGER, shared=closed / "shared")
    assert f"chmod o+x {closed}" in caught.value.remedy
