"""Draws customers from latent types, with individual purchase rates, lifetimes and habits.

Uses a buy-till-you-die process (Pareto/NBD). While a customer is active, orders follow a Poisson process whose rate is
Gamma distributed over customers. The drop-out time is exponential with a rate that is Gamma distributed over customers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.schema import DAY_MS
from producers.shop.catalogue import CATEGORIES
from producers.shop.random_streams import Stream, generator

Float32 = npt.NDArray[np.float32]
Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Code = npt.NDArray[np.uint8]

CHANNELS: Final = ("direct", "organic_search", "paid_search", "email", "social", "referral", "affiliate")


@dataclass(frozen=True, slots=True)
class CustomerType:
    """Latent customer type. Rates are relative to the other types. The shop's size scales all of them."""

    name: str
    share: float
    orders: float
    """Mean purchase rate."""
    orders_shape: float
    """Shape of the Gamma over customers: low means unequal."""
    conversion: float
    """Mean of the Beta over customers: share of visits with a purchase."""
    lifetime_days: float
    """Mean time from sign-up to drop-out."""
    mobile: float
    channels: tuple[float, ...]
    """Weight of each of CHANNELS."""
    favourites: tuple[str, ...]
    """Categories with three times the weight for this type."""
    price_bias: float
    """-1 prefers the dearer of two products, +1 the cheaper one."""
    voucher: float
    """Share of purchases paid with a voucher."""
    refund: float
    """Share of orders returned."""
    gift: float
    """Strength of the season's effect on the visits."""
    age: float
    premium: float


TYPES: Final = (
    CustomerType("loyal", 0.14, 2.6, 2.0, 0.17, 1400, 0.50, (34, 14, 8, 26, 8, 6, 4),
                 ("home", "kitchen", "beauty"), 0.0, 0.12, 0.05, 0.5, 44, 0.45),
    CustomerType("regular", 0.28, 1.1, 1.6, 0.12, 620, 0.58, (24, 24, 16, 16, 10, 5, 5),
                 ("fashion", "books", "sports"), 0.1, 0.15, 0.06, 0.5, 39, 0.15),
    CustomerType("bargain", 0.20, 1.2, 1.4, 0.08, 420, 0.66, (12, 18, 18, 24, 12, 4, 12),
                 ("fashion", "toys", "groceries"), 0.6, 0.50, 0.08, 0.3, 36, 0.06),
    CustomerType("seasonal", 0.18, 0.45, 1.2, 0.14, 520, 0.55, (14, 28, 26, 10, 12, 6, 4),
                 ("toys", "books", "beauty"), -0.1, 0.20, 0.07, 3.0, 47, 0.05),
    CustomerType("browser", 0.14, 0.45, 1.2, 0.035, 330, 0.74, (14, 24, 14, 10, 28, 6, 4),
                 ("fashion", "shoes", "electronics"), 0.2, 0.20, 0.12, 0.3, 29, 0.04),
    CustomerType("premium", 0.06, 1.7, 1.8, 0.15, 900, 0.42, (36, 16, 10, 18, 6, 10, 4),
                 ("electronics", "shoes", "garden"), -0.6, 0.05, 0.09, 0.5, 48, 0.70),
)  # fmt: skip
TYPE_NAMES: Final = tuple(kind.name for kind in TYPES)

COUNTRIES: Final = {  # country: (share, index into seasonality.UTC_OFFSETS_H)
    "DE": (0.34, 1), "FR": (0.14, 1), "GB": (0.13, 0), "NL": (0.08, 1), "AT": (0.06, 1), "CH": (0.05, 1),
    "ES": (0.06, 1), "IT": (0.06, 1), "PL": (0.04, 1), "US": (0.04, 2),
}  # fmt: skip
COUNTRY_NAMES: Final = tuple(COUNTRIES)

ESTABLISHED_SHARE: Final = 0.45
"""Share of customers who signed up before history begins. The others arrive within it."""
ESTABLISHED_DAYS: Final = 730
GROWTH_PER_YEAR: Final = 0.35
"""Exponential growth of arrivals per year."""
LIFETIME_SHAPE: Final = 2.5
"""Shape of the Gamma of drop-out rates: lifetimes are Lomax distributed."""
CONVERSION_CONCENTRATION: Final = 14.0
CONVERSION_RANGE: Final = (0.008, 0.6)
FADE_DAYS: Final = (15.0, 75.0)
FADE_VISITS: Final = 0.80
"""Share of the visits lost at complete fading."""
PAUSE_SHARE: Final = 0.4
PAUSE_VISITS: Final = 0.15
"""Share of visits during a pause. Some customers pause for weeks (holidays, other shops) and return: fading without
drop-out.
"""


