"""Indexes every valid event as one document of `RUN-events-YYYY.MM`.

The order of work, and what is repeated after a crash during each step:

1. Read a batch. After a crash it is read again.
2. Decode and validate it, lateness included (the partition's max event time is in the commit's metadata). The result
   depends on the records alone, so a second reading yields the same.
3. Submit the valid records to the bulk sink, and read on: several batches are in flight together. A document has the id
   of its event and is written with `create`, so a repeated one is refused as a duplicate.
4. A batch is acknowledged when each of its documents is written, existed already, or is refused permanently. A refused
   document is a dead letter, flushed before step 5; after a crash it may exist twice.
5. Commit each partition up to its first unacknowledged batch, with the max event time at that point and the identities
   of the months' indices. After a crash the later batches are read again and refused as duplicates.

An index that was deleted and created again, or restored, lacks acknowledged documents. The partition is then read again
from the beginning of its log; documents in other indices are refused as duplicates. A month whose index is gone is not
created again by that: old months may be deleted on purpose.

The features consumer writes invalid and late messages to the dead letters; this consumer only counts them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import msgspec
import numpy as np
import structlog

from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.client import document_id
from connectors.elasticsearch.documents import Doc, Outcome
from connectors.elasticsearch.index_identity import Identities
from connectors.elasticsearch.mappings import month_indices
from connectors.kafka.offsets import check_same_topic, try_commit
from connectors.kafka.source import Batch, CommittedOffset, Partition, Source
from consumers.dead_letters.producer import DeadLetter, DeadLetters
from consumers.index.month_identities import Months, digests, lost, unpack
from consumers.index.partition_progress import PartitionProgress, PendingBatch, read_metadata, write_metadata
from consumers.metrics.definitions import CopyProgress
from features.errors import ShopstreamError
from features.records.columns import Int64
from features.records.decode import decode
from features.records.lateness import split_late
from features.schema import EVENT_LATENESS_MS, index_name, topic_name

log = structlog.get_logger("index")

ROLE: Final = "index"
TOPICS: Final = ("events",)


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """Limits of the index consumer.

    Attributes:
        batch_records: maximum number of records per read; about one bulk request.
        read_timeout_s: maximum time to fill a batch.
        commit_every_s: interval of commits.
        report_every_s: interval of reports.
        stalled_s: time without room in the sink after which reading from Kafka is paused.
        revoke_timeout_s: maximum time a rebalance waits for documents in flight.
    """

    batch_records: int = 5_000
    read_timeout_s: float = 0.1
    commit_every_s: float = 1.0
    report_every_s: float = 1.0
    stalled_s: float = 10.0
    revoke_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class _Origin:
    """Origin of a submission's documents from position `first` on: their messages' positions in a batch."""

    first: int
    batch: Batch
    positions: Int64


class IndexRole:
    """Indexes the events of its assigned partitions.

    Args:
        source: source of the topic of events (`TOPICS`), in the group of this role.
        sink: bulk sink of documents.
        run: name of the run.
        dead_letters: dead letters of documents that Elasticsearch refuses permanently; None only logs them.
        options: limits of the consumer.
        identities: identities of the indices of raw events; without them a lost index is not detected.
        topic_id: id of the topic of events in the cluster; empty: a topic that was created again is not detected.
    """

    def __init__(
        self,
        source: Source,
        sink: BulkSink,
        run: str,
        *,
        dead_letters: DeadLetters | None = None,
        options: IndexOptions | None = None,
        identities: Identities | None = None,
        topic_id: str = "",
    ) -> None:
        self._source = source
        self._sink = sink
        self._run = run
        self._topic_id = topic_id
        self._dead_letters = dead_letters
        self._options = options or IndexOptions()
        self._identities = identities
        self._seen: Mapping[str, str] = {}
        self._months: Months = {}
        self._written: set[str] = set()
        """Indices that received documents and whose identity may be unknown."""
        self._encode = msgspec.json.Encoder().encode
        self._owned: dict[Partition, PartitionProgress] = {}
        self._counts: Counter[str] = Counter()
        self._committed_s = self._reported_s = self._checked_s = 0.0

    def run(
        self,
        stop: Callable[[], bool],
        until: Mapping[tuple[str, int], int] | None = None,
        report: Callable[[CopyProgress], None] = lambda _: None,
    ) -> CopyProgress:
        """Read, index and commit until `stop`, or until the whole group has committed up to `until`.

        Args:
            stop: stop condition, checked about ten times a second.
            until: (full topic name, partition) -> offset, as returned by `connectors.kafka.offsets.end_offsets`.
            report: callback for the progress, called about once a second.

        Raises:
            ShopstreamError: credentials are refused, records were deleted before they were read, or another worker has
                this id.
        """
        options = self._options
        self._source.open(self)
        try:
            while not stop():
                if self._has_room():
                    self._submit(self._source.read(options.batch_records, options.read_timeout_s))
                self._sink.poll()
                now_s = time.monotonic()
                if now_s - self._committed_s >= options.commit_every_s:
                    self._check_indices()
                    self._commit()
                if now_s - self._reported_s >= options.report_every_s:
                    self._reported_s = now_s
                    report(self.progress())
                if until is not None and self._has_reached(until, now_s):
                    break
            self._flush_and_commit(options.revoke_timeout_s)
        finally:
            # closing the source revokes partitions, but after an error nothing may be committed
            self._owned.clear()
            self._source.close()
        report(final := self.progress())
        return final

    def progress(self) -> CopyProgress:
        """Return the current progress."""
        stats = self._sink.stats()
        return CopyProgress(
            role=ROLE,
            lag_records=self._source.lag(),
            waiting_records=self._sink.in_flight,
            retries=stats.retries,
            latency_p50_ms=stats.latency_p50_ms,
            latency_p99_ms=stats.latency_p99_ms,
            last_error=stats.last_error,
            **self._counts,
        )

    # --- rebalance callbacks ---

    def assigned(self, starts: Mapping[Partition, CommittedOffset]) -> Mapping[Partition, int]:
        """Take over partitions; those whose indices have lost documents restart at the beginning of the log."""
        self._check_indices()
        restarts: dict[Partition, int] = {}
        for partition, start in starts.items():
            metadata = read_metadata(start.metadata)
            check_same_topic(*partition, metadata.topic_id, self._topic_id)
            committed = start.offset if start.metadata else None
            known = unpack(metadata.months)
            months = known | self._months
            progress = PartitionProgress(
                committed,
                start.offset,
                metadata.max_event_time,
                metadata.max_event_time,
                start.metadata,
                months,
                metadata.until,
                self._topic_id,
            )
            if gone := lost(known, self._months):
                restarts[partition] = start.first
                progress.restart(start.first, start.offset)
                self._log_lost(partition, gone, start.first)
            self._owned[partition] = progress
        return restarts

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Wait briefly for documents in flight, commit what is acknowledged, and release the partitions."""
        if self._owned:
            self._flush_and_commit(self._options.revoke_timeout_s)
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Release the partitions."""
        for partition in partitions:
            self._owned.pop(partition, None)

    # --- lost indices ---

    def _check_indices(self) -> None:
        if self._identities is None or self._identities.current is self._seen:
            return
        self._seen = self._identities.current
        self._months = digests(self._run, self._seen)
        for partition, progress in self._owned.items():
            if gone := lost(progress.months, self._months):
                read = self._source.position(partition)
                first = self._source.rewind(partition)
                progress.restart(first, read)
                self._log_lost(partition, gone, first)
            progress.months |= self._months

    def _log_lost(self, partition: Partition, months: Sequence[str], first: int) -> None:
        missing = f"the log has no events before offset {first} any more" if first else None
        log.warning(
            "indices of raw events were deleted or restored; the log is read again from its beginning",
            indices=", ".join(f"{index_name(self._run, 'events')}-{month}" for month in months),
            partition=partition.number,
            missing=missing,
            remedy="restore a newer snapshot of them" if first else None,
        )

    def _deleted_months(self, batch: Batch, progress: PartitionProgress) -> frozenset[str]:
        """Return the months that re-reading must not create again: their indices were deleted on purpose."""
        reread = batch.offsets[0] < progress.until
        return frozenset(progress.months.keys() - self._months.keys()) if reread else frozenset()

    # --- steps ---

    def _has_room(self) -> bool:
        """Wait for room in the sink; during a long wait, pause reading from Kafka but stay in the group."""
        batch, options = self._options.batch_records, self._options
        waited_s = 0.0
        while self._sink.free() < batch:
            started_s = time.monotonic()
            self._sink.wait(options.read_timeout_s)
            waited_s += time.monotonic() - started_s
            if waited_s < options.stalled_s:
                continue
            self._source.pause()
            self._submit(self._source.read(1, 0.0))
            return False
        self._source.resume()
        return True

    def _submit(self, batches: Sequence[Batch]) -> None:
        docs: list[Doc] = []
        origins: list[_Origin] = []
        pending: list[PendingBatch] = []
        for batch in batches:
            progress = self._owned[batch.partition]
            decoded = decode("events", batch.values, batch.keys, batch.append_ms)
            ts = np.array([r.ts for r in decoded.records], np.int64)
            late, progress.max_event_time = split_late(ts, progress.max_event_time, EVENT_LATENESS_MS)
            self._count(batch, len(decoded.rejected), int(late.sum()))
            indices = month_indices(self._run, "events", ts)
            self._written.update(indices)
            if deleted := self._deleted_months(batch, progress):
                late = late | np.array([index[-len("2026.03") :] in deleted for index in indices], np.bool_)
            origins.append(_Origin(len(docs), batch, decoded.positions[~late]))
            encode = self._encode
            docs += [
                Doc(index, document_id(record.event_id), encode(record), None, True)
                for index, record, is_late in zip(indices, decoded.records, late.tolist(), strict=True)
                if not is_late
            ]
            pending_batch = PendingBatch(batch.next_offset, progress.max_event_time)
            progress.batches.append(pending_batch)
            pending.append(pending_batch)
        if not pending:
            return

        def on_done(outcome: Outcome) -> None:
            self._record_outcome(outcome, origins)
            for pending_batch in pending:
                pending_batch.done = True

        self._sink.submit(docs, on_done)

    def _count(self, batch: Batch, rejected: int, late: int) -> None:
        consumed = len(batch.offsets)
        self._counts.update(consumed=consumed, rejected=rejected, late=late, valid=consumed - rejected - late)

    def _record_outcome(self, outcome: Outcome, origins: Sequence[_Origin]) -> None:
        self._counts.update(written=outcome.written, duplicates=len(outcome.conflicts), refused=len(outcome.rejected))
        for rejected in outcome.rejected:
            origin = next(o for o in reversed(origins) if o.first <= rejected.position)
            batch, position = origin.batch, int(origin.positions[rejected.position - origin.first])
            topic, number = topic_name(self._run, batch.partition.topic), batch.partition.number
            log.warning("document refused", topic=topic, partition=number, offset=batch.offsets[position])
            if self._dead_letters is not None:
                error = f"Elasticsearch refuses the document: {rejected.reason}"
                self._dead_letters.send(
                    DeadLetter(
                        topic, number, batch.offsets[position], batch.keys[position], batch.values[position], error
                    )
                )

    def _flush_and_commit(self, timeout_s: float) -> None:
        if not self._sink.flush(timeout_s):
            log.warning("documents are still in flight; their records are read again", documents=self._sink.in_flight)
        self._commit()

    def _identify_written(self) -> bool:
        """Return whether the identity of every index that has acknowledged documents is known.

        The first document of a month creates its index. Committed without its identity, the index could be lost
        unnoticed.
        """
        if self._identities is None or self._written <= self._seen.keys():
            return True
        try:
            self._identities.refresh()
        except ShopstreamError as error:
            log.warning("commit delayed: the identities of the indices cannot be read", error=str(error))
            return False
        self._check_indices()
        is_idle = not any(progress.batches for progress in self._owned.values())
        # a missing index has acknowledged nothing, or was deleted since
        self._written = set() if is_idle else self._written - self._seen.keys()
        return True

    def _commit(self) -> None:
        self._committed_s = time.monotonic()
        if not self._identify_written():
            return
        offsets: dict[Partition, tuple[int, str]] = {}
        for partition, progress in self._owned.items():
            progress.advance()
            if not progress.batches:
                # the end of a compacted or empty partition lies after its last record
                progress.acknowledged = max(progress.acknowledged, self._source.position(partition))
            due = (progress.acknowledged, write_metadata(progress.metadata))
            if due != (progress.committed, progress.committed_metadata):
                offsets[partition] = due
        if not offsets:
            return
        if self._dead_letters is not None and self._dead_letters.in_flight:
            self._dead_letters.flush()
        # after a refusal, the next read reports the lost partitions; the new owner writes what is missing
        if try_commit(partial(self._source.commit, offsets)):
            for partition, (offset, metadata) in offsets.items():
                self._owned[partition].committed, self._owned[partition].committed_metadata = offset, metadata

    def _has_reached(self, until: Mapping[tuple[str, int], int], now_s: float) -> bool:
        owned = {(topic_name(self._run, p.topic), p.number): t for p, t in self._owned.items()}
        if any((owned[key].acknowledged if key in owned else end) < end for key, end in until.items()):
            return False
        if any(progress.committed is None or progress.committed < progress.acknowledged for progress in owned.values()):
            self._commit()
        if now_s - self._checked_s < self._options.commit_every_s:
            return False
        self._checked_s = now_s
        return self._source.group_has_reached(until)
