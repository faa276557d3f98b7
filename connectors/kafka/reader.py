"""Reads topics between two offsets, or up to their current end, outside any consumer group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.offsets import partitions_of, watermarks
from connectors.kafka.source import Batch, Partition, Source, check_error
from connectors.kafka.stop_offsets import StopOffsets
from features.errors import ShopstreamError
from features.schema import SOURCE_TOPICS, group_name, topic_name

READ_MAX: Final = 10_000
READ_WAIT_S: Final = 0.5
SILENCE_MAX_S: Final = 30.0
"""Seconds without a record after which the brokers count as unavailable to a command."""
ENGINE_SILENCE_MAX_S: Final = 120.0
"""The same for an engine, which runs through restarts of brokers."""
ENGINE: Final = "spark"
"""Replaces the role in the name of the group, to which nothing is committed."""


def read_to_end(properties: Mapping[str, Any], topic: str, group: str) -> Iterator[Message]:
    """Yield every message of a topic up to its present end, in offset order within each partition.

    Args:
        properties: librdkafka properties.
        topic: full name of the topic.
        group: group name that the client requires. The group is never joined.

    Raises:
        ShopstreamError: the topic does not exist, or as `read_ranges`.
    """
    with closing(open_consumer(consumer_config(properties, group))) as consumer:
        marks = watermarks(consumer, partitions_of(consumer, [topic]))
        # the first records may be deleted before they are requested
        ranges = {partition: (OFFSET_BEGINNING, high) for partition, (low, high) in marks.items() if high > low}
        yield from read_ranges(consumer, ranges)


def read_ranges(
    consumer: Consumer, ranges: Mapping[TopicPartition, tuple[int, int]], silence_max_s: float = SILENCE_MAX_S
) -> Iterator[Message]:
    """Yield the messages of offset ranges, in offset order within each partition.

    Args:
        consumer: consumer made with `consumer_config`, without an assignment.
        ranges: partition -> (first offset, offset after the last one).
        silence_max_s: longest wait for the next message, seconds.

    Raises:
        ShopstreamError: the messages no longer exist, or the brokers refuse or deliver none.
    """
    left = {(p.topic, p.partition): end for p, (start, end) in ranges.items() if start < end}
    consumer.assign([TopicPartition(p.topic, p.partition, start) for p, (start, end) in ranges.items() if start < end])
    silent_s = 0.0
    while left:
        started_s = time.monotonic()
        messages = consumer.consume(READ_MAX, READ_WAIT_S)
        # only the wait counts: the caller may take its time between two messages
        silent_s += min(READ_WAIT_S, time.monotonic() - started_s)
        for message in messages:
            key = message.topic() or "", message.partition() or 0
            error, end = message.error(), left.get(key)
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code
                check_error(message, error)
                continue
            silent_s = 0.0
            if end is None:
                continue
            # behind holes of compaction the end is reported without a message
            offset = message.offset() or 0
            if error is None and offset < end:
                yield message
            if error is not None or offset + 1 >= end:
                del left[key]
        if silent_s > silence_max_s:
            raise _silence(", ".join(sorted({topic for topic, _ in left})), silence_max_s)


def _silence(where: str, seconds: float) -> ShopstreamError:
    return ShopstreamError(
        f"Kafka delivered no record of {where} for {seconds:.0f} s.",
        "Check that its brokers run. Unfinished ranges are read again.",
    )


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Range of records of a partition: offsets from `start` (inclusive) to `end` (exclusive)."""

    topic: str
    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Offset range of a partition: the lowest retained offset and the next offset to be written."""

    low: int
    high: int


def read_offset_range(properties: Mapping[str, Any], run: str, offset_range: OffsetRange) -> Iterator[Batch]:
    """Yield the records of an offset range in order, in batches of up to READ_MAX.

    Args:
        properties: librdkafka properties.
        run: name of the run.
        offset_range: range to read. Its `topic` is a source topic without the run.

    Raises:
        ShopstreamError: the records no longer exist, or the brokers deliver none.
    """
    where = Partition(offset_range.topic, offset_range.number)
    ends = StopOffsets(run, {(topic_name(run, offset_range.topic), offset_range.number): offset_range.end})
    source = Source(open_consumer(consumer_config(properties, group_name(run, ENGINE))), run, [offset_range.topic])
    try:
        source.open_at({where: offset_range.start})
        received_s = time.monotonic()
        while source.position(where) < offset_range.end:
            for batch in source.read(READ_MAX, READ_WAIT_S):
                received_s = time.monotonic()
                if (counting := ends.cut(batch)) is not None:
                    yield counting
            if time.monotonic() - received_s > ENGINE_SILENCE_MAX_S:
                raise _silence(f"{topic_name(run, offset_range.topic)}[{offset_range.number}]", ENGINE_SILENCE_MAX_S)
    finally:
        source.close()


class Ranges:
    """Queries the offset ranges of a run's source topics.

    Args:
        properties: librdkafka properties.
        run: name of the run.

    Raises:
        ShopstreamError: a topic does not exist.
    """

    def __init__(self, properties: Mapping[str, Any], run: str) -> None:
        self._consumer = open_consumer(consumer_config(properties, group_name(run, ENGINE)))
        names = {topic_name(run, topic): topic for topic in SOURCE_TOPICS}
        self._source_partitions = {
            where: Partition(names[where.topic], where.partition)
            for where in partitions_of(self._consumer, list(names))
        }

    @property
    def partitions(self) -> int:
        """Number of partitions of each topic."""
        return 1 + max(partition.number for partition in self._source_partitions.values())

    def now(self) -> dict[Partition, Watermarks]:
        """Query the current offset range of each partition."""
        marks = watermarks(self._consumer, list(self._source_partitions))
        return {self._source_partitions[where]: Watermarks(*both) for where, both in marks.items()}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
