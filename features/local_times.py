"""Converts local times and days of a zone to UTC, including the times and days that a zone skips or repeats."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from features.schema import DAY_MS

_OFFSET_MS_MAX: Final = 16 * 3_600_000
"""More than the largest offset of any zone."""


def zone_name(name: str) -> str:
    """Return the name if it is an IANA time zone. Raises ValueError with a readable message."""
    try:
        ZoneInfo(name)
        pl.Series([], dtype=pl.Datetime("ms")).dt.replace_time_zone(name)
    except (KeyError, ValueError, OSError, pl.exceptions.PolarsError):
        raise ValueError(f"{name!r} is not a time zone of the IANA database, such as Europe/Berlin") from None
    return name


def utc_ms(wall: pl.Series, zone: str) -> pl.Series:
    """Convert local times to epoch milliseconds.

    Args:
        wall: local times as int64 milliseconds since 1970-01-01 00:00 of the zone's clock.
        zone: IANA name.

    Returns:
        int64 epoch milliseconds. An ambiguous time is the earlier one; a time that does not exist is null.
    """
    if zone == "UTC":
        return wall
    local = wall.cast(pl.Datetime("ms")).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.epoch("ms")


def wall_ms(ms: pl.Series, zone: str) -> pl.Series:
    """Convert epoch milliseconds to the zone's clock, as milliseconds since 1970-01-01 00:00 of that clock."""
    return ms.cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.epoch("ms")


def first_instants(days: pl.Series, zone: str) -> pl.Series:
    """Return the first instant of each day, also where midnight does not exist.

    Args:
        days: days since 1970-01-01, integers.
        zone: IANA name.

    Returns:
        int64 epoch milliseconds; null for a day that the zone skipped.
    """
    if zone == "UTC":
        return days.cast(pl.Int64) * DAY_MS
    different = days.cast(pl.Int64).unique().drop_nulls().rename("day")
    midnights = different * DAY_MS
    table = pl.DataFrame({"day": different, "ms": utc_ms(midnights, zone)})
    skipped = table["ms"].is_null()
    if skipped.any():
        late = midnights.filter(skipped)
        table = pl.concat(
            [table.filter(~skipped), pl.DataFrame({"day": late // DAY_MS, "ms": _transitions(late, zone)})]
        )
    return days.cast(pl.Int64).to_frame("day").join(table, on="day", how="left", maintain_order="left")["ms"]


def _transitions(midnights: pl.Series, zone: str) -> pl.Series:
    """Return the first instants at or after midnights that do not exist; null if the whole day does not."""
    low, high = midnights - _OFFSET_MS_MAX, midnights + _OFFSET_MS_MAX
    while (high - low > 1).any():
        middle = (low + high) // 2
        reached = wall_ms(middle, zone) >= midnights
        low, high = middle.zip_with(~reached, low), middle.zip_with(reached, high)
    same_day = wall_ms(high, zone) < midnights + DAY_MS
    return high.zip_with(same_day, pl.Series([None], dtype=pl.Int64).new_from_index(0, len(high)))
