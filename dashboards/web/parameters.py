"""Parses and bounds the query parameters of the page. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from dashboards.panels import Dashboard, Span
from dashboards.validation import DAYS_MAX
from features.calendar import Calendar, Unit, day_number
from features.errors import UsageError
from features.schema import DAY_MS, HOUR_MS

VALUES_MAX: Final = 50
"""Most values of one filter."""
CHARS_MAX: Final = 512
"""Most characters of one value: no id in an index is longer."""

Filters = Mapping[str, tuple[str, ...]]
"""Field -> allowed values; a document has one of them."""

PERIODS: Final[Mapping[str, tuple[Unit, int]]] = MappingProxyType(
    {
        "today": ("day", 0), "yesterday": ("day", -1), "this_week": ("week", 0), "last_week": ("week", -1),
        "this_month": ("month", 0), "last_month": ("month", -1), "this_quarter": ("quarter", 0),
        "last_quarter": ("quarter", -1), "this_year": ("year", 0), "last_year": ("year", -1),
    }
)  # fmt: skip
"""Name of a period of the calendar -> its unit, and the number of units after the one of the newest document."""

_LAST: Final = re.compile(r"([1-9][0-9]{0,4})([hd])")
_UNITS: Final = {"h": HOUR_MS, "d": DAY_MS}
_AGAIN: Final = "Open the page again without it."


@dataclass(frozen=True, slots=True)
class Query:
    """A time range and filters.

    Attributes:
        length_ms: length of a time range that ends at the newest document.
        days: numbers of local days, used instead of `length_ms` if given.
        period: name of a period, used instead of `length_ms` if given: a key of `PERIODS`.
        filters: filters that the dashboard offers.
    """

    length_ms: int
    days: range | None = None
    period: str | None = None
    filters: Filters = field(default_factory=dict)

    def span_to(self, end_ms: int, calendar: Calendar) -> Span:
        """Return the time range if the newest document is just before `end_ms`, epoch ms."""
        if self.days is not None:
            return Span(calendar.day_start_ms(self.days.start), calendar.day_start_ms(self.days.stop))
        if self.period is not None:
            unit, later = PERIODS[self.period]
            start, end = (calendar.unit_start_ms(unit, max(end_ms - 1, 0), later + one) for one in (0, 1))
            # a period that is not over ends with the data
            return Span(start, min(end, max(end_ms, start + 1)))
        return Span(end_ms - self.length_ms, end_ms)


def parse_query(dashboard: Dashboard, parameters: Mapping[str, Sequence[str]]) -> Query:
    """Return the requested time range and filters of a dashboard.

    Args:
        dashboard: dashboard that defines the filters and the default time range.
        parameters: query parameters: `last=24h`, or `period=this_month`, or `from` and `to` as inclusive local days,
            and filters by field.

    Raises:
        UsageError: a parameter is unknown or out of bounds.
    """
    offered = [control.field for control in dashboard.controls]
    rest = {name: values for name, values in parameters.items() if name not in ("last", "period", "from", "to")}
    return Query(
        _length(single_value(parameters, "last") or f"{dashboard.days}d"),
        _days(single_value(parameters, "from"), single_value(parameters, "to")),
        _period(single_value(parameters, "period")),
        filters_of(rest, offered),
    )


def filters_of(parameters: Mapping[str, Sequence[str]], offered: Sequence[str]) -> Filters:
    """Return parameters as filters.

    Raises:
        UsageError: a filter is not offered, has too many values, or has a value that is too long.
    """
    filters = {}
    for name, values in parameters.items():
        if name not in offered:
            raise UsageError(f"There is no filter {name[:100]!r} here.", _AGAIN)
        if len(values) > VALUES_MAX or any(len(value) > CHARS_MAX for value in values):
            raise UsageError(
                f"The filter {name} has too many values, or too long ones.", f"Choose at most {VALUES_MAX} values."
            )
        filters[name] = tuple(values)
    return filters


def single_value(parameters: Mapping[str, Sequence[str]], name: str) -> str:
    """Return the single value of a parameter; empty if it is missing. Raises UsageError for several values."""
    values = parameters.get(name, ())
    if len(values) > 1:
        raise UsageError(f"The parameter {name} appears twice.", _AGAIN)
    value = values[0] if values else ""
    if len(value) > CHARS_MAX:
        raise UsageError(f"The parameter {name} is too long.", _AGAIN)
    return value


def number_of(parameters: Mapping[str, Sequence[str]], name: str, default: int, most: int) -> int:
    """Return a whole number from 0 to `most`. Raises UsageError for anything else."""
    text = single_value(parameters, name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > most:
        raise UsageError(f"{name} must be a number from 0 to {most}.", _AGAIN)
    return int(text)


def _length(text: str) -> int:
    match = _LAST.fullmatch(text)
    length = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < length <= DAYS_MAX * DAY_MS:
        raise UsageError(
            f"The time range {text[:50]!r} cannot be shown.", f"Give hours or days, up to {DAYS_MAX}d: last=24h."
        )
    return length


def _days(first: str, last: str) -> range | None:
    if not first and not last:
        return None
    if not first or not last:
        raise UsageError("A range of days has two ends.", "Give both, from and to, as 2026-05-20.")
    days = range(day_number(first), day_number(last) + 1)
    if not 0 < len(days) <= DAYS_MAX:
        raise UsageError(
            f"From {first} to {last} cannot be shown.", f"Give up to {DAYS_MAX} days, the first one first."
        )
    return days


def _period(name: str) -> str | None:
    if name and name not in PERIODS:
        raise UsageError(f"There is no period {name[:50]!r}.", f"Choose from {', '.join(PERIODS)}.")
    return name or None
