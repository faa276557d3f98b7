"""Computes daily figures by segment: customers at the end of the day, revenue and churn probability. Pure.

The rule of this file: a day's row uses what was known at the end of that day, except for revenue. Revenue is of the
orders valid at the archive's end, as everywhere else, so that days add up to the sales.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl
from polars import col

from features.calendar import day_names
from features.definitions import money
from features.schema import NOT_KNOWN, SEGMENT_DAY_FIELDS
from features.scores.score import Scorer
from training.archive_period import ArchivePeriod
from training.trend_frames import shaped

GROUP: Final = ("segment", "country", "channel")


@dataclass(frozen=True, slots=True)
class DayContext:
    """Data in addition to the rows of a day.

    Attributes:
        orders: valid orders, see `sales.valid_orders`.
        markets: see `cohorts.markets`.
        span: period of the archive.
        trained_until_ms: end of the scoring model's training window, epoch ms; None without a model.
        bundle: name of the model's bundle; None without a model.
    """

    orders: pl.DataFrame
    markets: pl.DataFrame
    span: ArchivePeriod
    trained_until_ms: int | None
    bundle: str | None = None


def segment_days(rows_by_time: Iterable[tuple[int, pl.DataFrame]], scorer: Scorer, known: DayContext) -> pl.DataFrame:
    """Return a row of SEGMENT_DAY_FIELDS for each day, and each segment, country and channel of any day.

    Args:
        rows_by_time: last millisecond of a local day, and the feature rows of every customer at that time. They are
            those of `backfill.rows_at`, with the profile columns that the scorer's rules use.
        scorer: source of segments and probabilities.
        known: other data.
    """
    calendar = known.span.calendar
    bought = known.orders.group_by("customer_id", calendar.day("ts").alias("number")).agg(col("cents").sum())
    by_day = bought.partition_by("number", as_dict=True, include_key=False)
    nothing = bought.clear().drop("number")
    parts = [pl.DataFrame(schema=_COUNTED)]
    days = []
    for time, rows in rows_by_time:
        day = calendar.day_at(time)
        days.append(day)
        scores = scorer.score(rows).select("segment", "churn_probability")
        segmented = rows.select("customer_id").hstack(scores)
        parts.append(_counted(day, segmented, by_day.get((day,), nothing), known.markets))
    return _finished(_with_zeros(pl.concat(parts), days), known)


_COUNTED: Final[dict[str, pl.DataType]] = {
    "number": pl.Int64(),
    **dict.fromkeys(GROUP, pl.String()),
    "customers": pl.Int64(),
    "cents": pl.Int64(),
    "churn_sum": pl.Float64(),
    "churn_customers": pl.Int64(),
}


def _counted(day: int, segmented: pl.DataFrame, bought: pl.DataFrame, markets: pl.DataFrame) -> pl.DataFrame:
    """Count one day. A buyer unknown at the end of the day (the record came later) is in no segment."""
    everyone = segmented.with_columns(pl.lit(value=True).alias("seen")).join(
        bought, on="customer_id", how="full", coalesce=True
    )
    everyone = everyone.join(markets, on="customer_id", how="left").with_columns(col(GROUP).fill_null(NOT_KNOWN))
    counted = everyone.group_by(GROUP).agg(
        col("seen").sum().alias("customers"),
        col("cents").sum(),
        col("churn_probability").sum().alias("churn_sum"),
        col("churn_probability").count().alias("churn_customers"),
    )
    return counted.with_columns(pl.lit(day, pl.Int64).alias("number")).select(
        col(name).cast(kind) for name, kind in _COUNTED.items()
    )


def _with_zeros(counted: pl.DataFrame, days: list[int]) -> pl.DataFrame:
    every = pl.DataFrame({"number": pl.Series(days, dtype=pl.Int64)}).join(
        counted.select(GROUP).unique().sort(GROUP), how="cross"
    )
    return every.join(counted, on=["number", *GROUP], how="left", maintain_order="left").with_columns(
        col("customers", "cents", "churn_sum", "churn_customers").fill_null(0)
    )


def _finished(counted: pl.DataFrame, known: DayContext) -> pl.DataFrame:
    until = known.trained_until_ms
    numbers = counted["number"].unique()
    dates = pl.DataFrame(
        {
            "number": numbers,
            "ts": known.span.calendar.start_ms(numbers),
            "end": known.span.calendar.start_ms(numbers + 1),
            "day": day_names(numbers),
        },
        schema_overrides={"day": pl.String},
    )
    finished = counted.join(dates, on="number", how="left", maintain_order="left").with_columns(
        money(col("cents")).alias("revenue"),
        (pl.lit(value=False) if until is None else col("end") <= until + 1).alias("in_training"),
        known.span.contains(col("number"), col("number") + 1).alias("complete"),
        pl.lit(known.bundle, pl.String).alias("bundle"),
    )
    return shaped(finished, SEGMENT_DAY_FIELDS)
