"""Expands every visit into its events, with their order and times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.schema import EVENT_TYPES, HOUR_MS, SECOND_MS
from producers.shop.catalogue import CATEGORIES, Catalogue
from producers.shop.population import Code, Float, Index, Population
from producers.shop.visits import Outcome, Visits

PAGE_VIEW, SEARCH, PRODUCT_VIEW, ADD, REMOVE, CHECKOUT, PURCHASE = range(len(EVENT_TYPES))

GAP_MEDIAN_S: Final = 24.0
GAP_SIGMA: Final = 1.05
"""Sigma of the log-normal pause between two clicks."""
CHECKOUT_FACTOR: Final = 3.0
"""Factor on the pause before the payment, when address and payment data are entered."""
GAP_MAX_MS: Final = 25 * 60 * SECOND_MS
"""Longest pause; below the half hour that separates sessions elsewhere."""
SESSION_MAX_MS: Final = 6 * HOUR_MS
OWN_CATEGORY_SHARE: Final = 0.72
"""Share of the views in the category of the visit. The others follow the customer's taste again."""
VOUCHER_PRICE: Final = 0.90
QUANTITY_EDGES: Final = (0.84, 0.96, 0.99)
"""Cumulative shares of the quantities 1, 2 and 3. The rest is 4."""

