"""How good probabilities are: weighted metrics, so that a bootstrap is a change of weights, and the curves behind them.

A customer stands in the rows of several cut-offs, so intervals resample customers, never rows.
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
CUT: Final = 0.5
"""The probability from which F1 and the confusion count a customer as churned."""
REPEATS: Final = 300


def _brier(labels: Labels, scores: Float64, weights: Float64) -> float:
    return float(np.average((scores - labels) ** 2, weights=weights))


def _log_loss(labels: Labels, scores: Float64, weights: Float64) -> float:
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    return float(np.average(-np.where(labels == 1, np.log(inside), np.log1p(-inside)), weights=weights))


def _f1(labels: Labels, scores: Float64, weights: Float64) -> float:
    said = scores >= CUT
    right = weights[said & (labels == 1)].sum()
    both = weights[said].sum() + weights[labels == 1].sum()
    return float(2 * right / both) if both else 0.0


def _lift(labels: Labels, scores: Float64, weights: Float64) -> float:
    order = np.argsort(-scores, kind="stable")
    w, y = weights[order], labels[order]
    wanted = LIFT_SHARE * w.sum()
    taken = np.clip(wanted - (np.cumsum(w) - w), 0, w)  # the last one counts by the part that is needed
    return float((taken * y).sum() / wanted / np.average(labels, weights=weights))


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
"""Name -> the metric of labels, scores and weights. All but the two areas and the lift want probabilities."""


RANKED: Final = ("pr_auc", "roc_auc", "lift_10")
"""Metrics of the order alone."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model said of held-out rows.

    Attributes:
        scores: probabilities.
        ranks: what orders the rows, in [0, 1]: the scores themselves, or the place within the fold where several
            models said them, whose scores have no common order.
    """

    scores: Float64
    ranks: Float64

    def of(self, metric: str) -> Float64:
        """What a metric looks at."""
        return self.ranks if metric in RANKED else self.scores

    def where(self, rows: npt.NDArray[np.bool_]) -> Judged:
        """Some of the rows."""
        return Judged(self.scores[rows], self.ranks[rows])


def places(scores: Float64, folds: Groups) -> Float64:
    """The place of each score within its fold, from 0 to 1, equal scores sharing theirs."""
    found = np.empty(len(scores))
    for fold in np.unique(folds):
        here = folds == fold
        found[here] = rankdata(scores[here]) / np.count_nonzero(here)
    return found


def measure(labels: Labels, judged: Judged, weights: Float64 | None = None) -> dict[str, float]:
    """Every metric; NaN for each where only one class occurs."""
    given = np.ones(len(labels)) if weights is None else weights
    counted = labels[given > 0]
    if not len(counted) or counted.min() == counted.max():
        return dict.fromkeys(METRICS, float("nan"))
    return {name: metric(labels, judged.of(name), given) for name, metric in METRICS.items()}


def resampled(groups: Groups, repeats: int, seed: int) -> list[Float64]:
    """Weights of rows for each repeat of a bootstrap that draws whole groups.

    Args:
        groups: number of the group of each row, from 0.
        repeats: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    return [rng.multinomial(count, np.full(count, 1 / count))[groups].astype(np.float64) for _ in range(repeats)]


def intervals(labels: Labels, judged: Judged, weights: list[Float64]) -> dict[str, Interval]:
    """The 95 % interval of every metric, by percentiles of a bootstrap."""
    found = [measure(labels, judged, each) for each in weights]
    return {name: percentiles([each[name] for each in found]) for name in METRICS}


def paired_difference(
    name: str, labels: Labels, better: Judged, other: Judged, weights: list[Float64]
) -> tuple[float, Interval]:
    """How much more `better` has of a metric than `other`, with its 95 % interval in the same resamples."""
    metric = METRICS[name]
    ones = np.ones(len(labels))
    one, two = better.of(name), other.of(name)
    gaps = [metric(labels, one, each) - metric(labels, two, each) for each in weights]
    return metric(labels, one, ones) - metric(labels, two, ones), percentiles(gaps)


def percentiles(repeats: Sequence[float]) -> Interval:
    """The middle 95 % of what the repeats of a bootstrap gave; NaN ones are passed over."""
    values = np.asarray(repeats)
    low, high = np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else (np.nan, np.nan)
    return float(low), float(high)


def confusion(labels: Labels, scores: Float64) -> dict[str, int]:
    """Numbers of customers at CUT."""
    said = scores >= CUT
    return {
        "true_positive": int((said & (labels == 1)).sum()),
        "false_positive": int((said & (labels == 0)).sum()),
        "false_negative": int((~said & (labels == 1)).sum()),
        "true_negative": int((~said & (labels == 0)).sum()),
    }


def curves(labels: Labels, judged: Judged, points: int = 200) -> dict[str, Any]:
    """What the card draws: roc, pr, gain (shares) and calibration (mean score, share churned, rows, by bin)."""
    false_rate, true_rate, _ = roc_curve(labels, judged.ranks)
    precision, recall, _ = precision_recall_curve(labels, judged.ranks)
    ordered = np.cumsum(labels[np.argsort(-judged.ranks, kind="stable")])
    depth = np.arange(1, len(labels) + 1) / len(labels)
    scores = judged.scores
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    some = counts > 0
    mean = np.bincount(bins, scores, minlength=BINS)[some] / counts[some]
    share = np.bincount(bins, labels.astype(np.float64), minlength=BINS)[some] / counts[some]
    return {
        "roc": _thinned(false_rate, true_rate, points),
        "pr": _thinned(recall[::-1], precision[::-1], points),
        "gain": _thinned(depth, ordered / max(int(ordered[-1]), 1), points),
        "calibration": {"x": mean.tolist(), "y": share.tolist(), "rows": counts[some].tolist()},
    }


def _thinned(x: Float64, y: Float64, points: int) -> dict[str, list[float]]:
    keep = np.unique(np.linspace(0, len(x) - 1, points).astype(np.int64))
    return {"x": np.round(x[keep], 5).tolist(), "y": np.round(y[keep], 5).tolist()}
