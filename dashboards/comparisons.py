"""Compares the figures of a panel with those of another time range: the range itself, its search, and aligned rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from dashboards.panels import OTHER, Panel, Span, Terms, Time
from dashboards.queries import Compared, Row, axis_starts, bucket_end, empty_figures, interval, query, rows, span_of
from features.calendar import Calendar, Unit, month_day, month_of
from features.local_times import utc_ms, wall_ms
from features.schema import DAY_MS

_MONTHS_A_YEAR: Final = 12
_OF_MONTHS: Final[tuple[Unit, ...]] = ("month", "quarter", "year")
"""Units that consist of months."""


# --- time ranges ------------------------------------------------------------------------------------------------------


def days_before(span: Span, days: int, calendar: Calendar) -> Span:
    """Return the local days before a time range: the same hours of the clock, whatever the length of a day is."""
    day, clock = _clock(span.from_ms, calendar)
    return Span(_instant(day - days, clock, calendar), span.from_ms)


def dates_before(span: Span, days: int, calendar: Calendar) -> Span:
    """Return the `days` whole local days before a time range, cut to the part that `span` has of as many days.

    Args:
        span: time range from the start of a local day; it may end with the data.
        days: number of days that were requested.
        calendar: calendar of the shop.
    """
    start = calendar.day_start_ms(calendar.day_at(span.from_ms) - days)
    day, clock = _clock(span.to_ms, calendar)
    passed = day - calendar.day_at(span.from_ms)
    return Span(start, min(_instant(calendar.day_at(start) + passed, clock, calendar), span.from_ms))


def length_before(span: Span) -> Span:
    """Return the time range of the same length before a time range."""
    return Span(2 * span.from_ms - span.to_ms, span.from_ms)


def unit_before(span: Span, unit: Unit, calendar: Calendar) -> Span:
    """Return the previous unit of the calendar, cut to the part that `span` has of its own unit.

    Args:
        span: time range from the start of a unit.
        unit: unit of the calendar.
        calendar: calendar of the shop.
    """
    start = calendar.unit_start_ms(unit, span.from_ms, -1)
    if span.to_ms >= calendar.unit_start_ms(unit, span.from_ms, 1):
        return Span(start, span.from_ms)
    day, clock = _clock(span.to_ms, calendar)
    passed = day - calendar.day_at(span.from_ms)
    # a short month may be over before as many days have passed
    return Span(start, min(_instant(calendar.day_at(start) + passed, clock, calendar), span.from_ms))


def year_before(span: Span, calendar: Calendar, unit: Unit | None = None) -> Span:
    """Return the same local dates and hours one year before; 28 February for 29 February.

    A whole month, quarter or year has the whole one of the year before, so February has its 29 February.

    Args:
        span: time range.
        calendar: calendar of the shop.
        unit: unit of the calendar that `span` is a part of; None: none.
    """
    start_ms = _year_before(span.from_ms, calendar)
    if unit in _OF_MONTHS and span.to_ms >= calendar.unit_start_ms(unit, span.from_ms, 1):
        return Span(start_ms, calendar.unit_start_ms(unit, start_ms, 1))
    # the last instant has the date that the range ends on
    return Span(start_ms, _year_before(span.to_ms - 1, calendar) + 1)


def _year_before(time_ms: int, calendar: Calendar) -> int:
    day, clock = _clock(time_ms, calendar)
    month = int(month_of([day])[0])
    first, *_ = (int(one) for one in month_day([month]))
    start, end = (int(one) for one in month_day([month - _MONTHS_A_YEAR, month - _MONTHS_A_YEAR + 1]))
    return _instant(min(start + day - first, end - 1), clock, calendar)


def _clock(time_ms: int, calendar: Calendar) -> tuple[int, int]:
    """Return the local day of a time and the milliseconds that the clock shows since its midnight."""
    wall = int(wall_ms(pl.Series([time_ms], dtype=pl.Int64), calendar.time_zone)[0])
    return divmod(wall, DAY_MS)


def _instant(day: int, clock: int, calendar: Calendar) -> int:
    """Return the instant at which the clock shows a time of a day; later by the gap if the clock skips this time."""
    if clock == 0:
        return calendar.day_start_ms(day)
    instant = utc_ms(pl.Series([day * DAY_MS + clock], dtype=pl.Int64), calendar.time_zone)[0]
    return calendar.day_start_ms(day) + clock if instant is None else int(instant)


# --- searches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aligned:
    """Rows of a comparison with the keys of the rows that they are compared with.

    Attributes:
        rows: rows as of `queries.rows`. An interval of the main rows without counterpart has none.
        own_keys: start of an interval of the main rows -> start of the compared interval, epoch ms.
        partial: starts of the intervals of the main rows whose compared interval is cut by the compared time range.
    """

    rows: list[Row]
    own_keys: Mapping[int, int]
    partial: list[int]


def is_compared(panel: Panel) -> bool:
    """Return whether a panel has figures of other time ranges: it follows the time range of its dashboard."""
    return panel.data.time_field is not None and panel.window is None


def needs_values(panel: Panel) -> bool:
    """Return whether the comparison of a panel needs the rows that it is compared with: it has the same values."""
    return any(isinstance(dimension, Terms) for dimension in panel.dimensions)


def comparison_query(
    panel: Panel,
    main: Span,
    other: Span,
    table: Sequence[Row],
    filters: Mapping[str, Sequence[str]] | None,
    calendar: Calendar,
) -> dict[str, Any]:
    """Return the body of the search for the figures of another time range.

    Args:
        panel: panel that is compared.
        main: time range of the dashboard.
        other: time range to compare with.
        table: rows of the panel over `main`; needed only if `needs_values`.
        filters: field -> values selected on the dashboard.
        calendar: calendar of time axes.
    """
    values = {
        position: list(dict.fromkeys(row[dimension.label] for row in table if row[dimension.label] != OTHER))
        for position, dimension in enumerate(panel.dimensions)
        if isinstance(dimension, Terms)
    }
    own = span_of(panel, main)
    return query(panel, _cut(panel, own, other, calendar), filters, calendar, compared=Compared(own, values))


def _cut(panel: Panel, main: Span, other: Span, calendar: Calendar) -> Span:
    """Return a time range without the intervals that would lie behind those of the main time range."""
    axis = next((dimension for dimension in panel.dimensions if isinstance(dimension, Time)), None)
    if axis is None:
        return other
    step = interval(axis.every, main)
    if step == "day" and _is_year_before(main, other, calendar):
        end = calendar.unit_start_ms("day", _year_before(main.to_ms - 1, calendar), 1)
    elif isinstance(step, int):
        end = other.from_ms + (-(-(main.to_ms - main.from_ms) // step) + 1) * step
    else:
        days = np.array([calendar.day_at(main.from_ms), calendar.day_at(main.to_ms - 1)])
        first, last = calendar.unit_of(step, days).tolist()
        end = calendar.unit_start_ms(step, other.from_ms, last - first + 1)
    return Span(other.from_ms, min(other.to_ms, end))


def aligned(
    panel: Panel, table: Sequence[Row], response: Mapping[str, Any], main: Span, other: Span, calendar: Calendar
) -> Aligned:
    """Return the rows of a comparison for the rows of a panel.

    Intervals are aligned by their position, days of the year before by their dates, other dimensions by their values.
    Values without documents have the figures of an empty bucket. A bucket of further values is included even if the
    main rows have none.

    Args:
        panel: panel that is compared.
        table: rows over the main time range.
        response: response to `comparison_query`.
        main: time range of the dashboard, as for `comparison_query`.
        other: time range to compare with.
        calendar: calendar of time axes.

    Raises:
        ShopstreamError: the response is partial.
    """
    compared = rows(panel, response)
    labels = [dimension.label for dimension in panel.dimensions]
    axis = next((dimension for dimension in panel.dimensions if isinstance(dimension, Time)), None)
    time = None if axis is None else axis.label
    own_keys: dict[int, int] = {}
    partial: list[int] = []
    if axis is not None:
        own = span_of(panel, main)
        step = interval(axis.every, own)
        by_date = step == "day" and _is_year_before(own, other, calendar)
        positions = sorted({row[axis.label] for row in table})
        own_keys = _own_keys(positions, axis_starts(panel, response), calendar, by_date=by_date)
        if not panel.data.whole:
            # of the intervals that begin within the range, only the last one can be cut at its end
            last = max((start for start in own_keys.values() if start < other.to_ms), default=None)
            complete_to = other.to_ms
            if last is not None and bucket_end(last, step, calendar) > other.to_ms:
                complete_to = last
            partial = [key for key, start in own_keys.items() if not other.from_ms <= start < complete_to]
    main_of = {own: start for start, own in own_keys.items()}
    by_keys: dict[tuple[Any, ...], Row] = {}
    for row in compared:
        if time is None or row[time] in main_of:
            moved = row if time is None else row | {time: main_of[row[time]]}
            by_keys[tuple(moved[label] for label in labels)] = moved
    result, nothing = [], empty_figures(panel)
    for row in table:
        if time is None or row[time] in own_keys:
            keys = {label: row[label] for label in labels}
            result.append(by_keys.pop(tuple(keys.values()), keys | nothing))
    result += [row for keys, row in by_keys.items() if OTHER in keys]
    return Aligned(result, own_keys, partial)


def _own_keys(keys: Sequence[int], starts: Sequence[int], calendar: Calendar, *, by_date: bool) -> dict[int, int]:
    """Return the start of each interval -> the start of the interval that it is compared with, epoch ms."""
    if not by_date:
        return dict(zip(keys, starts, strict=False))
    known = set(starts)
    return {key: start for key, start in _same_dates(keys, calendar).items() if start in known}


def _is_year_before(main: Span, other: Span, calendar: Calendar) -> bool:
    return other.from_ms == _year_before(main.from_ms, calendar)


def _same_dates(keys: Sequence[int], calendar: Calendar) -> dict[int, int]:
    """Return the first instant of each day -> that of the same date one year before, epoch ms; without 29 February."""
    days = np.asarray(calendar.day_of(keys), np.int64)
    months = np.asarray(month_of(days))
    before = np.asarray(month_day(months - _MONTHS_A_YEAR)) + days - np.asarray(month_day(months))
    dated = before < np.asarray(month_day(months - _MONTHS_A_YEAR + 1))
    starts = calendar.start_ms(before[dated])
    return dict(zip(np.asarray(keys)[dated].tolist(), starts.tolist(), strict=True))