@dataclass(frozen=True, slots=True)
class Population:
    """Customers as columns, ordered by sign-up. Row i is customer number `first_number` + i. Rates are unscaled."""

    kind: Code
    """Index into TYPES."""
    signup_ms: Index
    dropout_ms: Index
    """Drop-out time: no session begins at or after it."""
    fade_days: Float32
    """Length of the fading of activity before the drop-out."""
    visit_rate: Float32
    """Visits per day, up to a factor common to all customers."""
    conversion: Float32
    """Share of visits with a purchase, up to a factor common to all customers."""
    cart_factor: Float32
    gift: Float32
    mobile: Float32
    taste: Float32
    """Cumulative shares of the categories, shape (n, categories)."""
    price_bias: Float32
    voucher: Float32
    refund: Float32
    country: Code
    """Index into COUNTRY_NAMES."""
    zone: Code
    """Index into seasonality.UTC_OFFSETS_H."""
    acquisition: Code
    """Index into CHANNELS."""
    pause_period_days: Float32
    pause_phase_days: Float32
    pause_days: Float32

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: Index) -> Population:
        """Return the customers of some rows."""
        return Population(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    def joined(self, later: Population) -> Population:
        """Append customers who arrived later."""
        if len(later) == 0:
            return self
        return Population(
            **{
                f.name: np.concatenate([getattr(self, f.name), getattr(later, f.name)])
                for f in dataclasses.fields(self)
            }
        )

    def fading(self, time_ms: int) -> Float32:
        """Return the fading of each customer at a time: 0 until the fading begins, 1 at the drop-out."""
        left_days = (self.dropout_ms - time_ms).astype(np.float32) / np.float32(DAY_MS)
        faded: Float32 = np.clip(1 - left_days / self.fade_days, 0, 1)
        return faded

    def activity(self, start_ms: int, end_ms: int, season: float) -> Float32:
        """Return the expected visits of each customer in a part of a day, up to factors common to all customers.

        Args:
            start_ms: start of the part, epoch ms. Customers who sign up later have no weight.
            end_ms: end of the part. Fading and pauses are those of its middle.
            season: factor of the season, 1 on average.
        """
        middle_ms = (start_ms + end_ms) // 2
        weight = self.visit_rate * (1 - np.float32(FADE_VISITS) * self.fading(middle_ms))
        weight *= gift_factor(self.gift, season)
        into_period = (middle_ms / DAY_MS + self.pause_phase_days.astype(np.float64)) % self.pause_period_days
        weight = np.where(into_period < self.pause_days, weight * np.float32(PAUSE_VISITS), weight)
        here = (self.signup_ms <= start_ms) & (self.dropout_ms > start_ms)
        return np.where(here, weight, np.float32(0))


def gift_factor(gift: Float32, season: float) -> Float32:
    """Return the factor of the season on the visits of customers by their `gift`; 1 in an average season."""
    factor: Float32 = np.maximum(1 + gift * np.float32(season - 1), np.float32(0.1))
    return factor


def _pick(rng: np.random.Generator, weights: Float, rows: Index | None, count: int) -> Code:
    """Draw indices into the last axis of `weights` by its shares; row by row if `rows` is given."""
    cumulative = np.cumsum(weights, axis=-1)
    cumulative /= cumulative[..., -1:]
    uniform = rng.random(count)
    if rows is None:
        return np.searchsorted(cumulative, uniform, side="right").astype(np.uint8)
    chosen: Code = (uniform[:, None] >= cumulative[rows]).sum(axis=1).astype(np.uint8)
    return chosen


def _by_type(field: str) -> Float:
    return np.asarray([getattr(kind, field) for kind in TYPES], np.float64)


def _taste(rng: np.random.Generator, kind: Code) -> Float32:
    base = np.asarray([c.taste for c in CATEGORIES])
    liked = np.asarray([[3.0 if c.name in kind_.favourites else 1.0 for c in CATEGORIES] for kind_ in TYPES])
    weight = (base * liked)[kind].astype(np.float32)
    # normalised Gamma draws are Dirichlet: each customer strongly prefers a few categories
    weight = rng.standard_gamma(weight / weight.sum(axis=1, keepdims=True) * 4, dtype=np.float32) + np.float32(1e-3)
    cumulative = np.cumsum(weight, axis=1)
    cumulative /= cumulative[:, -1:]
    cumulative[:, -1] = 1
    return cumulative


def _lifetimes_ms(rng: np.random.Generator, kind: Code, age_days: Float) -> Index:
    """Draw the remaining time to drop-out of customers who are alive at an age.

    Given survival to age T, a Gamma(s, b) drop-out rate is Gamma(s, b + T), and the exponential is memoryless.
    """
    scale = _by_type("lifetime_days")[kind] * (LIFETIME_SHAPE - 1) + age_days
    rate = rng.standard_gamma(LIFETIME_SHAPE, len(kind)) / scale
    left_days = rng.standard_exponential(len(kind)) / rate
    return (np.clip(left_days, 0.1, 36_500) * DAY_MS).astype(np.int64)


def draw_customers(rng: np.random.Generator, signup_ms: Index, alive_ms: int | None = None) -> Population:
    """Draw customers who sign up at given times.

    Args:
        rng: random generator. Its state advances.
        signup_ms: sign-up times, epoch ms, ascending.
        alive_ms: time at which all of them are known to be alive; default: each customer's sign-up.
    """
    n = len(signup_ms)
    kind = _pick(rng, _by_type("share"), None, n)
    shape = _by_type("orders_shape")[kind]
    order_rate = rng.standard_gamma(shape) * _by_type("orders")[kind] / shape
    mean = _by_type("conversion")[kind]
    conversion = rng.beta(mean * CONVERSION_CONCENTRATION, (1 - mean) * CONVERSION_CONCENTRATION)
    conversion = np.clip(conversion, *CONVERSION_RANGE)
    known_ms = signup_ms if alive_ms is None else np.full(n, alive_ms, np.int64)
    country = _pick(rng, np.asarray([share for share, _ in COUNTRIES.values()]), None, n)
    channels = np.asarray([kind_.channels for kind_ in TYPES], np.float64)
    mobile = _by_type("mobile")[kind]
    refund = _by_type("refund")[kind]
    pauses = rng.random(n) < PAUSE_SHARE
    period = rng.uniform(120, 400, n)

    def single(values: Float) -> Float32:
        return values.astype(np.float32)

    return Population(
        kind=kind,
        signup_ms=signup_ms.astype(np.int64),
        dropout_ms=known_ms + _lifetimes_ms(rng, kind, (known_ms - signup_ms) / DAY_MS),
        fade_days=single(rng.uniform(*FADE_DAYS, n)),
        visit_rate=single(order_rate / conversion),
        conversion=single(conversion),
        cart_factor=single(np.exp(rng.normal(-0.08, 0.4, n))),
        gift=single(_by_type("gift")[kind] * rng.uniform(0.5, 1.5, n)),
        mobile=single(rng.beta(mobile * 3, (1 - mobile) * 3)),
        taste=_taste(rng, kind),
        price_bias=single(np.clip(_by_type("price_bias")[kind] + rng.normal(0, 0.2, n), -1, 1)),
        voucher=single(rng.beta(_by_type("voucher")[kind] * 6, (1 - _by_type("voucher")[kind]) * 6)),
        refund=single(rng.beta(refund * 12, (1 - refund) * 12)),
        country=country,
        zone=np.asarray([zone for _, zone in COUNTRIES.values()], np.uint8)[country],
        acquisition=_pick(rng, channels, kind.astype(np.int64), n),
        pause_period_days=single(period),
        pause_phase_days=single(rng.uniform(0, 1, n) * period),
        pause_days=single(np.where(pauses, rng.uniform(10, 45, n), 0)),
    )


def established(customers: int) -> int:
    """Return the number of customers who signed up before history begins; at least one."""
    return max(1, round(customers * ESTABLISHED_SHARE))


def arrivals_until(arrivals: int, history_days: int, day: float) -> float:
    """Return the expected arrivals from the start of history to a day of it or after it, with exponential growth."""
    growth = np.log1p(GROWTH_PER_YEAR) / 365.25
    return float(arrivals * np.expm1(growth * day) / np.expm1(growth * history_days))


def draw_initial(seed: int, customers: int, start_ms: int, days: int) -> Population:
    """Draw the customers at the end of history: established ones, then arrivals within it."""
    rng = generator(seed, Stream.POPULATION)
    old = established(customers)
    # older customers are rarer: some early ones left before history begins and are not drawn
    ages_ms = np.sort(rng.triangular(0, 0, ESTABLISHED_DAYS, old))[::-1] * DAY_MS
    signup_ms = start_ms - np.maximum(ages_ms.astype(np.int64), 1)
    first = draw_customers(rng, signup_ms, start_ms)
    growth = np.log1p(GROWTH_PER_YEAR) / 365.25
    quantile = np.sort(rng.random(customers - old))
    days_in = np.log1p(quantile * np.expm1(growth * days)) / growth
    arrived_ms = start_ms + np.minimum(days_in * DAY_MS, days * DAY_MS - 1).astype(np.int64)
    return first.joined(draw_customers(rng, arrived_ms))


def draw_arrivals(seed: int, customers: int, start_ms: int, days: int, day: int) -> Population:
    """Draw the customers who sign up on a day after history.

    Args:
        seed: seed of the shop.
        customers: number of customers at the end of history.
        start_ms: start of history, a UTC midnight.
        days: length of history.
        day: days since the start of history, at least `days`.
    """
    arrived = customers - established(customers)
    count = int(arrivals_until(arrived, days, day + 1)) - int(arrivals_until(arrived, days, day))
    rng = generator(seed, Stream.ARRIVALS, day)
    signup_ms = start_ms + day * DAY_MS + np.sort(rng.integers(0, DAY_MS, count))
    return draw_customers(rng, signup_ms)
