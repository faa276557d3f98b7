"""Decides when checkpoints are made: one partition at a time, in the background, in a bounded share of the time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import structlog

from connectors.clock import wall_clock_ms
from connectors.kafka.offsets import CommitError, commit_with_retry
from connectors.kafka.source import CommittedOffset, Source
from connectors.kafka.source import Partition as SourcePartition
from consumers.checkpoints.recovery import CommittedCheckpoint, decode_committed, encode_committed, recover, snapshot
from consumers.checkpoints.store import Block, Checkpoint, CheckpointStore, DamagedError, PartitionOwner
from consumers.dead_letters.producer import DeadLetters
from consumers.state.partition import PartitionState
from features.errors import ShopstreamError
from features.schema import EVENT_LATENESS_MS, HOUR_MS
from features.state.tables import EVENT_ID, Rows

log = structlog.get_logger("checkpoint")

INTERVAL_S: Final = 5.0
COMMIT_PAUSE_S: Final = 1.0
"""Pause between two attempts to commit the same checkpoint."""
OWNER_PAUSE_S: Final = 1.0
"""Pause between two attempts to record the owner in the state folder."""
SHARE_MAX: Final = 0.1
"""Maximum share of the time spent on checkpoints."""

WrittenFiles = tuple[str, list[Block], int]


@dataclass(slots=True)
class PartitionCheckpoints:
    """Checkpoint status of a partition."""

    epoch: int
    current: str = ""
    previous: str = ""
    blocks: list[Block] = field(default_factory=list)
    made_s: float = field(default_factory=time.monotonic)
    """Time the last checkpoint attempt ended, successful or not; paces the next one."""
    committed_at_s: float = field(default_factory=time.monotonic)
    """Time the current checkpoint was committed."""
    uncheckpointed_s: float | None = None
    """Time of the first change that is in no checkpoint, not even one in progress."""
    writing_s: float | None = None
    """Time of the first change in the checkpoint in progress."""
    uncheckpointed_ids: Rows = field(default_factory=lambda: np.zeros(0, EVENT_ID))
    """Ids of a checkpoint that could not be written; they go into the next one."""
    owner: PartitionOwner | None = None
    """Owner of this epoch, until the state folder holds it."""
    owner_due_s: float = 0.0
    """Time of the next attempt to record the owner in the state folder."""
    rewrite_ids: bool = False
    """Whether a block was found damaged: the next checkpoint writes all ids from memory."""


class CheckpointCoordinator:
    """Makes checkpoints of partitions and commits them.

    Args:
        store: checkpoint store of the run.
        source: Kafka source, used for commits.
        dead_letters: dead-letter producer, flushed before a commit.
        run: name of the run.
        partitions: number of partitions of each topic.
        sinks: names of the sinks of customers' rows.
        contact: whether profiles keep name and e-mail.
        interval_s: minimum time between two checkpoints of a partition.
        topic_ids: topic -> the topic's id in the cluster, to detect a topic that was created again.
        pool: executor that writes checkpoints in the background, one at a time; None: one thread.
    """

    def __init__(
        self,
        store: CheckpointStore,
        source: Source,
        dead_letters: DeadLetters | None,
        *,
        run: str,
        partitions: int,
        sinks: list[str],
        contact: bool = False,
        interval_s: float = INTERVAL_S,
        topic_ids: Mapping[str, str] | None = None,
        pool: Executor | None = None,
    ) -> None:
        self._store, self._source, self._dead_letters = store, source, dead_letters
        self._run, self._count, self._sinks, self._contact = run, partitions, sinks, contact
        self._interval_s = interval_s
        self._topic_ids = dict(topic_ids or {})
        self._status: dict[int, PartitionCheckpoints] = {}
        self._pool = pool or ThreadPoolExecutor(1, "checkpoint")
        self._writing: tuple[PartitionState, Checkpoint, Future[WrittenFiles]] | None = None
        self._started_s = 0.0
        self._due_s = self._commit_due_s = 0.0
        self.made = 0
        self.bytes_last = 0

    def age_s(self) -> float:
        """Return the age of the oldest current checkpoint of the owned partitions; 0 if no partition is owned."""
        now_s = time.monotonic()
        return max((now_s - status.committed_at_s for status in self._status.values()), default=0.0)

    def figures(self) -> dict[str, Any]:
        """Return the checkpoint fields of FeaturesProgress."""
        return {
            "checkpoints": self.made,
            "checkpoint_age_s": self.age_s(),
            "checkpoint_bytes": self.bytes_last,
            "unsaved_s": self.uncheckpointed_s(),
        }

    def uncheckpointed_s(self) -> float:
        """Return the age of the oldest change that no checkpoint holds; 0 if checkpoints hold all changes."""
        since = [
            s for status in self._status.values() for s in (status.uncheckpointed_s, status.writing_s) if s is not None
        ]
        return time.monotonic() - min(since) if since else 0.0

    def recover(self, number: int, starts: Mapping[str, CommittedOffset]) -> PartitionState:
        """Restore the partition from its last checkpoint and commit a new epoch.

        Raises:
            FencedError: the partition belongs to another worker.
            CommitError: the coordinator accepted none of TAKEOVER_TRIES commits.
        """
        committed = decode_committed([start.metadata for start in starts.values()])
        owner = self._store.last_owner(number) if committed is None else None
        try:
            partition, blocks, name = recover(
                self._store,
                number,
                committed,
                {topic: start.offset for topic, start in starts.items()},
                self._sinks,
                partitions=self._count,
                contact=self._contact,
                topic_ids=self._topic_ids,
                owner=owner,
            )
            was_committed = committed.checkpoint if committed else ""
            if name and name != was_committed:
                self._store.make_durable(number, name, blocks)
        except (ShopstreamError, FileNotFoundError):
            # a suspended worker whose successors pruned its files finds none: it is fenced, and nothing is lost
            if committed is not None:
                self._commit_unchanged(number, starts)
            raise
        # the coordinator must know an epoch above all earlier ones before anything is written
        before = max(committed.epoch if committed else 0, owner.epoch if owner else 0, partition.epoch)
        partition.epoch = max(before + 1, wall_clock_ms() // 1000)
        partition.counter = 0
        self._take_over(partition, name)
        self._status[number] = PartitionCheckpoints(
            partition.epoch, name, blocks=blocks, owner=PartitionOwner(partition.epoch, name)
        )
        return partition

    def may_write(self, number: int) -> bool:
        """Return whether rows of a partition may be written: only after the state folder durably holds their owner.

        If the group's offsets are lost, only this record shows the next owner that rows were written again.
        """
        status = self._status[number]
        if status.owner is not None and time.monotonic() >= status.owner_due_s:
            try:
                self._store.write_owner(number, status.owner)
            except OSError as error:
                if not status.owner_due_s:
                    log.warning(
                        "rows are not written while the state folder cannot be written; retrying", error=str(error)
                    )
                status.owner_due_s = time.monotonic() + OWNER_PAUSE_S
            else:
                status.owner = None
        return status.owner is None

    def _commit_unchanged(self, number: int, starts: Mapping[str, CommittedOffset]) -> None:
        """Commit the offsets read, unchanged, to check whether this worker still owns the partition.

        Raises:
            FencedError: another worker owns the partition.
            CommitError: the coordinator did not answer.
        """
        unchanged = {SourcePartition(topic, number): (start.offset, start.metadata) for topic, start in starts.items()}
        commit_with_retry(lambda: self._source.commit(unchanged))

    def _take_over(self, partition: PartitionState, name: str) -> None:
        offsets = {topic: buffer.position for topic, buffer in partition.buffers.items()}
        commit_with_retry(lambda: self._commit(partition, name, offsets))

    def forget(self, number: int) -> None:
        """Drop a partition that belongs to another worker."""
        self._status.pop(number, None)
        if self._writing is not None and self._writing[0].number == number:
            self._writing = None

    def step(self, partitions: Mapping[int, PartitionState]) -> None:
        """Commit the checkpoint that was written, or begin one that is due.

        Raises:
            FencedError: another worker owns the partition.
        """
        self._record_changes(partitions)
        if self._writing is not None:
            writing = self._writing
            if writing[2].done() and time.monotonic() >= self._commit_due_s:
                self._writing = None
                if not self._finish(*writing):
                    # its files are kept: new files with each attempt would fill the disk
                    self._writing, self._commit_due_s = writing, time.monotonic() + COMMIT_PAUSE_S
            return
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        changed = [
            p for p in partitions.values() if p.changed and now_s - self._status[p.number].made_s >= self._interval_s
        ]
        if changed:
            self._begin(min(changed, key=lambda p: self._status[p.number].made_s))

    def checkpoint_now(self, partitions: Sequence[PartitionState]) -> None:
        """Write and commit checkpoints of these partitions before returning."""
        self._finish_now()
        for partition in partitions:
            if partition.changed:
                self._begin(partition)
                self._finish_now()

    def _finish_now(self) -> None:
        """Wait for the checkpoint in progress and commit it; a failed commit marks the partition as changed."""
        if self._writing is None:
            return
        partition, checkpoint, future = self._writing
        self._writing = None
        future.exception()
        if not self._finish(partition, checkpoint, future):
            partition.changed = True

    def close(self) -> None:
        """Wait for the checkpoint in progress."""
        self._pool.shutdown(wait=True)

    def _record_changes(self, partitions: Mapping[int, PartitionState]) -> None:
        for number, partition in partitions.items():
            status = self._status[number]
            if partition.changed and status.uncheckpointed_s is None:
                status.uncheckpointed_s = time.monotonic()

    def _begin(self, partition: PartitionState) -> None:
        status = self._status[partition.number]
        self._started_s = time.monotonic()
        status.writing_s, status.uncheckpointed_s = status.uncheckpointed_s or self._started_s, None
        blocks = [] if status.rewrite_ids else status.blocks
        checkpoint = snapshot(partition, self._run, self._count, blocks, self._topic_ids)
        if status.rewrite_ids:
            checkpoint = replace(checkpoint, new_ids=partition.state.known_ids())
        elif len(status.uncheckpointed_ids):
            checkpoint = replace(checkpoint, new_ids=np.concatenate([status.uncheckpointed_ids, checkpoint.new_ids]))
        partition.changed = False
        hour_min = (partition.state.high_events - EVENT_LATENESS_MS) // HOUR_MS
        self._writing = (partition, checkpoint, self._pool.submit(self._write, checkpoint, hour_min))

    def _write(self, checkpoint: Checkpoint, hour_min: int) -> WrittenFiles:
        if self._dead_letters is not None:
            self._dead_letters.flush()
        return self._store.write(checkpoint, hour_min)

    def _finish(self, partition: PartitionState, checkpoint: Checkpoint, future: Future[WrittenFiles]) -> bool:
        """Commit a written checkpoint; return False if the commit failed for a transient reason.

        Raises:
            FencedError: another worker owns the partition.
        """
        status = self._status.get(partition.number)
        if status is None:
            return True
        try:
            name, status.blocks, self.bytes_last = future.result()
            status.uncheckpointed_ids, status.rewrite_ids = np.zeros(0, EVENT_ID), False
            self._commit(partition, name, checkpoint.manifest.offsets)
        except CommitError as error:
            log.warning("checkpoint not committed; retrying", error=str(error))
            return False
        except (OSError, DamagedError) as error:
            status.uncheckpointed_ids = checkpoint.new_ids
            # memory still holds the ids of a damaged block
            status.rewrite_ids |= isinstance(error, DamagedError)
            partition.changed, status.uncheckpointed_s = True, status.writing_s
            log.warning("checkpoint not written; retrying", error=str(error))
        else:
            partition.alerts.committed(checkpoint.manifest.alerts)
            status.previous, status.current = status.current, name
            status.committed_at_s = time.monotonic()
            self.made += 1
            self._prune(partition.number, status)
        status.made_s = time.monotonic()
        status.writing_s = None
        self._due_s = status.made_s + (status.made_s - self._started_s) * (1 / SHARE_MAX - 1)
        return True

    def _commit(self, partition: PartitionState, name: str, offsets: Mapping[str, int]) -> None:
        metadata = encode_committed(CommittedCheckpoint(partition.epoch, name))
        self._source.commit({SourcePartition(t, partition.number): (offset, metadata) for t, offset in offsets.items()})

    def _prune(self, number: int, status: PartitionCheckpoints) -> None:
        try:
            self._store.prune(number, [name for name in (status.current, status.previous) if name], status.blocks)
        except (OSError, ShopstreamError) as error:
            log.warning("old checkpoints not deleted", error=str(error))
