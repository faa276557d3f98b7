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
        max_event_time: max event time of the partition before the offset.
        months: identities of the indices that acknowledged the events before the offset (`month_identities.pack`).
        until: offset up to which the partition is being read again; 0 if it is not.
        topic_id: the topic's id in the cluster; empty if unknown.
    """

    max_event_time: int = msgspec.field(name="high", default=NO_HIGH)
    months: str = ""
    until: int = 0
    topic_id: str = ""


def read_metadata(metadata: str) -> OffsetMetadata:
    """Decode the metadata of a commit; empty metadata if it is not the index consumer's."""
    try:
        return msgspec.json.decode(metadata, type=OffsetMetadata)
    except msgspec.DecodeError:
        return OffsetMetadata()


def write_metadata(metadata: OffsetMetadata) -> str:
    """Encode as commit metadata."""
    return msgspec.json.encode(metadata).decode()


@dataclass(slots=True)
class PendingBatch:
    """A batch of one partition in flight."""

    next_offset: int
    max_event_time: int
    done: bool = False


@dataclass(slots=True)
class PartitionProgress:
    """Progress of an owned partition: the committed offset, and the later batches in order."""

    committed: int | None
    acknowledged: int
    acknowledged_max_event_time: int
    max_event_time: int
    committed_metadata: str = ""
    months: Months = field(default_factory=dict)
    until: int = 0
    topic_id: str = ""
    batches: deque[PendingBatch] = field(default_factory=deque)

    def advance(self) -> None:
        """Acknowledge up to the first batch that is not done."""
        while self.batches and self.batches[0].done:
            batch = self.batches.popleft()
            self.acknowledged, self.acknowledged_max_event_time = batch.next_offset, batch.max_event_time

    def restart(self, first: int, until: int) -> None:
        """Restart at the first offset of the log, to read everything up to `until` again."""
        self.batches.clear()
        self.acknowledged, self.acknowledged_max_event_time, self.max_event_time = first, NO_HIGH, NO_HIGH
        self.until = max(self.until, until)

    @property
    def metadata(self) -> OffsetMetadata:
        """Metadata to commit with the acknowledged offset."""
        until = self.until if self.acknowledged < self.until else 0
        return OffsetMetadata(self.acknowledged_max_event_time, pack(self.months), until, self.topic_id)
