"""Reads the partitions of topics of other systems, and the offsets between which a run reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.offsets import end_offsets, offsets_at, partitions_of
from features.errors import ShopstreamError

EARLIEST: Final = "earliest"
LATEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class ForeignTopics:
    """Partitions of topics, as (full topic name, number).

    Attributes:
        partitions: every partition, ascending.
        starts: partition -> offset at which a group without a committed offset starts; others start at the first one.
        ends: partition -> current end offset.
    """

    partitions: tuple[tuple[str, int], ...]
    starts: Mapping[tuple[str, int], int]
    ends: Mapping[tuple[str, int], int]


def foreign_topics(properties: Mapping[str, Any], group: str, topics: Sequence[str], start: int | str) -> ForeignTopics:
    """Query the partitions of topics.

    Args:
        properties: librdkafka properties.
        group: group name that the client requires. The group is never joined.
        topics: full names.
        start: EARLIEST, LATEST, or a time: the first message at or after it, epoch ms.

    Raises:
        ShopstreamError: a topic does not exist, or Kafka does not respond.
    """
    with closing(open_consumer(consumer_config(properties, group))) as consumer:
        try:
            partitions = partitions_of(consumer, topics)
        except ShopstreamError as error:
            raise ShopstreamError(
                error.message, "Correct `from.topic` of the mapping, and check the permissions of the Kafka user."
            ) from error
        ends = end_offsets(consumer, topics)
        starts: Mapping[tuple[str, int], int] = {} if start == EARLIEST else ends
        if isinstance(start, int):
            starts = {(p.topic, p.partition): at for p, at in offsets_at(consumer, partitions, start).items()}
    return ForeignTopics(tuple((p.topic, p.partition) for p in partitions), starts, ends)
