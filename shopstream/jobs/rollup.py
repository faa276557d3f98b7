"""Computes the trends of an archive from its records, profiles and bundle, for `rollup` and the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from connectors.elasticsearch.period_writer import Trend
from connectors.formats.rules_file import default_rules
from features.backfill import ArchiveCounts, ReadDay, rows_at
from features.calendar import Calendar, Unit, day_name
from features.errors import UsageError
from features.records.columns import Int64
from features.rules.segments import Rules, with_profiles
from features.scores.score import NO_BREAKS, RfmScorer, Scorer, learn_breaks
from producers.archive.archive import read_customers
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.history import History, known_history
from training.archive_period import ArchivePeriod
from training.bundle import Bundle
from training.sales import valid_orders
from training.scorer import trend_scorer
from training.segments.cohorts import cohorts, first_orders, markets, movement, second_orders
from training.segments.daily import DayContext, segment_days

LOST_AFTER_DAYS: Final = 90
"""Days without an order that count as churn if no bundle defines them."""

ROLLED_UP: Final = ("segments-daily", "cohorts", "second-orders", "movement")
"""Indices of the trends, without the run."""

OnStep = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class RollupRequest:
    """Range and settings of a roll-up.

    Attributes:
        from_ms: lower bound, epoch ms: periods that end after it; None: the archive's beginning.
        to_ms: upper bound, epoch ms: periods that begin before it; None: the archive's end.
        lost_after_days: days without an order; None: the bundle's horizon, else LOST_AFTER_DAYS.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    lost_after_days: int | None = None


def roll_up(
    directory: Path,
    bundle: Bundle | None,
    request: RollupRequest,
    on_step: OnStep = lambda *_: None,
    history: History | None = None,
) -> list[Trend]:
    """Compute the trends of an archive, in complete periods.

    Without a bundle, RFM breaks are fitted at the archive's end, segments follow the default rules, and there is no
    churn probability.

    Args:
        directory: folder of the archive.
        bundle: bundle that scores the customers, or None.
        request: range and settings.
        on_step: called with the name of the current step, and the share that is done or None.
        history: part of the archive that counts; None: all records.

    Raises:
        UsageError: the range holds no day of the archive.
        ShopstreamError: the archive cannot be read, or has too little data to learn breaks from.
    """
    history = history or known_history(directory)
    days, read_day = archive_days(directory, history.limit_ms)
    span = history.period
    calendar = span.calendar
    scored_days = _days(span, request)
    on_day_of = _day_reporter(days, on_step)
    orders = valid_orders(days, read_day, on_day_of("reading the orders"))
    table = read_customers(directory)
    profiles = None if table is None else pl.DataFrame(pl.from_arrow(table))
    home = markets(profiles, orders)
    if bundle is None:
        rules = default_rules()
        counts = ArchiveCounts()
        ((_, last),) = rows_at(days, read_day, [span.end_ms], counts, on_day_of("reading the archive for its gaps"))
        # a shop that has never had an order has no breaks, and needs none on any day
        scorer: Scorer = RfmScorer(learn_breaks(last) if counts.read["orders"] else NO_BREAKS, rules)
    else:
        rules = bundle.rules
        scorer = trend_scorer(bundle.scorer(), rules)
    until = None if bundle is None else bundle.trained_until_ms
    ends = calendar.start_ms(np.asarray(scored_days) + 1) - 1
    rows = _rows(days, read_day, ends, rules, profiles, on_day_of(f"scoring {len(scored_days)} days"))
    by_day = segment_days(rows, scorer, DayContext(orders, home, span, until, None if bundle is None else bundle.name))
    lost_after = request.lost_after_days or (bundle.horizon_days if bundle else LOST_AFTER_DAYS)
    firsts = first_orders(orders, profiles, home, span)
    by_month = cohorts(orders, firsts, span)
    by_buyer = second_orders(orders, firsts, span)
    by_week = movement(orders, span, lost_after)
    from_ms = None if request.from_ms is None else calendar.day_start_ms(scored_days[0])
    to_ms = None if request.to_ms is None else calendar.day_start_ms(scored_days[-1] + 1)
    return [
        Trend("segments-daily", by_day, from_ms, to_ms),
        _within("cohorts", by_month, request, calendar, "month"),
        _within("second-orders", by_buyer, request, calendar, "day"),
        _within("movement", by_week, request, calendar, "week"),
    ]


def _days(span: ArchivePeriod, request: RollupRequest) -> list[int]:
    """Return the numbers of the local days of the range; a day that the zone skips has no row."""
    first = span.first_ms if request.from_ms is None else max(request.from_ms, span.first_ms)
    end = span.end_ms if request.to_ms is None else min(request.to_ms - 1, span.end_ms)
    if end < first:
        raise UsageError(
            "The archive has no day in the range.",
            f"It covers {day_name(span.days[0])} to {day_name(span.days[-1])}.",
        )
    calendar = span.calendar
    days = np.arange(calendar.day_at(first), calendar.day_at(end) + 1)
    return [int(day) for day in days[calendar.start_ms(days) < calendar.start_ms(days + 1)]]


def _day_reporter(days: list[int], on_step: OnStep) -> Callable[[str], Callable[[int], None]]:
    """Return a function of a step's name that returns a function which reports the day that the step has reached."""
    position_of = {day: position for position, day in enumerate(days)}
    return lambda step: lambda day: on_step(step, position_of[day] / len(days))


def _rows(
    days: list[int],
    read_day: ReadDay,
    ends: Int64,
    rules: Rules,
    profiles: pl.DataFrame | None,
    on_day: Callable[[int], None],
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the rows of every customer at the ends of days, epoch ms, with the profile columns that the rules use."""
    known = None if profiles is None else profiles.unique("customer_id", keep="last", maintain_order=True)
    for time, rows in rows_at(days, read_day, ends.tolist(), None, on_day):
        yield time, rows if known is None else with_profiles(rows, known, rules.profile_columns)


def _within(index: str, rows: pl.DataFrame, request: RollupRequest, calendar: Calendar, unit: Unit) -> Trend:
    """Keep the rows of the whole days, weeks or months that overlap the range."""
    from_ms = None if request.from_ms is None else calendar.unit_start_ms(unit, request.from_ms)
    to_ms = None if request.to_ms is None else calendar.unit_start_ms(unit, request.to_ms - 1, 1)
    chosen = pl.repeat(value=True, n=rows.height, dtype=pl.Boolean, eager=True)
    if from_ms is not None:
        chosen &= rows["ts"] >= from_ms
    if to_ms is not None:
        chosen &= rows["ts"] < to_ms
    return Trend(index, rows.filter(chosen), from_ms, to_ms)
