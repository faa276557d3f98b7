"""Sends messages to Kafka at a given pace. The clock is passed in. A stop is noticed within NAP_S."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.schema import SECOND_MS
from producers.messages import Messages
from producers.publisher import Publisher

STEP_S: Final = 0.02
"""Shortest wait: records due within it are sent together."""
NAP_S: Final = 0.2
"""Longest single wait, so that acknowledgements are served and a stop request is noticed."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Clocks and sleep, passed in."""

    monotonic_s: Callable[[], float]
    wall_ms: Callable[[], int]
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a transmission."""

    sent: int
    event_ms: int
    """Event time of the last message sent; 0 while profiles are sent, which have no time."""
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Maps event time to a clock: `speed` times as fast as the clock, and optionally never beyond the wall clock.

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


@dataclass(frozen=True, slots=True)
class Transmitter:
    """Sends messages in their order.

    Args:
        publisher: publisher of the messages.
        clock: clock for pacing.
        interrupted: function that returns whether to stop; called several times a second.
        on_progress: callback after each block of messages and several times a second while waiting.
    """

    publisher: Publisher
    clock: Clock
    interrupted: Callable[[], bool]
    on_progress: Callable[[Progress], None]

    def at_full_speed(self, chunks: Iterable[Messages]) -> int | None:
        """Send everything as fast as Kafka accepts.

        Returns:
            Time of the first message not sent (epoch ms), or None if all were sent.
        """
        for messages in one_ahead(iter(chunks)):
            sent = self.publisher.send(messages, 0, len(messages), self.interrupted)
            self._report(messages, sent)
            if sent < len(messages):
                return int(messages.times[sent])
        return None

    def send(self, chunks: Iterable[Messages], speed: float | None) -> int | None:
        """Send every message at a speed, event seconds per second; None is as fast as Kafka accepts. See `paced`."""
        return self.at_full_speed(chunks) if speed is None else self.paced(chunks, speed)

    def paced(
        self, chunks: Iterable[Messages], speed: float, *, origin_ms: int | None = None, up_to_wall: bool = False
    ) -> int | None:
        """Send every message when it is due.

        Args:
            chunks: chunks of messages, ascending by time.
            speed: event seconds per second.
            origin_ms: event time that is due immediately; default: time of the first message.
            up_to_wall: whether to stay behind the wall clock: once reached, the speed is 1.

        Returns:
            Time of the first message not sent (epoch ms), or None if all were sent.
        """
        pace: Pace | None = None
        for messages in one_ahead(iter(chunks)):
            if not len(messages):
                continue
            if pace is None:
                pace = Pace(int(messages.times[0]) if origin_ms is None else origin_ms, self.clock.monotonic_s(), speed)
            sent = self._chunk(messages, pace, up_to_wall)
            if sent < len(messages):
                return int(messages.times[sent])
        return None

    def _chunk(self, messages: Messages, pace: Pace, up_to_wall: bool) -> int:
        sent = 0
        while sent < len(messages) and not (self.interrupted() or self.publisher.hopeless):
            wall_ms = self.clock.wall_ms() if up_to_wall else None
            due_ms = pace.due_ms(self.clock.monotonic_s(), wall_ms)
            due = int(np.searchsorted(messages.times, due_ms, side="right"))
            if due > sent:
                reached = self.publisher.send(messages, sent, due, self.interrupted)
                self._report(messages, reached)
                if reached < due:
                    return reached
                sent = reached
                continue
            wait_s = pace.wait_s(int(messages.times[sent]), self.clock.monotonic_s(), wall_ms)
            self.clock.sleep(nap_s(wait_s))
            self.publisher.poll()
            self._report(messages, sent)
        return sent

    def _report(self, messages: Messages, sent: int) -> None:
        event_ms = int(messages.times[sent - 1]) if sent else 0
        self.on_progress(Progress(self.publisher.sent_total, event_ms, self.clock.wall_ms()))


def one_ahead(chunks: Iterator[Messages]) -> Iterator[Messages]:
    """Yield the same chunks while a thread prepares the next one; at most two are in memory."""
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as pool:
        coming = pool.submit(next, chunks, None)
        while (messages := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield messages


def nap_s(wait_s: float) -> float:
    """Return how long to sleep now if the next record is due in `wait_s` seconds."""
    return min(max(wait_s, STEP_S), NAP_S)
