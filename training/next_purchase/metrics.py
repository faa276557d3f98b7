"""Measures next-purchase predictions with weighted metrics, so that a bootstrap only changes the weights.

Revenue and days are evaluated as means: their sums over many customers must match the actual sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training.churn import metrics
from training.churn.metrics import Interval, Predictions, percentiles
from training.labels import BOUGHT, DAYS, REVENUE

Float64 = npt.NDArray[np.float64]
Metric = Callable[[Float64, Float64, Float64], float]
"""Metric of actual values, predicted values and weights."""
Measured = tuple[Mapping[str, float], list[dict[str, float]]]
"""Metrics of all rows, and of each resample."""

TENTHS: Final = 10


def _mae(truth: Float64, predicted: Float64, weights: Float64) -> float:
    return float(np.average(np.abs(predicted - truth), weights=weights))


def _bias(truth: Float64, predicted: Float64, weights: Float64) -> float:
    return float(np.average(predicted - truth, weights=weights))


def _total(truth: Float64, predicted: Float64, weights: Float64) -> float:
    real = float(weights @ truth)
    return float(weights @ predicted) / real if real else float("nan")


def _spearman(truth: Float64, predicted: Float64, weights: Float64) -> float:
    one, two = _ranks(truth, weights), _ranks(predicted, weights)
    one, two = one - np.average(one, weights=weights), two - np.average(two, weights=weights)
    spread = float(np.sqrt((weights @ one**2) * (weights @ two**2)))
    return float(weights @ (one * two)) / spread if spread else float("nan")


def _ranks(values: Float64, weights: Float64) -> Float64:
    """Return weighted mid-ranks; equal values share a rank, and a weight of two counts a value twice."""
    _, positions = np.unique(values, return_inverse=True)
    sizes = np.bincount(positions, weights)
    ranks: Float64 = (np.cumsum(sizes) - sizes / 2)[positions]
    return ranks


def _tenth_of(predicted: Float64, weights: Float64) -> npt.NDArray[np.int64]:
    """Return the tenth of each row by predicted value, from 0; ties keep the order of the rows."""
    order = np.argsort(predicted, kind="stable")
    middle = np.cumsum(weights[order]) - weights[order] / 2
    tenths = np.empty(len(predicted), np.int64)
    tenths[order] = np.minimum(TENTHS * middle / weights.sum(), TENTHS - 1)
    return tenths


def _tenths_gap(truth: Float64, predicted: Float64, weights: Float64) -> float:
    """Return the summed absolute error of the tenths, as a share of the actual sum."""
    gaps = np.bincount(_tenth_of(predicted, weights), weights * (predicted - truth), minlength=TENTHS)
    real = float(weights @ truth)
    return float(np.abs(gaps).sum()) / real if real else float("nan")


def _probability(name: str) -> Metric:
    metric = metrics.METRICS[name]
    return lambda truth, predicted, weights: metric(truth.astype(np.int8), predicted, weights)


METRICS: Final[Mapping[str, Mapping[str, Metric]]] = {
    BOUGHT: {name: _probability(name) for name in ("pr_auc", "roc_auc", "brier", "log_loss", "ece")},
    DAYS: {"mae": _mae, "bias": _bias, "spearman": _spearman},
    REVENUE: {"mae": _mae, "spearman": _spearman, "total": _total, "tenths_gap": _tenths_gap},
}
"""Outcome -> name -> metric."""
COMPARED: Final[Mapping[str, Mapping[str, int]]] = {
    BOUGHT: {"pr_auc": 1, "roc_auc": 1},
    DAYS: {"mae": -1, "spearman": 1},
    REVENUE: {"mae": -1, "spearman": 1},
}
"""Outcome -> metric for comparing models -> 1 if higher is better, -1 if lower is better."""


def measured(outcome: str, truth: Float64, predictions: Predictions, weights: Float64) -> dict[str, float]:
    """Return every metric of an outcome; all are NaN if the outcome has only one value."""
    known = truth[weights > 0]
    if not len(known) or known.min() == known.max():
        return dict.fromkeys(METRICS[outcome], float("nan"))
    return {name: metric(truth, predictions.of(name), weights) for name, metric in METRICS[outcome].items()}


def drawn(outcome: str, truth: Float64, predictions: Predictions, weights: list[Float64]) -> list[dict[str, float]]:
    """Return every metric in each resample."""
    return [measured(outcome, truth, predictions, each) for each in weights]


def described(outcome: str, truth: Float64, predictions: Predictions, draws: list[dict[str, float]]) -> dict[str, Any]:
    """Return metrics with 95 % intervals, and `tenths`: predicted and actual means by predicted tenth."""
    ones = np.ones(len(truth))
    tenth = _tenth_of(predictions.scores, ones)
    rows = np.bincount(tenth, minlength=TENTHS)
    some = rows > 0
    means = {
        name: (np.bincount(tenth, values, minlength=TENTHS)[some] / rows[some]).tolist()
        for name, values in (("said", predictions.scores), ("came", truth))
    }
    return {
        "metrics": measured(outcome, truth, predictions, ones),
        "intervals": {name: list(percentiles([one[name] for one in draws])) for name in METRICS[outcome]},
        "tenths": means | {"rows": rows[some].tolist()},
    }


def gain(outcome: str, name: str, model: Measured, other: Measured) -> tuple[float, Interval]:
    """Return the gain over `other` in a metric of COMPARED, with its 95 % interval on the same resamples."""
    sign = COMPARED[outcome][name]
    gaps = [
        sign * (model_metrics[name] - other_metrics[name])
        for model_metrics, other_metrics in zip(model[1], other[1], strict=True)
    ]
    return sign * (model[0][name] - other[0][name]), percentiles(gaps)
