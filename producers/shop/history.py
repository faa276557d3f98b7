"""Generates the history of a shop slice by slice in time order, with one slice in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.schema import DAY_MS, SECOND_MS
from producers.shop.clicks import ADD, PAGE_VIEW, PURCHASE, Clicks, unroll
from producers.shop.ids import tag
from producers.shop.orders import PLACED, Orders, draw_orders
from producers.shop.random_streams import Stream, generator
from producers.shop.seasonality import UTC_OFFSETS_H, share_of_day
from producers.shop.shop import Model, Shop
from producers.shop.tables import EVENTS_SCHEMA, ORDERS_SCHEMA, events_table, orders_table
from producers.shop.visits import DayWeights, Slice, Visits, draw_visits

SLICE_EVENTS_MAX: Final = 200_000
"""Events drawn at a time; bounds the memory for a history of any size."""
_MINUTES: Final = 1_440
PARTS_OF_DAY: Final = tuple(parts for parts in range(1, _MINUTES + 1) if _MINUTES % parts == 0)
"""Allowed numbers of slices per day: each slice begins at a whole minute, which its ids contain."""


@dataclass(frozen=True, slots=True)
class HistoryCounts:
    """Counts for a part of history. They can be added."""

    sessions: int = 0
    cart_sessions: int = 0
    converted_sessions: int = 0
    orders: int = 0
    revenue_cents: int = 0
    """Revenue of the orders whose winning record is `placed`."""

    def __add__(self, other: HistoryCounts) -> HistoryCounts:
        return HistoryCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of a time span: events by ts, orders by updated_ts, both ascending, in [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    events: pa.Table
    orders: pa.Table
    counts: HistoryCounts
    """Counts of the visits that begin in the span, as far as history contains them."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Visits of a slice with their clicks and orders, including times after the slice's end."""

    prefix: str
    visits: Visits
    clicks: Clicks
    events: pa.Table
    orders: pa.Table
    counts: HistoryCounts


def parts_of_day(events: int, events_max: int) -> int:
    """Return the smallest number of slices per day with at most `events_max` events each, as far as minutes allow."""
    return next((parts for parts in PARTS_OF_DAY if events <= parts * events_max), _MINUTES)


