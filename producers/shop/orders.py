"""Turns the purchases of visits into order records and their changes: cancellation, partial return, refund."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.schema import DAY_MS, HOUR_MS, STATUSES
from producers.shop.catalogue import CATEGORIES, Catalogue
from producers.shop.clicks import PURCHASE, Clicks
from producers.shop.population import COUNTRY_NAMES, Code, Float, Index, Population
from producers.shop.visits import Visits

PLACED, CANCELLED, REFUNDED = map(STATUSES.index, ("placed", "cancelled", "refunded"))

PAYMENT_METHODS: Final = ("card", "paypal", "invoice", "bank_transfer", "wallet")
_PAYMENT_DEFAULT: Final = (46, 26, 4, 8, 16)
_PAYMENT_OF: Final = {
    "DE": (18, 36, 30, 8, 8),
    "AT": (22, 30, 30, 8, 10),
    "CH": (30, 14, 40, 4, 12),
    "NL": (14, 12, 8, 58, 8),
}

CANCELLED_SHARE: Final = 0.03
CANCELLED_MEAN_MS: Final = 6 * HOUR_MS
CANCELLED_MAX_MS: Final = 48 * HOUR_MS
PART_SHARE: Final = 0.03
"""Share of the orders with several lines that return the last line and keep the others."""
RETURN_MIN_DAYS, RETURN_MEAN_DAYS, CHANGE_MAX_DAYS = 2.0, 11.0, 60
"""Return times are Gamma(2) distributed. After CHANGE_MAX_DAYS an order does not change any more."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Order records as columns: placed ones by time, then changes. Lines are a ragged array."""

    visit: Index
    """Row of the visits: at most one order per visit."""
    ts_ms: Index
    updated_ms: Index
    status: Code
    """Index into schema.STATUSES."""
    total_cents: Index
    payment: Code
    """Index into PAYMENT_METHODS."""
    first_line: Index
    """Index of the record's first line."""
    line_count: Index
    line_product: Index
    line_price_cents: Index
    line_quantity: Index

    def __len__(self) -> int:
        return len(self.visit)


def draw_orders(
    visits: Visits, clicks: Clicks, population: Population, catalogue: Catalogue, rng: np.random.Generator
) -> Orders:
    """Return the orders of a slice's purchase clicks, each with its change if it has one, at any time.

    The total is the sum of quantity x price of the lines, exactly.
    """
    bought = np.flatnonzero(clicks.kind == PURCHASE)
    bought = bought[np.lexsort((bought, clicks.visit[bought], clicks.ts_ms[bought]))]
    visit_of_line = clicks.visit[bought]
    first_line = np.flatnonzero(np.diff(visit_of_line, prepend=-1))
    line_count = np.diff(first_line, append=len(bought))
    visit = visit_of_line[first_line]
    ts_ms = clicks.ts_ms[bought][first_line]
    product, quantity = clicks.product[bought], clicks.quantity[bought]
    price_cents = clicks.price_cents[bought]
    amount = np.concatenate([[0], np.cumsum(price_cents * quantity)])
    customer = visits.customer[visit]

    changed, delay_ms, status = _changes(
        population.refund[customer], catalogue.category[product[first_line]], line_count, rng
    )
    remaining_lines = line_count[changed] - (status == PLACED)
    records = np.concatenate([np.arange(len(visit)), changed])
    counts = np.concatenate([line_count, remaining_lines])
    starts = first_line[records]
    return Orders(
        visit=visit[records],
        ts_ms=ts_ms[records],
        updated_ms=np.concatenate([ts_ms, ts_ms[changed] + delay_ms]),
        status=np.concatenate([np.full(len(visit), PLACED, np.uint8), status]),
        total_cents=amount[starts + counts] - amount[starts],
        payment=_payments(population.country[customer], rng)[records],
        first_line=starts,
        line_count=counts,
        line_product=product,
        line_price_cents=price_cents,
        line_quantity=quantity,
    )


def _changes(
    refund: npt.NDArray[np.float32], category: Code, line_count: Index, rng: np.random.Generator
) -> tuple[Index, Index, Code]:
    """Return the rows of orders that change, the delay and the new status. `placed` is a return of the last line."""
    n = len(refund)
    factor = np.asarray([c.refund_factor for c in CATEGORIES])
    uniform = rng.random((2, n))
    cancelled = uniform[0] < CANCELLED_SHARE
    refunded = ~cancelled & (uniform[1] < np.minimum(refund * factor[category], 0.9))
    part = ~cancelled & ~refunded & (line_count > 1) & (uniform[0] > 1 - PART_SHARE)
    soon = np.minimum(rng.exponential(CANCELLED_MEAN_MS, n) + 60_000, CANCELLED_MAX_MS)
    late_days = RETURN_MIN_DAYS + rng.gamma(2.0, (RETURN_MEAN_DAYS - RETURN_MIN_DAYS) / 2, n)
    late: Float = np.minimum(late_days, CHANGE_MAX_DAYS) * DAY_MS
    changed = np.flatnonzero(cancelled | refunded | part)
    delay_ms = np.where(cancelled, soon, late).astype(np.int64)[changed]
    status = np.where(cancelled, CANCELLED, np.where(refunded, REFUNDED, PLACED)).astype(np.uint8)[changed]
    return changed, delay_ms, status


def _payments(country: Code, rng: np.random.Generator) -> Code:
    weights = np.asarray([_PAYMENT_OF.get(name, _PAYMENT_DEFAULT) for name in COUNTRY_NAMES], np.float64)
    mix = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    method: Code = (rng.random(len(country))[:, None] >= mix[country]).sum(axis=1).astype(np.uint8)
    return method
