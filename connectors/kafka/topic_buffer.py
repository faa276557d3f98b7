"""What was read of a topic of a partition and waits for its turn: decoded records, letters, and what bounds them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from features.records.columns import EventColumns, Int64, OrderColumns

BUFFER_RECORDS_MAX: Final = 50_000
"""Messages of a topic that wait for the other topics of their partition before their topic is paused, those that do
not count included: they are held until their turn too."""
BUFFER_BYTES_MAX: Final = 64 * 1024 * 1024
"""And the memory that they take, about."""
LINE_BYTES: Final = 64
"""Memory of a line of an order beside its texts."""


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that does not count: where it stood, its bytes and why."""

    topic: str
    offset: int
    key: bytes | None
    value: bytes | None
    error: str

    @property
    def held_bytes(self) -> int:
        """Bytes of the message."""
        return len(self.key or b"") + len(self.value or b"")


@dataclass(slots=True)
class Chunk:
    """Decoded messages of one topic that wait to be applied."""

    columns: EventColumns | OrderColumns
    high: Int64
    """For each record the highest time of the topic up to it."""
    next_offsets: Int64
    """For each record the offset to go on from once it is applied."""
    end_offset: int
    """Where the messages of the chunk end, the rejected ones at its end included."""
    oldest_append_ms: int
    letters: list[RejectedRecord]
    held_bytes: int
    """Memory of columns, records and letters, about; it is held until all are applied."""
    used: int = 0

    @property
    def waiting(self) -> int:
        """Messages: records that are not applied, and letters whose turn has not come."""
        return len(self.high) - self.used + len(self.letters)


@dataclass(slots=True)
class TopicBuffer:
    """One topic of the partition: what was read and not yet applied."""

    position: int = 0
    """The next offset to apply."""
    high_read: int = 0
    """Highest time of what was decoded; lateness is judged by it."""
    at_end: bool = False
    chunks: deque[Chunk] = field(default_factory=deque)
    waiting: int = 0
    """Messages of the chunks."""
    waiting_bytes: int = 0
    paused: bool = False

    def put(self, chunk: Chunk) -> None:
        """Let a chunk wait behind the others."""
        self.chunks.append(chunk)
        self.waiting += chunk.waiting
        self.waiting_bytes += chunk.held_bytes

    def pop(self) -> None:
        """The first chunk is applied."""
        self.waiting_bytes -= self.chunks.popleft().held_bytes


def sorted_rejected(letters: list[RejectedRecord]) -> list[RejectedRecord]:
    """Letters in the order of their offsets."""
    return sorted(letters, key=lambda letter: letter.offset)
