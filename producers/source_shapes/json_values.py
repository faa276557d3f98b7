"""Writes amounts, ids and times as the JSON of other systems has them."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from connectors.tables.records import float_text
from features.schema import DAY_MS, SECOND_MS

encode: Final = msgspec.json.Encoder().encode
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_MINUTE: Final = timedelta(minutes=1)
_INT64_DIGITS: Final = 18


@functools.lru_cache(maxsize=100_000)
def amount_text(amount: float, decimals: int = 0) -> str:
    """Return the shortest decimal that reads as the same float64, with at least `decimals` digits after the point."""
    text = float_text(amount + 0.0) or "0"
    if not decimals:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(decimals, '0')}"


def number(amount: float) -> msgspec.Raw:
    """Return an amount as a JSON number without an exponent."""
    return msgspec.Raw(amount_text(amount).encode())


def id_value(text: str) -> int | str:
    """Return an id as these systems write it: a number if it is one, otherwise the text."""
    plain = text.isascii() and text.isdecimal() and text[0] != "0" and len(text) <= _INT64_DIGITS
    return int(text) if plain else text


def moment_of(time_ms: int) -> datetime:
    """Return the UTC datetime of epoch ms."""
    return _EPOCH + time_ms * _MS


def iso_text(time_ms: int) -> str:
    """Return `2026-05-04T10:00:00.123Z`."""
    seconds, ms = divmod(time_ms % DAY_MS, SECOND_MS)
    return f"{_day_text(time_ms // DAY_MS)}T{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}Z"


@functools.lru_cache(maxsize=1_000)
def _day_text(day: int) -> str:
    return str(moment_of(day * DAY_MS).date())


def local_text(time_ms: int, zone: ZoneInfo, *, offset: bool) -> str:
    """Return `2026-05-04T12:00:00+02:00` of a zone, with milliseconds only where they are not 0.

    Args:
        time_ms: epoch ms.
        zone: time zone. An offset with seconds, such as Monrovia's of 1970, has no form in ISO 8601: that time is UTC.
        offset: whether the offset is written.
    """
    moment = moment_of(time_ms).astimezone(zone)
    if offset and moment.utcoffset() % _MINUTE:  # type: ignore[operator]  # a zone always has an offset
        moment = moment.astimezone(UTC)
    return (moment if offset else moment.replace(tzinfo=None)).isoformat(
        timespec="milliseconds" if time_ms % 1_000 else "seconds"
    )


def without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
