"""Messages to Kafka at the pace asked for. The clock is handed in, and a stop is noticed within `pacing.NAP_S`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from producers.messages import Messages
from producers.pacing import Pace, nap_s
from producers.publisher import Publisher


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of the outside world."""

    monotonic_s: Callable[[], float]
    wall_ms: Callable[[], int]
    sleep: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a transmission is."""

    sent: int
    event_ms: int
    """Event time of the last message sent; 0 while profiles are sent, which have none."""
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Transmitter:
    """Sends messages in their order.

    Args:
        publisher: where to.
        clock: for pacing.
        interrupted: whether to stop; asked several times a second.
        on_progress: told after each block of messages and several times a second while waiting.
    """

    publisher: Publisher
    clock: Clock
    interrupted: Callable[[], bool]
    on_progress: Callable[[Progress], None]

    def at_full_speed(self, chunks: Iterable[Messages]) -> int | None:
        """Send everything as fast as Kafka takes it.

        Returns:
            The time of the first message not sent (epoch ms), None when all were.
        """
        for messages in one_ahead(iter(chunks)):
            sent = self.publisher.send(messages, 0, len(messages), self.interrupted)
            self._tell(messages, sent)
            if sent < len(messages):
                return int(messages.times[sent])
        return None

    def paced(
        self, chunks: Iterable[Messages], speed: float, *, origin_ms: int | None = None, up_to_wall: bool = False
    ) -> int | None:
        """Send every message when it is due.

        Args:
            chunks: ascending by time.
            speed: event seconds for each second.
            origin_ms: the event time that is due at once; by default that of the first message.
            up_to_wall: never run ahead of the wall clock: at it, the speed is 1.

        Returns:
            The time of the first message not sent (epoch ms), None when all were.
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
                self._tell(messages, reached)
                if reached < due:
                    return reached
                sent = reached
                continue
            wait_s = pace.wait_s(int(messages.times[sent]), self.clock.monotonic_s(), wall_ms)
            self.clock.sleep(nap_s(wait_s))
            self.publisher.poll()
            self._tell(messages, sent)
        return sent

    def _tell(self, messages: Messages, sent: int) -> None:
        event_ms = int(messages.times[sent - 1]) if sent else 0
        self.on_progress(Progress(self.publisher.sent_total, event_ms, self.clock.wall_ms()))


def one_ahead(chunks: Iterator[Messages]) -> Iterator[Messages]:
    """The same chunks, each made in another thread while the one before is used; two are in memory at most."""
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as pool:
        coming = pool.submit(next, chunks, None)
        while (messages := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield messages
