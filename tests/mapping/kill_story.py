"""A history and the kills of its processes, drawn from a seed: what `kill_play` plays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PAIRS = (("segment", "debezium"), ("posthog", "woocommerce"), ("snowplow", "shopify"))
"""Shapes of the clicks and of the orders."""
MOVES = frozenset({"debezium"})
"""Shapes that tell that an order passed to another customer."""
DELETES = frozenset({"debezium", "woocommerce"})
"""Shapes that tell that an order was deleted."""
KILLS = 10
COMMANDS = ("map", "consume")
GUEST = "guest"
"""A second `consume` with one worker and a data folder of its own, as on another machine."""
WORKER_KILLS_MAX = 4
"""Kills of a command's workers: a parent gives up after five crashes in a minute, as it says."""
PARENT_KILLS_MAX = 3


@dataclass(frozen=True)
class Kill:
    """One SIGKILL.

    Attributes:
        after: share of the source messages whose mapping is committed by then.
        command: command whose process is killed.
        parent: whether it is the parent; a worker otherwise.
        pause_s: time from the moment at which the share is reached.
        workers: workers of the parent's next start.
    """

    after: float
    command: str
    parent: bool
    pause_s: float
    workers: int


@dataclass(frozen=True)
class Story:
    """One history, its way through Kafka, and ten kills in the order of their times."""

    seed: int
    clicks: str
    orders: str
    customers: int
    events: int
    days: int
    partitions: int
    dirt: float
    poison: float
    roles: tuple[str, ...]
    kills: tuple[Kill, ...]

    @property
    def guest_joins(self) -> int:
        """Number of the kill before which the guest starts: two before its own."""
        return max(0, next(n for n, kill in enumerate(self.kills) if kill.command == GUEST) - 2)

    @property
    def shapes(self) -> tuple[str, str]:
        return self.clicks, self.orders


def draw(seed: int) -> Story:
    """Draws a story. Three seeds in a row have the three pairs of shapes."""
    rng = np.random.default_rng([seed, 0x6B11])
    clicks, orders = PAIRS[seed % len(PAIRS)]
    return Story(
        seed, clicks, orders,
        customers=int(rng.integers(80, 250)),
        events=int(rng.integers(15_000, 30_000)),
        days=int(rng.integers(30, 75)),
        partitions=int(rng.integers(2, 6)),
        dirt=float(rng.uniform(0.02, 0.1)),
        poison=float(rng.uniform(0, 0.03)),
        roles=("features", "archive") if rng.random() < 0.3 else ("features",),
        kills=_kills(rng),
    )  # fmt: skip


def _kills(rng: np.random.Generator) -> tuple[Kill, ...]:
    """Both parents and the guest at least once, so that the number of workers changes; all else by chance."""
    targets = [(name, True) for name in (*COMMANDS, GUEST)]
    while len(targets) < KILLS:
        target = (COMMANDS[int(rng.integers(2))], bool(rng.random() < 0.3))
        if targets.count(target) < (PARENT_KILLS_MAX if target[1] else WORKER_KILLS_MAX):
            targets.append(target)
    # the last ones while `consume` catches up, or when all is done
    shares = sorted(rng.uniform(0, 0.9, KILLS))
    workers = {"map": 2, "consume": 2}
    kills = []
    for after, number in zip(shares, rng.permutation(KILLS), strict=True):
        command, parent = targets[number]
        if parent and command in workers:
            # another number each time
            workers[command] = (workers[command] + int(rng.integers(1, 3)) - 1) % 3 + 1
        kills.append(Kill(float(after), command, parent, float(rng.uniform(0, 0.4)), workers.get(command, 1)))
    return tuple(kills)
