"""Reads the newest messages of a topic that is not a run's: read-only, outside any consumer group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.offsets import partitions_of, watermarks
from connectors.kafka.reader import read_ranges
from features.errors import ShopstreamError, UsageError

GROUP: Final = "shopstream-sample"
"""Name that the client requires. The group is never joined, and nothing is committed to it."""


@dataclass(frozen=True, slots=True)
class SampledMessage:
    """Message of a topic.

    Attributes:
        partition: number of the partition.
        offset: offset in the partition.
        time_ms: timestamp of the message, epoch ms; None if it has none.
        key: key, or None.
        value: value, or None.
        headers: headers in their order.
    """

    partition: int
    offset: int
    time_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class SampledPartition:
    """Partition of a topic: the offsets that it retains, from `low` to before `high`, and the messages read."""

    number: int
    low: int
    high: int
    read: int


@dataclass(frozen=True, slots=True)
class TopicSample:
    """Newest messages of a topic, sorted by partition and offset, and all of its partitions."""

    topic: str
    partitions: tuple[SampledPartition, ...]
    messages: tuple[SampledMessage, ...]


def sample_topic(properties: Mapping[str, Any], topic: str, count: int) -> TopicSample:
    """Read the newest messages of every partition.

    Args:
        properties: librdkafka properties.
        topic: full name of the topic.
        count: messages to read in total. Partitions have equal shares; what a small one lacks, larger ones give.

    Raises:
        UsageError: the topic has no messages.
        ShopstreamError: the topic does not exist, or the brokers do not respond.
    """
    with closing(open_consumer(consumer_config(properties, GROUP))) as consumer:
        try:
            partitions = partitions_of(consumer, [topic])
        except ShopstreamError as error:
            raise ShopstreamError(
                error.message, "Check the name of the topic, and that the user may describe and read it."
            ) from error
        marks = watermarks(consumer, partitions)
        if all(high <= low for low, high in marks.values()):
            raise UsageError(f"The topic {topic} has no messages.", "Give a topic with messages, or --file.")
        shares = _shares([high - low for low, high in marks.values()], count)
        ranges = {
            where: (high - share, high)
            for (where, (_, high)), share in zip(marks.items(), shares, strict=True)
            if share
        }
        messages = [_sampled(one) for one in read_ranges(consumer, ranges)]
    messages.sort(key=lambda one: (one.partition, one.offset))
    read = [one.partition for one in messages]
    return TopicSample(
        topic,
        tuple(SampledPartition(p.partition, low, high, read.count(p.partition)) for p, (low, high) in marks.items()),
        tuple(messages),
    )


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """Divide a count among partitions: equal shares, but none above its size, and as much in total as there is."""
    shares = [0] * len(sizes)
    left = sorted(range(len(sizes)), key=lambda number: sizes[number])
    while left:
        share = -(-count // len(left)) if count else 0
        number = left.pop(0)
        shares[number] = min(sizes[number], share)
        count -= shares[number]
    return shares


def _sampled(message: Any) -> SampledMessage:
    kind, time_ms = message.timestamp()
    return SampledMessage(
        message.partition(),
        message.offset(),
        int(time_ms) if kind else None,
        _bytes(message.key()),
        _bytes(message.value()),
        tuple((name, _bytes(value)) for name, value in message.headers() or ()),
    )


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
