"""How much may be on its way to a sink: as much as it writes in a moment, so that what waits is a mark, not a row.

A row in flight grows old; a marked one is evaluated when it is taken. A fast sink is not bounded by this at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

DOCS_MAX: Final = 20_000
DOCS_MIN: Final = 200
"""Of any sink, however slow: fewer would not fill a request."""
LATENCY_S: Final = 2.0
"""From handing documents over to their acknowledgement; a sink that takes longer is given less."""


class InflightLimit:
    """The bound of documents in flight, learnt from the sink's acknowledgements.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._docs = DOCS_MAX
        self._open: dict[int, tuple[float, int]] = {}
        """Submission -> when it began, and how many documents were in flight with it; the oldest is the first."""
        self._next = 0

    @property
    def docs(self) -> int:
        """The bound as it is now."""
        began_s, _ = next(iter(self._open.values()), (self._clock(), 0))
        return DOCS_MIN if self._clock() - began_s > LATENCY_S else self._docs

    def room(self, in_flight: int) -> int:
        """Documents that may be handed over beside those in flight."""
        return max(0, self.docs - in_flight)

    def submitted(self, in_flight: int) -> int:
        """A submission began; `in_flight` counts its documents too. Returns its number."""
        self._next += 1
        self._open[self._next] = (self._clock(), in_flight)
        return self._next

    def acknowledged(self, number: int) -> None:
        """A submission is done."""
        began_s, in_flight = self._open.pop(number)
        took_s = self._clock() - began_s
        if took_s <= LATENCY_S:
            self._docs = min(DOCS_MAX, self._docs * 2)
        else:
            # what was in flight took so long: the sink's rate times the time it may take
            self._docs = min(DOCS_MAX, max(DOCS_MIN, int(in_flight / took_s * LATENCY_S)))
