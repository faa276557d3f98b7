"""Computes the long-run behaviour of customers from valid orders: cohorts, second orders and movement. Pure.

The rule of this file: every period is computed from all orders of the archive, so a week or month does not depend on
the requested range. A period without orders has its row too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from polars import col

from features.calendar import WEEK_DAYS, day_names, month_day, month_of
from features.definitions import money
from features.schema import COHORT_FIELDS, DAY_MS, MOVEMENT_FIELDS, NOT_KNOWN, SECOND_ORDER_FIELDS
from training.archive_period import ArchivePeriod
from training.trend_frames import shaped

LOST_AFTER_DAYS_MIN: Final = 7


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


def first_orders(
    orders: pl.DataFrame, profiles: pl.DataFrame | None, markets_of: pl.DataFrame, span: ArchivePeriod
) -> pl.DataFrame:
    """Return the first order of each customer, and whether it is known to be the first.

    A history may begin late, after orders that it does not hold. A customer who signed up before the archive's first
    instant may have one of them. A signup after the first order proves nothing, as an order without an account may
    precede it. Then, and without a signup, the month decides: first orders in the archive's first month are not known,
    even if the archive holds that month completely. Older customers without a signup who come back later look like new
    ones, and count as known.

    Args:
        orders: see `sales.valid_orders`.
        profiles: profiles with customer_id and perhaps signup_ts; None if the archive has none.
        markets_of: see `markets`.
        span: period of the archive.

    Returns:
        customer_id, first_ts (epoch ms), first (number of its month), country, channel, known.
    """
    first = orders.group_by("customer_id").agg(col("ts").min().alias("first_ts"))
    months = month_of(span.calendar.day_of(first["first_ts"]))
    first = first.with_columns(pl.Series("first", months, pl.Int64)).join(markets_of, on="customer_id", how="left")
    first = first.join(_signups(profiles), on="customer_id", how="left")
    signup = pl.when(col("signup_ms") <= col("first_ts")).then(col("signup_ms"))
    by_month = col("first") > int(month_of(span.days[0]))
    return first.with_columns(pl.coalesce(signup >= span.first_ms, by_month).alias("known")).drop("signup_ms")


def _signups(profiles: pl.DataFrame | None) -> pl.DataFrame:
    """Return customer_id and signup_ms (epoch ms, or null) of each profile."""
    if profiles is None or "signup_ts" not in profiles.columns:
        return pl.DataFrame(schema={"customer_id": pl.String, "signup_ms": pl.Int64})
    time = pl.Datetime("ms", "UTC")
    return profiles.unique("customer_id", keep="last", maintain_order=True).select(
        "customer_id", col("signup_ts").cast(time).dt.epoch("ms").alias("signup_ms")
    )


# --- cohorts ----------------------------------------------------------------------------------------------------------


def cohorts(orders: pl.DataFrame, firsts: pl.DataFrame, span: ArchivePeriod) -> pl.DataFrame:
    """Return a row of COHORT_FIELDS for each month of first orders, each month since, country, channel and `known`.

    Args:
        orders: see `sales.valid_orders`.
        firsts: see `first_orders`.
        span: period of the archive; months continue to its end.
    """
    numbers = pl.Series("number", month_of(span.calendar.day_of(orders["ts"])))
    bought = orders.select("customer_id", "cents").with_columns(numbers).join(firsts, on="customer_id", how="left")
    group = ["first", "country", "channel", "known"]
    sizes = bought.group_by(group).agg(col("customer_id").n_unique().alias("customers"))
    active = bought.group_by(*group, "number").agg(
        col("customer_id").n_unique().alias("active"), pl.len().alias("orders"), col("cents").sum()
    )
    last = int(month_of(span.days[-1]))
    months = sizes.with_columns(pl.int_ranges("first", last + 1).alias("number")).explode("number")
    every_month = months.join(active, on=[*group, "number"], how="left").with_columns(
        col("active", "orders", "cents").fill_null(0), (col("number") - col("first")).alias("months_since")
    )
    every_month = every_month.join(_month_dates(every_month, span), on="number", how="left").with_columns(
        _month_name("first").alias("cohort"),
        _month_name("number").alias("month"),
        money(col("cents")).alias("revenue"),
        span.contains(col("first_day"), col("end_day")).alias("complete"),
    )
    return shaped(every_month, COHORT_FIELDS).sort("cohort", "month", "country", "channel", "known")


def _month_dates(months: pl.DataFrame, span: ArchivePeriod) -> pl.DataFrame:
    """Return number, first_day, end_day (exclusive) and ts (epoch ms) of each month."""
    numbers = months["number"].unique()
    first = month_day(numbers)
    return pl.DataFrame(
        {
            "number": numbers,
            "first_day": first,
            "end_day": month_day(numbers + 1),
            "ts": span.calendar.start_ms(first),
        }
    )


def _month_name(name: str) -> pl.Expr:
    number = col(name)
    return pl.date(1970 + number.floordiv(12), 1 + number % 12, 1).dt.strftime("%Y-%m")


# --- second orders ----------------------------------------------------------------------------------------------------


def second_orders(orders: pl.DataFrame, firsts: pl.DataFrame, span: ArchivePeriod) -> pl.DataFrame:
    """Return a row of SECOND_ORDER_FIELDS for each customer with at least two orders.

    Args:
        orders: see `sales.valid_orders`.
        firsts: see `first_orders`.
        span: period of the archive.
    """
    second = orders.group_by("customer_id").agg(col("ts").sort().slice(1, 1).first()).drop_nulls()
    second = second.join(firsts, on="customer_id", how="left")
    second = second.with_columns(
        pl.Series("day", day_names(span.calendar.day_of(second["ts"])), pl.String),
        _month_name("first").alias("cohort"),
        ((col("ts") - col("first_ts")) / DAY_MS).alias("days"),
    )
    same = ["ts", "days", "country", "channel", "known"]
    numbered = second.sort(same).with_columns(pl.int_range(pl.len()).over(same).alias("number"))
    return shaped(numbered, SECOND_ORDER_FIELDS)


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
    calendar = span.calendar
    line = orders.select("customer_id", "ts").sort("customer_id", "ts")
    line = line.with_columns(_week(line["ts"], span).alias("number")).with_columns(
        col("ts").shift(1).over("customer_id").alias("before"),
        col("ts").shift(-1).over("customer_id").alias("after"),
        col("number").shift(1).over("customer_id").alias("week_before"),
    )
    first_of_week = col("before").is_null() | (col("week_before") < col("number"))
    came = line.filter(first_of_week).select(
        "number",
        col("before").is_null().alias("new"),
        (col("ts") - col("before") <= away).fill_null(value=False).alias("returning"),
        (col("ts") - col("before") > away).fill_null(value=False).alias("reactivated"),
    )
    came = came.group_by("number").agg(col("new", "returning", "reactivated").sum().cast(pl.Int64))
    stayed_away = col("after").is_null() | (col("after") > col("ts") + away)
    left = line.filter(stayed_away).select((col("ts") + away).alias("ts")).filter(col("ts") <= span.end_ms)
    lost = (
        left.with_columns(_week(left["ts"], span).alias("number"))
        .group_by("number")
        .agg(pl.len().cast(pl.Int64).alias("lost"))
    )
    # an order known only by its refund may be older than all other records
    earliest = min([span.first_ms, *orders["ts"].head(1)])
    first, last = (calendar.week_of(calendar.day_at(time)) for time in (earliest, span.end_ms))
    numbers = np.arange(first, last + 1)
    days = calendar.week_day(numbers)
    weeks = pl.DataFrame({"number": numbers, "first_day": days, "ts": calendar.start_ms(days), "week": day_names(days)})
    weeks = weeks.join(came, on="number", how="left").join(lost, on="number", how="left").sort("number").fill_null(0)
    weeks = weeks.with_columns((col("new") + col("reactivated") - col("lost")).alias("net")).with_columns(
        col("net").cum_sum().alias("active"),
        pl.lit(lost_after_days, pl.Int64).alias("lost_after_days"),
        span.contains(col("first_day"), col("first_day") + WEEK_DAYS).alias("complete"),
    )
    return shaped(weeks, MOVEMENT_FIELDS)


def _week(times: pl.Series, span: ArchivePeriod) -> pl.Series:
    """Return the numbers of the weeks that contain times, epoch ms."""
    return pl.Series(span.calendar.week_of(span.calendar.day_of(times)))
