"""Reads topics between two offsets, or up to their present end, outside any consumer group."""

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
from connectors.kafka.stop_offsets import Ends
from features.errors import ShopstreamError
from features.schema import SOURCE_TOPICS, group_name, topic_name

READ_MAX: Final = 10_000
READ_WAIT_S: Final = 0.5
SILENCE_MAX_S: Final = 30.0
"""Seconds without a record after which the brokers count as unavailable to a command."""
ENGINE_SILENCE_MAX_S: Final = 120.0
"""The same for an engine, which runs through restarts of brokers."""
ENGINE: Final = "spark"
"""Takes the place of a role in the name of the group, to which nothing is committed."""


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
        kept = {partition: (OFFSET_BEGINNING, high) for partition, (low, high) in marks.items() if high > low}
        yield from read_ranges(consumer, kept)


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
        asked_s = time.monotonic()
        messages = consumer.consume(READ_MAX, READ_WAIT_S)
        # only the wait counts: the caller may take its time between two messages
        silent_s += min(READ_WAIT_S, time.monotonic() - asked_s)
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
        f"Kafka gave no record of {where} for {seconds:.0f} s.",
        "Look whether its brokers are up; what was not finished is read again.",
    )


@dataclass(frozen=True, slots=True)
class Span:
    """Range of records of a partition: offsets from `start` (inclusive) to `end` (exclusive)."""

    topic: str
    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Marks:
    """Offset range of a partition: the lowest retained offset and the next offset to be written."""

    low: int
    high: int


def read_span(properties: Mapping[str, Any], run: str, span: Span) -> Iterator[Batch]:
    """Yield the records of a span in offset order, in batches of up to READ_MAX.

    Args:
        properties: librdkafka properties.
        run: name of the run.
        span: range to read. Its `topic` is a source topic without the run.

    Raises:
        ShopstreamError: the records no longer exist, or the brokers deliver none.
    """
    where = Partition(span.topic, span.number)
    ends = Ends(run, {(topic_name(run, span.topic), span.number): span.end})
    source = Source(open_consumer(consumer_config(properties, group_name(run, ENGINE))), run, [span.topic])
    try:
        source.open_at({where: span.start})
        heard_s = time.monotonic()
        while source.position(where) < span.end:
            for batch in source.read(READ_MAX, READ_WAIT_S):
                heard_s = time.monotonic()
                if (counting := ends.cut(batch)) is not None:
                    yield counting
            if time.monotonic() - heard_s > ENGINE_SILENCE_MAX_S:
                raise _silence(f"{topic_name(run, span.topic)}[{span.number}]", ENGINE_SILENCE_MAX_S)
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
        self._places = {
            where: Partition(names[where.topic], where.partition)
            for where in partitions_of(self._consumer, list(names))
        }

    @property
    def partitions(self) -> int:
        """Number of partitions of each topic."""
        return 1 + max(place.number for place in self._places.values())

    def now(self) -> dict[Partition, Marks]:
        """Query the current offset range of each partition."""
        marks = watermarks(self._consumer, list(self._places))
        return {self._places[where]: Marks(*both) for where, both in marks.items()}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
