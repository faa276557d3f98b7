"""When a record is due: event time mapped to a clock that is handed in. Nothing here reads a clock or sleeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from features.schema import SECOND_MS

STEP_S: Final = 0.02
"""Shortest wait: records due within it are sent together."""
NAP_S: Final = 0.2
"""Longest wait at a time, so that acknowledgements are served and a stop is noticed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Event time runs `speed` times as fast as the clock, but never beyond the wall clock where that matters.

    Args:
        origin_ms: the event time that is due at `origin_s`, epoch ms.
        origin_s: reading of a monotonic clock, seconds.
        speed: event seconds for each second; above 0.
    """

    origin_ms: int
    origin_s: float
    speed: float

    def due_ms(self, now_s: float, wall_ms: int | None = None) -> int:
        """The event time up to which, inclusive, everything is due at a reading of the clock.

        Args:
            now_s: the monotonic clock.
            wall_ms: the wall clock, for a stream that must not run ahead of it.
        """
        due = self.origin_ms + int((now_s - self.origin_s) * self.speed * SECOND_MS)
        return due if wall_ms is None else min(due, wall_ms)

    def wait_s(self, event_ms: int, now_s: float, wall_ms: int | None = None) -> float:
        """Seconds until an event time is due, 0 when it is."""
        wait = (event_ms - self.origin_ms) / (self.speed * SECOND_MS) - (now_s - self.origin_s)
        if wall_ms is not None:
            wait = max(wait, (event_ms - wall_ms) / SECOND_MS)
        return max(0.0, wait)


def nap_s(wait_s: float) -> float:
    """How long to sleep now when the next record is due in `wait_s` seconds."""
    return min(max(wait_s, STEP_S), NAP_S)
