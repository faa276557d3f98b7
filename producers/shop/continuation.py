"""Continues a history: generates live records of the same customers from the end of history on.

`live_batches` is pure: it has no clock and does not sleep. The caller publishes each batch when its time comes.

    shop = shop_from_json((archive / SHOP_FILE).read_text())
    for batch in live_batches(build(shop), step_ms=1_000, rate=200):
        wait_until(batch.end_ms)
        publish(batch.customers, batch.events, batch.orders)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from features.errors import UsageError
from features.schema import DAY_MS, HOUR_MS, SECOND_MS
from producers.archive.archive import utc_day
from producers.shop.history import (
    PARTS_OF_DAY,
    Drawn,
    TimeBuffer,
    cut_day,
    draw_slice,
    history_generator,
    history_salt,
    history_slices,
    parts_of_day,
)
from producers.shop.ids import tag
from producers.shop.orders import CHANGE_MAX_DAYS
from producers.shop.population import Population, draw_arrivals
from producers.shop.profiles import customers_table
from producers.shop.random_streams import Stream, generator
from producers.shop.shop import Model, day_activity
from producers.shop.visits import DayWeights, Slice

SLICE_EVENTS_MAX: Final = 20_000
"""Events drawn at a time; bounds the wait of a caller to about a tenth of a second."""
_STEADY_PARTS_MIN: Final = 24
_RAMP_MS: Final = 8 * 60 * SECOND_MS
"""With a rate, visits that began up to this long before the start are already in progress."""
_RAMP_EVENTS_MAX: Final = 400_000
_SESSION_REACH_MS: Final = 8 * HOUR_MS


@dataclass(frozen=True, slots=True)
class LiveBatch:
    """Records of [start_ms, end_ms), ascending by ts (orders: updated_ts; customers: signup_ts).

    The tables have the columns of `features.schema.arrow_schema`. `to_pylist` returns plain records, whose times are
    datetimes. A batch may be empty. Its span is complete nevertheless.
    """

    start_ms: int
    end_ms: int
    events: pa.Table
    orders: pa.Table
    customers: pa.Table
    """Profiles of customers who sign up in the span. Their first event is not before the sign-up."""


def live_batches(
    model: Model, *, start_ms: int | None = None, rate: float | None = None, step_ms: int = SECOND_MS
) -> Iterator[LiveBatch]:
    """Yield the shop's records after its history, endlessly, in batches whose spans are contiguous.

    Visits that the end of history cut continue, and orders of history are still cancelled and refunded. Customers
    arrive, fade and leave by the same laws. Ids differ from those of history and of continuations with another rate.
    The same arguments produce the same records. Starting draws the orders of the last 60 days once more.

    Args:
        model: model of the shop that generated the history.
        start_ms: start, epoch ms, not before history's end, which is the default. A later start gives the records that
            a continuation from the end would give from then on (with a rate: those of visits that begin in the eight
            minutes before it or later).
        rate: events per second, constant at all hours; default: the growth and seasonality of the shop.
            It scales the number of visits, not the time within them.
        step_ms: span of a batch.

    Raises:
        UsageError: an argument is out of its bounds.
    """
    begin_ms = model.shop.end_ms if start_ms is None else start_ms
    if begin_ms < model.shop.end_ms:
        raise UsageError(
            f"The live shop cannot start at {begin_ms} ms, before its history ends at {model.shop.end_ms} ms.",
            "Start it at the end of history or later.",
        )
    if step_ms < 1 or (rate is not None and not (math.isfinite(rate) and rate > 0)):
        raise UsageError(f"Rate {rate} with steps of {step_ms} ms is not possible.", "Give numbers above zero.")
    return _batches(model, begin_ms, rate, step_ms)


def natural_rate(model: Model) -> float:
    """Return the average events per second in the last week of history."""
    last = model.day_targets[-7:]
    return float(last.sum()) / (len(last) * DAY_MS / SECOND_MS)


def _batches(model: Model, begin_ms: int, rate: float | None, step_ms: int) -> Iterator[LiveBatch]:
    source = _Continuation(model, rate)
    buffer = source.under_way(begin_ms)
    at_ms = begin_ms
    for weights, part in source.slices(begin_ms):
        drawn = source.draw(weights, part)
        buffer.add(_since(drawn.events, "ts", begin_ms), _since(drawn.orders, "updated_ts", begin_ms))
        # the last, incomplete step of a slice waits for the next slice
        while at_ms + step_ms <= part.end_ms:
            events, orders = buffer.release(at_ms + step_ms)
            customers = source.signed_up(weights.population, at_ms, at_ms + step_ms)
            yield LiveBatch(at_ms, at_ms + step_ms, events, orders, customers)
            at_ms += step_ms


def _since(table: pa.Table, column: str, begin_ms: int) -> pa.Table:
    times = table[column].cast(pa.int64()).to_numpy()
    return table.slice(int(np.searchsorted(times, begin_ms)))


class _Continuation:
    """Draws the slices after history, with separate random streams and ids and a population that grows daily."""

    def __init__(self, model: Model, rate: float | None) -> None:
        self.model = model
        self.rate = rate
        self.salt = tag("live", model.shop, rate)

    def under_way(self, begin_ms: int) -> TimeBuffer:
        """Return the records of earlier slices that are due from `begin_ms` on."""
        shop = self.model.shop
        buffer = TimeBuffer()
        since_ms = begin_ms - (CHANGE_MAX_DAYS + 1) * DAY_MS
        salt = history_salt(shop)
        for weights, part in history_slices(self.model, max(0, (since_ms - shop.start_ms) // DAY_MS)):
            if part.end_ms <= since_ms:
                continue
            reaches = part.end_ms > begin_ms - _SESSION_REACH_MS
            drawn = draw_slice(self.model, weights, part, salt, history_generator(shop, part), with_events=reaches)
            buffer.add(_since(drawn.events, "ts", begin_ms), _since(drawn.orders, "updated_ts", begin_ms))
        for weights, part in self._earlier(begin_ms, since_ms):
            drawn = self.draw(weights, part, with_events=part.end_ms > begin_ms - _SESSION_REACH_MS)
            buffer.add(_since(drawn.events, "ts", begin_ms), _since(drawn.orders, "updated_ts", begin_ms))
        return buffer

    def _earlier(self, begin_ms: int, since_ms: int) -> Iterator[tuple[DayWeights, Slice]]:
        """Yield live slices that end by `begin_ms` and may still have later records."""
        if self.rate is not None:
            ramp_ms = min(_RAMP_MS, int(_RAMP_EVENTS_MAX / self.rate * SECOND_MS))
            since_ms = begin_ms - ramp_ms
        first_ms = since_ms if self.rate is not None else max(since_ms, self.model.shop.end_ms)
        for weights, part in self.slices(first_ms):
            if part.end_ms > begin_ms:
                return
            yield weights, part

    def draw(self, weights: DayWeights, part: Slice, *, with_events: bool = True) -> Drawn:
        """Draw a live slice."""
        rng = generator(self.model.shop.seed, Stream.LIVE, int(self.salt, 16), part.start_ms // (60 * SECOND_MS))
        return draw_slice(self.model, weights, part, self.salt, rng, with_events=with_events)

    def slices(self, begin_ms: int) -> Iterator[tuple[DayWeights, Slice]]:
        """Yield slices endlessly, starting with the one that contains `begin_ms`."""
        shop = self.model.shop
        day = (begin_ms - shop.start_ms) // DAY_MS
        people = self._population(day)
        while True:
            day_ms = shop.start_ms + day * DAY_MS
            if day >= shop.days:
                people = people.joined(draw_arrivals(shop.seed, shop.customers, shop.start_ms, shop.days, day))
            weights = DayWeights(people, day_ms)
            for part in self._cut(people, day_ms):
                if part.end_ms > begin_ms:
                    yield weights, part
            day += 1

    def _population(self, before_day: int) -> Population:
        shop = self.model.shop
        people = self.model.population
        for day in range(shop.days, before_day):
            people = people.joined(draw_arrivals(shop.seed, shop.customers, shop.start_ms, shop.days, day))
        return people

    def _cut(self, people: Population, day_ms: int) -> list[Slice]:
        if self.rate is not None:
            events = round(self.rate * DAY_MS / SECOND_MS)
            parts = parts_of_day(events, SLICE_EVENTS_MAX)
            parts = next(p for p in PARTS_OF_DAY if p >= max(parts, _STEADY_PARTS_MIN))
            return cut_day(day_ms, events, parts, even=True)
        activity = day_activity(self.model.shop.seed, people, utc_day(day_ms), day_ms)
        events = round(activity * self.model.events_per_activity)
        return cut_day(day_ms, events, parts_of_day(events, SLICE_EVENTS_MAX))

    def signed_up(self, people: Population, start_ms: int, end_ms: int) -> pa.Table:
        """Return the profiles of customers who sign up in a span."""
        first, last = np.searchsorted(people.signup_ms, [start_ms, end_ms])
        return customers_table(self.model.shop.seed, people, np.arange(first, last))
