"""Computes the long-run behaviour of customers from valid orders: cohorts by month, movement by week. Pure.

The rule of this file: every period is computed from all orders of the archive, so a week or month does not depend on
the requested range. A period without orders has its row too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from polars import col

from features.definitions import money
from features.schema import COHORT_FIELDS, DAY_MS, MOVEMENT_FIELDS, NOT_KNOWN
from training.sales import last_whole_day
from training.trend_frames import shaped

WEEK_MS: Final = 7 * DAY_MS
MONDAY_MS: Final = -3 * DAY_MS
"""The Monday before 1970-01-01, which was a Thursday."""
LOST_AFTER_DAYS_MIN: Final = 7
FIRST_WHOLE_MS: Final = DAY_MS // 24
"""A first day without records up to this time counts as incomplete."""


@dataclass(frozen=True, slots=True)
class ArchivePeriod:
    """Period that an archive covers.

    Attributes:
        first_ms: time of the first record, epoch ms.
        end_ms: time of the last record, epoch ms.
    """

    first_ms: int
    end_ms: int

    @property
    def whole_from_ms(self) -> int:
        """Return the start of the first complete day."""
        day, rest = divmod(self.first_ms, DAY_MS)
        return (day if rest <= FIRST_WHOLE_MS else day + 1) * DAY_MS

    @property
    def whole_to_ms(self) -> int:
        """Return the end of the last complete day, exclusive."""
        return (last_whole_day(self.end_ms) + 1) * DAY_MS

    def contains(self, start: pl.Expr, end: pl.Expr) -> pl.Expr:
        """Return whether the periods [start, end) lie inside the complete days."""
        return (start >= self.whole_from_ms) & (end <= self.whole_to_ms)


def markets(profiles: pl.DataFrame | None, orders: pl.DataFrame) -> pl.DataFrame:
    """Return customer_id, country and channel of every customer with a profile or an order.

    The values are the profile's country and acquisition channel; if missing, those of the first order; else NOT_KNOWN.

    Args:
        profiles: profiles with customer_id and some of the columns; None if the archive has none.
        orders: see `sales.valid_orders`.
    """
    first = orders.group_by("customer_id", maintain_order=True).agg(
        col("country").first().alias("_country"), col("channel").first().alias("_channel")
    )
    known = pl.DataFrame(schema={"customer_id": pl.String, "country": pl.String, "channel": pl.String})
    if profiles is not None:
        known = profiles.unique("customer_id", keep="last", maintain_order=True).select(
            "customer_id", col("country").cast(pl.String), col("acquisition_channel").cast(pl.String).alias("channel")
        )
    joined = known.join(first, on="customer_id", how="full", coalesce=True)
    return joined.select(
        "customer_id",
        *(pl.coalesce(name, f"_{name}").fill_null(NOT_KNOWN).alias(name) for name in ("country", "channel")),
    ).filter(col("customer_id").is_not_null())


# --- cohorts ----------------------------------------------------------------------------------------------------------


def cohorts(orders: pl.DataFrame, markets_of: pl.DataFrame, span: ArchivePeriod) -> pl.DataFrame:
    """Return a row of COHORT_FIELDS for each month of first orders, each month since, country and channel.

    Args:
        orders: see `sales.valid_orders`.
        markets_of: see `markets`.
        span: period of the archive; months continue to its end.
    """
    bought = orders.select("customer_id", "cents", _month("ts").alias("number"))
    bought = bought.with_columns(col("number").min().over("customer_id").alias("first"))
    bought = bought.join(markets_of, on="customer_id", how="left")
    group = ["first", "country", "channel"]
    sizes = bought.group_by(group).agg(col("customer_id").n_unique().alias("customers"))
    active = bought.group_by(*group, "number").agg(
        col("customer_id").n_unique().alias("active"), pl.len().alias("orders"), col("cents").sum()
    )
    last = int(_month_of(span.end_ms))
    months = sizes.with_columns(pl.int_ranges("first", last + 1).alias("number")).explode("number")
    every_month = months.join(active, on=[*group, "number"], how="left").with_columns(
        col("active", "orders", "cents").fill_null(0), (col("number") - col("first")).alias("months_since")
    )
    every_month = every_month.with_columns(
        _month_start("number").alias("ts"),
        _month_start("number", 1).alias("end"),
        _month_name("first").alias("cohort"),
        _month_name("number").alias("month"),
        money(col("cents")).alias("revenue"),
    ).with_columns(span.contains(col("ts"), col("end")).alias("complete"))
    return shaped(every_month, COHORT_FIELDS).sort("cohort", "month", "country", "channel")


def _month_of(ts: Any) -> Any:
    """Return the number of the month since January 1970, from epoch ms."""
    return np.asarray(ts, np.int64).astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)


def _month(name: str) -> pl.Expr:
    moment = pl.from_epoch(name, time_unit="ms")
    return (moment.dt.year().cast(pl.Int64) - 1970) * 12 + moment.dt.month().cast(pl.Int64) - 1


def _month_date(name: str, later: int = 0) -> pl.Expr:
    number = col(name) + later
    return pl.date(1970 + number.floordiv(12), 1 + number % 12, 1)


def _month_start(name: str, later: int = 0) -> pl.Expr:
    return _month_date(name, later).cast(pl.Datetime("ms")).dt.epoch("ms")


def _month_name(name: str) -> pl.Expr:
    return _month_date(name).dt.strftime("%Y-%m")


# --- movement ---------------------------------------------------------------------------------------------------------


def movement(orders: pl.DataFrame, span: ArchivePeriod, lost_after_days: int) -> pl.DataFrame:
    """Return a row of MOVEMENT_FIELDS for each week from the archive's first to its last.

        order ──── at most N days ──── order ────── N days ──────┐ lost ────── order
        new                            returning                               reactivated

    The first order of a customer in a week decides the customer's state. Active at the end of a week = active a week
    before + new + reactivated - lost.

    Args:
        orders: see `sales.valid_orders`.
        span: period of the archive.
        lost_after_days: N, at least LOST_AFTER_DAYS_MIN: a customer cannot be lost and come back within one week
            without having been away.
    """
    assert lost_after_days >= LOST_AFTER_DAYS_MIN
    away = lost_after_days * DAY_MS
    line = orders.select("customer_id", "ts").sort("customer_id", "ts")
    line = line.with_columns(
        col("ts").shift(1).over("customer_id").alias("before"), col("ts").shift(-1).over("customer_id").alias("after")
    )
    first_of_week = col("before").is_null() | (_week("before") < _week("ts"))
    came = line.filter(first_of_week).select(
        _week("ts").alias("number"),
        col("before").is_null().alias("new"),
        (col("ts") - col("before") <= away).fill_null(value=False).alias("returning"),
        (col("ts") - col("before") > away).fill_null(value=False).alias("reactivated"),
    )
    came = came.group_by("number").agg(col("new", "returning", "reactivated").sum().cast(pl.Int64))
    stayed_away = col("after").is_null() | (col("after") > col("ts") + away)
    left = line.filter(stayed_away).select((col("ts") + away).alias("ts")).filter(col("ts") <= span.end_ms)
    lost = left.group_by(_week("ts").alias("number")).agg(pl.len().cast(pl.Int64).alias("lost"))
    # an order known only by its refund may be older than all other records
    earliest = min([span.first_ms, *orders["ts"].head(1)])
    first, last = ((time - MONDAY_MS) // WEEK_MS for time in (earliest, span.end_ms))
    weeks = pl.DataFrame({"number": np.arange(first, last + 1)})
    weeks = weeks.join(came, on="number", how="left").join(lost, on="number", how="left").sort("number").fill_null(0)
    weeks = weeks.with_columns(
        (col("number") * WEEK_MS + MONDAY_MS).alias("ts"),
        (col("new") + col("reactivated") - col("lost")).cum_sum().alias("active"),
        pl.lit(lost_after_days, pl.Int64).alias("lost_after_days"),
    ).with_columns(
        pl.from_epoch("ts", time_unit="ms").dt.strftime("%Y-%m-%d").alias("week"),
        span.contains(col("ts"), col("ts") + WEEK_MS).alias("complete"),
    )
    return shaped(weeks, MOVEMENT_FIELDS)


def _week(name: str) -> pl.Expr:
    return (col(name) - MONDAY_MS).floordiv(WEEK_MS)
