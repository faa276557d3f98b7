"""Defines a shop's parameters and calibrates the model to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS
from producers.archive.archive import utc_day
from producers.shop import seasonality
from producers.shop.catalogue import Catalogue, build_catalogue
from producers.shop.population import Population, draw_initial, established

HISTORY_ENDS_DAYS_AGO: Final = 14
"""Default end of history, so that a live shop has data to catch up with."""
EVENTS_PER_SESSION: Final = 7.1
"""Average of the funnel; used only as the first estimate of the number of sessions."""
FIRST_VISIT_CONVERSION: Final = 0.30
"""Minimum conversion of the first visit: customers who sign up often have come to buy."""
FADE_CONVERSION: Final = 0.70
"""Share of the conversion lost at complete fading."""
FADE_CARTS: Final = 0.40
"""Increase of abandoned carts at complete fading."""
CONVERSION_MAX: Final = 0.85
_SAMPLE: Final = 20_000
"""Evenly chosen customers that represent all customers in the calibration."""
_SAMPLE_DAYS: Final = 24


class Shop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All parameters of a history. Equal shops produce equal bytes."""

    end_ms: Annotated[int, Meta(ge=1)]
    """End of history, exclusive; a UTC midnight, epoch ms."""
    seed: Annotated[int, Meta(ge=0)] = 1
    customers: Annotated[int, Meta(ge=1, le=9_999_999)] = 5_000
    """Number of customers at the end of history."""
    events: Annotated[int, Meta(ge=1)] = 1_000_000
    days: Annotated[int, Meta(ge=1, le=3_660)] = 365
    conversion: Annotated[float, Meta(ge=0.005, le=0.6)] = 0.107
    """Share of sessions with a purchase."""
    abandonment: Annotated[float, Meta(ge=0.05, le=0.95)] = 0.70
    """Share of sessions with a cart but without a purchase."""
    model: Literal[1] = 1
    """Version of the model. Another version draws other numbers."""

    @property
    def start_ms(self) -> int:
        """Start of history, a UTC midnight."""
        return self.end_ms - self.days * DAY_MS


def checked(shop: Shop) -> Shop:
    """Return the shop unchanged if it is valid.

    Raises:
        UsageError: a number is out of its bounds. The message names both.
    """
    try:
        msgspec.convert(msgspec.to_builtins(shop), Shop)
    except msgspec.ValidationError as error:
        raise UsageError(f"These parameters of a shop are invalid: {error}.", "Correct the option.") from error
    if shop.end_ms % DAY_MS:
        raise UsageError("History ends at a UTC midnight.", "Give the end as a date, for example 2025-06-01.")
    if shop.start_ms < DAY_MS:
        raise UsageError("History would begin before 1970-01-02.", "Give a later end or fewer days.")
    carts = shop.conversion / (1 - shop.abandonment)
    if carts > 0.95:
        raise UsageError(
            f"Conversion {shop.conversion:.0%} and {shop.abandonment:.0%} abandoned carts need carts in {carts:.0%} of "
            "sessions.",
            "Lower one of them.",
        )
    return shop


def shop_to_json(shop: Shop) -> str:
    """Return the text of `shop.json`."""
    return msgspec.json.format(msgspec.json.encode(shop), indent=2).decode() + "\n"


def shop_from_json(text: str) -> Shop:
    """Parse a `shop.json`; ShopstreamError if it is invalid or from another version of the model."""
    try:
        return checked(msgspec.json.decode(text, type=Shop))
    except msgspec.MsgspecError as error:
        raise ShopstreamError(f"This shop.json cannot be read: {error}.", "Generate the archive again.") from error


@dataclass(frozen=True, slots=True)
class Model:
    """Calibrated shop from which history and its live continuation are drawn."""

    shop: Shop
    catalogue: Catalogue
    population: Population
    """Customers at the end of history."""
    events_per_activity: float
    """Events per unit of activity x traffic; makes the expected size of history `shop.events`."""
    day_targets: npt.NDArray[np.int64]
    """Events of each day of history. Their sum is exactly `shop.events`."""
    conversion_factor: float
    cart_share: float
    """Share of the sessions without a purchase in which an average customer fills a cart."""


def day_activity(seed: int, population: Population, day: date, start_ms: int) -> float:
    """Return the activity of all customers on a UTC day times its traffic."""
    weight = population.activity(start_ms, start_ms + DAY_MS, seasonality.season(day))
    return float(weight.sum(dtype=np.float64)) * seasonality.traffic(seed, day)


def build(shop: Shop) -> Model:
    """Draw the catalogue and the population and fit the common factors; raise UsageError for an impossible shop."""
    checked(shop)
    population = draw_initial(shop.seed, shop.customers, shop.start_ms, shop.days)
    sample = population.take(np.linspace(0, len(population) - 1, min(len(population), _SAMPLE)).astype(np.int64))
    starts_ms = [shop.start_ms + day * DAY_MS for day in range(shop.days)]
    activity = np.asarray([day_activity(shop.seed, sample, utc_day(t), t) for t in starts_ms]) * (
        len(population) / len(sample)
    )
    total = activity.sum()
    edges = np.round(np.cumsum(activity) / total * shop.events).astype(np.int64)
    edges[-1] = shop.events
    conversion_factor, cart_share = _funnel(shop, sample)
    return Model(
        shop=shop,
        catalogue=build_catalogue(shop.seed),
        population=population,
        events_per_activity=shop.events / total,
        day_targets=np.diff(edges, prepend=0),
        conversion_factor=conversion_factor,
        cart_share=cart_share,
    )


def _funnel(shop: Shop, sample: Population) -> tuple[float, float]:
    """Return the factors that fit conversion and abandonment to the shop's targets, over customers, days and fading."""
    conversions, carts, weights = [], [], []
    for day in np.linspace(0, shop.days - 1, min(shop.days, _SAMPLE_DAYS)).astype(int):
        start_ms = shop.start_ms + int(day) * DAY_MS
        today = utc_day(start_ms)
        campaign = seasonality.campaign_on(today)
        fading = sample.fading(start_ms + DAY_MS // 2)
        weights.append(sample.activity(start_ms, start_ms + DAY_MS, seasonality.season(today)) * campaign.traffic)
        conversions.append(sample.conversion * (1 - FADE_CONVERSION * fading) * campaign.conversion)
        carts.append(sample.cart_factor * (1 + FADE_CARTS * fading))
    weight = np.concatenate(weights).astype(np.float64)
    conversion = np.concatenate(conversions)
    arrived = shop.customers - established(shop.customers)
    first_visits = min(arrived / (shop.events / EVENTS_PER_SESSION), 0.5)
    target = max(shop.conversion - first_visits * FIRST_VISIT_CONVERSION, shop.conversion * 0.2) / (1 - first_visits)
    factor = target / np.average(conversion, weights=weight)
    for _ in range(8):  # the upper bound of a session's probability lowers the result slightly
        reached = np.average(np.minimum(conversion * factor, CONVERSION_MAX), weights=weight)
        factor *= target / reached
    with_cart = shop.conversion / (1 - shop.abandonment)
    left_carts = (with_cart - shop.conversion) / (1 - shop.conversion)
    return float(factor), float(left_carts / np.average(np.concatenate(carts), weights=weight))
