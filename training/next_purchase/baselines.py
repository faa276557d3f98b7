"""Defines baselines of the next purchase: simple rules and probability models, fitted to the same rows.

A baseline takes training rows, their outcomes and rows to predict; it returns predictions in the outcome's unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from polars import col
from sklearn.linear_model import LogisticRegression

from features.scores.score import learn_breaks, rfm_scores
from training import bgnbd as bgnbd_module
from training import gamma_gamma
from training.churn.calibration import fit_calibration
from training.labels import BOUGHT, BOUGHT_DAYS, DAYS, DAYS_MAX, REVENUE, REVENUE_DAYS
from training.predict import Float64, bgnbd, calibrated
from training.scorer import numbers

Baseline = Callable[[pl.DataFrame, Float64, pl.DataFrame], Float64]

_SHARED_ROWS: Final = 20.0
"""Prior weight, in rows, of the overall mean in each RFM cell."""
_DAYS_KNOTS: Final = 91


def buyers_once(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the latest row of each customer with an order."""
    buyers = rows.filter(col("orders_total") > 0)
    return buyers.sort("as_of").unique("customer_id", keep="last", maintain_order=True)


def rfm_cell(train_rows: pl.DataFrame, truth: Float64, test: pl.DataFrame) -> Float64:
    """Predict the mean outcome of the customer's RFM cell; customers without an order have their own cell."""
    breaks = learn_breaks(train_rows)

    def cells(rows: pl.DataFrame) -> pl.DataFrame:
        code = rfm_scores(rows, breaks)["rfm_code"]
        return pl.DataFrame({"cell": code, "bought": rows["orders_total"] > 0})

    overall = float(truth.mean())
    means = (
        cells(train_rows)
        .with_columns(pl.Series("truth", truth))
        .group_by("cell", "bought")
        .agg(((col("truth").sum() + _SHARED_ROWS * overall) / (pl.len() + _SHARED_ROWS)).alias("mean"))
    )
    joined = cells(test).join(means, on=["cell", "bought"], how="left", maintain_order="left")
    return joined["mean"].fill_null(overall).to_numpy()


def recency(train_rows: pl.DataFrame, truth: Float64, test: pl.DataFrame) -> Float64:
    """Predict by logistic regression on the logarithm of recency_days and a flag for its presence."""

    def inputs(rows: pl.DataFrame) -> Float64:
        days = rows["recency_days"].log1p()
        return np.column_stack([days.fill_null(0.0).to_numpy(), days.is_null().cast(pl.Float64).to_numpy()])

    model = LogisticRegression(C=1e3, max_iter=2_000).fit(inputs(train_rows), truth > 0)
    return np.asarray(model.predict_proba(inputs(test))[:, 1], np.float64)


def _with_bgnbd(of_buyers: Callable[[dict[str, Float64], Mapping[str, float], pl.DataFrame], Float64]) -> Baseline:
    """Return a baseline from BG/NBD parameters; customers without an order get the mean of their group."""

    def predicted(rows: pl.DataFrame, parameters: Mapping[str, float], once: pl.DataFrame, other: float) -> Float64:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = of_buyers(numbers(rows), parameters, once)
        return np.where(rows["orders_total"].to_numpy() > 0, values, other)

    def baseline(train_rows: pl.DataFrame, truth: Float64, test: pl.DataFrame) -> Float64:
        once = buyers_once(train_rows)
        parameters: dict[str, Any] = msgspec.to_builtins(bgnbd_module.fit(once))
        never = train_rows["orders_total"].to_numpy() == 0
        other = float(truth[never].mean()) if never.any() else float(truth.mean())
        return predicted(test, parameters, once, other)

    return baseline


def _probability(columns: dict[str, Float64], parameters: Mapping[str, float], _: pl.DataFrame) -> Float64:
    return 1 - bgnbd(columns, parameters, BOUGHT_DAYS)["bgnbd_churn"]


def _days(columns: dict[str, Float64], parameters: Mapping[str, float], _: pl.DataFrame) -> Float64:
    """Return the mean of min(days, DAYS_MAX): the area below P(no order yet)."""
    times = np.linspace(0, DAYS_MAX, _DAYS_KNOTS)
    quiet = np.array([bgnbd(columns, parameters, float(time))["bgnbd_churn"] for time in times])
    return np.asarray(np.trapezoid(quiet, times, axis=0), np.float64)


def _revenue(columns: dict[str, Float64], parameters: Mapping[str, float], once: pl.DataFrame) -> Float64:
    orders = columns["orders_total"]
    mean = columns["revenue_total"] / np.maximum(orders, 1)
    worth = gamma_gamma.fit(once).expected(orders, mean)
    return bgnbd(columns, parameters, REVENUE_DAYS)["bgnbd_orders"] * worth


def _calibrated(baseline: Baseline) -> Baseline:
    """Add a sigmoid fitted to the predictions for the training rows; two parameters hardly overfit."""

    def better(train_rows: pl.DataFrame, truth: Float64, test: pl.DataFrame) -> Float64:
        calibration = fit_calibration(
            "sigmoid", 1 - baseline(train_rows, truth, train_rows), (truth == 0).astype(np.int8)
        )
        return 1 - calibrated(1 - baseline(train_rows, truth, test), calibration)

    return better


BASELINES: Final[Mapping[str, Mapping[str, Baseline]]] = {
    BOUGHT: {"rfm_cell": rfm_cell, "recency": recency, "bgnbd": _calibrated(_with_bgnbd(_probability))},
    DAYS: {"rfm_cell": rfm_cell, "bgnbd": _with_bgnbd(_days)},
    REVENUE: {"rfm_cell": rfm_cell, "bgnbd": _with_bgnbd(_revenue)},
}
"""Outcome -> name -> baseline."""
TITLES: Final = {
    "rfm_cell": "mean of the RFM cell",
    "recency": "recency only",
    "bgnbd": "BG/NBD",
    "xgboost": "XGBoost",
    "paced_hazard": "paced hazard",
}