def cut_day(day_ms: int, events: int, parts: int, *, even: bool = False) -> list[Slice]:
    """Split a day into slices. Events follow the hourly seasonality, or are uniform if `even`, and add up exactly."""
    edges_ms = [DAY_MS * part // parts for part in range(parts + 1)]
    middle = UTC_OFFSETS_H.index(1)  # the zone of most customers
    shares = [edge / DAY_MS if even else share_of_day(0, edge)[middle] for edge in edges_ms]
    counts = [round(share / shares[-1] * events) for share in shares]
    return [Slice(day_ms + edges_ms[i], day_ms + edges_ms[i + 1], counts[i + 1] - counts[i]) for i in range(parts)]


def slice_prefix(salt: str, part: Slice) -> str:
    """Return the prefix of all ids of a slice: the tag of its shop and the minute of its start."""
    return f"{salt}{part.start_ms // (60 * SECOND_MS):07x}"


def history_salt(shop: Shop) -> str:
    """Return the tag of a shop's history, which its ids contain."""
    return tag("history", shop)


def draw_slice(
    model: Model, weights: DayWeights, part: Slice, salt: str, rng: np.random.Generator, *, with_events: bool = True
) -> Drawn:
    """Draw a slice: its visits, their events and orders."""
    visits = draw_visits(model, weights, part, rng)
    clicks = unroll(visits, weights.population, model.catalogue, weights.campaign.price, rng)
    orders = draw_orders(visits, clicks, weights.population, model.catalogue, rng)
    prefix = slice_prefix(salt, part)
    return Drawn(
        prefix,
        visits,
        clicks,
        events_table(clicks, visits, weights.population, model.catalogue, prefix)
        if with_events
        else EVENTS_SCHEMA.empty_table(),
        orders_table(orders, visits, weights.population, model.catalogue, prefix),
        _count(visits, clicks, orders, model.shop.end_ms),
    )


class TimeBuffer:
    """Buffers records of later slices: of visits that outlast their slice, and of changes of orders."""

    def __init__(self) -> None:
        self._events = _Column(EVENTS_SCHEMA.empty_table(), "ts")
        self._orders = _Column(ORDERS_SCHEMA.empty_table(), "updated_ts")

    def add(self, events: pa.Table, orders: pa.Table) -> None:
        """Add records, ascending by their time."""
        self._events.add(events)
        self._orders.add(orders)

    def release(self, end_ms: int) -> tuple[pa.Table, pa.Table]:
        """Return the events and orders before `end_ms`. Earlier records may not be added afterwards."""
        return self._events.release(end_ms), self._orders.release(end_ms)

    def events_from(self, time_ms: int) -> int:
        """Return the number of pending events at `time_ms` or later."""
        return self._events.count_from(time_ms)


class _Column:
    """Queue of rows ascending by time."""

    def __init__(self, rows: pa.Table, time_column: str) -> None:
        self._time_column = time_column
        self._rows = rows
        self._times_ms = _times_ms(rows, time_column)
        self._given = 0

    def add(self, new: pa.Table) -> None:
        if new.num_rows == 0:
            return
        left = len(self._times_ms) - self._given
        # copied, because a slice of a few rows would keep its whole source table in memory
        pending = self._rows.slice(self._given).take(pa.array(np.arange(left)))
        self._rows = _merged(pending, new, self._time_column)
        self._times_ms = _times_ms(self._rows, self._time_column)
        self._given = 0

    def release(self, end_ms: int) -> pa.Table:
        first = self._given
        self._given = max(first, int(np.searchsorted(self._times_ms, end_ms)))
        return self._rows.slice(first, self._given - first)

    def count_from(self, time_ms: int) -> int:
        return len(self._times_ms) - max(self._given, int(np.searchsorted(self._times_ms, time_ms)))


def _times_ms(table: pa.Table, column: str) -> npt.NDArray[np.int64]:
    times: npt.NDArray[np.int64] = table[column].cast(pa.int64()).to_numpy()
    return times


def _merged(pending: pa.Table, new: pa.Table, column: str) -> pa.Table:
    """Merge both, ascending. Only the overlapping range is sorted."""
    if pending.num_rows == 0:
        return new
    overlap = int(np.searchsorted(_times_ms(new, column), _times_ms(pending, column)[-1], side="right"))
    head = pa.concat_tables([pending, new.slice(0, overlap)])
    order = np.argsort(_times_ms(head, column), kind="stable")
    return pa.concat_tables([head.take(pa.array(order)), new.slice(overlap)])


def history_slices(model: Model, first_day: int = 0) -> Iterator[tuple[DayWeights, Slice]]:
    """Yield the slices of history from a given day on, with the weights of their days."""
    for day in range(first_day, model.shop.days):
        day_ms = model.shop.start_ms + day * DAY_MS
        events = int(model.day_targets[day])
        weights = DayWeights(model.population, day_ms)
        for part in cut_day(day_ms, events, parts_of_day(events, SLICE_EVENTS_MAX)):
            yield weights, part


def history_generator(shop: Shop, part: Slice) -> np.random.Generator:
    """Return the random generator of a slice of history, addressed by the minute of its start."""
    return generator(shop.seed, Stream.HISTORY, part.start_ms // (60 * SECOND_MS))


def history(model: Model) -> Iterator[Batch]:
    """Yield the whole history in batches, ascending in time without gaps. It holds exactly `shop.events` events.

    Visits that are unfinished at the end of history lose the rest of their events to the live continuation. As many
    page views are added to visits of the last slice, so that the number is exact.
    """
    shop = model.shop
    salt = history_salt(shop)
    buffer = TimeBuffer()
    for weights, part in history_slices(model):
        rng = history_generator(shop, part)
        drawn = draw_slice(model, weights, part, salt, rng)
        buffer.add(drawn.events, drawn.orders)
        if part.end_ms == shop.end_ms:
            missing = buffer.events_from(shop.end_ms)
            buffer.add(_filling(model, weights, drawn, missing, rng), ORDERS_SCHEMA.empty_table())
        events, orders = buffer.release(part.end_ms)
        yield Batch(part.start_ms, part.end_ms, events, orders, drawn.counts)


def _filling(model: Model, weights: DayWeights, drawn: Drawn, count: int, rng: np.random.Generator) -> pa.Table:
    """Return `count` page views for visits of a slice, before the end of history and within the visits' own times."""
    if count == 0 or len(drawn.visits) == 0:
        return EVENTS_SCHEMA.empty_table()
    last_ms = np.zeros(len(drawn.visits), np.int64)
    np.maximum.at(last_ms, drawn.clicks.visit, drawn.clicks.ts_ms)
    last_ms = np.minimum(last_ms, model.shop.end_ms - 1)
    visit = np.arange(count) % len(drawn.visits)
    start_ms = drawn.visits.start_ms[visit]
    ts_ms = start_ms + (rng.random(count) * (last_ms[visit] - start_ms)).astype(np.int64)
    order = np.argsort(ts_ms, kind="stable")
    nothing = np.full(count, -1)
    filling = Clicks(visit[order], np.full(count, PAGE_VIEW, np.uint8), ts_ms[order], nothing, nothing, nothing)
    return events_table(
        filling, drawn.visits, weights.population, model.catalogue, drawn.prefix, first_number=len(drawn.clicks)
    )


def _count(visits: Visits, clicks: Clicks, orders: Orders, end_ms: int) -> HistoryCounts:
    """Count the known part of a slice's visits and their orders before `end_ms`."""
    known = clicks.ts_ms < end_ms
    first = (orders.updated_ms == orders.ts_ms) & (orders.ts_ms < end_ms)
    changed = (orders.updated_ms > orders.ts_ms) & (orders.updated_ms < end_ms)
    paid_cents = np.zeros(len(visits), np.int64)
    paid_cents[orders.visit[first]] = orders.total_cents[first]
    remaining_cents = np.where(orders.status == PLACED, orders.total_cents, 0)[changed]
    return HistoryCounts(
        sessions=len(visits),
        cart_sessions=len(np.unique(clicks.visit[known & (clicks.kind == ADD)])),
        converted_sessions=len(np.unique(clicks.visit[known & (clicks.kind == PURCHASE)])),
        orders=int(first.sum()),
        revenue_cents=int(paid_cents.sum() - (paid_cents[orders.visit[changed]] - remaining_cents).sum()),
    )
