"""Holds mapped messages until their partition may write them: partitions are written in step by the times of records.

A backlog is not written one partition after the other. A late day of one partition would precede an early day of
another, which would then be too late. So no partition is written more than STEP_MS ahead of the lowest one that is not
at its end.

The time of a partition is the highest time of its records so far. It never falls, and disorder within a partition does
not hold the partition back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final

import numpy as np

from connectors.messages.mapped import Mapped, MappedRecord
from features.records.columns import Int64
from features.schema import EVENT_LATENESS_MS, HOUR_MS

STEP_MS: Final = 6 * HOUR_MS
"""Most time that a partition is written ahead of the lowest one; far less than the lateness of events."""
NO_TIME: Final = 2**62
"""Time of a partition that is at its end: it holds no other one back."""
UNKNOWN_TIME: Final = 0
"""Time of a partition of which no record was read yet: it holds all others back."""
_MESSAGE, _TIME, _VALUE = (itemgetter(MappedRecord._fields.index(name)) for name in ("message", "time_ms", "value"))


@dataclass(frozen=True, slots=True)
class Released:
    """Messages of one partition that may be written, in the order of their offsets.

    Attributes:
        offsets: offset of each message.
        records: records of the messages.
        left_out: offset -> reason.
        refused: offset -> reason.
        dropped: mapping, path and reason of each optional value that the records cannot hold.
    """

    offsets: Sequence[int]
    records: Sequence[MappedRecord]
    left_out: dict[int, str]
    refused: dict[int, str]
    dropped: Sequence[str] = ()


@dataclass(slots=True)
class _Chunk:
    offsets: Sequence[int]
    times: Int64
    records: list[MappedRecord]
    starts: Int64
    left_out: dict[int, str]
    refused: dict[int, str]
    dropped: dict[int, list[str]]
    used: int = 0


@dataclass(slots=True)
class HeldMessages:
    """Messages of one partition that were mapped and not yet written.

    Attributes:
        count: number of messages.
        size_bytes: bytes of their records.
        time_ms: highest time of the records read so far, epoch ms.
    """

    count: int = 0
    size_bytes: int = 0
    time_ms: int = UNKNOWN_TIME
    _chunks: deque[_Chunk] = field(default_factory=deque)

    def put(self, offsets: Sequence[int], mapped: Mapped) -> int:
        """Append the messages of a batch.

        Args:
            offsets: offset of each message.
            mapped: result of the batch.

        Returns:
            Number of events that are so much older than an earlier record of the partition that they may be too late.
        """
        records = sorted(mapped.records, key=_MESSAGE)
        message = np.fromiter(map(_MESSAGE, records), np.int64, len(records))
        own_times = np.fromiter(map(_TIME, records), np.int64, len(records))
        times = np.full(len(offsets), self.time_ms, np.int64)
        np.maximum.at(times, message, own_times)
        times = np.maximum.accumulate(times)
        starts = np.searchsorted(message, np.arange(len(offsets) + 1))
        self._chunks.append(_Chunk(offsets, times, records, starts, mapped.left_out, mapped.refused, mapped.dropped))
        self.time_ms = int(times[-1])
        self.count += len(offsets)
        self.size_bytes += sum(map(len, map(_VALUE, records)))
        behind = np.flatnonzero(times[message] - own_times > EVENT_LATENESS_MS)
        return sum(records[at].topic == "events" for at in behind.tolist())

    def lowest_ms(self, *, at_end: bool) -> int:
        """Return the time that holds other partitions back, epoch ms.

        Args:
            at_end: whether all messages of the partition were read.
        """
        if self._chunks:
            chunk = self._chunks[0]
            return int(chunk.times[chunk.used])
        return NO_TIME if at_end else self.time_ms

    def release(self, until_ms: int) -> list[Released]:
        """Remove and return the messages up to a time of the partition, inclusive."""
        released: list[Released] = []
        while self._chunks:
            chunk = self._chunks[0]
            stop = int(np.searchsorted(chunk.times, until_ms, side="right"))
            if stop <= chunk.used:
                break
            released.append(self._taken(chunk, stop))
            if stop < len(chunk.offsets):
                break
            self._chunks.popleft()
        return released

    def _taken(self, chunk: _Chunk, stop: int) -> Released:
        start, chunk.used = chunk.used, stop
        offsets = chunk.offsets[start:stop]
        records = chunk.records[int(chunk.starts[start]) : int(chunk.starts[stop])]
        self.count -= len(offsets)
        self.size_bytes -= sum(map(len, map(_VALUE, records)))
        left_out = {chunk.offsets[n]: reason for n, reason in chunk.left_out.items() if start <= n < stop}
        refused = {chunk.offsets[n]: reason for n, reason in chunk.refused.items() if start <= n < stop}
        dropped = [value for n, values in chunk.dropped.items() if start <= n < stop for value in values]
        return Released(offsets, records, left_out, refused, dropped)
