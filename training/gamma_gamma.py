"""Fits the Gamma-Gamma model: expected value of a customer's order, shrunk towards the average of the shop.

P. S. Fader, B. G. S. Hardie: The Gamma-Gamma Model of Monetary Value, 2013. An order of a customer is Gamma(p, v), and
v is Gamma(q, gamma) over customers. The fewer orders a customer has, the closer the expectation is to the average.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from polars import col
from scipy.optimize import minimize
from scipy.special import gammaln

from features.errors import ShopstreamError

Float = npt.NDArray[np.float64]

_START: Final = np.log([2.0, 3.0, 2.0])
_LOG_MAX: Final = 12.0
_RIDGE: Final = 1e-3
"""Ridge penalty as in BG/NBD: keeps parameters from diverging on small samples."""


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the model; `gamma` is in the shop's currency."""

    p: float
    q: float
    gamma: float

    def expected(self, orders: Float, mean: Float) -> Float:
        """Return the expected value of the next order, in the shop's currency.

        Args:
            orders: number of a customer's orders, 0 allowed.
            mean: mean value of these orders; ignored without orders.
        """
        known = np.where(orders > 0, self.p * orders * mean, 0.0)
        value: Float = self.p * (self.gamma + known / self.p) / (self.p * orders + self.q - 1)
        return value


def log_likelihood(logs: Float, orders: Float, mean: Float) -> Float:
    """Return the log-likelihood of each customer at the logarithms of p, q - 1 and gamma."""
    p, q, gamma = np.exp(logs[0]), 1 + np.exp(logs[1]), np.exp(logs[2])
    shape = p * orders
    likelihood: Float = (
        gammaln(shape + q)
        - gammaln(shape)
        - gammaln(q)
        + q * np.log(gamma)
        + (shape - 1) * np.log(mean)
        + shape * np.log(orders)
        - (shape + q) * np.log(gamma + mean * orders)
    )
    return likelihood


def fit(rows: pl.DataFrame) -> Parameters:
    """Return the maximum-likelihood parameters.

    Args:
        rows: one row per customer, with orders_total and revenue_total; customers without revenue are ignored.

    Raises:
        ShopstreamError: no customer has revenue.
    """
    paid = rows.filter((col("orders_total") > 0) & (col("revenue_total") > 0))
    if paid.is_empty():
        raise ShopstreamError("Gamma-Gamma cannot be fitted: no order has revenue.", "Choose a later cut-off.")
    orders = paid["orders_total"].cast(pl.Float64).to_numpy()
    mean = paid["revenue_total"].to_numpy() / orders
    scale = float(np.median(mean))

    def loss(logs: Float) -> float:
        return float(-log_likelihood(logs, orders, mean / scale).mean() + _RIDGE * (logs**2).mean())

    optimum = minimize(loss, _START, method="L-BFGS-B", bounds=[(-_LOG_MAX, _LOG_MAX)] * 3)
    p, more, gamma = np.exp(optimum.x)
    return Parameters(float(p), float(1 + more), float(gamma * scale))
