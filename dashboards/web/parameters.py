"""Parses and bounds the query parameters of the page. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from dashboards.comparisons import dates_before, days_before, length_before, unit_before, year_before
from dashboards.panels import Dashboard, Span
from dashboards.validation import DAYS_MAX
from features.calendar import Calendar, Unit, day_number
from features.errors import UsageError
from features.schema import DAY_MS, HOUR_MS

VALUES_MAX: Final = 50
"""Most values of one filter."""
CHARS_MAX: Final = 512
"""Most characters of one value: no id in an index is longer."""
NAME_CHARS_MAX: Final = 100
"""Most characters of the name of an ignored parameter in a response."""

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

ALL_TIME: Final = "all"
"""Name of the period from the first to the newest document."""

COMPARISONS: Final[Mapping[str, str]] = MappingProxyType(
    {"previous": "previous period", "year": "year before", "custom": "compared days"}
)
"""Kind of a comparison -> the compared time range in words."""

_RANGES: Final = ("last", "period", "from", "to", "compare", "compare_from", "compare_to")
_LAST: Final = re.compile(r"([1-9][0-9]{0,4})([hd])")
_UNITS: Final = {"h": HOUR_MS, "d": DAY_MS}
_AGAIN: Final = "Open the page again without it."


@dataclass(frozen=True, slots=True)
class Query:
    """A time range, filters and a comparison.

    Attributes:
        length_ms: length of a time range that ends at the newest document.
        days: numbers of local days, used instead of `length_ms` if given.
        period: name of a period, used instead of `length_ms` if given: a key of `PERIODS`, or `ALL_TIME`.
        filters: filters that the dashboard offers.
        compare: kind of the comparison: a key of `COMPARISONS`; None: no comparison.
        compare_days: numbers of local days to compare with, of the kind `custom`.
        ignored: names of parameters that the dashboard does not have.
        first_ms: time of the first document, epoch ms, where `ALL_TIME` begins.
    """

    length_ms: int
    days: range | None = None
    period: str | None = None
    filters: Filters = field(default_factory=dict)
    compare: str | None = None
    compare_days: range | None = None
    ignored: tuple[str, ...] = ()
    first_ms: int | None = None

    def span_to(self, end_ms: int, calendar: Calendar) -> Span:
        """Return the time range if the newest document is just before `end_ms`, epoch ms."""
        if self.days is not None:
            start, end = calendar.day_start_ms(self.days.start), calendar.day_start_ms(self.days.stop)
            # days that are not over end with the data, so that a comparison has the same part of its days
            return Span(start, min(end, max(end_ms, start + 1)))
        if self.period == ALL_TIME:
            first_ms = end_ms - self.length_ms if self.first_ms is None else self.first_ms
            return Span(min(first_ms, end_ms - 1), end_ms)
        if self.period is not None:
            unit, later = PERIODS[self.period]
            start, end = (calendar.unit_start_ms(unit, max(end_ms - 1, 0), later + one) for one in (0, 1))
            # a period that is not over ends with the data
            return Span(start, min(end, max(end_ms, start + 1)))
        return Span(end_ms - self.length_ms, end_ms)

    def compared_span(self, span: Span, calendar: Calendar) -> Span | None:
        """Return the time range to compare with a time range of `span_to`; None without a comparison."""
        match self.compare:
            case None:
                return None
            case "custom":
                assert self.compare_days is not None
                days = self.compare_days
                return Span(calendar.day_start_ms(days.start), calendar.day_start_ms(days.stop))
            case "year":
                unit = None if self.period in (None, ALL_TIME) or self.days is not None else PERIODS[self.period][0]
                return year_before(span, calendar, unit)
            case _:
                return self._previous(span, calendar)

    def _previous(self, span: Span, calendar: Calendar) -> Span:
        if self.days is not None:
            return dates_before(span, len(self.days), calendar)
        if self.period == ALL_TIME:
            return length_before(span)
        if self.period is not None:
            return unit_before(span, PERIODS[self.period][0], calendar)
        if self.length_ms % DAY_MS == 0:
            return days_before(span, self.length_ms // DAY_MS, calendar)
        return length_before(span)


def parse_query(dashboard: Dashboard, parameters: Mapping[str, Sequence[str]]) -> Query:
    """Return the requested time range, filters and comparison of a dashboard.

    Args:
        dashboard: dashboard that defines the filters and the default time range.
        parameters: query parameters: `last=24h`, or `period=this_month`, or `from` and `to` as inclusive local days,
            filters by field, and `compare=previous`, `compare=year`, or `compare=custom` with `compare_from` and
            `compare_to`. Unknown parameters are ignored.

    Raises:
        UsageError: a parameter is out of bounds or appears twice.
    """
    offered = [control.field for control in dashboard.controls]
    compare, compare_days = _comparison(parameters)
    return Query(
        _length(single_value(parameters, "last") or f"{dashboard.days}d"),
        _days(single_value(parameters, "from"), single_value(parameters, "to")),
        _period(single_value(parameters, "period")),
        filters_of({name: values for name, values in parameters.items() if name in offered}, offered),
        compare,
        compare_days,
        tuple(name[:NAME_CHARS_MAX] for name in parameters if name not in (*offered, *_RANGES))[:VALUES_MAX],
    )


def filters_of(parameters: Mapping[str, Sequence[str]], offered: Sequence[str]) -> Filters:
    """Return parameters as filters.

    Raises:
        UsageError: a filter is not offered, has too many values, or has a value that is too long.
    """
    filters = {}
    for name, values in parameters.items():
        if name not in offered:
            raise UsageError(f"There is no filter {name[:NAME_CHARS_MAX]!r} here.", _AGAIN)
        if len(values) > VALUES_MAX or any(len(value) > CHARS_MAX for value in values):
            raise UsageError(
                f"The filter {name} has too many values, or one is too long.", f"Choose at most {VALUES_MAX} values."
            )
        filters[name] = tuple(values)
    return filters


def single_value(parameters: Mapping[str, Sequence[str]], name: str) -> str:
    """Return the single value of a parameter; empty if it is missing. Raises UsageError for several values."""
    values = parameters.get(name, ())
    if len(values) > 1:
        raise UsageError(f"{name!r} is given twice in the address.", _AGAIN)
    value = values[0] if values else ""
    if len(value) > CHARS_MAX:
        raise UsageError(f"The parameter {name} is too long.", _AGAIN)
    return value


def number_of(parameters: Mapping[str, Sequence[str]], name: str, default: int, most: int) -> int:
    """Return a whole number from 0 to `most`. Raises UsageError for anything else."""
    text = single_value(parameters, name) or str(default)
    is_number = re.fullmatch(r"[0-9]{1,9}", text) is not None
    if is_number and name == "first" and int(text) > most:
        raise UsageError(f"Only the first {most:,} rows can be paged.", "Narrow the list with filters.")
    if not is_number or int(text) > most:
        raise UsageError(f"{name} must be a number from 0 to {most}.", _AGAIN)
    return int(text)


def _length(text: str) -> int:
    match = _LAST.fullmatch(text)
    length = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < length <= DAYS_MAX * DAY_MS:
        raise UsageError(
            f"Unknown period {text[:50]!r}.", f"Use hours or days, for example last=24h (up to {DAYS_MAX}d)."
        )
    return length


def _days(first: str, last: str) -> range | None:
    if not first and not last:
        return None
    if not first or not last:
        raise UsageError("A custom period needs a start date and an end date.", "Give both, as 2026-05-20.")
    days = range(day_number(first), day_number(last) + 1)
    if not days:
        raise UsageError("The start date is after the end date.", "Exchange the two dates.")
    if len(days) > DAYS_MAX:
        raise UsageError(f"The period from {first} to {last} is too long.", f"Choose at most {DAYS_MAX} days.")
    return days


def _period(name: str) -> str | None:
    known = (*PERIODS, ALL_TIME)
    if name and name not in known:
        raise UsageError(f"There is no period {name[:50]!r}.", f"Choose from {', '.join(known)}.")
    return name or None


def _comparison(parameters: Mapping[str, Sequence[str]]) -> tuple[str | None, range | None]:
    kind, first, last = (single_value(parameters, name) for name in ("compare", "compare_from", "compare_to"))
    if kind and kind not in COMPARISONS:
        raise UsageError(f"There is no comparison {kind[:50]!r}.", f"Choose from {', '.join(COMPARISONS)}.")
    if kind != "custom":
        return kind or None, None
    if not first or not last:
        raise UsageError("A custom comparison needs a start date and an end date.", "Give compare_from and compare_to.")
    return kind, _days(first, last)
