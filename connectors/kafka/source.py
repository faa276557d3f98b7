"""Reads a run's topics in batches by partition and handles assignments, ends and commits.

Converts librdkafka's messages and callbacks to what a role needs: the partitions it owns, their starting offsets, and
the partitions it lost.
"""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, cast

import numpy as np
import structlog
from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    Message,
    TopicPartition,
)

from connectors.clock import wall_clock_ms
from connectors.kafka.offsets import commit, committed, partitions_of, watermarks
from features.errors import ShopstreamError
from features.records.columns import Int64
from features.schema import topic_name

log = structlog.get_logger("source")

_PASSING: Final = frozenset(
    {
        KafkaError._TRANSPORT,  # noqa: SLF001 - librdkafka's own codes are spelt with an underscore
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - as above
        KafkaError._TIMED_OUT,  # noqa: SLF001 - as above
        KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001 - as above
        KafkaError._RESOLVE,  # noqa: SLF001 - as above
    }
)


READ_BYTES_MAX: Final = 16 * 1024 * 1024
"""Maximum bytes of values per read; may be exceeded by one slice."""
SLICE_MAX: Final = 100
"""Messages requested before their bytes are counted: the first large messages may follow many small ones."""
FENCE_OFFSET: Final = 1 << 62
"""Offset beyond every record, so that tools show no lag."""
_STAMP: Final = operator.itemgetter(1)
"""Takes the time from the result of Message.timestamp."""

Headers = Sequence[tuple[str, bytes | None]]
KafkaPartition = tuple[str | None, int | None]
"""Full topic name and partition number of a message."""


