"""Measures the quality of probabilities with weighted metrics and curves; a bootstrap only changes the weights.

A customer has rows at several cut-offs, so intervals resample customers, never rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
Groups = npt.NDArray[np.int64]
Interval = tuple[float, float]
Metric = Callable[[Labels, Float64, Float64], float]

BINS: Final = 10
LIFT_SHARE: Final = 0.10
CLASS_THRESHOLD: Final = 0.5
"""Probability from which F1 and the confusion matrix count a customer as churned."""
REPEATS: Final = 300


def _brier(labels: Labels, scores: Float64, weights: Float64) -> float:
    return float(np.average((scores - labels) ** 2, weights=weights))


def _log_loss(labels: Labels, scores: Float64, weights: Float64) -> float:
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    return float(np.average(-np.where(labels == 1, np.log(inside), np.log1p(-inside)), weights=weights))


def _f1(labels: Labels, scores: Float64, weights: Float64) -> float:
    predicted = scores >= CLASS_THRESHOLD
    right = weights[predicted & (labels == 1)].sum()
    both = weights[predicted].sum() + weights[labels == 1].sum()
    return float(2 * right / both) if both else 0.0


def _lift(labels: Labels, scores: Float64, weights: Float64) -> float:
    order = np.argsort(-scores, kind="stable")
    w, y = weights[order], labels[order]
    reached = LIFT_SHARE * w.sum()
    taken = np.clip(reached - (np.cumsum(w) - w), 0, w)  # the last row counts partially
    return float((taken * y).sum() / reached / np.average(labels, weights=weights))


def _ece(labels: Labels, scores: Float64, weights: Float64) -> float:
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights * (scores - labels), minlength=BINS)
    return float(np.abs(gaps).sum() / weights.sum())


def _roc_auc(labels: Labels, scores: Float64, weights: Float64) -> float:
    return float(roc_auc_score(labels, scores, sample_weight=weights))


def _pr_auc(labels: Labels, scores: Float64, weights: Float64) -> float:
    return float(average_precision_score(labels, scores, sample_weight=weights))


METRICS: Final[Mapping[str, Metric]] = {
    "pr_auc": _pr_auc,
    "roc_auc": _roc_auc,
    "f1": _f1,
    "brier": _brier,
    "log_loss": _log_loss,
    "lift_10": _lift,
    "ece": _ece,
}
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


def intervals(labels: Labels, predictions: Predictions, weights: list[Float64]) -> dict[str, Interval]:
    """Return the 95 % percentile bootstrap interval of every metric."""
    draws = [measure(labels, predictions, each) for each in weights]
    return {name: percentiles([each[name] for each in draws]) for name in METRICS}


def paired_difference(
    name: str, labels: Labels, better: Predictions, other: Predictions, weights: list[Float64]
) -> tuple[float, Interval]:
    """Return the difference `better` - `other` in a metric, with its 95 % interval on the same resamples."""
    metric = METRICS[name]
    ones = np.ones(len(labels))
    one, two = better.of(name), other.of(name)
    gaps = [metric(labels, one, each) - metric(labels, two, each) for each in weights]
    return metric(labels, one, ones) - metric(labels, two, ones), percentiles(gaps)


def percentiles(repeats: Sequence[float]) -> Interval:
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
