"""Measures the quality of probabilities with weighted metrics and curves; a bootstrap only changes the weights.

A customer has rows at several cut-offs, so intervals resample customers, never rows. Every metric takes the weights of
many resamples at once: the rows are sorted once, which is most of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import precision_recall_curve, roc_curve

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
Groups = npt.NDArray[np.int64]
Interval = tuple[float, float]
Metric = Callable[[Labels, Float64, Float64], float]
DrawnMetric = Callable[[Labels, Float64, Float64], Float64]
"""Labels and scores, (n,), and weights, (n, r) -> metric of each of r resamples."""

BINS: Final = 10
LIFT_SHARE: Final = 0.10
CLASS_THRESHOLD: Final = 0.5
"""Probability from which F1 and the confusion matrix count a customer as churned."""
REPEATS: Final = 300
BLOCK_WEIGHTS: Final = 250_000
"""Weights of a block of repeats, which fit into a processor's cache."""


def _brier(labels: Labels, scores: Float64, weights: Float64) -> Float64:
    squares: Float64 = (scores - labels) ** 2
    return _mean(squares, weights)


def _log_loss(labels: Labels, scores: Float64, weights: Float64) -> Float64:
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    return _mean(-np.where(labels == 1, np.log(inside), np.log1p(-inside)), weights)


def _mean(values: Float64, weights: Float64) -> Float64:
    mean: Float64 = (values @ weights) / weights.sum(axis=0)
    return mean


def _f1(labels: Labels, scores: Float64, weights: Float64) -> Float64:
    predicted = scores >= CLASS_THRESHOLD
    right = (predicted & (labels == 1)).astype(np.float64) @ weights
    both = (predicted.astype(np.float64) + (labels == 1)) @ weights
    score: Float64 = np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0)
    return score


def _lift(labels: Labels, scores: Float64, weights: Float64) -> Float64:
    order = np.argsort(-scores, kind="stable")
    ordered = weights[order]
    total = ordered.sum(axis=0)
    before = np.cumsum(ordered, axis=0) - ordered
    taken = np.clip(LIFT_SHARE * total - before, 0, ordered)  # the last row counts partially
    positive = labels.astype(np.float64)
    lift: Float64 = (positive[order] @ taken) / (LIFT_SHARE * total) / _mean(positive, weights)
    return lift


def _ece(labels: Labels, scores: Float64, weights: Float64) -> Float64:
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    gaps = np.zeros((BINS, len(scores)))
    gaps[bins, np.arange(len(scores))] = scores - labels
    error: Float64 = np.abs(gaps @ weights).sum(axis=0) / weights.sum(axis=0)
    return error


def _running(labels: Labels, scores: Float64, weights: Float64) -> tuple[Float64, Float64]:
    """Return the weight of both labels at or above each distinct score, from the highest: two of (distinct, r)."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    ordered, positive = weights[order], (labels[order] == 1)[:, None]
    both = np.cumsum(ordered, axis=0)[last]
    hits = np.cumsum(ordered * positive, axis=0)[last]
    return hits, both - hits


def _roc_auc(labels: Labels, scores: Float64, weights: Float64) -> Float64:
    """Return the area under the curve by trapezoids, which equals sklearn's `roc_auc_score`."""
    hits, misses = _running(labels, scores, weights)
    steps = np.diff(misses, axis=0, prepend=0)
    area: Float64 = (steps * (hits - np.diff(hits, axis=0, prepend=0) / 2)).sum(axis=0) / (hits[-1] * misses[-1])
    return area


def _pr_auc(labels: Labels, scores: Float64, weights: Float64) -> Float64:
    """Return the average precision, which equals sklearn's `average_precision_score`."""
    hits, misses = _running(labels, scores, weights)
    both = hits + misses
    precision = np.divide(hits, both, out=np.zeros_like(hits), where=both > 0)
    area: Float64 = (np.diff(hits, axis=0, prepend=0) * precision).sum(axis=0) / hits[-1]
    return area


_DRAWN: Final[Mapping[str, DrawnMetric]] = {
    "pr_auc": _pr_auc,
    "roc_auc": _roc_auc,
    "f1": _f1,
    "brier": _brier,
    "log_loss": _log_loss,
    "lift_10": _lift,
    "ece": _ece,
}


def _single(metric: DrawnMetric) -> Metric:
    return lambda labels, scores, weights: float(metric(labels, scores, weights[:, None])[0])


METRICS: Final[Mapping[str, Metric]] = {name: _single(metric) for name, metric in _DRAWN.items()}
"""Name -> metric of labels, scores and weights. All but the two areas and the lift need probabilities."""


RANKED: Final = ("pr_auc", "roc_auc", "lift_10")
"""Metrics that depend only on the order of the rows."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of a model for held-out rows.

    Attributes:
        scores: probabilities.
        ranks: sort keys of the rows, in [0, 1]. Either the scores, or ranks within the fold if several models made the
            scores, which have no common order then.
    """

    scores: Float64
    ranks: Float64

    def of(self, metric: str) -> Float64:
        """Return the input of a metric: ranks or scores."""
        return self.ranks if metric in RANKED else self.scores

    def where(self, rows: npt.NDArray[np.bool_]) -> Predictions:
        """Return the predictions of the selected rows."""
        return Predictions(self.scores[rows], self.ranks[rows])


