"""Counts drawn records for the summary of a history."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from producers.shop.clicks import ADD, PURCHASE, Clicks
from producers.shop.orders import PLACED, Orders
from producers.shop.visits import Visits


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts for a part of history. They can be added."""

    sessions: int = 0
    cart_sessions: int = 0
    converted_sessions: int = 0
    orders: int = 0
    revenue_cents: int = 0
    """Revenue of the orders whose winning record is `placed`."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def tally(visits: Visits, clicks: Clicks, orders: Orders, end_ms: int) -> Tally:
    """Count the known part of a slice's visits and their orders before `end_ms`."""
    known = clicks.ts_ms < end_ms
    first = (orders.updated_ms == orders.ts_ms) & (orders.ts_ms < end_ms)
    changed = (orders.updated_ms > orders.ts_ms) & (orders.updated_ms < end_ms)
    paid_cents = np.zeros(len(visits), np.int64)
    paid_cents[orders.visit[first]] = orders.total_cents[first]
    kept_cents = np.where(orders.status == PLACED, orders.total_cents, 0)[changed]
    return Tally(
        sessions=len(visits),
        cart_sessions=len(np.unique(clicks.visit[known & (clicks.kind == ADD)])),
        converted_sessions=len(np.unique(clicks.visit[known & (clicks.kind == PURCHASE)])),
        orders=int(first.sum()),
        revenue_cents=int(paid_cents.sum() - (paid_cents[orders.visit[changed]] - kept_cents).sum()),
    )
