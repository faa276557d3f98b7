"""Buffers the decoded and rejected records of one topic of a partition until they are applied, within bounds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from features.records.columns import EventColumns, Int64, OrderColumns

BUFFER_RECORDS_MAX: Final = 50_000
"""Messages of a topic that may wait for the other topics of their partition before the topic is paused. Rejected
messages count too: they also wait for their turn.
"""
BUFFER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Approximate memory that waiting messages of a topic may take."""
LINE_BYTES: Final = 64
"""Memory of an order line without its texts."""


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """Rejected record: offset, bytes and reason."""

    topic: str
    offset: int
    key: bytes | None
    value: bytes | None
    error: str

    @property
    def held_bytes(self) -> int:
        """Return the bytes of the message."""
        return len(self.key or b"") + len(self.value or b"")


@dataclass(slots=True)
class Chunk:
    """Decoded messages of one topic that wait to be applied."""

    columns: EventColumns | OrderColumns
    max_event_times: Int64
    """For each record, the highest time of the topic up to it."""
    next_offsets: Int64
    """For each record, the next offset once it is applied."""
    end_offset: int
    """Offset after the last message of the chunk, rejected ones at its end included."""
    oldest_append_ms: int
    rejected: list[RejectedRecord]
    held_bytes: int
    """Approximate memory of columns and rejected records; held until all are applied."""
    used: int = 0

    @property
    def waiting(self) -> int:
        """Return the number of messages: records not yet applied, and rejected records not yet due."""
        return len(self.max_event_times) - self.used + len(self.rejected)


@dataclass(slots=True)
class TopicBuffer:
    """One topic of the partition: messages read and not yet applied."""

    position: int = 0
    """The next offset to apply."""
    max_event_time: int = 0
    """Highest time of the decoded records. Determines lateness."""
    at_end: bool = False
    chunks: deque[Chunk] = field(default_factory=deque)
    waiting: int = 0
    """Messages in the chunks."""
    waiting_bytes: int = 0
    paused: bool = False

    def put(self, chunk: Chunk) -> None:
        """Append a chunk."""
        self.chunks.append(chunk)
        self.waiting += chunk.waiting
        self.waiting_bytes += chunk.held_bytes

    def pop(self) -> None:
        """Remove the first chunk, which is applied."""
        self.waiting_bytes -= self.chunks.popleft().held_bytes


def sorted_rejected(rejected: list[RejectedRecord]) -> list[RejectedRecord]:
    """Sort rejected records by offset."""
    return sorted(rejected, key=lambda record: record.offset)
