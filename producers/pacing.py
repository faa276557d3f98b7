"""Maps event time to a given clock to decide when a record is due. Pure: reads no clock and does not sleep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from features.schema import SECOND_MS

STEP_S: Final = 0.02
"""Shortest wait: records due within it are sent together."""
NAP_S: Final = 0.2
"""Longest single wait, so that acknowledgements are served and a stop request is noticed."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Event time runs `speed` times as fast as the clock, and optionally never beyond the wall clock.

    Args:
        origin_ms: event time that is due at `origin_s`, epoch ms.
        origin_s: reading of a monotonic clock, seconds.
        speed: event seconds per second; above 0.
    """

    origin_ms: int
    origin_s: float
    speed: float

    def due_ms(self, now_s: float, wall_ms: int | None = None) -> int:
        """Return the event time up to which (inclusive) records are due at a reading of the clock.

        Args:
            now_s: reading of the monotonic clock.
            wall_ms: reading of the wall clock, for a stream that must not run ahead of it.
        """
        due = self.origin_ms + int((now_s - self.origin_s) * self.speed * SECOND_MS)
        return due if wall_ms is None else min(due, wall_ms)

    def wait_s(self, event_ms: int, now_s: float, wall_ms: int | None = None) -> float:
        """Return the seconds until an event time is due; 0 if it is due."""
        wait = (event_ms - self.origin_ms) / (self.speed * SECOND_MS) - (now_s - self.origin_s)
        if wall_ms is not None:
            wait = max(wait, (event_ms - wall_ms) / SECOND_MS)
        return max(0.0, wait)


def nap_s(wait_s: float) -> float:
    """Return how long to sleep now if the next record is due in `wait_s` seconds."""
    return min(max(wait_s, STEP_S), NAP_S)
