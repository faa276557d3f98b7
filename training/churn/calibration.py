"""Calibrates probabilities on held-out scores and derives risk bands from declared costs."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from features.errors import UsageError
from features.scores.score import RiskThresholds
from training.churn.metrics import METRICS
from training.options import Costs, Effort
from training.predict import calibrated

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
Folds = npt.NDArray[np.int64]
Calibration = dict[str, Any]
"""Argument of `predict.calibrated`, as stored in the bundle."""

KINDS: Final = ("none", "sigmoid", "isotonic")
NONE: Final[Calibration] = {"kind": "none"}
_TILT: Final = 1e-3
"""Weight of the score in the steps of an isotonic calibration, so that customers of one step keep their order."""
_GAIN_MIN: Final = 5e-4
"""Minimum gain in log loss for a calibration with more parameters."""


def fit_calibration(kind: str, scores: Float64, labels: Labels) -> Calibration:
    """Fit a calibration of one of KINDS to held-out scores."""
    if kind == "sigmoid":
        inside = np.clip(scores, 1e-9, 1 - 1e-9)
        model = LogisticRegression(C=1e6).fit(np.log(inside / (1 - inside))[:, None], labels)
        return {"kind": kind, "slope": float(model.coef_[0, 0]), "intercept": float(model.intercept_[0])}
    if kind == "isotonic":
        steps = IsotonicRegression(y_min=0.005, y_max=0.995, out_of_bounds="clip").fit(scores, labels)
        x, y = steps.X_thresholds_, steps.y_thresholds_
        tilted = y + _TILT * (x - y)
        return {"kind": kind, "x": x.astype(float).tolist(), "y": tilted.astype(float).tolist()}
    return dict(NONE)


def held_out_calibrated(kind: str, scores: Float64, labels: Labels, folds: Folds) -> Float64:
    """Return probabilities whose calibration was fitted to the other folds; arguments as for `choose_calibration`."""
    probabilities = np.empty(len(scores))
    for fold in np.unique(folds):
        out = folds == fold
        probabilities[out] = calibrated(scores[out], fit_calibration(kind, scores[~out], labels[~out]))
    return probabilities


def choose_calibration(scores: Float64, labels: Labels, folds: Folds) -> tuple[Calibration, dict[str, float]]:
    """Choose the calibration with the lowest out-of-fold log loss.

    Args:
        scores: scores of rows that the model was not fitted to.
        labels: labels of the rows.
        folds: fold number of each row.

    Returns:
        The chosen calibration, fitted to all rows, and the log loss of every kind.
    """
    losses = {}
    for kind in KINDS:
        probabilities = held_out_calibrated(kind, scores, labels, folds)
        losses[kind] = METRICS["log_loss"](labels, probabilities, np.ones(len(labels)))
    best = KINDS[0]
    for kind in KINDS[1:]:
        if losses[kind] < losses[best] - _GAIN_MIN:
            best = kind
    return fit_calibration(best, scores, labels), losses


def thresholds(costs: Costs) -> RiskThresholds:
    """Return the probabilities at which more effort begins to pay.

    The gain of an effort is p * saved - cost, in units of a customer's value. The next effort is better
    from (cost' - cost) / (saved' - saved) on.

    Raises:
        UsageError: an effort saves no more than the previous one, or its band would begin below the previous one or
            above 1.
    """
    starts = []
    cost, saved = 0.0, 0.0
    for name in ("medium", "high", "critical"):
        effort: Effort = getattr(costs, name)
        if effort.saved <= saved:
            raise UsageError(
                f"The effort for {name} risk retains no more customers than the previous effort.", "Correct the costs."
            )
        starts.append((effort.cost - cost) / (effort.saved - saved))
        cost, saved = effort.cost, effort.saved
    medium, high, critical = starts
    if not 0 < medium <= high <= critical <= 1:
        raise UsageError(
            f"These costs give bands from {medium:.2f}, {high:.2f} and {critical:.2f}, which must ascend and not "
            "exceed 1.",
            "An effort for a higher risk must cost more per retained customer.",
        )
    return RiskThresholds(medium, high, critical)
