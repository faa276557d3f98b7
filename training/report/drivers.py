"""Finds the drivers of this shop's churn scores and their directions."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.errors import ShopstreamError
from training.scorer import DRIVER_ROWS_MAX, BundleScorer, numbers

SHOWN = 10
"""Number of drivers in the report."""


def drivers(scorer: BundleScorer, rows: pl.DataFrame) -> pl.DataFrame:
    """Rank the inputs of the churn model by mean absolute contribution, over customers with an order.

    Returns:
        driver, mean_contribution (log odds), direction (`higher value, more churn` or the reverse), the largest first.

    Raises:
        ShopstreamError: no customer has an order.
    """
    buyers = rows.filter(pl.col("orders_total") > 0).head(DRIVER_ROWS_MAX)
    if buyers.is_empty():
        raise ShopstreamError("No customer has an order, so churn has no drivers.", "Give an archive with orders.")
    prepared = scorer.model.matrix(numbers(buyers))
    pushes = scorer.contributions(prepared)
    sizes = np.abs(pushes).mean(axis=0)
    order = [column for column in np.argsort(-sizes, kind="stable").tolist() if sizes[column] > 0]
    names = scorer.model.preparation["names"]
    return pl.DataFrame({
        "driver": [names[column] for column in order],
        "mean_contribution": [round(float(sizes[column]), 6) for column in order],
        "direction": [_direction(np.asarray(prepared[:, column], np.float64), pushes[:, column]) for column in order],
    })  # fmt: skip


def _direction(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], pushes: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> str:
    known = np.isfinite(values)
    if known.sum() < 2:
        return "too few values"
    ranks = np.argsort(np.argsort(values[known], kind="stable"), kind="stable")
    together = float(((ranks - ranks.mean()) * (pushes[known] - pushes[known].mean())).sum())
    return "higher value, more churn" if together > 0 else "higher value, less churn"
