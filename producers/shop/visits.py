"""Draws visits: customer, time, device, channel, and how far each visit goes in the funnel.

Visits are drawn slice by slice. A slice is a part of one UTC day with an exact number of events.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from features.schema import DAY_MS
from producers.archive.archive import utc_day
from producers.shop import seasonality
from producers.shop.catalogue import CATEGORIES
from producers.shop.population import TYPES, Code, Float, Index, Population
from producers.shop.shop import (
    CONVERSION_MAX,
    EVENTS_PER_SESSION,
    FADE_CARTS,
    FADE_CONVERSION,
    FIRST_VISIT_CONVERSION,
    Model,
)


class Outcome(IntEnum):
    """Last funnel step of a visit."""

    BOUNCE = 0
    VIEW = 1
    CART = 2
    CHECKOUT = 3
    PURCHASE = 4


BOUNCE_SHARE: Final = 0.20
"""Share of the visits without a cart that bounce."""
CHECKOUT_SHARE: Final = 0.35
"""Share of the abandoned carts that reach the checkout."""
FADE_LENGTH: Final = 0.50
"""Share of the browsing lost at complete fading."""
REMOVE_SHARE: Final = 0.12
"""Share of the lines in a cart that are removed."""
CHANNEL_OF_ACQUISITION: Final = 0.25
"""Share of the visits through the customer's acquisition channel, whatever the type's habits."""
TABLET_SHARE: Final = 0.12
"""Share of tablets in the visits that are not mobile."""
BROWSE_MAX: Final = 40
"""Maximum extra pages, searches and product views of a visit, each."""

# mean numbers beyond what an outcome requires, by outcome: pages, searches, product views, lines in the cart
EXTRA_PAGES: Final = (0.75, 1.15, 1.2, 1.3, 1.2)
EXTRA_SEARCHES: Final = (0.15, 0.75, 0.8, 0.8, 0.7)
EXTRA_VIEWS: Final = (0.0, 2.3, 2.9, 3.0, 2.6)
EXTRA_LINES: Final = (0.0, 0.0, 0.55, 0.65, 0.70)

MOBILE, DESKTOP, TABLET = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Slice:
    """Part of one UTC day, [start_ms, end_ms), with the number of events of the visits that begin in it."""

    start_ms: int
    end_ms: int
    events: int


@dataclass(frozen=True, slots=True)
class Visits:
    """Visits as columns, in no particular order of time."""

    customer: Index
    """Row of the population."""
    start_ms: Index
    outcome: Code
    device: Code
    """Index into schema.DEVICES."""
    channel: Code
    """Index into CHANNELS."""
    category: Code
    """Most viewed category, index into CATEGORIES."""
    voucher: npt.NDArray[np.bool_]
    pages: Index
    searches: Index
    views: Index
    lines: Index
    """Lines added to the cart; at most `views`."""
    removed: Index
    """Lines removed again; less than `lines` if the visit buys."""
    spare: Index
    """Page views added to the drawn ones, so that a slice has exactly its number of events."""

    def __len__(self) -> int:
        return len(self.customer)

    def events(self) -> Index:
        """Return the number of events of each visit."""
        checkout = self.outcome >= Outcome.CHECKOUT
        bought = np.where(self.outcome == Outcome.PURCHASE, self.lines - self.removed, 0)
        return 1 + self.pages + self.searches + self.views + self.lines + self.removed + checkout + bought + self.spare

    def take(self, rows: Index | slice) -> Visits:
        """Return the visits of some rows."""
        return Visits(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    @staticmethod
    def joined(parts: list[Visits]) -> Visits:
        """Concatenate the visits of the parts."""
        if len(parts) == 1:
            return parts[0]
        return Visits(
            **{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(Visits)}
        )


class DayWeights:
    """Weights of a population on a UTC day, from which every slice of the day is drawn."""

    def __init__(self, population: Population, day_ms: int) -> None:
        self.population = population
        self.day_ms = day_ms
        today = utc_day(day_ms)
        self.campaign = seasonality.campaign_on(today)
        self.activity = population.activity(day_ms, day_ms + DAY_MS, seasonality.season(today))

    def cumulative(self, part: Slice) -> Float:
        """Return the running sum of the customers' chances to begin a visit in a slice of the day."""
        weight = self.activity
        if part.start_ms > self.day_ms:
            weight = np.where(self.population.dropout_ms > part.start_ms, weight, np.float32(0))
        if part.end_ms - part.start_ms < DAY_MS:
            share = seasonality.share_of_day(part.start_ms - self.day_ms, part.end_ms - self.day_ms)
            weight = weight * share.astype(np.float32)[self.population.zone]
        total: Float = np.cumsum(weight, dtype=np.float64)
        if total[-1] <= 0:  # every customer has left: the last one to leave stays
            total = np.cumsum(np.arange(len(weight)) == np.argmax(self.population.dropout_ms), dtype=np.float64)
        return total


