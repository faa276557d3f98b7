"""How far the index consumer has come in a partition: what is acknowledged, and what is committed beside an offset."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import msgspec

from consumers.index.month_identities import Months, pack
from features.records.lateness import NO_HIGH


class OffsetMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is committed beside an offset.

    Attributes:
        high: the partition's H before it.
        months: identities of the indices that acknowledged what lies before it (`month_identities.pack`).
        until: up to where the partition is being read again; 0 when it is not.
        topic_id: that the cluster gives the topic; empty if it is not known.
    """

    high: int = NO_HIGH
    months: str = ""
    until: int = 0
    topic_id: str = ""


def read_metadata(metadata: str) -> OffsetMetadata:
    """The mark of a commit; a fresh one where there is none of ours."""
    try:
        return msgspec.json.decode(metadata, type=OffsetMetadata)
    except msgspec.DecodeError:
        return OffsetMetadata()


def write_metadata(mark: OffsetMetadata) -> str:
    """As it is committed."""
    return msgspec.json.encode(mark).decode()


@dataclass(slots=True)
class PendingBatch:
    """A batch of one partition on its way."""

    next_offset: int
    high: int
    done: bool = False


@dataclass(slots=True)
class PartitionProgress:
    """A partition that is ours: what is committed, and the steps behind it in order."""

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
        """Acknowledges up to the first step that is not done."""
        while self.steps and self.steps[0].done:
            step = self.steps.popleft()
            self.acknowledged, self.acknowledged_high = step.next_offset, step.high

    def begin_again(self, first: int, until: int) -> None:
        """All up to `until` is to be read again, from the first offset of the log on."""
        self.steps.clear()
        self.acknowledged, self.acknowledged_high, self.high = first, NO_HIGH, NO_HIGH
        self.until = max(self.until, until)

    @property
    def mark(self) -> OffsetMetadata:
        """What is committed beside the acknowledged offset."""
        until = self.until if self.acknowledged < self.until else 0
        return OffsetMetadata(self.acknowledged_high, pack(self.months), until, self.topic_id)
