"""Delivers notifications to one target: repeats attempts with growing pauses until one succeeds or none can.

A notification is delivered, or set aside with its reason. Both are final, so an offset may be committed after them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from connectors.notifications.outcome import Outcome
from consumers.notifications.message import Notification, message_id

PAUSE_S: Final = 1.0
"""Pause after the first failed attempt; it doubles with each further one."""
PAUSE_MAX_S: Final = 300.0
RETRY_AFTER_MAX_S: Final = 3_600.0
"""Longest pause that a receiver can ask for."""
STOP_POLL_S: Final = 0.2

Send = Callable[[Notification, str], Outcome]
"""Sends a notification under an id, once."""


@dataclass(frozen=True, slots=True)
class Target:
    """Somebody who is notified.

    Attributes:
        name: name in the settings; part of the ids.
        send: function that sends one notification, once.
        risks: churn risks whose alerts it gets.
        alerts: whether it gets alerts.
        digest: whether it gets digests.
    """

    name: str
    send: Send
    risks: frozenset[str] = frozenset()
    alerts: bool = True
    digest: bool = True


@dataclass(slots=True)
class Counts:
    """Numbers of notifications of a target since the start.

    Attributes:
        delivered: delivered notifications.
        set_aside: notifications that could not be delivered.
        retries: failed attempts that were or will be repeated.
        last_error: reason of the last failed attempt; None after a delivery.
    """

    delivered: int = 0
    set_aside: int = 0
    retries: int = 0
    last_error: str | None = None


@dataclass(slots=True)
class Courier:
    """Delivers notifications to a target, one after the other.

    Attributes:
        target: target.
        give_up_after_s: time of unsuccessful attempts after which a notification is set aside, seconds.
        stopped: whether the process ends; called between attempts.
        clock_s: monotonic seconds.
        sleep: function that waits for seconds.
        on_message: callback with a sentence for people.
        counts: numbers of notifications.
    """

    target: Target
    give_up_after_s: float
    stopped: Callable[[], bool]
    clock_s: Callable[[], float]
    sleep: Callable[[float], None]
    on_message: Callable[[str], None]
    counts: Counts = field(default_factory=Counts)

    def deliver(self, notification: Notification) -> Outcome | None:
        """Return the final outcome, `delivered` or `refused`; None if the process ends before."""
        identifier = message_id(notification, self.target.name)
        began_s = self.clock_s()
        attempt = 0
        while not self.stopped():
            outcome = self.target.send(notification, identifier)
            if outcome.kind == "delivered":
                self.counts.delivered += 1
                if self.counts.last_error is not None:
                    self.on_message(f"{self.target.name} accepts notifications again")
                self.counts.last_error = None
                return outcome
            if outcome.kind == "retry" and self.counts.last_error is None:
                self.on_message(f"{self.target.name}: {outcome.reason}; repeating")
            self.counts.last_error = outcome.reason
            if outcome.kind == "refused":
                self.counts.set_aside += 1
                return outcome
            self.counts.retries += 1
            pause_s = pause(attempt, identifier, outcome.retry_after_s)
            if self.clock_s() + pause_s - began_s > self.give_up_after_s:
                self.counts.set_aside += 1
                return Outcome("refused", f"given up after {attempt + 1} attempts: {outcome.reason}")
            attempt += 1
            self._wait(pause_s)
        return None

    def _wait(self, seconds: float) -> None:
        end_s = self.clock_s() + seconds
        while not self.stopped() and (left_s := end_s - self.clock_s()) > 0:
            self.sleep(min(left_s, STOP_POLL_S))


def pause(attempt: int, identifier: str, retry_after_s: float | None) -> float:
    """Return the pause after a failed attempt, seconds.

    The pause doubles, and half of it depends on the id: notifications that failed together are repeated apart.

    Args:
        attempt: number of the attempt, from 0 on.
        identifier: id of the notification.
        retry_after_s: time that the receiver asks for; the pause is at least that.
    """
    digest = hashlib.sha256(f"{identifier} {attempt}".encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    pause_s = min(PAUSE_S * 2.0 ** min(attempt, 30), PAUSE_MAX_S) * (0.5 + 0.5 * share)
    return max(pause_s, min(retry_after_s or 0.0, RETRY_AFTER_MAX_S))
