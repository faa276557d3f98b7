"""The archive consumer: events, orders and profiles as they came, in Parquet, by day.

The order of work, and what is done again if we die right there:

1. Read batches, decode and judge them, keep the valid rows in columns. Nothing is written: all is read again.
2. Write what is kept of every partition: a file for each day, named after the partition and its first offset; for
   profiles a new part. The files lie behind the committed offset: who takes the partition over removes them and reads
   their messages again, so no row stands there twice.
3. Commit every partition with its H. From here on the files count.
4. Join the parts into `customers.parquet` and remove the older ones. A new owner of a partition joins them again.

Messages that are not valid or too late are left out; the features consumer writes them to the dead letters.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import structlog

from consumers.index import Mark, read_mark, write_mark
from consumers.offsets import CommitError, FencedError
from consumers.parquet import ArchiveFolder
from consumers.progress import Progress, Totals
from consumers.source import Batch, Partition, Source, Start
from features.decode import decode
from features.lateness import split_late
from features.schema import (
    EVENT_LATENESS_MS,
    ORDER_LATENESS_MS,
    RECORD_TYPES,
    SOURCE_TOPICS,
    Customer,
    arrow_schema,
    record_fields,
    topic_name,
)

log = structlog.get_logger("archive")

ROLE: Final = "archive"
TOPICS: Final = SOURCE_TOPICS


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """Bounds of the archive consumer.

    Attributes:
        flush_records: rows kept before they are written (about 150 bytes each).
        flush_every_s: the longest that a row waits to be written; shorter makes more, smaller files.
        batch_records: read at a time.
        read_timeout_s: how long a batch may take to fill.
        report_every_s: between reports.
        ask_every_s: between questions whether the group has reached its end.
    """

    flush_records: int = 500_000
    flush_every_s: float = 300.0
    batch_records: int = 10_000
    read_timeout_s: float = 0.2
    report_every_s: float = 1.0
    ask_every_s: float = 0.5


@dataclass(slots=True)
class _Kept:
    """What is read of a partition and not yet committed."""

    committed: int | None
    next_offset: int
    high: int
    first_offset: int
    rows: list[pa.RecordBatch] = field(default_factory=list)
    profiles: dict[str, Customer | None] = field(default_factory=dict)

    @property
    def records(self) -> int:
        rows: int = sum(batch.num_rows for batch in self.rows)
        return rows + len(self.profiles)


class ArchiveRole:
    """Archives the records of the partitions it is given.

    Args:
        source: over all source topics (`TOPICS`), in the group of this role.
        folder: where the files go.
        run: the run's name.
        options: its bounds.
    """

    def __init__(
        self, source: Source, folder: ArchiveFolder, run: str, *, options: ArchiveOptions | None = None
    ) -> None:
        self._source = source
        self._folder = folder
        self._run = run
        self._options = options or ArchiveOptions()
        self._kept: dict[Partition, _Kept] = {}
        self._join = False
        self._counts: Counter[str] = Counter()
        self._flushed_s = self._reported_s = self._asked_s = 0.0

    def run(
        self,
        stop: Callable[[], bool],
        until: Mapping[tuple[str, int], int] | None = None,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> Totals:
        """Reads, writes and commits until told to stop, or until the whole group has committed up to `until`.

        Args:
            stop: asked about five times a second.
            until: (full topic name, partition) -> offset, as `consumers.kafka.end_offsets` gives it.
            report: hears how it goes about once a second.

        Raises:
            ShopstreamError: the folder cannot be written, records deleted before they were read, another worker with
                this id.
        """
        options = self._options
        self._flushed_s = time.monotonic()
        self._source.open(self)
        try:
            while not stop():
                for batch in self._source.read(options.batch_records, options.read_timeout_s):
                    self._take(batch)
                now_s = time.monotonic()
                waiting = self._waiting()
                if waiting >= options.flush_records or now_s - self._flushed_s >= options.flush_every_s:
                    self._flush()
                if now_s - self._reported_s >= options.report_every_s:
                    self._reported_s = now_s
                    report(self.progress())
                if until is not None and self._has_reached(until, now_s):
                    break
            self._flush()
        finally:
            self._abandon()
            self._source.close()
        report(self.progress())
        return self.totals()

    def totals(self) -> Totals:
        """Counts since the start."""
        return Totals(**self._counts)

    def progress(self) -> Progress:
        """How it stands now."""
        return Progress(ROLE, self.totals(), lag_records=self._source.lag(), waiting_records=self._waiting())

    # --- what the source tells ---

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """Begins with these partitions: what a former owner wrote and did not commit is removed."""
        for partition, start in starts.items():
            removed = self._folder.remove_from(partition.topic, partition.number, start.offset)
            if removed:
                log.info("uncommitted files removed", topic=partition.topic, partition=partition.number, files=removed)
            committed = start.offset if start.metadata else None
            high = read_mark(start.metadata).high
            self._kept[partition] = _Kept(committed, start.offset, high, start.offset)
        # a former owner may have died between its commit and the joining
        self._join = True

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Writes and commits everything, then lets go."""
        self._flush()
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Lets go."""
        for partition in partitions:
            self._kept.pop(partition, None)

    # --- the steps ---

    def _take(self, batch: Batch) -> None:
        kept = self._kept[batch.partition]
        topic = batch.partition.topic
        rejected = late = 0
        if topic == "customers":
            profiles = decode("customers", batch.values, batch.keys, batch.append_ms)
            for record in profiles.records:
                kept.profiles[record.customer_id] = record if isinstance(record, Customer) else None
            rejected = len(profiles.rejected)
        else:
            records, is_late, rejected, kept.high = judge(batch, kept.high)
            late = sum(is_late)
            if late:
                records = [record for record, out in zip(records, is_late, strict=True) if not out]
            if records:
                kept.rows.append(to_arrow(RECORD_TYPES[topic], records))
        kept.next_offset = batch.next_offset
        consumed = len(batch.offsets)
        self._counts.update(consumed=consumed, rejected=rejected, late=late, valid=consumed - rejected - late)

    def _flush(self) -> None:
        self._flushed_s = time.monotonic()
        offsets: dict[Partition, tuple[int, str]] = {}
        for partition, kept in self._kept.items():
            # the end of a compacted or empty partition lies behind its last record
            kept.next_offset = max(kept.next_offset, self._source.position(partition))
            if kept.next_offset == kept.committed:
                continue
            self._write(partition, kept)
            offsets[partition] = (kept.next_offset, write_mark(Mark(kept.high)))
        if not self._commit(offsets):
            return
        for partition in offsets:
            kept = self._kept[partition]
            kept.committed = kept.first_offset = kept.next_offset
            self._counts["written"] += kept.records
            self._join |= bool(kept.profiles)
            kept.rows, kept.profiles = [], {}
        if self._join:
            self._join_profiles()

    def _join_profiles(self) -> None:
        mine = {p.number: kept for p, kept in self._kept.items() if p.topic == "customers"}
        if mine:
            self._folder.join_profiles(min(mine))
        for number, kept in mine.items():
            if kept.committed is not None:
                self._folder.remove_old_parts(number, kept.committed)
        self._join = False

    def _write(self, partition: Partition, kept: _Kept) -> None:
        if kept.rows:
            rows = pa.Table.from_batches(kept.rows)
            self._counts["files"] += self._folder.write_rows(partition.topic, partition.number, kept.first_offset, rows)
        if kept.profiles:
            present = [profile for profile in kept.profiles.values() if profile is not None]
            table = pa.Table.from_batches([to_arrow(Customer, present)])
            self._folder.update_profiles(partition.number, kept.next_offset, kept.profiles.keys(), table)
            self._counts["files"] += 1

    def _commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> bool:
        if not offsets:
            return True
        try:
            self._source.commit(offsets)
        except CommitError as error:
            # the same files are written again, over these, under the same names
            log.warning("commit failed; trying again", said=str(error))
            return False
        except FencedError as error:
            if error.permanent:
                raise
            log.warning("commit refused; the new owner writes these rows", said=str(error))
            return False
        return True

    def _abandon(self) -> None:
        """On an error: closing tells of revoked partitions, but nothing may be written any more."""
        self._kept.clear()
        self._join = False

    def _waiting(self) -> int:
        return sum(kept.records for kept in self._kept.values())

    def _has_reached(self, until: Mapping[tuple[str, int], int], now_s: float) -> bool:
        mine = {(topic_name(self._run, p.topic), p.number): p for p in self._kept}
        if any(self._source.position(mine[key]) < end for key, end in until.items() if key in mine):
            return False
        if now_s - self._asked_s < self._options.ask_every_s:
            return False
        self._asked_s = now_s
        if any(kept.committed != self._source.position(p) for p, kept in self._kept.items()):
            self._flush()
        return self._source.group_has_reached(until)


def judge(batch: Batch, high: int) -> tuple[list[Any], list[bool], int, int]:
    """Valid records of a batch of events or orders, which of them are too late, the number rejected, and the new H."""
    if batch.partition.topic == "events":
        events = decode("events", batch.values, batch.keys, batch.append_ms)
        ts = np.array([r.ts for r in events.records], np.int64)
        late, high = split_late(ts, high, EVENT_LATENESS_MS)
        return events.records, late.tolist(), len(events.rejected), high
    orders = decode("orders", batch.values, batch.keys, batch.append_ms)
    ts = np.array([r.ts for r in orders.records], np.int64)
    updated = np.array([r.updated_ts for r in orders.records], np.int64)
    late, high = split_late(ts, high, ORDER_LATENESS_MS, clock=updated)
    return orders.records, late.tolist(), len(orders.rejected), high


def to_arrow(record: type[msgspec.Struct], records: Sequence[msgspec.Struct]) -> pa.RecordBatch:
    """Records as columns of the archive."""
    schema = arrow_schema(record)
    columns = []
    for item in record_fields(record):
        values = [getattr(r, item.name) for r in records]
        if item.kind == "items":
            values = [None if v is None else [msgspec.structs.asdict(line) for line in v] for v in values]
        columns.append(pa.array(values, schema.field(item.name).type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
