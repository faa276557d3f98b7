"""Archives events, orders and profiles unchanged in Parquet files, by day.

The steps of a flush, and what is repeated after a crash during each:

1. Read batches, decode and validate them, keep the valid rows in columns. Nothing is written: all is read again.
2. Stage the rows of every partition: durable files under single-use names, outside the folders that readers scan. After
   a crash the next owner removes them and reads their messages again.
3. Commit every partition with its max event time, the token of its staged files and the owner's epoch. The
   coordinator refuses a former owner here, so only one worker's staged files count. After a crash the next owner
   publishes them.
4. Publish: move the staged files into the folders of their days, one rename each. After a crash: as 3.
5. Join the parts of profiles into `customers.parquet` and remove the older ones. After a crash the next owner joins
   them again.

A new owner commits an epoch above all earlier ones before it removes any file. A former owner that was suspended
therefore cannot remove the files of its successor. The footer of each file states the offset that the file reaches. If
the group's offsets are gone (expired, deleted, reset), reading resumes there. It stops if the log no longer reaches
back that far.

Invalid and late messages are left out; the features consumer writes them to the dead letters.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from connectors.clock import wall_clock_ms
from connectors.kafka.offsets import CommitError, FencedError, commit_with_retry
from connectors.kafka.source import Batch, CommittedOffset, Partition, Source
from consumers.archive.files import ArchiveFolder, Published, to_arrow
from consumers.archive.position import OwnedPartition, Position, never_committed, read_position, resume
from consumers.archive.staging import Staged, StagingArea, new_token
from consumers.metrics.definitions import CopyProgress
from features.errors import ShopstreamError
from features.records.decode import decode
from features.records.lateness import split_late
from features.schema import (
    EVENT_LATENESS_MS,
    ORDER_LATENESS_MS,
    RECORD_TYPES,
    SOURCE_TOPICS,
    Customer,
    topic_name,
)

log = structlog.get_logger("archive")

ROLE: Final = "archive"
TOPICS: Final = SOURCE_TOPICS
PROFILE_BYTES: Final = 200
"""Memory of a profile in addition to its text, bytes."""


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """Limits of the archive consumer.

    Attributes:
        flush_records: number of buffered rows that triggers a flush (about 150 bytes each).
        flush_bytes: size of the buffered rows that triggers a flush, bytes.
        flush_every_s: maximum time a row is buffered; shorter makes more, smaller files.
        retry_s: pause between two attempts to write or commit.
        batch_records: maximum number of records per read.
        read_timeout_s: maximum time to fill a batch.
        report_every_s: interval of reports.
        check_every_s: interval of checks whether the group has reached its end.
    """

    flush_records: int = 500_000
    flush_bytes: int = 256 * 1024 * 1024
    flush_every_s: float = 300.0
    retry_s: float = 5.0
    batch_records: int = 10_000
    read_timeout_s: float = 0.2
    report_every_s: float = 1.0
    check_every_s: float = 0.5


class ArchiveRole:
    """Archives the records of its assigned partitions.

    Args:
        source: source of all source topics (`TOPICS`), in the group of this role.
        folder: archive folder.
        run: name of the run.
        options: limits of the consumer.
        topic_ids: topic -> the topic's id in the cluster, to detect a topic that was deleted and created again.
    """

    def __init__(
        self,
        source: Source,
        folder: ArchiveFolder,
        run: str,
        *,
        options: ArchiveOptions | None = None,
        topic_ids: Mapping[str, str] | None = None,
    ) -> None:
        self._source = source
        self._folder = folder
        self._staging = StagingArea(folder)
        self._run = run
        self._options = options or ArchiveOptions()
        self._topic_ids = dict(topic_ids or {})
        self._owned: dict[Partition, OwnedPartition] = {}
        self._must_join = False
        self._counts: Counter[str] = Counter()
        self._errors: list[str] = []
        self._flushed_s = self._reported_s = self._checked_s = 0.0

    def run(
        self,
        stop: Callable[[], bool],
        until: Mapping[tuple[str, int], int] | None = None,
        report: Callable[[CopyProgress], None] = lambda _: None,
    ) -> CopyProgress:
        """Read, stage, commit and publish until `stop`, or until the whole group has committed up to `until`.

        Args:
            stop: stop condition, checked about five times a second.
            until: (full topic name, partition) -> offset, as returned by `connectors.kafka.offsets.end_offsets`.
            report: callback for the progress, called about once a second.

        Raises:
            ShopstreamError: the folder cannot be written at the end, records were deleted before they were read, or
                another worker has this id.
        """
        options = self._options
        self._flushed_s = time.monotonic()
        self._source.open(self)
        try:
            while not stop():
                for batch in self._source.read(options.batch_records, options.read_timeout_s):
                    self._receive(batch)
                now_s = time.monotonic()
                if self._is_due(now_s):
                    self._flush()
                self._pause_while_full()
                if now_s - self._reported_s >= options.report_every_s:
                    self._reported_s = now_s
                    report(self.progress())
                if until is not None and self._has_reached(until, now_s):
                    break
            self._flush()
            self._check_published()
        finally:
            self._abandon()
            self._source.close()
        report(final := self.progress())
        return final

    def progress(self) -> CopyProgress:
        """Return the current progress."""
        pending = sum(owned.records + (owned.staged.rows if owned.staged else 0) for owned in self._owned.values())
        return CopyProgress(
            role=ROLE,
            lag_records=self._source.lag(),
            waiting_records=pending,
            last_error=self._last_error,
            **self._counts,
        )

    @property
    def _last_error(self) -> str | None:
        """Reason why the last flush was incomplete."""
        return self._errors[0] if self._errors else None

    # --- rebalance callbacks ---

    def assigned(self, starts: Mapping[Partition, CommittedOffset]) -> Mapping[Partition, int]:
        """Take over partitions: fence former owners, publish committed files, remove the rest."""
        staged = self._staging.list_staged()
        positions = {partition: read_position(start.metadata) for partition, start in starts.items()}
        published = self._published(starts)
        for partition, position in positions.items():
            # the files of a range were committed together; some may be published already, and the commit may be gone
            ranges = {(file.first, file.next) for file in published[partition]}
            for files in staged.get(partition, ()):
                if files.token == position.token or (files.first, files.next) in ranges:
                    self._staging.publish(files)
        published = self._published(starts)
        owned = {
            p: self._begin(p, start, _epoch(positions[p], staged.get(p, ())), published[p])
            for p, start in starts.items()
        }
        # the coordinator must know the new epoch before any file is removed or staged
        try:
            commit_with_retry(lambda: self._source.commit({p: one.commit for p, one in owned.items()}))
        except FencedError as error:
            if error.permanent:
                raise
            log.warning("a commit was refused; waiting for the group", error=str(error))
            return {}
        for partition, began in owned.items():
            self._remove_former(partition, began, staged.get(partition, ()), published[partition])
        self._owned |= owned
        # a former owner may have crashed between its commit and the join
        self._must_join = True
        return {partition: one.next_offset for partition, one in owned.items()}

    def _published(self, partitions: Iterable[Partition]) -> dict[Partition, list[Published]]:
        by_topic = {topic: self._folder.published(topic) for topic in {partition.topic for partition in partitions}}
        return {partition: by_topic[partition.topic].get(partition.number, []) for partition in partitions}

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Write and commit all rows, then release the partitions."""
        self._flush()
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Release the partitions; the next owner publishes or removes their staged files."""
        for partition in partitions:
            self._owned.pop(partition, None)

    def _begin(
        self, partition: Partition, start: CommittedOffset, epoch: int, published: list[Published]
    ) -> OwnedPartition:
        topic_id = self._topic_ids.get(partition.topic, "")
        offset, max_event_time = resume(partition, start, published, topic_id, self._folder.metadata)
        archived = max((file.next or 0 for file in published), default=0)
        return OwnedPartition(offset, offset, max_event_time, epoch, topic_id, archived)

    def _remove_former(
        self, partition: Partition, owned: OwnedPartition, staged: Sequence[Staged], published: list[Published]
    ) -> None:
        former = [files for files in staged if files.epoch < owned.epoch]
        for files in former:
            self._staging.remove(files)
        unfinished = never_committed(published, owned.offset)
        for path in unfinished:
            self._folder.files.delete_file(path)
        self._folder.remove_unfinished(partition.number)
        if former or unfinished:
            log.info("uncommitted files removed", topic=partition.topic, partition=partition.number)

    # --- steps of a flush ---

    def _receive(self, batch: Batch) -> None:
        owned = self._owned.get(batch.partition)
        if owned is None:  # fenced before it began
            return
        topic = batch.partition.topic
        rejected = late = 0
        if topic == "customers":
            profiles = decode("customers", batch.values, batch.keys, batch.append_ms)
            for record in profiles.records:
                owned.profiles[record.customer_id] = record if isinstance(record, Customer) else None
            rejected = len(profiles.rejected)
            owned.size += sum(len(value or b"") + PROFILE_BYTES for value in batch.values)
        else:
            records, is_late, rejected, owned.max_event_time = _decode_timed(batch, owned.max_event_time)
            late = sum(is_late)
            if late:
                records = [record for record, out in zip(records, is_late, strict=True) if not out]
            if records:
                rows = to_arrow(RECORD_TYPES[topic], records)
                owned.rows.append(rows)
                owned.size += rows.nbytes
        owned.next_offset = batch.next_offset
        consumed = len(batch.offsets)
        self._counts.update(consumed=consumed, rejected=rejected, late=late, valid=consumed - rejected - late)

    def _is_full(self) -> bool:
        records = sum(owned.records for owned in self._owned.values())
        size = sum(owned.size for owned in self._owned.values())
        return records >= self._options.flush_records or size >= self._options.flush_bytes

    def _is_due(self, now_s: float) -> bool:
        waited_s = now_s - self._flushed_s
        if self._last_error is not None:
            return waited_s >= self._options.retry_s
        return waited_s >= self._options.flush_every_s or self._is_full()

    def _pause_while_full(self) -> None:
        """Pause reading from Kafka while full buffers cannot be written."""
        if self._last_error is not None and self._is_full():
            self._source.pause()
        else:
            self._source.resume()

    def _flush(self) -> None:
        """Stage, commit and publish all buffered rows; a later call repeats failed steps."""
        self._flushed_s = time.monotonic()
        before, self._errors = self._last_error, []
        self._publish()
        for partition, owned in self._owned.items():
            if owned.committed is None:
                self._stage(partition, owned)
        self._commit()
        self._publish()
        if self._must_join and self._last_error is None:
            self._join_profiles()
        if self._last_error is None and before is not None:
            log.info("the archive can be written again")
        elif self._last_error is not None and before is None:
            log.warning("the archive cannot be written; nothing is lost, retrying", reason=self._last_error)

    def _stage(self, partition: Partition, owned: OwnedPartition) -> None:
        # the end of a compacted or empty partition lies after its last record
        owned.next_offset = max(owned.next_offset, self._source.position(partition))
        if owned.staged is not None or owned.next_offset == owned.offset:
            return
        staged = Staged(
            partition.topic,
            partition.number,
            owned.offset,
            owned.next_offset,
            owned.max_event_time,
            owned.topic_id,
            owned.epoch,
            new_token(),
            owned.records,
        )
        try:
            files = self._staging.stage(staged, self._table(partition, owned)) if owned.records else 0
        except OSError as error:
            self._errors.append(str(error))
            return
        owned.staged = replace(staged, files=files)
        owned.rows, owned.profiles, owned.size = [], {}, 0

    def _table(self, partition: Partition, owned: OwnedPartition) -> pa.Table:
        if partition.topic != "customers":
            return pa.Table.from_batches(owned.rows)
        present = [profile for profile in owned.profiles.values() if profile is not None]
        table = pa.Table.from_batches([to_arrow(Customer, present)])
        before = self._folder.newest_part(partition.number, owned.offset)
        if before is None:
            return table
        changed = pa.array(list(owned.profiles), pa.string())
        return pa.concat_tables([before.filter(pc.invert(pc.is_in(before["customer_id"], changed))), table])

    def _commit(self) -> None:
        staged = {partition: owned for partition, owned in self._owned.items() if owned.staged is not None}
        if not staged:
            return
        try:
            self._source.commit({partition: owned.commit for partition, owned in staged.items()})
        except CommitError as error:
            # the commit may have succeeded: the same one is repeated
            self._errors.append(str(error))
            return
        except FencedError as error:
            if error.permanent:
                raise
            log.warning("commit refused; the new owner reads these rows again", error=str(error))
            return
        for owned in staged.values():
            committed, owned.staged = owned.staged, None
            assert committed is not None
            owned.offset = committed.next
            if committed.files:
                owned.committed, owned.archived = committed, committed.next
            self._counts.update(written=committed.rows, files=committed.files)

    def _publish(self) -> None:
        for partition, owned in self._owned.items():
            if owned.committed is None:
                continue
            try:
                self._staging.publish(owned.committed)
            except OSError as error:
                self._errors.append(str(error))
                continue
            owned.committed = None
            self._must_join |= partition.topic == "customers"

    def _join_profiles(self) -> None:
        profile_partitions = {p.number: owned for p, owned in self._owned.items() if p.topic == "customers"}
        try:
            if profile_partitions:
                self._folder.join_profiles()
            for number, owned in profile_partitions.items():
                self._folder.remove_old_parts(number, owned.offset)
        except OSError as error:
            self._errors.append(str(error))
        else:
            self._must_join = False

    def _check_published(self) -> None:
        unpublished = [partition for partition, owned in self._owned.items() if owned.committed is not None]
        if unpublished:
            raise ShopstreamError(
                f"Rows of {len(unpublished)} partitions are committed but not yet published in "
                f"{self._folder.uri}: {self._last_error}.",
                "Repair the folder and restart the consumer, which publishes them first.",
            )
        if self._last_error is not None:
            log.warning("not all rows are archived; they are read again at the next start", reason=self._last_error)

    def _abandon(self) -> None:
        """Discard the buffers: closing the source revokes partitions, but after an error nothing may be written."""
        self._owned.clear()
        self._must_join = False

    def _has_reached(self, until: Mapping[tuple[str, int], int], now_s: float) -> bool:
        partitions = {(topic_name(self._run, p.topic), p.number): p for p in self._owned}
        if any(self._source.position(partitions[key]) < end for key, end in until.items() if key in partitions):
            return False
        if now_s - self._checked_s < self._options.check_every_s:
            return False
        self._checked_s = now_s
        behind = any(owned.offset != self._source.position(p) for p, owned in self._owned.items())
        if behind and (self._last_error is None or self._is_due(now_s)):
            self._flush()
        return self._source.group_has_reached(until)


def _epoch(former: Position, staged: Sequence[Staged]) -> int:
    """Return a new owner's epoch: above that of the commit, and of the staged files in case the commit is gone."""
    return max(former.epoch + 1, *(one.epoch + 1 for one in staged), wall_clock_ms() // 1000)


def _decode_timed(batch: Batch, max_event_time: int) -> tuple[list[Any], list[bool], int, int]:
    """Return a batch's valid events or orders, their late flags, the number rejected and the new max event time."""
    if batch.partition.topic == "events":
        events = decode("events", batch.values, batch.keys, batch.append_ms)
        ts = np.array([r.ts for r in events.records], np.int64)
        late, max_event_time = split_late(ts, max_event_time, EVENT_LATENESS_MS)
        return events.records, late.tolist(), len(events.rejected), max_event_time
    orders = decode("orders", batch.values, batch.keys, batch.append_ms)
    ts = np.array([r.ts for r in orders.records], np.int64)
    updated = np.array([r.updated_ts for r in orders.records], np.int64)
    late, max_event_time = split_late(ts, max_event_time, ORDER_LATENESS_MS, clock=updated)
    return orders.records, late.tolist(), len(orders.rejected), max_event_time