class Partition(NamedTuple):
    """Partition of a source topic, without the run's name: `("events", 3)`; of another system's, with its full name."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """Position at which an owner starts.

    Attributes:
        offset: next offset to read.
        metadata: metadata committed with the offset; empty: nothing committed yet.
        first: first offset that the log retains.
    """

    offset: int
    metadata: str
    first: int = 0


@dataclass(slots=True)
class Batch:
    """Messages of one partition in offset order. The lists have the same length, at least 1.

    Attributes:
        partition: partition of the messages.
        offsets: offset of each message; a range if none is missing.
        values: value of each message; None is a null value.
        keys: key of each message; None is no key.
        append_ms: append times, epoch ms. On a topic with CreateTime: the consumer's clock, or the time of the message
            if the topic is one of another system.
        headers: headers of each message of a topic of another system.
    """

    partition: Partition
    offsets: Sequence[int]
    values: list[bytes | None]
    keys: list[bytes | None]
    append_ms: Sequence[int] | Int64
    headers: Sequence[Headers] = ()

    @property
    def next_offset(self) -> int:
        """Return the offset after the last message."""
        return self.offsets[-1] + 1


class AssignmentListener(Protocol):
    """Role callbacks, which the source calls from within `read` or `close`."""

    def assigned(self, starts: Mapping[Partition, CommittedOffset]) -> Mapping[Partition, int] | None:
        """Take over partitions; may return offsets to read from instead of the committed ones."""

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Write and commit for partitions that are about to move to another worker: the last opportunity."""

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Drop partitions that moved to another worker earlier: nothing of them may be written or committed."""


class Source:
    """Reads the topics of a run as one member of a consumer group.

    Args:
        consumer: consumer made with `consumer_config`; closed by `close`.
        run: name of the run.
        topics: source topics without the run's name.
        clock_ms: clock that replaces the append time on a topic with CreateTime.
        foreign: whether the topics are those of other systems: their names are full names, and batches have headers.
    """

    def __init__(
        self,
        consumer: Consumer,
        run: str,
        topics: Sequence[str],
        *,
        clock_ms: Callable[[], int] = wall_clock_ms,
        foreign: bool = False,
    ) -> None:
        self._consumer = consumer
        self._foreign = foreign
        self._names = {topic if foreign else topic_name(run, topic): topic for topic in topics}
        self._full = {topic: name for name, topic in self._names.items()}
        self._clock_ms = clock_ms
        self._positions: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        """Last end of each partition that the client reported."""
        self._paused = False
        self._slice = SLICE_MAX
        self._assignments = 0
        """Number of assignment changes."""

    def open(self, owner: AssignmentListener) -> None:
        """Join the group. `owner` receives its partitions from the first `read` on.

        Raises:
            ShopstreamError: a topic does not exist.
        """
        partitions_of(self._consumer, list(self._names))

        def on_assign(_: Consumer, partitions: list[TopicPartition]) -> None:
            starts = self._starts(partitions)
            offsets = {p: start.offset for p, start in starts.items()}
            chosen = owner.assigned(starts) or {}
            self._check_chosen(chosen)
            offsets |= chosen
            self._positions |= offsets
            self._assignments += 1
            placed = [self._kafka(p, offset) for p, offset in offsets.items()]
            self._consumer.assign(placed)
            # librdkafka keeps a partition paused that it is assigned again
            (self._consumer.pause if self._paused else self._consumer.resume)(placed)

        def on_revoke(_: Consumer, partitions: list[TopicPartition]) -> None:
            gone = self._ours(partitions)
            owner.revoked(gone)
            self._forget(gone)

        def on_lost(_: Consumer, partitions: list[TopicPartition]) -> None:
            gone = self._ours(partitions)
            log.warning("partitions lost to another worker", partitions=[f"{t}[{n}]" for t, n in gone])
            owner.lost(gone)
            self._forget(gone)

        self._consumer.subscribe(list(self._names), on_assign=on_assign, on_revoke=on_revoke, on_lost=on_lost)

    def open_at(self, offsets: Mapping[Partition, int]) -> None:
        """Read partitions from given offsets without joining a group.

        Raises:
            GapError: the records do not exist (any more).
            ShopstreamError: Kafka does not answer or refuses.
        """
        self._check_chosen(offsets)
        self._positions |= offsets
        self._consumer.assign([self._kafka(partition, offset) for partition, offset in offsets.items()])

    def read(self, records_max: int, timeout_s: float) -> list[Batch]:
        """Return up to `records_max` messages, waiting up to `timeout_s` for as many; one batch per partition.

        Raises:
            ShopstreamError: records were deleted before they were read, or the cluster refuses this reader permanently.
        """
        messages = self._consume(records_max, timeout_s)
        # calling a method of the C type through `map` takes half the time of an explicit call
        if any(map(Message.error, messages)):
            messages = self._without_errors(messages)
        batches = [self._batch(key, group) for key, group in _by_partition(messages).items()]
        for batch in batches:
            if batch.partition in self._positions:
                self._positions[batch.partition] = max(self._positions[batch.partition], batch.next_offset)
        # a batch of a partition that was revoked within this call belongs to its new owner
        return [batch for batch in batches if batch.partition in self._positions]

    def _consume(self, records_max: int, timeout_s: float) -> list[Message]:
        messages: list[Message] = []
        size_bytes, left_s, end_s = 0, timeout_s, time.monotonic() + timeout_s
        while True:
            requested, before = min(records_max - len(messages), self._slice), self._assignments
            some = self._consumer.consume(requested, left_s)
            if self._assignments != before:
                # messages read before the partitions were revoked or reassigned do not belong to this assignment
                messages.clear()
            messages += some
            # the length of a message is that of its value
            size = sum(map(len, some))
            size_bytes += size
            self._slice = min(SLICE_MAX, max(1, READ_BYTES_MAX * len(some) // size)) if size else SLICE_MAX
            if len(some) < requested or len(messages) >= records_max or size_bytes >= READ_BYTES_MAX:
                return messages
            left_s = max(0.0, end_s - time.monotonic())

    def _without_errors(self, messages: Sequence[Message]) -> list[Message]:
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            else:
                self._handle_error(message, error)
        return good

    def _batch(self, key: KafkaPartition, messages: list[Message]) -> Batch:
        # a topic stamps all of its records alike
        if messages[0].timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME == messages[-1].timestamp()[0]:
            append_ms = np.fromiter(map(_STAMP, map(Message.timestamp, messages)), np.int64, len(messages))
        else:
            stamps = [self._append_ms(*message.timestamp()) for message in messages]
            append_ms = np.array(stamps, np.int64)
        return Batch(
            self._partition(*key),
            _offsets(messages),
            list(map(Message.value, messages)),
            list(map(Message.key, messages)),
            append_ms,
            [cast("Headers", message.headers() or ()) for message in messages] if self._foreign else (),
        )

    def _append_ms(self, kind: int, time_ms: int) -> int:
        if kind == TIMESTAMP_LOG_APPEND_TIME or (self._foreign and kind == TIMESTAMP_CREATE_TIME):
            return time_ms
        return self._clock_ms()

    def owned(self) -> tuple[int, ...] | None:
        """Return the numbers of the assigned partitions; None before the group's first assignment."""
        return tuple(sorted({partition.number for partition in self._positions})) if self._assignments else None

    def partitions(self) -> tuple[Partition, ...] | None:
        """Return the assigned partitions; None before the group's first assignment."""
        return tuple(sorted(self._positions)) if self._assignments else None

    def position(self, partition: Partition) -> int:
        """Return the next offset to read. It lies behind holes of compaction once the end was reached."""
        return self._positions[partition]

    def at_end(self, partition: Partition) -> bool:
        """Return whether all records up to the last reported end of the partition were read."""
        # compared by offset: the end is reported only once, possibly in the same call as the messages before it
        return self._ends.get(partition, -1) >= self._positions[partition]

    def pause_partition(self, partition: Partition) -> None:
        """Pause one partition. Its prefetched messages are discarded."""
        self._consumer.pause([self._kafka(partition)])

    def resume_partition(self, partition: Partition) -> None:
        """Resume one partition."""
        self._consumer.resume([self._kafka(partition)])

    def rewind(self, partition: Partition) -> int:
        """Read an owned partition again from the first retained record. Return that offset."""
        where = self._kafka(partition)
        low, _ = watermarks(self._consumer, [where])[where]
        self._positions[partition] = low
        self._ends.pop(partition, None)
        self._consumer.seek(self._kafka(partition, low))
        return low

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """Commit (next offset, metadata) of each partition; errors as `connectors.kafka.offsets.commit`."""
        commit(self._consumer, {self._kafka(p): committed for p, committed in offsets.items()})

    def fence(self, topic: str) -> None:
        """Check this member's assignment with the coordinator; errors as `connectors.kafka.offsets.commit`.

        Args:
            topic: full name of a topic that the group does not read. The check commits an offset for it.
        """
        commit(self._consumer, {TopicPartition(topic, 0): (FENCE_OFFSET, "")})

    def group_has_reached(self, until: Mapping[tuple[str, int], int]) -> bool:
        """Return whether the whole group has committed up to `until`: (full topic name, partition) -> offset."""
        requested = {key: end for key, end in until.items() if key[0] in self._names}
        try:
            done = committed(self._consumer, [TopicPartition(*key) for key in requested])
        except ShopstreamError as error:
            # the caller retries soon; a permanent failure ends the next read
            log.warning("the group's offsets are not available", error=str(error))
            return False
        offsets = {(p.topic, p.partition): offset for p, (offset, _) in done.items()}
        return all(offsets.get(key, -1) >= end for key, end in requested.items())

    def lag(self) -> int:
        """Return the number of unread records of the owned partitions, as far as the client knows."""
        behind = 0
        for partition, position in self._positions.items():
            _, high = self._consumer.get_watermark_offsets(self._kafka(partition), cached=True)
            behind += max(0, high - position)
        return behind

    def pause(self) -> None:
        """Pause all partitions but stay in the group: `read` must still be called and returns nothing."""
        if not self._paused:
            self._paused = True
            self._consumer.pause(self._consumer.assignment())

    def resume(self) -> None:
        """Resume all partitions."""
        if self._paused:
            self._paused = False
            self._consumer.resume(self._consumer.assignment())

    def close(self) -> None:
        """Leave the group (with a static id: when the session times out). The owner receives `revoked`."""
        self._consumer.close()

    # --- conversion of librdkafka's types ---

    def _starts(self, partitions: Sequence[TopicPartition]) -> dict[Partition, CommittedOffset]:
        done = committed(self._consumer, partitions)
        starts = {}
        for partition, (low, high) in watermarks(self._consumer, partitions).items():
            offset, metadata = done.get(partition, (low, ""))
            if offset < low:
                raise gap(partition.topic, partition.partition, offset, f"the first retained one is {low}")
            if offset > high:
                raise gap(partition.topic, partition.partition, offset, f"the topic ends at {high}")
            starts[self._partition(partition.topic, partition.partition)] = CommittedOffset(offset, metadata, low)
        return starts

    def _check_chosen(self, chosen: Mapping[Partition, int]) -> None:
        marks = watermarks(self._consumer, [self._kafka(partition) for partition in chosen])
        for partition, offset in chosen.items():
            low, high = marks[self._kafka(partition)]
            if not low <= offset <= high:
                raise gap(self._full[partition.topic], partition.number, offset, f"its offsets are {low} to {high}")

    def _handle_error(self, message: Message, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code
            partition = self._partition(message.topic(), message.partition())
            if partition in self._positions:
                self._ends[partition] = message.offset() or 0
                self._positions[partition] = max(self._positions[partition], self._ends[partition])
        else:
            check_error(message, error)

    def _partition(self, topic: str | None, number: int | None) -> Partition:
        return Partition(self._names[topic or ""], number or 0)

    def _ours(self, partitions: Sequence[TopicPartition]) -> list[Partition]:
        return [self._partition(p.topic, p.partition) for p in partitions]

    def _kafka(self, partition: Partition, offset: int | None = None) -> TopicPartition:
        if offset is None:
            return TopicPartition(self._full[partition.topic], partition.number)
        return TopicPartition(self._full[partition.topic], partition.number, offset)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        self._assignments += 1
        for partition in partitions:
            self._positions.pop(partition, None)
            self._ends.pop(partition, None)


def _by_partition(messages: list[Message]) -> dict[KafkaPartition, list[Message]]:
    """Group the messages by partition, in their order; usually all are of one."""
    if not messages:
        return {}
    topics = set(map(Message.topic, messages))
    numbers = set(map(Message.partition, messages))
    if len(topics) == len(numbers) == 1:
        return {(topics.pop(), numbers.pop()): messages}
    groups: dict[KafkaPartition, list[Message]] = {}
    start = 0
    # messages of a partition come in long runs
    for key, run in itertools.groupby(zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)):
        stop = start + sum(1 for _ in run)
        groups.setdefault(key, []).extend(messages[start:stop])
        start = stop
    return groups


