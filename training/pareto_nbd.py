"""Fits the Pareto/NBD model of visits: each customer has an individual rate of them, and may leave at any time.

In BG/NBD a customer may leave after a purchase only. D. C. Schmittlein, D. G. Morrison, R. Colombo: Counting Your
Customers: Who Are They and What Will They Do Next? Management Science 33 (1), 1987. The likelihood of one customer is
that of P. S. Fader, B. G. S. Hardie: A Note on Deriving the Pareto/NBD Model and Related Expressions, 2005:

    G(r + x) a^r b^s / G(r) * { (a + T)^-(r + x) (b + T)^-s + I },
    I = integral of s (a + t)^-(r + x) (b + t)^-(s + 1) over t from t_x to T

The note gives the integral over the time of leaving as a Gauss hypergeometric function. `predict.log_left` evaluates it
by quadrature, which needs no cases and no SciPy in a bundle.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import polars as pl
from polars import col
from scipy.special import betaln, gammaln

from training.maximum_likelihood import Float, fit_parameters
from training.predict import log_left, visit_counts
from training.scorer import numbers

CUSTOMERS_MAX: Final = 5_000
"""Maximum customers of a fit, drawn at random: a few parameters need no more."""


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gamma(r, alpha) of rates per day; Gamma(s, beta) of the rate of leaving per day."""

    r: float
    alpha: float
    s: float
    beta: float


class VisitParameters(Parameters, frozen=True, forbid_unknown_fields=True):
    """Parameters of visits, and Beta(orders, misses) of the orders per visit."""

    orders: float
    misses: float


def log_likelihood(logs: Float, counts: Float, last: Float, age: Float) -> Float:
    """Return the log-likelihood of each customer at the logarithms of r, alpha, s and beta.

    Args:
        logs: logarithms of the parameters, (4,).
        counts: repeated events of each customer.
        last: days from the start to the last event; 0 without one.
        age: days from the start to as_of.
    """
    r, alpha, s, beta = np.exp(logs)
    stayed = -(r + counts) * np.log(alpha + age) - s * np.log(beta + age)
    left = log_left({"r": r, "alpha": alpha, "s": s, "beta": beta}, counts, last, age)
    likelihood: Float = (
        gammaln(r + counts) - gammaln(r) + r * np.log(alpha) + s * np.log(beta) + np.logaddexp(stayed, left)
    )
    return likelihood


def fit_counts(counts: Float, last: Float, age: Float) -> Parameters:
    """Return the maximum-likelihood parameters; arguments as for `log_likelihood`, at least one customer."""
    scale = max(float(age.max()), 1.0) / 10.0  # times near 1 let one bound fit all four logarithms
    r, alpha, s, beta = fit_parameters(lambda logs: log_likelihood(logs, counts, last / scale, age / scale), 4)
    return Parameters(float(r), float(alpha * scale), float(s), float(beta * scale))


def fit_visits(rows: pl.DataFrame, seed: int) -> VisitParameters | None:
    """Fit the visits of 90 days and the orders per visit.

    Args:
        rows: rows of customers, with or without an order, one per customer.
        seed: seed of the sample.

    Returns:
        None if no customer has a visit.
    """
    rows = _some(rows, seed)
    if rows.is_empty() or not rows["sessions_90d"].sum():
        return None
    columns = numbers(rows)
    visits, last, age = visit_counts(columns)
    orders = np.minimum(columns["orders_90d"], visits)

    def share_likelihood(logs: Float) -> Float:
        one, other = np.exp(logs)
        likelihood: Float = betaln(one + orders, other + visits - orders) - betaln(one, other)
        return likelihood

    share = fit_parameters(share_likelihood, 2)
    rate = fit_counts(visits, last, age)
    return VisitParameters(rate.r, rate.alpha, rate.s, rate.beta, float(share[0]), float(share[1]))


def _some(rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    known = rows.filter(col("sessions_90d").is_not_null())
    return known if len(known) <= CUSTOMERS_MAX else known.sample(CUSTOMERS_MAX, seed=seed)
