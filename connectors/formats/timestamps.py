"""Times as foreign files write them: local to a zone where they say none, in the forms of ISO 8601 that people use."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

MILLIS: Final = pl.Datetime("ms", "UTC")
OFFSET: Final = r"(?:[zZ]|[+-]\d{2}:?\d{2})$"
"""Ends a time that says its own zone."""


def zone_name(name: str) -> str:
    """The name, when it is one of the IANA database. Raises ValueError, in words."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone of the IANA database, such as Europe/Berlin") from None
    return name


def utc(moment: pl.Expr, zone: str) -> pl.Expr:
    """Local times of a zone as MILLIS: one that comes twice is the earlier, one that never comes is null.

    Args:
        moment: datetimes without a zone.
        zone: IANA name.
    """
    local = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(MILLIS)


def iso_times(text: pl.Expr, zone: str) -> pl.Expr:
    """2025-01-31, 2025-01-31 18:00, with or without seconds and fractions, with or without an offset, as MILLIS.

    Args:
        text: without blanks around it.
        zone: IANA name, of the times that have no offset.

    Returns:
        Null for what is no time.
    """
    full = (
        text.str.replace(r"^(\d{4}-\d{2}-\d{2}) +", "${1}T")
        .str.replace(r"[zZ]$", "+00:00")
        .str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00")
        .str.replace(r"T(\d{2}:\d{2})($|[+-])", "T${1}:00${2}")
    )
    aware = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False)
    naive = full.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return pl.when(full.str.contains(OFFSET)).then(aware.cast(MILLIS)).otherwise(utc(naive, zone))
