"""The archive through faults: former owners that wake up, deaths, commits that fail, full disks, power loss."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from pyarrow import fs
from stream.archive_group import EVENTS, Group, Source, Worker, assert_whole, event, ids

from connectors.kafka.offsets import CommitError
from consumers.archive.consumer import ArchiveRole
from consumers.archive.files import ArchiveFolder


@pytest.fixture
def group() -> Group:
    return Group.of_a_hundred()


# --- former owners ---


@pytest.mark.parametrize("asleep", ["before it stages", "before its commit"])
def test_former_owner_that_resumes_changes_no_published_row(tmp_path, group, asleep):
    """100 committed rows were once replaced by the 10 of an owner that had slept."""
    former = Worker(group, tmp_path)
    former.read(10)
    if asleep == "before it stages":
        Worker(group, tmp_path).read().flush()
        former.flush()
    else:
        former.source.before_commit = lambda: Worker(group, tmp_path).read().flush()
        former.flush()
    assert former.source.group.committed[EVENTS][0] == 100
    group.logs[EVENTS].append(event(100))
    Worker(group, tmp_path).read().flush()
    assert_whole(tmp_path, group)


def test_rows_of_an_owner_paused_after_its_commit_are_published_by_the_next(tmp_path, group):
    former = Worker(group, tmp_path)
    former.read(60)
    former.source.after_commit = lambda: Worker(group, tmp_path).read().flush()
    former.flush()
    assert_whole(tmp_path, group)


def test_former_owner_paused_in_its_assignment_removes_no_file_of_its_successor(tmp_path, group):
    """It listed what was staged, and slept until its successor had staged and committed."""
    Worker(group, tmp_path).read(10)
    sleepy = Source(group)
    role = ArchiveRole(sleepy, ArchiveFolder(tmp_path, "r"), "r")
    successors = []

    def sleep():
        sleepy.after_commit = lambda: None
        successors.append(Worker(group, tmp_path).read(50))
        stored = successors[0].role._owned
        for partition, one in stored.items():
            successors[0].role._stage(partition, one)

    sleepy.after_commit = sleep
    sleepy.take_over(role)
    group.owner = successors[0].source
    successors[0].role._commit()
    successors[0].flush()
    successors[0].read().flush()
    assert_whole(tmp_path, group)


def test_owner_fenced_during_assignment_owns_and_removes_nothing(tmp_path, group):
    owner = Worker(group, tmp_path)
    owner.read(50)
    for partition, stored in owner.role._owned.items():
        owner.role._stage(partition, stored)
    late = Source(group)
    role = ArchiveRole(late, ArchiveFolder(tmp_path, "r"), "r")

    def usurped():
        group.owner = owner.source

    late.before_commit = usurped
    late.take_over(role)
    assert role._owned == {}
    owner.flush().read().flush()
    assert_whole(tmp_path, group)


# --- deaths and failing commits ---


class CrashError(Exception):
    """The process dies here."""


def crash():
    raise CrashError


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_crash_around_the_commit_loses_and_duplicates_nothing(tmp_path, group, moment):
    worker = Worker(group, tmp_path).read(60)
    setattr(worker.source, moment, crash)
    with pytest.raises(CrashError):
        worker.flush()
    assert ids(tmp_path) == Counter()
    Worker(group, tmp_path).read().flush()
    assert_whole(tmp_path, group)


@pytest.mark.parametrize("expired", [False, True], ids=["offsets are there", "offsets are gone"])
def test_crash_while_publishing_loses_and_duplicates_nothing(tmp_path, group, monkeypatch, expired):
    worker = Worker(group, tmp_path).read(60)
    move, moves = worker.role._staging._move, []

    def dies(*args):
        moves.append(args)
        if len(moves) == 3:
            raise CrashError
        move(*args)

    monkeypatch.setattr(worker.role._staging, "_move", dies)
    with pytest.raises(CrashError):
        worker.flush()
    if expired:
        group.committed.clear()
    Worker(group, tmp_path).read().flush()
    assert_whole(tmp_path, group)


@pytest.mark.parametrize("made", [False, True])
def test_failed_commit_is_retried_with_the_same_files(tmp_path, group, made):
    worker = Worker(group, tmp_path).read(60)
    failures = [1, 2, 3]

    def fail():
        if failures:
            failures.pop()
            raise CommitError("timed out")

    setattr(worker.source, "after_commit" if made else "before_commit", fail)
    for _ in range(3):
        worker.flush().read(10)
        assert len(list((tmp_path / "staged").iterdir())) == 2, "one set for each partition"
        assert worker.role.progress().last_error is not None
    worker.flush().read().flush()
    assert worker.role.progress().last_error is None
    assert_whole(tmp_path, group)


@pytest.mark.parametrize("successor", [False, True])
def test_commit_with_a_lost_response_is_resolved_by_the_next_owner(tmp_path, group, successor):
    worker = Worker(group, tmp_path).read(60)

    def lost():
        raise CommitError("timed out, but made")

    worker.source.after_commit = lost
    worker.flush()
    if successor:
        Worker(group, tmp_path).read().flush()
        worker.source.after_commit = lambda: None
        worker.flush()
    else:
        worker.source.after_commit = lambda: None
        worker.flush().read().flush()
    assert_whole(tmp_path, group)


# --- bounds and full disks ---


def test_buffer_is_written_at_its_limit_of_bytes(tmp_path, group):
    worker = Worker(group, tmp_path, flush_bytes=20_000, flush_every_s=1e9)
    worker.role._flushed_s = 1e9
    assert not worker.role._is_due(1e9)
    worker.read()
    assert worker.role._is_due(1e9)
    worker.flush()
    assert not worker.role._is_full()


def test_full_disk_loses_nothing_and_pauses_reading(tmp_path, group, monkeypatch):
    worker = Worker(group, tmp_path, flush_records=50)
    stage = worker.role._staging.stage

    def full(staged, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker.role._staging, "stage", full)
    for _ in range(5):
        worker.read(40).flush()
        worker.role._pause_while_full()
    assert worker.source.paused
    assert sum(stored.records for stored in worker.role._owned.values()) <= 50 + 2 * 40
    assert "No space" in worker.role.progress().last_error
    monkeypatch.setattr(worker.role._staging, "stage", stage)
    worker.flush()
    worker.role._pause_while_full()
    assert not worker.source.paused
    worker.read().flush()
    assert_whole(tmp_path, group)


def test_a_write_that_fails_leaves_no_staged_file(tmp_path, group, monkeypatch):
    worker = Worker(group, tmp_path).read()
    write, writes = ArchiveFolder.write, []

    def fails(self, path, table, metadata=None):
        writes.append(path)
        if len(writes) == 3:
            raise OSError(28, "No space left on device")
        write(self, path, table, metadata)

    monkeypatch.setattr(ArchiveFolder, "write", fails)
    worker.flush()
    staged = [path.name for path in (tmp_path / "staged").iterdir()]
    assert not any("events" in name for name in staged)
    worker.flush()
    assert_whole(tmp_path, group)


def test_rows_are_durable_before_each_commit(tmp_path, group):
    """A commit must not name what a power loss takes away, nor forget what one would move back."""
    local, synced = fs.LocalFileSystem(), set()

    class Watched(fs.FileSystemHandler):
        def get_type_name(self):
            return "watched"

        def normalize_path(self, path):
            return path

        def sync(self, path):
            synced.add(path)

        def __getattr__(self, name):
            raise NotImplementedError(name)

        def get_file_info(self, paths):
            return local.get_file_info(paths)

        def get_file_info_selector(self, selector):
            return local.get_file_info(selector)

        def create_dir(self, path, recursive):
            local.create_dir(path, recursive=recursive)

        def delete_dir(self, path):
            local.delete_dir(path)

        def delete_file(self, path):
            local.delete_file(path)

        def move(self, source, target):
            local.move(source, target)

        def open_input_file(self, path):
            return local.open_input_file(path)

        def open_output_stream(self, path, metadata):
            return pa.PythonFile(local.open_output_stream(path), mode="w")

        copy_file = open_append_stream = open_input_stream = None
        delete_dir_contents = delete_root_dir_contents = None

    worker = Worker(group, str(tmp_path), files=fs.PyFileSystem(Watched()))
    seen = []

    def staged_is_durable():
        for position in (tmp_path / "staged").iterdir():
            assert {str(position.parent), str(position)} <= synced
            for file in position.iterdir():
                assert any(path.startswith(f"{file}.") for path in synced), "the content, before the rename"
                seen.append(file.name)

    worker.source.before_commit = staged_is_durable
    worker.read(60).flush()
    assert len(seen) > 2
    synced.clear()
    worker.source.before_commit = lambda: None
    worker.read().flush()
    days = {str(path.parent) for path in (tmp_path / "events").rglob("*.parquet") if "0100.parquet" in path.name}
    assert days
    assert days <= synced
