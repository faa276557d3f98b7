"""Limits the documents in flight to a sink to what it writes in a moment; other rows wait as dirty marks.

A row in flight grows old; a dirty row is evaluated when it is taken. A fast sink is not limited at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

DOCS_MAX: Final = 20_000
DOCS_MIN: Final = 200
"""Minimum for any sink, however slow: fewer would not fill a request."""
LATENCY_S: Final = 2.0
"""Target time from submission to acknowledgement; a slower sink receives less."""


class InflightLimit:
    """Limit of documents in flight, adapted to the sink's acknowledgements.

    Args:
        clock: monotonic clock, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._docs = DOCS_MAX
        self._open: dict[int, tuple[float, int]] = {}
        """Submission -> its start and the number of documents then in flight; oldest first."""
        self._next = 0

    @property
    def docs(self) -> int:
        """Current limit of documents in flight."""
        began_s, _ = next(iter(self._open.values()), (self._clock(), 0))
        return DOCS_MIN if self._clock() - began_s > LATENCY_S else self._docs

    def room(self, in_flight: int) -> int:
        """Return the number of documents that may be submitted in addition to those in flight."""
        return max(0, self.docs - in_flight)

    def submitted(self, in_flight: int) -> int:
        """Record a submission and return its number; `in_flight` includes its documents."""
        self._next += 1
        self._open[self._next] = (self._clock(), in_flight)
        return self._next

    def acknowledged(self, number: int) -> None:
        """Record that a submission was acknowledged."""
        began_s, in_flight = self._open.pop(number)
        took_s = self._clock() - began_s
        if took_s <= LATENCY_S:
            self._docs = min(DOCS_MAX, self._docs * 2)
        else:
            # the documents in flight took this long: limit = the sink's rate times the target time
            self._docs = min(DOCS_MAX, max(DOCS_MIN, int(in_flight / took_s * LATENCY_S)))
