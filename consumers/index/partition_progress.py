"""Tracks the index consumer's acknowledged and committed position in a partition."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from consumers.index.month_identities import Months, pack
from features.records.lateness import NO_HIGH


class OffsetMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """Metadata committed with an offset.

    Attributes:
        high: max event time (H) of the partition before the offset.
        months: identities of the indices that acknowledged the events before the offset (`month_identities.pack`).
        until: offset up to which the partition is being read again; 0 if it is not.
        topic_id: the topic's id in the cluster; empty if unknown.
    """

    high: int = NO_HIGH
    months: str = ""
    until: int = 0
    topic_id: str = ""


def read_metadata(metadata: str) -> OffsetMetadata:
    """Decode the metadata of a commit; empty metadata if it is not the index consumer's."""
    try:
        return msgspec.json.decode(metadata, type=OffsetMetadata)
    except msgspec.DecodeError:
        return OffsetMetadata()


def write_metadata(mark: OffsetMetadata) -> str:
    """Encode as commit metadata."""
    return msgspec.json.encode(mark).decode()


@dataclass(slots=True)
class PendingBatch:
    """A batch of one partition in flight."""

    next_offset: int
    high: int
    done: bool = False


@dataclass(slots=True)
class PartitionProgress:
    """Progress of an owned partition: the committed offset, and the later batches in order."""

    committed: int | None
    acknowledged: int
    acknowledged_high: int
    high: int
    committed_mark: str = ""
    months: Months = field(default_factory=dict)
    until: int = 0
    topic_id: str = ""
    steps: deque[PendingBatch] = field(default_factory=deque)

    def advance(self) -> None:
        """Acknowledge up to the first batch that is not done."""
        while self.steps and self.steps[0].done:
            step = self.steps.popleft()
            self.acknowledged, self.acknowledged_high = step.next_offset, step.high

    def begin_again(self, first: int, until: int) -> None:
        """Restart at the first offset of the log, to read everything up to `until` again."""
        self.steps.clear()
        self.acknowledged, self.acknowledged_high, self.high = first, NO_HIGH, NO_HIGH
        self.until = max(self.until, until)

    @property
    def mark(self) -> OffsetMetadata:
        """Metadata to commit with the acknowledged offset."""
        until = self.until if self.acknowledged < self.until else 0
        return OffsetMetadata(self.acknowledged_high, pack(self.months), until, self.topic_id)
