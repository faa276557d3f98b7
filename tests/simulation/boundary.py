"""The places where a worker may be stopped, killed or hit: every call that leaves the process crosses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Killed(BaseException):
    """The process ended in the middle of something."""


@dataclass(frozen=True)
class Odds:
    """How likely each fault is at each chance it has."""

    kill: float = 0.0
    """The process dies, at any boundary."""
    switch: float = 0.1
    """Another worker goes on first."""
    stall: float = 0.0
    """The process stands still at a boundary while the world goes on."""
    kill_at: str = ""
    """The boundary at which a process dies one time in thirty."""
    stall_at: str = ""
    """The boundary at which a process stands still one time in eight."""
    evict: float = 0.0
    """A living member's session ends, at a chance of the world."""
    bell: float = 0.0
    """The group rebalances although nobody comes or goes, at a read."""
    expire: float = 0.3
    """A stalled or dead member's session ends, at a chance of the world."""
    usurp: float = 0.0
    """A second process with the instance id of a stalled one is started."""
    damage: float = 0.0
    """A checkpoint whose owner is dead is cut short, changed or lost."""
    wall_jump: float = 0.0
    """The wall clock jumps by a second, an hour or a day, either way."""
    disk_full: float = 0.0
    """No room in the middle of a write."""
    disk_slow: float = 0.0
    """A write takes longer than a session."""
    power: float = 0.0
    """All processes end together, and of the disk only what was synced is sure to be left; at a chance of the world."""
    offsets_gone: float = 0.0
    """All processes stay away until the group's offsets have expired; at a chance of the world."""
    commit_lost: float = 0.0
    """A commit fails and was not made."""
    commit_answer_lost: float = 0.0
    """A commit fails and was made."""
    index_gone: float = 0.0
    """An index is deleted and made anew, or restored from a snapshot; at a chance of the world."""
    request_refused: float = 0.0
    """429 or 5xx for a whole bulk request."""
    request_lost: float = 0.0
    """The connection breaks before the request is read."""
    answer_lost: float = 0.0
    """The connection breaks after all or some of the request was applied."""
    item_refused: float = 0.0
    """429, 503 or a block for an item."""
    split: float = 0.0
    """413 for a request of several documents."""
    transaction_timeout: float = 0.0
    """The brokers abort a transaction that is open, at a chance of the world."""
    letters_stuck: float = 0.0
    """The brokers do not take the letters in time."""
    registry_away: float = 0.0
    """A mapper waits for its registry, at a batch."""


CALM = Odds(switch=0.0)
STORMY = Odds(kill=0.004, evict=0.02, bell=0.02, commit_lost=0.1, disk_full=0.02, answer_lost=0.1, item_refused=0.05)
"""The faults that a features consumer meets every day, all of them often."""

KILL_AT = 1 / 30
STALL_AT = 1 / 8
BOUNDARIES = (
    *("join", "read", "commit", "commit answer", "flush", "flushed", "list files", "make folder", "create", "write"),
    *("register producer", "flush rows", "rows half flushed", "rows flushed", "fence rows", "rows fenced"),
    *("rows committed", "abort rows"),
    *("open", "delete", "move", "sync", "submit", "wait", "bulk request", "bulk answer", "bulk pause", "ask group"),
)
"""Every boundary there is, by the name it is crossed under."""


class Boundary(Protocol):
    """What the parts of a world ask of the worker that uses them."""

    is_dead: bool

    def cross(self, what: str) -> None:
        """Let time pass, and perhaps everything else.

        Raises:
            Killed: the process ends here.
        """

    def befalls(self, fault: str) -> bool:
        """Whether a fault of Odds happens now."""

    def wait(self, seconds: float) -> None:
        """Time passes, for everybody."""


class Bystander:
    """Looks on and is hit by nothing."""

    is_dead = False

    def cross(self, what: str) -> None:
        """Nothing happens."""

    def befalls(self, fault: str) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        """Its time does not count."""
