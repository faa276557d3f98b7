"""How large a fault is: short ones with every `make test`, the full ones with `make faults`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from producers.shop.shop import Shop

VARIABLE = "SHOPTEST_FAULTS"
"""`full` makes faults last as long as the table of results says."""


@dataclass(frozen=True)
class Scale:
    """Sizes and durations of the faults of a session.

    Attributes:
        shop: whose history is streamed.
        records_per_s: pace of the stream while a fault lasts.
        kills: of workers, one after the other.
        broker_down_s: from the broker's death to its restart.
        broker_paused_s: how long it is stopped.
        elastic_down_s: from Elasticsearch's death to its restart.
        elastic_blocked_s: how long it refuses writes.
        roles: that run where the broker is what breaks.
    """

    shop: Shop
    records_per_s: int
    kills: int
    broker_down_s: float
    broker_paused_s: float
    elastic_down_s: float
    elastic_blocked_s: float
    roles: tuple[str, ...] = ("features", "index", "archive")


QUICK = Scale(
    shop=Shop(end_ms=1_767_225_600_000, seed=9, customers=500, events=25_000, days=40),
    records_per_s=2_500,
    kills=3,
    broker_down_s=2.0,
    broker_paused_s=5.0,
    elastic_down_s=5.0,
    elastic_blocked_s=5.0,
    roles=("features",),
)
FULL = Scale(
    shop=Shop(end_ms=1_767_225_600_000, seed=9, customers=1_500, events=120_000, days=120),
    records_per_s=1_000,
    kills=11,
    broker_down_s=10.0,
    broker_paused_s=30.0,
    elastic_down_s=60.0,
    elastic_blocked_s=60.0,
)


def is_full() -> bool:
    """Whether faults last as long as the table of results says."""
    return os.environ.get(VARIABLE) == "full"


def scale() -> Scale:
    """That of this session."""
    return FULL if is_full() else QUICK
