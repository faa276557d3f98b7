"""Where a run that ends stops reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.kafka.source import Batch, Partition
from features.errors import UsageError
from features.schema import topic_name

Until = Mapping[tuple[str, int], int]
"""(Full topic name, partition) -> the offset to stop at."""


def check_final(as_of: int, stream_time: int) -> None:
    """Refuse rows at a time that the stream has passed: a state only knows what is true now.

    Args:
        as_of: that final rows are asked for, epoch ms.
        stream_time: epoch ms.

    Raises:
        UsageError: it is earlier.
    """
    if as_of < stream_time:
        raise UsageError(
            f"Rows at {as_of} were asked for, but the stream is at {stream_time}.",
            "Give a later --as-of, or leave it out.",
        )


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends of a run's partitions.

    Attributes:
        run: the run's name.
        until: None: there are none.
    """

    run: str
    until: Until | None = None

    def cut(self, batch: Batch) -> Batch | None:
        """The part of a batch that stands before the end of its partition; None: nothing does."""
        end = self.of(batch.partition)
        if end is None or batch.next_offset <= end:
            return batch
        kept = sum(offset < end for offset in batch.offsets)
        if not kept:
            return None
        return Batch(
            batch.partition, batch.offsets[:kept], batch.values[:kept], batch.keys[:kept], batch.append_ms[:kept]
        )

    def of(self, where: Partition) -> int | None:
        """The offset to stop at; None: there is none."""
        return None if self.until is None else self.until.get((topic_name(self.run, where.topic), where.number))
