"""Reads single messages by their positions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from confluent_kafka import Message, TopicPartition

from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.offsets import partitions_of, watermarks
from connectors.kafka.reader import read_ranges

Position = tuple[str, int, int]
"""Full topic name, partition, offset."""


def read_positions(
    properties: Mapping[str, Any], group: str, positions: Collection[Position]
) -> dict[Position, Message]:
    """Return position -> message, for those of the positions whose messages still exist.

    Args:
        properties: librdkafka properties.
        group: group name that the client requires. The group is never joined.
        positions: positions of messages. The messages between them are read too.

    Raises:
        ShopstreamError: a topic does not exist, or the brokers refuse or deliver nothing.
    """
    by_partition: dict[TopicPartition, list[int]] = {}
    for topic, number, offset in positions:
        by_partition.setdefault(TopicPartition(topic, number), []).append(offset)
    messages: dict[Position, Message] = {}
    with closing(open_consumer(consumer_config(properties, group))) as consumer:
        existing = partitions_of(consumer, sorted({topic for topic, _, _ in positions}))
        marks = watermarks(consumer, [where for where in by_partition if where in existing])
        ranges = {
            where: (max(low, min(by_partition[where])), min(high, max(by_partition[where]) + 1))
            for where, (low, high) in marks.items()
        }
        for message in read_ranges(consumer, ranges):
            position = message.topic() or "", message.partition() or 0, message.offset() or 0
            if position in positions:
                messages[position] = message
    return messages
