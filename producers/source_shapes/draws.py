"""Draws the faults of a source from a seed, with a random stream for each shape and UTC day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from features.schema import DAY_MS
from producers.shop.random_streams import Stream, generator

_BLOCK: Final = 4_096

T = TypeVar("T")


class DailyDraws:
    """Random numbers of a shape. A day's numbers do not depend on the days before it.

    Args:
        seed: seed of all shapes.
        shape: number of the shape.
    """

    def __init__(self, seed: int, shape: int) -> None:
        self._seed = seed
        self._shape = shape
        self._day = -1
        self._numbers: list[float] = []

    def begin(self, time_ms: int) -> bool:
        """Begin the stream of a time's UTC day unless it is the current one. Return whether a new day begins."""
        day = time_ms // DAY_MS
        if day == self._day:
            return False
        self._day = day
        self._random = generator(self._seed, Stream.SOURCES, self._shape, max(0, day))
        self._numbers = []
        return True

    def uniform(self) -> float:
        """Return a number in [0, 1)."""
        if not self._numbers:
            self._numbers = self._random.random(_BLOCK).tolist()
        return self._numbers.pop()

    def happens(self, share: float) -> bool:
        """Return whether an event of this probability happens."""
        return self.uniform() < share

    def whole(self, low: int, high: int) -> int:
        """Return an integer from low to high, both inclusive."""
        return low + int(self.uniform() * (high - low + 1))

    def one_of(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[int(self.uniform() * len(choices))]