def fold_ranks(scores: Float64, folds: Groups) -> Float64:
    """Return the rank of each score within its fold, from 0 to 1; equal scores share a rank."""
    ranks = np.empty(len(scores))
    for fold in np.unique(folds):
        inside = folds == fold
        ranks[inside] = rankdata(scores[inside]) / np.count_nonzero(inside)
    return ranks


def measure(labels: Labels, predictions: Predictions, weights: Float64 | None = None) -> dict[str, float]:
    """Return every metric; all are NaN if only one class occurs."""
    effective = np.ones(len(labels)) if weights is None else weights
    counted = labels[effective > 0]
    if not len(counted) or counted.min() == counted.max():
        return dict.fromkeys(METRICS, float("nan"))
    return {name: metric(labels, predictions.of(name), effective) for name, metric in METRICS.items()}


def resampled(groups: Groups, repeats: int, seed: int) -> list[Float64]:
    """Return the row weights of each repeat of a bootstrap that draws whole groups.

    Args:
        groups: group number of each row, from 0.
        repeats: number of repeats.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    return [rng.multinomial(count, np.full(count, 1 / count))[groups].astype(np.float64) for _ in range(repeats)]


def drawn(
    names: Sequence[str], labels: Labels, predictions: Predictions, weights: Sequence[Float64]
) -> dict[str, Float64]:
    """Return metrics in every resample, name -> (repeats,); NaN where only one class occurs.

    Args:
        names: names of the metrics, of METRICS.
        labels: labels of the rows.
        predictions: predictions of the rows.
        weights: weights of the rows in each repeat, see `resampled`.
    """
    values = {name: np.full(len(weights), np.nan) for name in names}
    size = max(1, BLOCK_WEIGHTS // max(len(labels), 1))
    for start in range(0, len(weights), size):
        block = np.stack(weights[start : start + size], axis=1)
        positive, total = (labels == 1).astype(np.float64) @ block, block.sum(axis=0)
        both = (positive > 0) & (positive < total)
        usable = block if both.all() else np.ascontiguousarray(block[:, both])
        for name in names if both.any() else ():
            values[name][start + np.flatnonzero(both)] = _DRAWN[name](labels, predictions.of(name), usable)
    return values


def intervals(labels: Labels, predictions: Predictions, weights: Sequence[Float64]) -> dict[str, Interval]:
    """Return the 95 % percentile bootstrap interval of every metric."""
    return {name: percentiles(draws) for name, draws in drawn(tuple(METRICS), labels, predictions, weights).items()}


def paired_difference(
    name: str, labels: Labels, better: Predictions, other: Predictions, weights: Sequence[Float64]
) -> tuple[float, Interval]:
    """Return the difference `better` - `other` in a metric, with its 95 % interval on the same resamples."""
    metric = METRICS[name]
    ones = np.ones(len(labels))
    gaps = drawn((name,), labels, better, weights)[name] - drawn((name,), labels, other, weights)[name]
    return metric(labels, better.of(name), ones) - metric(labels, other.of(name), ones), percentiles(gaps)


def percentiles(repeats: Sequence[float] | Float64) -> Interval:
    """Return the central 95 % of bootstrap values; NaN values are ignored."""
    values = np.asarray(repeats)
    low, high = np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else (np.nan, np.nan)
    return float(low), float(high)


def confusion(labels: Labels, scores: Float64) -> dict[str, int]:
    """Return the numbers of customers in the confusion matrix at CLASS_THRESHOLD."""
    predicted = scores >= CLASS_THRESHOLD
    return {
        "true_positive": int((predicted & (labels == 1)).sum()),
        "false_positive": int((predicted & (labels == 0)).sum()),
        "false_negative": int((~predicted & (labels == 1)).sum()),
        "true_negative": int((~predicted & (labels == 0)).sum()),
    }


def curves(labels: Labels, predictions: Predictions, points: int = 200) -> dict[str, Any]:
    """Return the card's curves: roc, pr, gain (shares) and calibration (mean score, share churned, rows, by bin)."""
    false_rate, true_rate, _ = roc_curve(labels, predictions.ranks)
    precision, recall, _ = precision_recall_curve(labels, predictions.ranks)
    ordered = np.cumsum(labels[np.argsort(-predictions.ranks, kind="stable")])
    depth = np.arange(1, len(labels) + 1) / len(labels)
    scores = predictions.scores
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    some = counts > 0
    mean = np.bincount(bins, scores, minlength=BINS)[some] / counts[some]
    share = np.bincount(bins, labels.astype(np.float64), minlength=BINS)[some] / counts[some]
    return {
        "roc": _downsampled(false_rate, true_rate, points),
        "pr": _downsampled(recall[::-1], precision[::-1], points),
        "gain": _downsampled(depth, ordered / max(int(ordered[-1]), 1), points),
        "calibration": {"x": mean.tolist(), "y": share.tolist(), "rows": counts[some].tolist()},
    }


def _downsampled(x: Float64, y: Float64, points: int) -> dict[str, list[float]]:
    keep = np.unique(np.linspace(0, len(x) - 1, points).astype(np.int64))
    return {"x": np.round(x[keep], 5).tolist(), "y": np.round(y[keep], 5).tolist()}
