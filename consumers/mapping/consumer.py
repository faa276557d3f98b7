"""Maps messages of foreign topics to records of the run's source topics.

The order of work, and what is repeated after a crash during each step:

1. Read messages and map them. The result depends on the message alone, so a second reading yields the same.
2. Hold them until their partition may be written (`held_messages`).
3. Write the records, and dead letters of refused messages. After a crash they may exist twice. Consumers drop repeated
   events by id, equal order records have one winner, and repeated dead letters have one position.
4. Wait until all are acknowledged.
5. Commit each partition up to its last written message. A former owner is refused; what it still writes are the same
   records.

Messages read = mapped + left out + refused: a message gives all of its records or none, over all mappings of its topic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from connectors.kafka.offsets import check_same_topic, try_commit
from connectors.kafka.record_writer import RecordWriter
from connectors.kafka.source import Batch, CommittedOffset, Partition, Source
from connectors.messages.mapped import Mapper
from consumers.dead_letters.producer import DeadLetter, DeadLetters
from consumers.mapping.committed_facts import CommittedFacts, check_same_guests, read_facts
from consumers.mapping.held_messages import NO_TIME, STEP_MS, UNKNOWN_TIME, HeldMessages, Released
from consumers.mapping.map_counts import MapCounts
from consumers.mapping.topic_mappers import TopicMappers
from consumers.metrics.definitions import PATH_FILL_PREFIX, MapProgress
from features.errors import ShopstreamError

log = structlog.get_logger("map")

ROLE: Final = "map"
HELD_TIMEOUT_S: Final = 0.001
"""Maximum time to fill a batch while messages are on hold."""

IDENTIFY_EVERY_S: Final = 5.0
"""Interval of the checks for topics that were created again."""
COMMIT_STEP_MS: Final = 3 * STEP_MS
"""Most time of records that are written and not committed: what a crash repeats must not be too late by then."""
WAIT_S: Final = 0.1
"""Longest time between two checks for a request to stop, while a mapper cannot map."""


class StoppedError(Exception):
    """The role is to stop while a mapper waits."""


@dataclass(frozen=True, slots=True)
class MapOptions:
    """Limits of the role.

    Attributes:
        batch_messages: maximum number of messages per read.
        read_timeout_s: maximum time to fill a batch.
        held_messages_max: messages of a partition that may wait before it is paused.
        held_bytes_max: bytes of records of a partition that may wait before it is paused.
        commit_every_s: interval of commits.
        report_every_s: interval of reports.
        flush_timeout_s: maximum time that a stop or a rebalance waits for acknowledgements.
    """

    batch_messages: int = 5_000
    read_timeout_s: float = 0.05
    held_messages_max: int = 20_000
    held_bytes_max: int = 32 * 1024 * 1024
    commit_every_s: float = 1.0
    report_every_s: float = 1.0
    flush_timeout_s: float = 10.0


@dataclass(slots=True)
class _Owned:
    """An owned partition: messages on hold, the offset after the last written message, and what is committed."""

    held: HeldMessages
    written: int
    committed: int | None
    facts: CommittedFacts
    paused: bool = False


class MapRole:
    """Maps the messages of its assigned partitions.

    Args:
        source: source of the foreign topics, in the group of this role.
        mappers: mappers, one or several of each topic.
        writer: writer of the run's records.
        dead_letters: dead letters of the run.
        options: limits of the role.
        topic_ids: callback with full topic name -> current id in the cluster, called every few seconds. A topic without
            one is not checked for having been recreated.
        starts: partition -> offset at which it starts while the group has none.
        guests: fingerprint of the secret of which ids of guests are made; empty if the mappings make none.
    """

    def __init__(
        self,
        source: Source,
        mappers: Sequence[Mapper],
        writer: RecordWriter,
        dead_letters: DeadLetters,
        *,
        options: MapOptions | None = None,
        topic_ids: Callable[[], Mapping[str, str]] = dict,
        starts: Mapping[Partition, int] | None = None,
        guests: str = "",
    ) -> None:
        self._source = source
        self._writer = writer
        self._dead_letters = dead_letters
        self._options = options or MapOptions()
        self._current_ids = topic_ids
        self._topic_ids: Mapping[str, str] = topic_ids()
        self._mappers = TopicMappers(mappers, writer.bytes_max, self._topic_ids)
        self._starts = starts or {}
        self._guests = guests
        self._owned: dict[Partition, _Owned] = {}
        self._counts = MapCounts()
        self._committed_s = self._reported_s = self._checked_s = 0.0
        self._identified_s = time.monotonic()
        self._commit_by_ms = 0
        """Time of the records that may be written before the next commit."""
        self._lowest_ms = UNKNOWN_TIME
        """Lowest time of the own partitions when all records were acknowledged."""
        self._last_error: str | None = None
        self._read_while_waiting: list[Batch] = []
        self._unmapped: set[Partition] = set()
        """Partitions with messages that were read and may not be mapped yet: their position counts nothing."""
        self._stop: Callable[[], bool] = lambda: False
        self._report: Callable[[MapProgress], None] = lambda _: None

    def run(
        self,
        stop: Callable[[], bool],
        until: Mapping[tuple[str, int], int] | None = None,
        report: Callable[[MapProgress], None] = lambda _: None,
        others_ms: Callable[[int], int] = lambda _: NO_TIME,
    ) -> MapProgress:
        """Read, map, write and commit until `stop`, or until the whole group has committed up to `until`.

        Args:
            stop: stop condition, checked about ten times a second.
            until: (full topic name, partition) -> offset.
            report: callback for the progress, called about once a second.
            others_ms: callback with the lowest time of the own partitions; returns that of the other workers'.

        Raises:
            ShopstreamError: messages were deleted before they were read, Kafka refuses a record, or another worker has
                this id.
        """
        options = self._options
        self._stop, self._report = stop, report
        self._source.open(self)
        try:
            while not stop():
                # messages on hold may go as soon as the other workers have gone on
                timeout_s = HELD_TIMEOUT_S if self._holds() else options.read_timeout_s
                batches = self._source.read(options.batch_messages, timeout_s)
                batches, self._read_while_waiting = [*self._read_while_waiting, *batches], []
                self._hold(batches)
                self._write_in_step(others_ms, stop)
                self._pause_and_resume()
                self._writer.poll()
                now_s = time.monotonic()
                if now_s - self._committed_s >= options.commit_every_s:
                    self._commit(stop)
                self._report_if_due()
                self._check_topics(now_s)
                if until is not None and self._has_reached(until, now_s, stop):
                    break
            self._commit()
        except StoppedError:
            self._commit()
        finally:
            # closing the source revokes partitions, but after an error nothing may be committed
            self._owned.clear()
            self._source.close()
        report(final := self.progress())
        return final

    def progress(self) -> MapProgress:
        """Return the current progress."""
        held = [owned.held for owned in self._owned.values()]
        times = [one.time_ms for one in held if one.time_ms]
        return MapProgress(
            role=ROLE,
            lag_records=self._source.lag() + sum(one.count for one in held),
            waiting_records=sum(one.count for one in held),
            stream_ts=max(times, default=0),
            last_error=self._last_error or self._mappers.last_error,
            left_out_by=self._counts.by_reason(),
            dropped_by=self._counts.dropped(),
            path_fill={f"{PATH_FILL_PREFIX}{path}": share for path, share in self._mappers.shares().items()},
            **self._counts.totals,
        )

    def partitions(self) -> tuple[Partition, ...] | None:
        """Return the assigned partitions; None before the first assignment."""
        return self._source.partitions()

    # --- rebalance callbacks ---

    def assigned(self, starts: Mapping[Partition, CommittedOffset]) -> Mapping[Partition, int]:
        """Take over partitions at their committed offsets, or where a new group starts."""
        chosen: dict[Partition, int] = {}
        for partition, start in starts.items():
            known = read_facts(start.metadata)
            if start.metadata:
                check_same_topic(*partition, known.topic_id, self._topic_ids.get(partition.topic, ""))
                check_same_guests([known.guests], self._guests)
            elif partition in self._starts:
                chosen[partition] = max(self._starts[partition], start.first)
            offset = chosen.get(partition, start.offset)
            committed = start.offset if start.metadata else None
            facts = CommittedFacts(self._topic_ids.get(partition.topic, ""), self._guests or known.guests)
            self._owned[partition] = _Owned(HeldMessages(), offset, committed, facts)
        return chosen

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Commit what is written, and release the partitions; what they hold is mapped by their next owner."""
        if self._owned:
            self._commit()
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Release the partitions."""
        for partition in partitions:
            self._owned.pop(partition, None)
        self._read_while_waiting = [b for b in self._read_while_waiting if b.partition not in partitions]

    # --- steps ---

    def _check_topics(self, now_s: float) -> None:
        """Stop if a topic was deleted and created again: offsets would count for messages that were never read."""
        if now_s - self._identified_s < IDENTIFY_EVERY_S:
            return
        self._identified_s = now_s
        try:
            current = self._current_ids()
        except ShopstreamError as error:
            log.warning("the topics cannot be described", error=str(error))
            return
        for partition in self._owned:
            ids = (one.get(partition.topic, "") for one in (self._topic_ids, current))
            check_same_topic(*partition, *ids)

    def _report_if_due(self) -> None:
        now_s = time.monotonic()
        if now_s - self._reported_s >= self._options.report_every_s:
            self._reported_s = now_s
            self._report(self.progress())

    def _holds(self) -> bool:
        return any(owned.held.count for owned in self._owned.values())

    def _hold(self, batches: Sequence[Batch]) -> None:
        owned = [self._owned.get(batch.partition) for batch in batches]
        self._unmapped = {batch.partition for batch in batches}
        for batch, one, mapped in zip(batches, owned, self._mappers.map(batches), strict=True):
            # a registry that is away is waited for, and the partition may have another owner since
            if one is not None and self._owned.get(batch.partition) is one:
                self._counts.totals["behind"] += one.held.put(batch.offsets, mapped)
        self._unmapped = {batch.partition for batch in self._read_while_waiting}

    def wait(self, seconds: float) -> None:
        """Wait while a mapper cannot map, but stay in the group and report.

        Raises:
            StoppedError: the role is to stop; what is not mapped is read again.
        """
        until_s = time.monotonic() + seconds
        self._source.pause()
        try:
            while time.monotonic() < until_s:
                if self._stop():
                    raise StoppedError
                # paused: this only serves rebalances
                batches = self._source.read(1, min(WAIT_S, seconds))
                self._read_while_waiting.extend(batches)
                self._unmapped |= {batch.partition for batch in batches}
                self._report_if_due()
        finally:
            self._source.resume()
            for partition, owned in self._owned.items():
                if owned.paused:
                    self._source.pause_partition(partition)

    def _write_in_step(self, others_ms: Callable[[int], int], stop: Callable[[], bool]) -> None:
        """Write what may be written: up to STEP_MS ahead of the lowest partition of all workers."""
        while not stop():
            lowest = min(
                (owned.held.lowest_ms(at_end=self._source.at_end(p)) for p, owned in self._owned.items()),
                default=NO_TIME,
            )
            if self._writer.idle:
                # until the brokers have the records, those of another worker could overtake them
                self._lowest_ms = lowest
            others = others_ms(min(lowest, self._lowest_ms))
            limit = min(lowest, others) + STEP_MS
            if self._holds() and limit > self._commit_by_ms:
                if not self._commit(stop):
                    return
                self._commit_by_ms = lowest + COMMIT_STEP_MS
            released = [(p, one) for p, owned in self._owned.items() for one in owned.held.release(limit)]
            if not released:
                return
            for partition, one in released:
                if not self._write(partition, one, stop):
                    return
            if others != NO_TIME:
                # the sooner the brokers have the step, the sooner the other workers continue
                self._writer.await_idle()

    def _write(self, partition: Partition, released: Released, stop: Callable[[], bool]) -> bool:
        """Write released messages. Return False if `stop` came first: they are mapped again after the next start."""
        for record in released.records:
            if not self._writer.write(record, stop):
                # nothing may be committed: later released messages are not written
                self._owned.clear()
                return False
        for offset, reason in sorted(released.refused.items()):
            self._dead_letters.send(DeadLetter(partition.topic, partition.number, offset, None, None, reason))
        self._counts.add(released)
        self._owned[partition].written = released.offsets[-1] + 1
        return True

    def _pause_and_resume(self) -> None:
        options = self._options
        for partition, owned in self._owned.items():
            share = max(owned.held.count / options.held_messages_max, owned.held.size_bytes / options.held_bytes_max)
            if not owned.paused and share >= 1:
                self._source.pause_partition(partition)
                owned.paused = True
            elif owned.paused and share < 0.5:
                self._source.resume_partition(partition)
                owned.paused = False

    # --- commits ---

    def _commit(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Commit what is written, once it is acknowledged. Return whether nothing is left to commit."""
        self._committed_s = time.monotonic()
        offsets: dict[Partition, tuple[int, str]] = {}
        for partition, owned in self._owned.items():
            if not owned.held.count and partition not in self._unmapped:
                # the end of an empty partition or of one with transactions lies after its last message
                owned.written = max(owned.written, self._source.position(partition))
            if owned.written != owned.committed:
                offsets[partition] = (owned.written, owned.facts.text())
        if not offsets:
            return True
        if not self._writer.flush(self._options.flush_timeout_s, stop):
            self._last_error = "Kafka does not acknowledge records; waiting"
            log.warning("records are not acknowledged; nothing is committed")
            return False
        self._dead_letters.flush()
        self._last_error = None
        made = try_commit(partial(self._source.commit, offsets))
        if made:
            for partition, (offset, _) in offsets.items():
                self._owned[partition].committed = offset
        return made

    def _has_reached(self, until: Mapping[tuple[str, int], int], now_s: float, stop: Callable[[], bool]) -> bool:
        owned = {(p.topic, p.number): one for p, one in self._owned.items()}
        if any((owned[key].written if key in owned else end) < end for key, end in until.items()):
            return False
        if any(one.committed is None or one.committed < one.written for one in owned.values()):
            self._commit(stop)
        if now_s - self._checked_s < self._options.commit_every_s:
            return False
        self._checked_s = now_s
        return self._source.group_has_reached(until)