# positions of events within their visit, in [0, 1): the order of the keys is the order of the clicks
_BROWSE, _REMOVE_END, _CHECKOUT, _PURCHASE = 0.02, 0.92, 0.95, 0.97
_JUST_AFTER: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Clicks:
    """Events as columns, ascending in time. Product columns are -1 for events without a product."""

    visit: Index
    """Row of the visits."""
    kind: Code
    """Index into schema.EVENT_TYPES."""
    ts_ms: Index
    product: Index
    """Row of the catalogue, or -1."""
    price_cents: Index
    """Unit price, or -1."""
    quantity: Index
    """Quantity, or -1."""

    def __len__(self) -> int:
        return len(self.visit)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Product views, one per row. The first ones of a visit are the lines of its cart."""

    visit: Index
    rank: Index
    product: Index
    price_cents: Index
    quantity: Index
    key: Float


def unroll(
    visits: Visits, population: Population, catalogue: Catalogue, price: float, rng: np.random.Generator
) -> Clicks:
    """Return the events of visits, ascending by time (equal times in their order within the visit).

    Args:
        visits: all visits of one slice.
        population: population that the visits refer to.
        catalogue: catalogue of the shop.
        price: the campaign's factor on list prices.
        rng: random generator. Its state advances.
    """
    n = len(visits)
    all_visits = np.arange(n)
    views = _views(visits, population, catalogue, price, rng)
    in_cart = np.flatnonzero(views.rank < visits.lines[views.visit])
    remaining_lines = (visits.lines - visits.removed)[views.visit[in_cart]]
    removed = in_cart[views.rank[in_cart] >= remaining_lines]
    bought = in_cart[
        (visits.outcome[views.visit[in_cart]] == Outcome.PURCHASE) & (views.rank[in_cart] < remaining_lines)
    ]
    checkout = np.flatnonzero(visits.outcome >= Outcome.CHECKOUT)
    pages = np.repeat(all_visits, visits.pages + visits.spare)
    searches = np.repeat(all_visits, visits.searches)

    add_key = views.key[in_cart] + _JUST_AFTER
    remove_from = views.key[removed] + 2 * _JUST_AFTER
    blocks = (
        (PAGE_VIEW, all_visits, np.zeros(n), None),
        (PAGE_VIEW, pages, rng.uniform(_BROWSE, _REMOVE_END, len(pages)), None),
        (SEARCH, searches, rng.uniform(_BROWSE / 2, _REMOVE_END, len(searches)), None),
        (PRODUCT_VIEW, views.visit, views.key, slice(None)),
        (ADD, views.visit[in_cart], add_key, in_cart),
        (REMOVE, views.visit[removed], remove_from + rng.random(len(removed)) * (_REMOVE_END - remove_from), removed),
        (CHECKOUT, checkout, np.full(len(checkout), _CHECKOUT), None),
        (PURCHASE, views.visit[bought], _PURCHASE + views.rank[bought] * 1e-6, bought),
    )
    visit = np.concatenate([block[1] for block in blocks])
    order = np.argsort(visit + np.concatenate([block[2] for block in blocks]), kind="stable")
    kind = np.repeat(np.asarray([block[0] for block in blocks], np.uint8), [len(block[1]) for block in blocks])[order]
    visit = visit[order]

    def of_lines(values: Index, *, quantity: bool = False) -> Index:
        return np.concatenate(
            [
                np.full(len(block[1]), -1)
                if block[3] is None or (quantity and block[0] == PRODUCT_VIEW)
                else values[block[3]]
                for block in blocks
            ]
        )[order]

    price_cents = of_lines(views.price_cents)
    pays_less = (kind == PURCHASE) & visits.voucher[visit]
    price_cents = np.where(pays_less, np.round(price_cents * VOUCHER_PRICE).astype(np.int64), price_cents)
    ts_ms = _moments(visit, kind, visits.start_ms, rng)
    product, quantity = of_lines(views.product), of_lines(views.quantity, quantity=True)
    by_time = np.argsort(ts_ms, kind="stable")
    return Clicks(
        visit=visit[by_time],
        kind=kind[by_time],
        ts_ms=ts_ms[by_time],
        product=product[by_time],
        price_cents=price_cents[by_time],
        quantity=quantity[by_time],
    )


def _views(
    visits: Visits, population: Population, catalogue: Catalogue, price: float, rng: np.random.Generator
) -> _Lines:
    visit = np.repeat(np.arange(len(visits)), visits.views)
    n = len(visit)
    rank = np.arange(n) - np.repeat(np.cumsum(visits.views) - visits.views, visits.views)
    customer = visits.customer[visit]
    category = visits.category[visit]
    elsewhere = np.flatnonzero(rng.random(n) >= OWN_CATEGORY_SHARE)
    drawn = rng.random(len(elsewhere), dtype=np.float32)[:, None] >= population.taste[customer[elsewhere]]
    category[elsewhere] = np.minimum(drawn.sum(axis=1), len(CATEGORIES) - 1)
    product = catalogue.draw(category, rng.random(n))
    # price-sensitive customers look at two products and take the cheaper one, others the dearer one
    bias = population.price_bias[customer]
    picky = np.flatnonzero(rng.random(n, dtype=np.float32) < np.abs(bias))
    other = catalogue.draw(category[picky], rng.random(len(picky)))
    cheaper = catalogue.price_cents[other] < catalogue.price_cents[product[picky]]
    product[picky] = np.where(cheaper == (bias[picky] > 0), other, product[picky])
    return _Lines(
        visit=visit,
        rank=rank,
        product=product,
        price_cents=np.round(catalogue.price_cents[product] * price).astype(np.int64),
        quantity=1 + np.searchsorted(np.asarray(QUANTITY_EDGES), rng.random(n), side="right"),
        key=rng.uniform(_BROWSE, _REMOVE_END - 0.05, n),
    )


def _moments(visit: Index, kind: Code, start_ms: Index, rng: np.random.Generator) -> Index:
    """Return the times of events grouped by visit, in order: running sums of log-normal pauses."""
    n = len(visit)
    if n == 0:
        return np.empty(0, np.int64)
    gap_s = GAP_MEDIAN_S * np.exp(GAP_SIGMA * rng.standard_normal(n, dtype=np.float32)) + np.float32(0.8)
    gap_ms: npt.NDArray[np.int64] = np.minimum(gap_s * SECOND_MS, GAP_MAX_MS).astype(np.int64)
    paid = kind == PURCHASE
    gap_ms[paid] = np.minimum(gap_ms[paid] * int(CHECKOUT_FACTOR), GAP_MAX_MS)
    first = np.flatnonzero(np.diff(visit, prepend=-1))
    gap_ms[first] = 0
    # all lines of an order are bought at the same moment
    gap_ms[1:][paid[1:] & paid[:-1] & (visit[1:] == visit[:-1])] = 0
    running = np.cumsum(gap_ms)
    sizes = np.diff(first, append=n)
    since_ms = running - np.repeat(running[first], sizes)
    longest_ms = np.repeat(since_ms[first + sizes - 1], sizes)
    too_long = longest_ms > SESSION_MAX_MS
    since_ms[too_long] = since_ms[too_long] * SESSION_MAX_MS // longest_ms[too_long]
    return start_ms[visit] + since_ms
