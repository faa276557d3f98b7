"""Windows and ratios: the few forms in which every feature is written.

The frames that features are evaluated on carry ages instead of times (`age_ms` = as_of - ts, never negative), so a
window of W days, (as_of - W, as_of], is `age_ms < W` and the declarations know no clock.
"""

from __future__ import annotations

import polars as pl

from features.schema import DAY_MS


def within(days: int) -> pl.Expr:
    """Rows whose time lies in the window of so many days, exact to the millisecond."""
    return pl.col("age_ms") < days * DAY_MS


def count_where(condition: pl.Expr) -> pl.Expr:
    """Number of rows that fulfil the condition, int64."""
    return condition.cast(pl.Int64).sum()


def sum_where(value: str, condition: pl.Expr) -> pl.Expr:
    """Sum of an integer column over the rows that fulfil the condition, int64."""
    return (pl.col(value) * condition.cast(pl.Int64)).sum()


def ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Quotient as float64; null where the denominator is 0 or either side is null."""
    return pl.when(denominator != 0).then(numerator.cast(pl.Float64) / denominator.cast(pl.Float64))


def days(milliseconds: pl.Expr) -> pl.Expr:
    """Milliseconds as days, float64."""
    return divided(milliseconds, DAY_MS)


def divided(number: pl.Expr, divisor: int) -> pl.Expr:
    """Quotient of an int64 column and a constant, the nearest float64 whatever the number of rows.

    Polars multiplies a column by the reciprocal of a constant, but divides a single row by it: a customer's row would
    depend on its company in the last bit. A column of the constant is divided by.
    """
    return number.cast(pl.Float64) / (number * 0 + divisor).cast(pl.Float64)


def money(cents: pl.Expr) -> pl.Expr:
    """Integer cents as a decimal amount, float64."""
    # polars multiplies by the reciprocal; rounding gives the float64 nearest to the decimal
    return (cents.cast(pl.Float64) / 100).round(2)
