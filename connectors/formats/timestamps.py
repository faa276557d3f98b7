"""Parses times of foreign files: ISO 8601 in its common forms, local to a given zone if they have no offset."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

MILLIS: Final = pl.Datetime("ms", "UTC")
OFFSET: Final = r"(?:[zZ]|[+-]\d{2}:?\d{2})$"
"""Matches the offset at the end of a time."""


def zone_name(name: str) -> str:
    """Return the name if it is an IANA time zone. Raises ValueError with a readable message."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone of the IANA database, such as Europe/Berlin") from None
    return name


def utc(moment: pl.Expr, zone: str) -> pl.Expr:
    """Convert local times of a zone to MILLIS. An ambiguous time becomes the earlier one, a non-existent time null.

    Args:
        moment: datetimes without a zone.
        zone: IANA name.
    """
    local = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").cast(MILLIS)


def iso_times(text: pl.Expr, zone: str) -> pl.Expr:
    """Parse 2025-01-31 or 2025-01-31 18:00, with optional seconds, fractions and offset, as MILLIS.

    Args:
        text: text without surrounding blanks.
        zone: IANA name of the zone of times without an offset.

    Returns:
        The times; null for invalid text.
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
