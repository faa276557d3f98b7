"""What a role brings to a world: its topics, its lives, what must hold of its commits and of what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from simulation.broker import RUN, Offsets

from consumers.dead_letters.producer import DeadLetter

if TYPE_CHECKING:
    from simulation.worker import Worker
    from simulation.world import World

Until = Mapping[tuple[str, int], int]


class Life(Protocol):
    """A consumer of a role in one process."""

    def run(self, stop: Callable[[], bool], until: Until) -> None:
        """As a worker process runs it."""

    def check_bounds(self) -> None:
        """Asked between turns: what is held in memory is bounded."""

    def has(self, number: int) -> bool:
        """Whether it reads or has read a partition's files."""

    def die(self) -> None:
        """The process is gone; some of what it has sent arrives, now or later."""


class Role:
    """A role, as a world sees it.

    Args:
        world: that it is played in; its records, files and index are there already.
    """

    name: str
    topics: tuple[str, ...]
    may_end: tuple[str, ...] = ("FENCED_INSTANCE_ID", "dead letters could not be written")
    """Words of errors that a worker may end with and that another start may heal."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self.letters: list[DeadLetter] = []

    def live(self, worker: Worker) -> Life:
        """A consumer, not started."""
        raise NotImplementedError

    def full_name(self, topic: str) -> str:
        """The name of a topic in Kafka."""
        return f"{RUN}.{topic}"

    def poison(self) -> Collection[tuple[str, str]]:
        """Index and id of the documents that the index refuses for good."""
        return ()

    def turn(self) -> None:
        """What happens outside of the workers and only to this role."""

    def deliver(self, topic: str, key: Any, value: bytes, headers: Any) -> None:
        """A message is on its topic: a dead letter here."""
        message = dict(headers)
        where = message["topic"].decode(), int(message["partition"]), int(message["offset"])
        self.letters.append(DeadLetter(*where, key, value, message["error"].decode()))

    def on_commit(self, number: int, offsets: Offsets) -> None:
        """Holds of every commit that the group takes.

        Raises:
            AssertionError: it does not.
        """

    def check(self) -> None:
        """Holds of everything that is left.

        Raises:
            AssertionError: it does not.
        """
