"""One life of a consumer: the real one of its role, on played clients, stopped and killed at its boundaries."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simulation.boundary import BOUNDARIES, KILL_AT, STALL_AT, Killed
from simulation.broker import GroupSource

from features.errors import ShopstreamError

if TYPE_CHECKING:
    from simulation.world import World

TURNS_MAX = 20_000
STALLS = (20, 100, 400, 1_500)
"""Boundaries that others cross while a process stands still."""
PAUSES_S = (0.0, 0.0, 1.0, 30.0)
"""Seen from within, a pause may be long or no time at all."""


class Worker:
    """One life of a consumer, in a thread that runs when it holds the baton.

    Args:
        world: it lives in.
        instance: static member id.
        number: of the life.
    """

    def __init__(self, world: World, instance: str, number: int) -> None:
        self.world, self.instance, self.number = world, instance, number
        self.is_dead = False
        self.has_ended = False
        self.stalled_until = 0
        self.turns = 0
        self.source = GroupSource(
            world.group, world.logs, instance, number, self, world.rng, self._assigned, world.role.full_name
        )
        self.life = world.role.live(self)
        self.baton = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._live, name=f"{instance}/{number}", daemon=True)

    # --- boundary ---

    def cross(self, what: str) -> None:
        world = self.world
        if self.is_dead:
            raise Killed
        assert what in BOUNDARIES
        world.steps += 1
        world.trace.update(f"{self.number} {what};".encode())
        world.clock.pass_s(0.001)
        odds, dice = world.odds, world.rng.random()
        kill = max(odds.kill, KILL_AT if what == odds.kill_at else 0.0)
        stall = max(odds.stall, STALL_AT if what == odds.stall_at else 0.0)
        if dice < kill:
            world.happened[f"killed at {what}"] += 1
            self.die()
            raise Killed
        if what == "read" and world.rng.random() < odds.bell and world.group.is_stable:
            world.happened["bell"] += 1
            world.group.rebalance()
        elif dice < kill + stall:
            world.happened["stalls"] += 1
            self.stalled_until = world.steps + int(world.rng.choice(STALLS))
            world.clock.pass_s(float(world.rng.choice(PAUSES_S)))
            self._hand_on()
        elif dice < kill + stall + odds.switch:
            self._hand_on()

    def befalls(self, fault: str) -> bool:
        happens = bool(self.world.rng.random() < getattr(self.world.odds, fault))
        if happens:
            self.world.happened[fault] += 1
        return happens

    def wait(self, seconds: float) -> None:
        self.world.clock.pass_s(seconds)

    def die(self) -> None:
        """The process is gone; what it has sent is out of its hands."""
        self.is_dead = True
        self.life.die()

    def _hand_on(self) -> None:
        self.world.baton.release()
        self.baton.acquire()
        if self.is_dead:
            raise Killed

    # --- life ---

    def _live(self) -> None:
        self.baton.acquire()
        try:
            self._consume()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the world tells it
            self.world.happened[f"ended: {str(error)[:60]}"] += 1
            if not self._may_end(error):
                self.world.failure = error
        finally:
            self.has_ended = True
            self.world.baton.release()

    def _may_end(self, error: BaseException) -> bool:
        """Whether it is an error that another start may heal; every other one is a failure."""
        is_reported = isinstance(error, (ShopstreamError, OSError))
        return is_reported and any(word in str(error) for word in self.world.role.may_end)

    def _consume(self) -> None:
        if self.is_dead:
            raise Killed

        def stop() -> bool:
            self.turns += 1
            assert self.turns < TURNS_MAX, "no end in sight"
            self.life.check_bounds()
            return self.world.is_finished

        close = self.source.close

        def closed() -> None:
            # whoever ends with an error has not finished; and what is given to another after this is not finished
            if sys.exc_info()[0] is None and self.source.owns:
                self.world.finished |= {where.number for where in self.source.positions}
                self.world.departed.add(self.instance)
            close()

        self.source.close = closed  # type: ignore[method-assign]
        self.life.run(stop, self._until())

    def _until(self) -> Mapping[tuple[str, int], int]:
        return {
            (self.world.role.full_name(where.topic), where.number): len(log) for where, log in self.world.logs.items()
        }

    def _assigned(self, numbers: Sequence[int]) -> None:
        self.world.finished -= set(numbers)
