"""Files written whole and durably: content, permissions, failures, and what is synchronised before a write returns."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from pyarrow import fs

from connectors.files import make_folder, publish_folder, store_whole, write_whole


def fail(_):
    raise OSError(28, "No space left on device")


def test_write_whole_replaces_the_content_and_keeps_the_mode(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text("old")
    path.chmod(0o600)
    write_whole(path, lambda partial: partial.write_text("new"))
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.json"]


def test_write_whole_with_a_mode_never_has_wider_permissions(tmp_path):
    seen = []

    def write(partial):
        seen.append(stat.S_IMODE(partial.stat().st_mode))
        partial.write_text("secret")

    old = os.umask(0)
    try:
        write_whole(tmp_path / "secret", write, mode=0o600)
    finally:
        os.umask(old)
    assert seen == [0o600]
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_write_whole_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "notes.json"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.json"]


def test_store_whole_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "part.parquet"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        store_whole(fs.LocalFileSystem(), str(path), fail)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["part.parquet"]


@pytest.mark.parametrize("kind", ["write_whole", "store_whole"])
def test_file_and_folder_reach_the_disk_before_the_write_returns(tmp_path, monkeypatch, kind):
    synced = []
    fsync = os.fsync

    def spy(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    path = tmp_path / "file"
    if kind == "write_whole":
        write_whole(path, lambda partial: partial.write_bytes(b"new"))
    else:
        store_whole(fs.LocalFileSystem(), str(path), lambda stream: stream.write(b"new"))
    assert path.read_bytes() == b"new"
    assert [synced[0].parent, synced[1]] == [tmp_path, tmp_path]
    assert synced[0].suffix == ".partial", "the file is synchronised before it takes its name"


def test_folder_that_cannot_be_published_stays_at_its_staging_path(tmp_path):
    partial, target = tmp_path / "partial", tmp_path / "target"
    partial.mkdir()
    (partial / "file").write_text("new")
    target.mkdir()
    (target / "other").write_text("old")
    with pytest.raises(OSError, match="not empty"):
        publish_folder(partial, target)
    assert ((partial / "file").read_text(), (target / "other").read_text()) == ("new", "old")
    (target / "other").unlink()
    publish_folder(partial, target)
    assert ((target / "file").read_text(), partial.exists()) == ("new", False)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_replaced_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "names.parquet"
    path.write_text("old")
    path.chmod(mode)
    seen = []

    def write(stream):
        stream.write(b"new")
        seen.extend(one.stat().st_mode & 0o777 for one in tmp_path.glob("*.partial"))

    store_whole(fs.LocalFileSystem(), str(path), write)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert seen == [0o600]


def test_entries_of_all_parent_folders_are_synced(tmp_path, monkeypatch):
    """That process may have died before it synchronised one of them, and a power loss then takes all below it."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink()))
    for _ in range(2):
        synced.clear()
        make_folder(fs.LocalFileSystem(), str(tmp_path / "a" / "b" / "c"))
        assert {tmp_path / "a" / "b", tmp_path / "a", tmp_path, tmp_path.parent} <= set(synced)


def test_unreadable_parent_folder_is_skipped(tmp_path, monkeypatch):
    def refused(path, *_):
        raise PermissionError(13, "Permission denied", path)

    (tmp_path / "a").mkdir()
    monkeypatch.setattr(os, "open", refused)
    make_folder(fs.LocalFileSystem(), str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()
