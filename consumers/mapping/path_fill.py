"""Measures how many of the last messages have each path of a mapping: a renamed field shows as an empty path."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from connectors.messages.mapped import Mapped

MESSAGES: Final = 10_000
"""Number of messages that the shares are about, at least, once there are as many."""


class PathFill:
    """Shares of the last messages of one mapping that have its paths."""

    def __init__(self) -> None:
        self._batches: deque[tuple[int, dict[str, int]]] = deque()
        self._opened = 0
        self._present: Counter[str] = Counter()

    def add(self, mapped: Mapped) -> None:
        """Add a batch, and drop those before the last MESSAGES."""
        if not mapped.opened:
            return
        self._batches.append((mapped.opened, mapped.present))
        self._opened += mapped.opened
        self._present.update(mapped.present)
        while self._opened - self._batches[0][0] >= MESSAGES:
            opened, present = self._batches.popleft()
            self._opened -= opened
            self._present.subtract(present)

    def shares(self) -> dict[str, float]:
        """Return path -> share of the messages, from 0 to 1."""
        return {path: count / self._opened for path, count in self._present.items()} if self._opened else {}
