"""Alerts that wait until the checkpoint that knows of them is committed.

An alert and the band it follows from are decided in memory. Were it sent at once, a crash before the next checkpoint
would decide anew, perhaps on another day and so under another id. So:

1. Band and alert are noted together. Dying: both are decided again; nothing was sent.
2. A checkpoint holds both and is committed. Dying from here on: the next owner finds the alert here and sends it.
3. The alert is sent, to every sink. Dying: it is sent again, the same under the same id.
4. When every sink has acknowledged it, it leaves. Dying before the next checkpoint: as 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from features.scores.alerts import Alert

Numbered = tuple[int, bytes]
"""A number, ascending by age, and the alert as JSON."""


class AlertOutbox:
    """The alerts of a partition that are not acknowledged yet, the oldest first."""

    def __init__(self, waiting: Iterable[Numbered] = ()) -> None:
        self._waiting: dict[int, Alert] = {
            number: msgspec.json.decode(body, type=Alert) for number, body in sorted(waiting)
        }
        self._next = max(self._waiting, default=-1) + 1
        self._committed = self._next
        self._flights: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether there is one that may be sent."""
        return any(number < self._committed and number not in self._flights for number in self._waiting)

    @property
    def uncommitted(self) -> bool:
        """Whether there is one that no committed checkpoint has."""
        return bool(self._waiting) and max(self._waiting) >= self._committed

    def add(self, alerts: Iterable[Alert]) -> None:
        """1. Note alerts."""
        for alert in alerts:
            self._waiting[self._next] = alert
            self._next += 1

    def stored(self) -> list[Numbered]:
        """2. What a checkpoint keeps: everything that is not acknowledged."""
        return [(number, msgspec.json.encode(alert)) for number, alert in self._waiting.items()]

    def committed(self, stored: Sequence[Numbered]) -> None:
        """2. A checkpoint that has these is committed."""
        self._committed = max([self._committed, *(number + 1 for number, _ in stored)])

    def take(self, alerts_max: int, sinks: int) -> dict[int, Alert]:
        """3. Up to `alerts_max` that may be sent, each to be acknowledged by so many sinks."""
        ready = [n for n in self._waiting if n < self._committed and n not in self._flights][:alerts_max]
        self._flights |= dict.fromkeys(ready, sinks)
        return {number: self._waiting[number] for number in ready}

    def landed(self, numbers: Iterable[int]) -> int:
        """4. A sink has acknowledged these; returns how many have left, as it was the last one."""
        left = 0
        for number in numbers:
            self._flights[number] -= 1
            if self._flights[number] == 0:
                del self._flights[number], self._waiting[number]
                left += 1
        return left
