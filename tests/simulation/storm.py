"""The history of disasters that a seed stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from oracle.shop import DAY, HOUR
from simulation.boundary import BOUNDARIES, Odds
from simulation.world import World
from stream.scene import Scene


@dataclass(frozen=True)
class Weathered:
    """What a seed came to.

    Attributes:
        seed: of it.
        role: that was played.
        digest: of everything that happened and was left; equal whenever the seed is run.
        steps: boundaries crossed.
        happened: faults by kind.
        records: on the topics.
    """

    seed: int
    role: str
    digest: str
    steps: int
    happened: Counter[str]
    records: int


def odds_of(rng: np.random.Generator) -> Odds:
    """Some faults often, some rarely, some not at all: a world in which everything fails shows less than one kind."""

    def rate(highest: float) -> float:
        return float(rng.choice((0.0, 0.1, 0.4, 1.0))) * highest

    return Odds(
        kill=rate(0.004),
        switch=float(rng.choice((0.02, 0.1, 0.3))),
        stall=rate(0.004),
        kill_at=str(rng.choice(("", *BOUNDARIES))),
        stall_at=str(rng.choice(("", *BOUNDARIES))),
        evict=rate(0.02),
        bell=rate(0.05),
        expire=float(rng.choice((0.02, 0.1, 0.5))),
        usurp=rate(0.1),
        damage=rate(0.5),
        wall_jump=rate(0.05),
        disk_full=rate(0.1),
        disk_slow=rate(0.01),
        power=rate(0.01),
        offsets_gone=rate(0.004),
        index_gone=rate(0.01),
        commit_lost=rate(0.15),
        commit_answer_lost=rate(0.15),
        request_refused=rate(0.3),
        request_lost=rate(0.2),
        answer_lost=rate(0.3),
        item_refused=rate(0.1),
        split=rate(0.2),
        letters_stuck=rate(0.03),
        transaction_timeout=rate(0.02),
        registry_away=rate(0.1),
    )


def world_of(
    seed: int, role: str, odds: Odds | None = None, slots: int | None = None, without: Collection[str] = ()
) -> World:
    """The world of a seed, before anything has happened.

    Args:
        seed: of everything that is not given.
        role: that is played.
        odds: of the faults.
        slots: workers at a time.
        without: faults that do not happen.
    """
    rng = np.random.default_rng([seed, 5])
    jitter_ms = int(rng.choice((0, HOUR, 60 * HOUR)))
    scene = Scene(seed, jitter_ms, customers=int(rng.integers(0, 3)), twice=float(rng.choice((0.0, 0.05, 0.3))))
    as_of = scene.end + int(rng.choice((0, 1, DAY, 30 * DAY)))
    drawn, count = odds_of(rng), int(rng.choice((1, 2, 2, 3)))
    odds = replace(odds or drawn, **dict.fromkeys(without, 0.0))
    return World(seed, role, scene, odds, slots=slots or count, as_of=as_of)


def weather(seed: int, role: str, without: Collection[str] = ()) -> Weathered:
    """Runs the world of a seed, perhaps without some of its faults, and checks everything.

    Raises:
        AssertionError: an invariant does not hold.
    """
    world = world_of(seed, role, without=without)
    world.run()
    world.check()
    return Weathered(seed, role, world.digest(), world.steps, world.happened, sum(map(len, world.logs.values())))