def draw_visits(model: Model, weights: DayWeights, part: Slice, rng: np.random.Generator) -> Visits:
    """Draw the visits that begin in a slice. They have exactly `part.events` events.

    Customers who sign up in the slice visit at that moment. All other visits are drawn by activity: given the number of
    visits, independent Poisson processes are a multinomial draw by their rates.

    Args:
        model: model of the shop.
        weights: weights of the slice's day.
        part: slice to draw. Nothing is drawn if it has no events.
        rng: random generator. Its state advances.
    """
    signup_ms = weights.population.signup_ms
    first, last = np.searchsorted(signup_ms, [part.start_ms, part.end_ms])
    arrived = np.arange(first, last)
    parts = [_plan(model, weights, arrived, signup_ms[arrived], rng, first_visit=True)]
    total = int(parts[0].events().sum())
    cumulative: Float | None = None
    while total < part.events:
        cumulative = weights.cumulative(part) if cumulative is None else cumulative
        missing = (part.events - total) / EVENTS_PER_SESSION
        count = int(missing * 1.02 + 3 * np.sqrt(missing)) + 4
        customer = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
        customer = np.minimum(customer, len(cumulative) - 1)
        start_ms = weights.day_ms + seasonality.moments(
            weights.population.zone[customer],
            part.start_ms - weights.day_ms,
            part.end_ms - weights.day_ms,
            rng.random(count),
        )
        left_ms = weights.population.dropout_ms[customer]
        start_ms = np.where(left_ms > part.start_ms, np.minimum(start_ms, left_ms - 1), start_ms)
        parts.append(_plan(model, weights, customer, start_ms, rng, first_visit=False))
        total += int(parts[-1].events().sum())
    return _fitted(Visits.joined(parts), part.events)


def _fitted(visits: Visits, events: int) -> Visits:
    """Return the first visits that fit into a number of events. Extra page views fill the remainder."""
    if events == 0 or len(visits) == 0:
        return visits.take(slice(0, 0))
    running = np.cumsum(visits.events())
    fitting = int(np.searchsorted(running, events, side="right"))
    if fitting == 0:  # not even one visit fits: use one visit with that many page views
        nothing = np.zeros(1, np.int64)
        return dataclasses.replace(
            visits.take(slice(0, 1)),
            outcome=np.zeros(1, np.uint8),
            pages=nothing,
            searches=nothing,
            views=nothing,
            lines=nothing,
            removed=nothing,
            spare=np.asarray([events - 1], np.int64),
        )
    spare = np.bincount(np.arange(events - int(running[fitting - 1])) % fitting, minlength=fitting)
    return dataclasses.replace(visits.take(slice(0, fitting)), spare=spare.astype(np.int64))


def _plan(
    model: Model, weights: DayWeights, customer: Index, start_ms: Index, rng: np.random.Generator, *, first_visit: bool
) -> Visits:
    n = len(customer)
    people = weights.population
    fading = np.clip(
        1 - (people.dropout_ms[customer] - start_ms) / np.float64(DAY_MS) / people.fade_days[customer], 0, 1
    )
    probability = people.conversion[customer] * (1 - FADE_CONVERSION * fading)
    probability = np.minimum(probability * model.conversion_factor * weights.campaign.conversion, CONVERSION_MAX)
    if first_visit:
        probability = np.maximum(probability, FIRST_VISIT_CONVERSION)
    outcome = _outcomes(model, people, customer, fading, probability, rng)
    # fading customers stay for a shorter time
    length = 1 - FADE_LENGTH * fading
    pages = _extra(rng, EXTRA_PAGES, outcome, length)
    searches = _extra(rng, EXTRA_SEARCHES, outcome, length)
    carts = np.flatnonzero(outcome >= Outcome.CART)
    lines = np.zeros(n, np.int64)
    lines[carts] = 1 + rng.poisson(np.asarray(EXTRA_LINES)[outcome[carts]])
    views = _extra(rng, EXTRA_VIEWS, outcome, length) + np.where(outcome == Outcome.VIEW, 1, lines)
    removed = np.zeros(n, np.int64)
    removed[carts] = rng.binomial(lines[carts] - (outcome[carts] == Outcome.PURCHASE), REMOVE_SHARE)
    kind = people.kind[customer]
    mix = np.cumsum(np.asarray([t.channels for t in TYPES], np.float64), axis=1)
    own = (rng.random(n)[:, None] * mix[kind, -1:] >= mix[kind]).sum(axis=1).astype(np.uint8)
    by_acquisition = (rng.random(n) < CHANNEL_OF_ACQUISITION) | first_visit
    uniform = rng.random(n)
    mobile = people.mobile[customer]
    category = (rng.random(n, dtype=np.float32)[:, None] >= people.taste[customer]).sum(axis=1)
    return Visits(
        customer=customer,
        start_ms=start_ms,
        outcome=outcome,
        device=np.where(
            uniform < mobile, MOBILE, np.where(uniform < mobile + (1 - mobile) * TABLET_SHARE, TABLET, DESKTOP)
        ).astype(np.uint8),
        channel=np.where(by_acquisition, people.acquisition[customer], own).astype(np.uint8),
        category=np.minimum(category, len(CATEGORIES) - 1).astype(np.uint8),
        voucher=rng.random(n) < people.voucher[customer],
        pages=pages,
        searches=searches,
        views=views,
        lines=lines,
        removed=removed,
        spare=np.zeros(n, np.int64),
    )


def _outcomes(
    model: Model, people: Population, customer: Index, fading: Float, probability: Float, rng: np.random.Generator
) -> Code:
    n = len(customer)
    buys = rng.random(n) < probability
    cart_probability = np.minimum(model.cart_share * people.cart_factor[customer] * (1 + FADE_CARTS * fading), 0.95)
    fills = rng.random(n) < cart_probability
    further = rng.random(n)
    return np.select(
        [buys, fills & (further < CHECKOUT_SHARE), fills, further < BOUNCE_SHARE],
        [Outcome.PURCHASE, Outcome.CHECKOUT, Outcome.CART, Outcome.BOUNCE],
        Outcome.VIEW,
    ).astype(np.uint8)


def _extra(rng: np.random.Generator, means: tuple[float, ...], outcome: Code, length: Float) -> Index:
    """Draw geometric numbers from 0 with the mean of each outcome, shortened by `length`."""
    mean = np.asarray(means)[outcome] * length
    return np.minimum(rng.geometric(1 / (1 + mean)) - 1, BROWSE_MAX)
