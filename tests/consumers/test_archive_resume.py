"""Where an archive goes on: without committed offsets, with other topics or folders, and files of format 1."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stream.archive_group import DAY_1_MS, EVENTS, Group, Worker, assert_whole, event

from consumers.archive.files import ArchiveFolder, to_arrow
from features.errors import ShopstreamError
from features.schema import DAY_MS, HOUR_MS, RECORD_TYPES, Event


@pytest.fixture
def group() -> Group:
    return Group.of_a_hundred()


# --- offsets, logs and files that are gone ---


@pytest.mark.parametrize("reset", ["deleted", "to the beginning", "back by some"])
def test_lost_committed_offset_is_taken_from_the_files(tmp_path, group, reset):
    """250 rows, 150 of them twice: that is what came of it once. H is kept too: a late record stays late."""
    group.logs[EVENTS].append(event(200, DAY_1_MS + 200 * HOUR_MS))
    Worker(group, tmp_path).read(40).flush().read(30).flush().read().flush()
    for partition in group.logs:
        if reset == "deleted":
            del group.committed[partition]
        else:
            group.committed[partition] = (0 if reset == "to the beginning" else 55, "")
    group.logs[EVENTS] += [event(201, DAY_1_MS), event(202, DAY_1_MS + 202 * HOUR_MS)]
    worker = Worker(group, tmp_path).read().flush()
    assert worker.role.progress().late == 1
    assert worker.role.progress().consumed == 2
    del group.logs[EVENTS][-2]
    assert_whole(tmp_path, group)


def test_log_that_starts_after_the_archived_files_is_refused(tmp_path, group):
    Worker(group, tmp_path).read(40).flush()
    group.committed.clear()
    group.low[EVENTS] = 50
    with pytest.raises(ShopstreamError, match="no record 40"):
        Worker(group, tmp_path)


def test_another_topic_of_the_same_name_is_refused(tmp_path, group):
    first, second = {"events": "id-1", "customers": "id-2"}, {"events": "id-3", "customers": "id-2"}
    Worker(group, tmp_path, topic_ids=first).read(40).flush()
    with pytest.raises(ShopstreamError, match=r"events\[0\] was deleted and created again.*--archive"):
        Worker(group, tmp_path, topic_ids=second)
    group.committed.clear()
    with pytest.raises(ShopstreamError, match=r"events\[0\] was deleted and created again"):
        Worker(group, tmp_path, topic_ids=second)
    Worker(group, tmp_path, topic_ids=first).read().flush()
    assert_whole(tmp_path, group)


def test_other_archive_folder_than_the_committed_one_is_refused(tmp_path, group):
    Worker(group, tmp_path / "one").read(40).flush()
    Worker(group, tmp_path / "one")
    with pytest.raises(ShopstreamError, match=r"lacks the rows of .* before offset 40.*--archive"):
        Worker(group, tmp_path / "two")
    Worker(group, tmp_path / "one").read().flush()
    assert_whole(tmp_path / "one", group)


# --- archives of format 1 ---


def earlier_version(directory: Path, group: Group, count: int, uncommitted: int) -> None:
    """Files without an end in their names, an unfinished one, and H alone as metadata."""
    ArchiveFolder(directory, "r")
    for first, after in ((0, count), (count, count + uncommitted)):
        records = [json.loads(value) for value in group.logs[EVENTS][first:after]]
        rows = to_arrow(RECORD_TYPES["events"], [Event(**record) for record in records])
        for day in {record["ts"] // DAY_MS for record in records}:
            folder = directory / "events" / f"date={date(1970, 1, 1) + timedelta(days=day)}"
            folder.mkdir(parents=True, exist_ok=True)
            own = [i for i, record in enumerate(records) if record["ts"] // DAY_MS == day]
            pq.write_table(pa.Table.from_batches([rows]).take(own), folder / f"r-p00000-{first:020d}.parquet")
    (folder / f"r-p00000-{count + uncommitted:020d}.parquet.tmp").touch()
    last = json.loads(group.logs[EVENTS][count - 1])["ts"]
    group.committed[EVENTS] = (count, json.dumps({"high": last}))


def test_archive_of_format_1_is_continued(tmp_path, group):
    earlier_version(tmp_path, group, 60, 20)
    worker = Worker(group, tmp_path).read().flush()
    assert worker.role.progress().consumed == 40 + 100
    assert_whole(tmp_path, group)
    assert list((tmp_path / "events").rglob("*.tmp")) == []


def test_an_archive_of_format_1_without_a_commit_is_refused(tmp_path, group):
    earlier_version(tmp_path, group, 60, 20)
    group.committed.clear()
    with pytest.raises(ShopstreamError, match="format 1, do not state which offset"):
        Worker(group, tmp_path)
