"""Defines windows and ratios, the basic expressions of every feature.

The frames of the features have ages instead of times (`age_ms` = as_of - ts, never negative). A window of W days,
(as_of - W, as_of], is therefore `age_ms < W`, and the declarations are independent of any clock.
"""

from __future__ import annotations

import polars as pl

from features.schema import DAY_MS


def within(days: int) -> pl.Expr:
    """Select rows whose time lies in the window of `days` days, exact to the millisecond."""
    return pl.col("age_ms") < days * DAY_MS


def count_where(condition: pl.Expr) -> pl.Expr:
    """Return the number of rows that meet the condition, int64."""
    return condition.cast(pl.Int64).sum()


def sum_where(value: str, condition: pl.Expr) -> pl.Expr:
    """Return the sum of an integer column over the rows that meet the condition, int64."""
    return (pl.col(value) * condition.cast(pl.Int64)).sum()


def ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Return the quotient as float64; null if the denominator is 0 or either side is null."""
    return pl.when(denominator != 0).then(numerator.cast(pl.Float64) / denominator.cast(pl.Float64))


def days(milliseconds: pl.Expr) -> pl.Expr:
    """Return milliseconds as days, float64."""
    return divided(milliseconds, DAY_MS)


def divided(number: pl.Expr, divisor: int) -> pl.Expr:
    """Return the quotient of an int64 column and a constant, the nearest float64 for any number of rows.

    Polars multiplies a column by the reciprocal of a constant, but divides a single row by it. The last bit of a
    customer's row would therefore depend on the other rows. Dividing by a constant column avoids this.
    """
    return number.cast(pl.Float64) / (number * 0 + divisor).cast(pl.Float64)


def money(cents: pl.Expr) -> pl.Expr:
    """Return integer cents as a decimal amount, float64."""
    # Polars multiplies by the reciprocal; rounding gives the float64 nearest to the decimal
    return (cents.cast(pl.Float64) / 100).round(2)
