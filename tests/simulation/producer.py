"""A Kafka producer in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from simulation.boundary import Boundary

QUEUE_MAX = 300
"""Messages a producer holds."""


class QueueProducer:
    """Stands for a Kafka producer: messages arrive in their order, late, and not at all after a death.

    Args:
        deliver: appends a message to its topic.
        boundary: of the worker.
        rng: decides what is delivered when.
    """

    def __init__(self, deliver: Callable[..., None], boundary: Boundary, rng: np.random.Generator) -> None:
        self._deliver, self._boundary, self._rng = deliver, boundary, rng
        self._queue: list[tuple[tuple[Any, ...], Callable[..., None] | None]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def produce(
        self, topic: str, value: bytes | None = None, key: Any = None, *, headers: Any = None, on_delivery: Any = None
    ) -> None:
        assert len(self._queue) <= QUEUE_MAX
        if len(self._queue) == QUEUE_MAX:
            raise BufferError("queue full (simulated)")
        self._queue.append(((topic, key, value, headers), on_delivery))

    def poll(self, timeout_s: float = 0.0) -> int:
        if self._boundary.is_dead:
            return 0
        return self._send(len(self._queue) if timeout_s else int(self._rng.integers(len(self._queue) + 1)))

    def flush(self, timeout_s: float = 0.0) -> int:
        if self._boundary.is_dead:
            return 0
        self._boundary.cross("flush")
        stuck = self._queue and self._boundary.befalls("letters_stuck")
        self._send(int(self._rng.integers(len(self._queue))) if stuck else len(self._queue))
        self._boundary.cross("flushed")
        return len(self._queue)

    def die(self) -> None:
        """Some of what is under way arrives, the others never."""
        for message, _ in self._queue[: int(self._rng.integers(len(self._queue) + 1))]:
            self._deliver(*message)
        self._queue.clear()

    def _send(self, count: int) -> int:
        going, self._queue = self._queue[:count], self._queue[count:]
        for message, _ in going:
            self._deliver(*message)
        for _, on_delivery in going:
            if on_delivery is not None:
                on_delivery(None, None)
        return len(going)
