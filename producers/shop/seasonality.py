"""Models when people shop: hour, weekday, season and campaigns. Pure functions of the calendar, future included."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from features.schema import DAY_MS, HOUR_MS
from producers.shop.random_streams import Stream, generator

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

# share of a day's visits that begin in each local hour: lowest at four, a plateau by day, a peak in the evening
HOUR_WEIGHT: Final = (
    1.5, 0.8, 0.5, 0.35, 0.35, 0.6, 1.3, 2.4, 3.4, 4.3, 5.0, 5.3,
    5.4, 5.0, 4.8, 4.8, 5.0, 5.4, 6.0, 7.0, 8.0, 8.2, 6.4, 3.6,
)  # fmt: skip
WEEKDAY_WEIGHT: Final = (1.04, 0.99, 0.97, 0.97, 0.93, 0.96, 1.14)
"""Visits by weekday, Monday first."""
DAY_NOISE_SIGMA: Final = 0.05
"""Log-normal noise of a day's visits: weather, press, randomness."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """Days on which the shop advertises: more visits, higher conversion, lower prices."""

    name: str
    traffic: float
    conversion: float
    price: float
    """Factor on every list price."""


NO_CAMPAIGN: Final = Campaign("none", 1.0, 1.0, 1.0)
SPRING: Final = Campaign("spring", 1.25, 1.15, 0.90)
SUMMER_SALE: Final = Campaign("summer sale", 1.30, 1.15, 0.85)
BLACK_WEEK: Final = Campaign("black week", 1.80, 1.35, 0.80)


def campaign_on(day: date) -> Campaign:
    """Return a day's campaign: 10-19 April, 1-14 July, the Monday before to the Monday after Black Friday."""
    if day.month == 4 and 10 <= day.day <= 19:
        return SPRING
    if day.month == 7 and day.day <= 14:
        return SUMMER_SALE
    november = date(day.year, 11, 1)
    fourth_thursday = november + timedelta(days=(3 - november.weekday()) % 7 + 21)
    if -3 <= (day - fourth_thursday).days <= 4:
        return BLACK_WEEK
    return NO_CAMPAIGN


def season(day: date) -> float:
    """Return the factor of the season: a mild winter wave and the weeks before Christmas."""
    of_year = day.timetuple().tm_yday
    wave = 0.08 * np.cos(2 * np.pi * (of_year - 340) / 365.25)
    christmas = 0.30 * np.exp(-(((of_year - 346) / 9.0) ** 2) / 2)
    return float(1 + wave + christmas)


def traffic(seed: int, day: date) -> float:
    """Return the factor on all visits of a UTC day, noise included."""
    noise = generator(seed, Stream.DAY_NOISE, day.toordinal()).normal(-(DAY_NOISE_SIGMA**2) / 2, DAY_NOISE_SIGMA)
    return float(season(day) * WEEKDAY_WEIGHT[day.weekday()] * campaign_on(day).traffic * np.exp(noise))


def _cumulative(utc_offset_h: int) -> Float:
    by_utc_hour = np.roll(np.asarray(HOUR_WEIGHT, np.float64), -utc_offset_h)
    return np.concatenate([[0.0], np.cumsum(by_utc_hour) / by_utc_hour.sum()])


UTC_OFFSETS_H: Final = (0, 1, -5)
"""Time zones of the customers, always in standard time."""
_CUMULATIVE: Final = tuple(_cumulative(offset) for offset in UTC_OFFSETS_H)
_HOURS_MS: Final = np.arange(25, dtype=np.float64) * HOUR_MS


def share_of_day(start_in_day_ms: int, end_in_day_ms: int) -> Float:
    """Return the share of a UTC day's visits that begin in a part of it, by time zone."""
    span = np.asarray([start_in_day_ms, end_in_day_ms], np.float64)
    return np.asarray([np.diff(np.interp(span, _HOURS_MS, curve))[0] for curve in _CUMULATIVE])


def moments(zone: npt.NDArray[np.uint8], start_in_day_ms: int, end_in_day_ms: int, uniform: Float) -> Index:
    """Draw times of day, ms, from the hourly seasonality of each zone within [start, end) by inverse transform.

    Args:
        zone: index into UTC_OFFSETS_H for each draw.
        start_in_day_ms: start of the part of the day.
        end_in_day_ms: end of the part, at most a day.
        uniform: one number in [0, 1) for each draw.
    """
    result = np.empty(len(zone), np.int64)
    for index, curve in enumerate(_CUMULATIVE):
        chosen = zone == index
        low, high = np.interp([start_in_day_ms, end_in_day_ms], _HOURS_MS, curve)
        result[chosen] = np.interp(low + uniform[chosen] * (high - low), curve, _HOURS_MS)
    return np.clip(result, start_in_day_ms, min(end_in_day_ms, DAY_MS) - 1)