def _offsets(messages: list[Message]) -> Sequence[int]:
    """Return the offsets, as a range if they are consecutive."""
    first, last = messages[0].offset() or 0, messages[-1].offset() or 0
    if last - first == len(messages) - 1:
        return range(first, last + 1)
    return [message.offset() or 0 for message in messages]


def check_error(message: Message, error: KafkaError) -> None:
    """Log the error of a message if it is temporary.

    Raises:
        ShopstreamError: the error is permanent: records were deleted, or the cluster refuses the reader.
    """
    code = error.code()
    if code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001 - librdkafka's own code
        raise gap(message.topic() or "?", message.partition() or 0, message.offset() or 0, error.str())
    if code not in _PASSING or error.fatal():
        raise ShopstreamError(f"Kafka refuses the reader: {error.name()}: {error.str()}.")
    log.warning("Kafka does not answer; retrying", error=error.str())


class GapError(ShopstreamError):
    """Records at an offset do not exist (any more)."""


def gap(topic: str, number: int, offset: int, retained: str) -> GapError:
    """Return the error for a missing offset. `retained`: offsets that do exist."""
    return GapError(
        f"{topic}[{number}] has no record {offset} to continue from ({retained}): records were deleted before they "
        "were read, or the topic was recreated.",
        "Read the remaining records into a new run (`--run NAME`), and give the topic a longer retention.",
    )
