"""Reads a topic's records between two offsets outside any consumer group, for engines that store offsets themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.offsets import partitions_of, watermarks
from connectors.kafka.source import Batch, Partition, Source
from connectors.kafka.stop_offsets import Ends
from features.errors import ShopstreamError
from features.schema import SOURCE_TOPICS, group_name, topic_name

READ_MAX: Final = 10_000
READ_WAIT_S: Final = 0.5
SILENCE_MAX_S: Final = 120.0
"""Seconds without a record after which the brokers count as unavailable."""
ENGINE: Final = "spark"
"""Takes the place of a role in the name of the group, to which nothing is committed."""


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
            if time.monotonic() - heard_s > SILENCE_MAX_S:
                raise ShopstreamError(
                    f"Kafka gave no record of {topic_name(run, span.topic)}[{span.number}] for {SILENCE_MAX_S:.0f} s.",
                    "Look whether its brokers are up; what was not finished is read again.",
                )
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
