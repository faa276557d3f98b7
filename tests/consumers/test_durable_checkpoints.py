"""Checkpoints on disks that fail: what is durable before a commit, and what a failed or repeated attempt leaves."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs
from simulation.boundary import Bystander
from simulation.disk import STATE, Disk, Store
from stream.feeding import as_batch, as_events, message

from connectors.kafka.offsets import CommitError
from connectors.kafka.source import CommittedOffset
from consumers.checkpoints.coordinator import CheckpointCoordinator
from consumers.checkpoints.recovery import decode_committed, restore
from consumers.checkpoints.store import BLOCKS_MAX, CheckpointStore
from features.schema import DAY_MS, HOUR_MS, SOURCE_TOPICS

NOW_MS = 20_000 * DAY_MS


class Source:
    """Takes commits, or refuses as many as it is told to; what is durable at a commit is looked up by `seen`."""

    def __init__(self, seen=lambda name: None):
        self.failing, self.names, self.seen = 0, [], seen

    def commit(self, offsets):
        (text,) = {metadata for _, metadata in offsets.values()}
        name = decode_committed([text]).checkpoint
        self.seen(name)
        if self.failing:
            self.failing -= 1
            raise CommitError("timed out")
        self.names.append(name)


def opened(tmp_path, source):
    checkpoints = CheckpointCoordinator(
        CheckpointStore(str(tmp_path), "r"), source, None, run="r", partitions=1, sinks=["s"], interval_s=0.0
    )
    return checkpoints, checkpoints.recover(0, {topic: CommittedOffset(0, "") for topic in SOURCE_TOPICS})


class FullDisk(Bystander):
    """No room on a simulated disk for as long as `full`."""

    full = True

    def befalls(self, fault: str) -> bool:
        return fault == "disk_full" and self.full


def receive(partition, number):
    event = {"event_id": f"e{number}", "event_type": "search", "customer_id": "c", "session_id": f"s{number // 50}"}
    event |= {"device": "mobile", "ts": NOW_MS + number * 1_000}
    partition.receive(as_batch("events", [message(event)], partition.buffers["events"].position))
    for topic in SOURCE_TOPICS:
        partition.reached_end(topic)
    partition.advance()
    partition.changed = True


def files_of(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "r" / "partition=0").iterdir()}


def test_event_ids_of_a_failed_checkpoint_are_in_the_next_one():
    """Else an event repeated after a restart would be counted again."""
    disk, source = FullDisk(), Source()
    store = CheckpointStore(STATE, "r", files=fs.PyFileSystem(Disk(Store(), disk)))
    checkpoints = CheckpointCoordinator(store, source, None, run="r", partitions=1, sinks=["s"], interval_s=0.0)
    partition = checkpoints.recover(0, {topic: CommittedOffset(0, "") for topic in SOURCE_TOPICS})
    search = {"event_type": "search", "customer_id": "c", "session_id": "s", "device": "mobile"}
    rows = [search | {"event_id": f"e{number}", "ts": NOW_MS + number} for number in range(40)]
    partition.receive(as_batch("events", [message(row) for row in rows]))
    for topic in SOURCE_TOPICS:
        partition.reached_end(topic)
    partition.advance()
    checkpoints.checkpoint_now([partition])
    assert checkpoints.made == 0
    assert partition.changed
    disk.full = False
    checkpoints.checkpoint_now([partition])
    checkpoints.close()
    assert checkpoints.made == 1
    again = restore(store.read(0, source.names[-1]), ["s"])
    assert again.state.apply_events(as_events(rows)).applied == 0


def test_files_and_folder_are_synced_before_the_commit_that_names_them(tmp_path, monkeypatch):
    synced, checked = [], []
    fsync = os.fsync

    def spy(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def seen(name):
        if name:
            folder = tmp_path / "r" / "partition=0"
            assert {path.name for path in synced} >= files_of(tmp_path), "every file"
            assert folder in synced[synced.index(folder / name) :], "and then their entries in the folder"
            assert {tmp_path, tmp_path / "r"} <= set(synced), "and the folders that were made for them"
            checked.append(name)

    monkeypatch.setattr(os, "fsync", spy)
    checkpoints, partition = opened(tmp_path, Source(seen))
    receive(partition, 1)
    checkpoints.checkpoint_now([partition])
    checkpoints.close()
    assert len(checked) == 1
    assert len(files_of(tmp_path)) == 2, "arrays and a block of event ids"


@pytest.mark.parametrize("suffix", [".ids", ".checkpoint"])
def test_an_attempt_on_a_full_disk_leaves_no_file(tmp_path, monkeypatch, suffix):
    source = Source()
    checkpoints, partition = opened(tmp_path, source)
    write_file = CheckpointStore._write_file

    def full(self, path, parts):
        write_file(self, path, parts[:1])
        if path.endswith(suffix):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "_write_file", full)
        for number in range(5):
            receive(partition, number)
            checkpoints.checkpoint_now([partition])
            assert files_of(tmp_path) == set()
    assert source.names == [""], "the new owner's epoch alone"
    checkpoints.checkpoint_now([partition])
    checkpoints.close()
    assert len(CheckpointStore(str(tmp_path), "r").read(0, source.names[-1]).new_ids) == 5


def test_failed_commit_is_retried_with_the_same_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("consumers.checkpoints.coordinator.COMMIT_PAUSE_S", 0.0)
    source = Source()
    checkpoints, partition = opened(tmp_path, source)
    receive(partition, 1)
    source.failing = 20
    deadline_s = time.monotonic() + 20
    while len(source.names) < 2:
        assert time.monotonic() < deadline_s
        checkpoints.step({0: partition})
        assert len(files_of(tmp_path) if (tmp_path / "r" / "partition=0").exists() else ()) <= 2
    checkpoints.close()
    assert source.failing == 0
    assert source.names[1] in files_of(tmp_path)


def test_running_worker_survives_a_damaged_block(tmp_path):
    """Blocks are read again when they are merged; the worker has their ids in memory."""
    source = Source()
    checkpoints, partition = opened(tmp_path, source)
    for number in range(BLOCKS_MAX):
        receive(partition, number)
        checkpoints.checkpoint_now([partition])
    victim = next(path for path in sorted((tmp_path / "r" / "partition=0").iterdir()) if path.suffix == ".ids")
    data = bytearray(victim.read_bytes())
    data[0] ^= 1
    victim.write_bytes(data)
    for number in range(BLOCKS_MAX, BLOCKS_MAX + 3):
        receive(partition, number)
        checkpoints.checkpoint_now([partition])
    checkpoints.close()
    stored = CheckpointStore(str(tmp_path), "r").read(0, source.names[-1])
    assert len(np.unique(stored.new_ids)) == len(stored.new_ids) == BLOCKS_MAX + 3
    assert len(stored.manifest.blocks) <= 3


def test_checkpoint_holds_the_ids_of_the_horizon(tmp_path):
    checkpoints, partition = opened(tmp_path, Source())
    checkpoints.close()
    for number in (1, 2, 3):
        receive(partition, number)
    assert len(partition.state.known_ids()) == 3
    late = {"event_id": "later", "event_type": "search", "customer_id": "c", "session_id": "x", "device": "mobile"}
    late["ts"] = NOW_MS + 60 * HOUR_MS
    partition.receive(as_batch("events", [message(late)], partition.buffers["events"].position))
    for topic in SOURCE_TOPICS:
        partition.reached_end(topic)
    partition.advance()
    assert len(partition.state.known_ids()) == 1
