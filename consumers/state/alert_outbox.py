"""Holds alerts until the checkpoint that contains them is committed.

An alert and the band that it follows from are decided in memory. If the alert were sent immediately, a crash before the
next checkpoint would lead to a second decision. That decision might fall on another day, and so have another id. So:

1. Band and alert are recorded together. After a crash both are decided again; nothing was sent.
2. A checkpoint holds both and is committed. After a crash from here on, the next owner finds the alert here and sends
   it.
3. The alert is sent to every sink. After a crash the same alert is sent again under the same id.
4. Once every sink has acknowledged it, it is removed. After a crash before the next checkpoint: as 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from features.scores.alerts import Alert

Numbered = tuple[int, bytes]
"""A number, ascending by age, and the alert as JSON."""


class AlertOutbox:
    """The unacknowledged alerts of a partition, oldest first."""

    def __init__(self, pending: Iterable[Numbered] = ()) -> None:
        self._pending: dict[int, Alert] = {
            number: msgspec.json.decode(body, type=Alert) for number, body in sorted(pending)
        }
        self._next = max(self._pending, default=-1) + 1
        self._committed = self._next
        self._unacknowledged: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def ready(self) -> bool:
        """Whether there is an alert that may be sent."""
        return any(number < self._committed and number not in self._unacknowledged for number in self._pending)

    @property
    def uncommitted(self) -> bool:
        """Whether there is an alert that no committed checkpoint holds."""
        return bool(self._pending) and max(self._pending) >= self._committed

    def add(self, alerts: Iterable[Alert]) -> None:
        """1. Record alerts."""
        for alert in alerts:
            self._pending[self._next] = alert
            self._next += 1

    def stored(self) -> list[Numbered]:
        """2. Return the alerts for a checkpoint: all that are not acknowledged."""
        return [(number, msgspec.json.encode(alert)) for number, alert in self._pending.items()]

    def committed(self, stored: Sequence[Numbered]) -> None:
        """2. Record that a checkpoint with these alerts was committed."""
        self._committed = max([self._committed, *(number + 1 for number, _ in stored)])

    def take_batch(self, alerts_max: int, sinks: int) -> dict[int, Alert]:
        """3. Take up to `alerts_max` sendable alerts; `sinks` acknowledgements are needed for each."""
        ready = [n for n in self._pending if n < self._committed and n not in self._unacknowledged][:alerts_max]
        self._unacknowledged |= dict.fromkeys(ready, sinks)
        return {number: self._pending[number] for number in ready}

    def acknowledge(self, numbers: Iterable[int]) -> int:
        """4. Record a sink's acknowledgement; return how many alerts were removed because it was the last one."""
        removed = 0
        for number in numbers:
            self._unacknowledged[number] -= 1
            if self._unacknowledged[number] == 0:
                del self._unacknowledged[number], self._pending[number]
                removed += 1
        return removed
