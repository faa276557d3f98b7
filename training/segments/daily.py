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

from features.definitions import money
from features.schema import DAY_MS, NOT_KNOWN, SEGMENT_DAY_FIELDS
from features.scores.score import Scorer
from training.segments.cohorts import ArchivePeriod
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
    """

    orders: pl.DataFrame
    markets: pl.DataFrame
    span: ArchivePeriod
    trained_until_ms: int | None


def day_end(day: int) -> int:
    """Return the last millisecond of a UTC day, given by its number."""
    return (day + 1) * DAY_MS - 1


def segment_days(rows_by_time: Iterable[tuple[int, pl.DataFrame]], scorer: Scorer, known: DayContext) -> pl.DataFrame:
    """Return a row of SEGMENT_DAY_FIELDS for each day, and each segment, country and channel of any day.

    Args:
        rows_by_time: `day_end` and the feature rows of every customer at that time, as from `backfill.rows_at`, joined
            with the profile columns that the scorer's rules use.
        scorer: source of segments and probabilities.
        known: other data.
    """
    bought = known.orders.group_by("customer_id", (col("ts") // DAY_MS).alias("number")).agg(col("cents").sum())
    by_day = bought.partition_by("number", as_dict=True, include_key=False)
    nothing = bought.clear().drop("number")
    parts = [pl.DataFrame(schema=_COUNTED)]
    days = []
    for time, rows in rows_by_time:
        day = time // DAY_MS
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
    end = (col("number") + 1) * DAY_MS
    finished = counted.with_columns(
        (col("number") * DAY_MS).alias("ts"),
        pl.from_epoch("number", time_unit="d").dt.strftime("%Y-%m-%d").alias("day"),
        money(col("cents")).alias("revenue"),
        (pl.lit(value=False) if until is None else end <= until + 1).alias("in_training"),
        known.span.contains(col("number") * DAY_MS, end).alias("complete"),
    )
    return shaped(finished, SEGMENT_DAY_FIELDS)
