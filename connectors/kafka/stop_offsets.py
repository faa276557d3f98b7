"""Stops reading at given end offsets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.kafka.source import Batch, Partition
from features.errors import UsageError
from features.schema import topic_name

Until = Mapping[tuple[str, int], int]
"""(Full topic name, partition) -> the offset to stop at."""


def check_final(as_of: int, max_event_time: int) -> None:
    """Refuse an as-of time before the max event time: a state only holds the present.

    Args:
        as_of: time of the final rows, epoch ms.
        max_event_time: max event time of the stream, epoch ms.

    Raises:
        UsageError: `as_of` is earlier than `max_event_time`.
    """
    if as_of < max_event_time:
        raise UsageError(
            f"Rows as of {as_of} were requested, but the max event time is {max_event_time}.",
            "Give a later --as-of, or omit it.",
        )


@dataclass(frozen=True, slots=True)
class StopOffsets:
    """Stop offsets of a run's partitions.

    Attributes:
        run: name of the run.
        until: stop offsets; None: no partition has one.
    """

    run: str
    until: Until | None = None

    def cut(self, batch: Batch) -> Batch | None:
        """Return the part of a batch before the partition's stop offset, or None if it is empty."""
        end = self.of(batch.partition)
        if end is None or batch.next_offset <= end:
            return batch
        count = sum(offset < end for offset in batch.offsets)
        if not count:
            return None
        return Batch(
            batch.partition, batch.offsets[:count], batch.values[:count], batch.keys[:count], batch.append_ms[:count]
        )

    def of(self, where: Partition) -> int | None:
        """Return the stop offset of a partition, or None."""
        return None if self.until is None else self.until.get((topic_name(self.run, where.topic), where.number))
