"""Checks where the first records of a run's topics are, before its first features consumer starts.

A topic of another partitioner would become dead letters for the most part. Before the first start nothing is lost by a
refusal. Later each misplaced record is a dead letter and stops nothing (docs/decisions/0029-*).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from connectors.kafka.client import PARTITIONERS, consumer_config, open_consumer, partitioner_property
from connectors.kafka.offsets import committed, partitions_of, watermarks
from connectors.kafka.reader import read_ranges
from consumers.state.placement import misplaced_error
from features.placement import Placement
from features.schema import SOURCE_TOPICS, group_name, topic_name

ROLE: Final = "features"
RECORDS_MAX: Final = 4_000
"""Most records read of a topic, over all its partitions, but at least PARTITION_RECORDS_MIN of each."""
PARTITION_RECORDS_MIN: Final = 20
MISPLACED_MIN: Final = 5
"""Fewest misplaced keys that speak of a partitioner and not of an accident."""
MISPLACED_SHARE_MIN: Final = 0.1


def check_first_records(properties: Mapping[str, Any], run: str) -> None:
    """Check a sample of each source topic of a run whose features consumer has not started before.

    Args:
        properties: librdkafka properties, with the run's partitioner.
        run: name of the run.

    Raises:
        UsageError: the partitioner is not one that places keys.
        ShopstreamError: a topic cannot be read. Or at least MISPLACED_MIN of its keys, and a share of
            MISPLACED_SHARE_MIN, are in partitions that the run's partitioner does not give them.
    """
    partitioner = PARTITIONERS[partitioner_property(properties)]
    with closing(open_consumer(consumer_config(properties, group_name(run, ROLE)))) as consumer:
        partitions = partitions_of(consumer, [topic_name(run, topic) for topic in SOURCE_TOPICS])
        count = 1 + max(partition.partition for partition in partitions)
        if count == 1 or committed(consumer, partitions):
            return
        most = max(RECORDS_MAX // count, PARTITION_RECORDS_MIN)
        marks = watermarks(consumer, partitions)
        ranges = {partition: (low, min(high, low + most)) for partition, (low, high) in marks.items()}
        sample: dict[str, set[tuple[str, int]]] = {}
        for message in read_ranges(consumer, ranges):
            key = message.key()
            # a tombstone counts in any partition, and a key that is no text is an invalid record
            if message.value() is None or not isinstance(key, bytes) or not _is_text(key):
                continue
            sample.setdefault(message.topic() or "", set()).add((key.decode(), message.partition() or 0))
    _check_keys(sample, Placement(partitioner, count))


def _check_keys(sample: Mapping[str, set[tuple[str, int]]], placement: Placement) -> None:
    for topic, keys in sorted(sample.items()):
        wrong = sum(placement.of_key(key) != number for key, number in keys)
        if wrong >= max(MISPLACED_MIN, MISPLACED_SHARE_MIN * len(keys)):
            raise misplaced_error(f"{topic} has {wrong:,} of {len(keys):,} keys at its beginning", placement, keys)


def _is_text(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True
