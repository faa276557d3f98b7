"""Fits the BG/NBD model: each customer has an individual purchase rate and may drop out after any purchase.

The likelihood is equation (6) of P. S. Fader, B. G. S. Hardie, K. L. Lee: "Counting Your Customers" the Easy Way: An
Alternative to the Pareto/NBD Model. Marketing Science 24 (2), 2005. See docs/decisions for why the project
implements it.
"""

from __future__ import annotations

import msgspec
import numpy as np
import polars as pl
from polars import col
from scipy.special import betaln, gammaln

from features.errors import ShopstreamError
from training.maximum_likelihood import Float, fit_parameters


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gamma(r, alpha) of purchase rates per day; Beta(a, b) of the dropout probability after a purchase."""

    r: float
    alpha: float
    a: float
    b: float


def histories(rows: pl.DataFrame) -> tuple[Float, Float, Float]:
    """Return repeat purchases, days from first to last purchase, and days from first purchase to as_of.

    Args:
        rows: rows of customers with an order, with orders_total, order_gap_mean_days and recency_days.
    """
    repeats = (col("orders_total") - 1).cast(pl.Float64)
    last = (col("order_gap_mean_days").fill_null(0.0) * repeats).alias("last")
    frame = rows.select(repeats.alias("repeats"), last, (last + col("recency_days")).alias("age"))
    return frame["repeats"].to_numpy(), frame["last"].to_numpy(), frame["age"].to_numpy()


def log_likelihood(logs: Float, repeats: Float, last: Float, age: Float) -> Float:
    """Return the log-likelihood of each customer at the logarithms of r, alpha, a and b."""
    r, alpha, a, b = np.exp(logs)
    common = gammaln(r + repeats) - gammaln(r) + r * np.log(alpha) + betaln(a, b + repeats) - betaln(a, b)
    stayed = -(r + repeats) * np.log(alpha + age)
    # betaln(a + 1, b + x - 1) - betaln(a, b + x) = log(a / (b + x - 1))
    safe = np.maximum(repeats, 1)
    left = np.log(a) - np.log(b + safe - 1) - (r + repeats) * np.log(alpha + last)
    both = np.where(repeats > 0, np.logaddexp(stayed, left), stayed)
    likelihood: Float = common + both
    return likelihood


def fit(rows: pl.DataFrame) -> Parameters:
    """Return the maximum-likelihood parameters.

    Args:
        rows: rows of customers with an order, one per customer (the rows of one cut-off).

    Raises:
        ShopstreamError: no customer has an order.
    """
    repeats, last, age = histories(rows)
    if not len(repeats):
        raise ShopstreamError("BG/NBD cannot be fitted: no customer has an order.", "Choose a later cut-off.")
    scale = max(float(age.max()), 1.0) / 10.0  # times near 1 let one bound fit all four logarithms
    r, alpha, a, b = fit_parameters(lambda logs: log_likelihood(logs, repeats, last / scale, age / scale), 4)
    return Parameters(float(r), float(alpha * scale), float(a), float(b))
