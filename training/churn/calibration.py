"""Probabilities that mean what they say: calibration chosen on held-out scores, and bands of risk by declared costs."""

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
"""What `predict.calibrated` takes, as it stands in the bundle."""

KINDS: Final = ("none", "sigmoid", "isotonic")
NONE: Final[Calibration] = {"kind": "none"}
_TILT: Final = 1e-3
"""How far the steps of an isotonic calibration lean to the score, so that customers of one step keep their order."""
_GAIN_MIN: Final = 5e-4
"""Log loss that a calibration with more freedom must save, or the simpler one stays."""


def fit_calibration(kind: str, scores: Float64, labels: Labels) -> Calibration:
    """A calibration of one of KINDS, fitted to held-out scores."""
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


def choose_calibration(scores: Float64, labels: Labels, folds: Folds) -> tuple[Calibration, dict[str, float]]:
    """The calibration with the lowest log loss on folds that it was not fitted to.

    Args:
        scores: of rows that the model was not fitted to.
        labels: of the rows.
        folds: number of each row's fold.

    Returns:
        The chosen one, fitted to all rows, and the log loss of every kind.
    """
    losses = {}
    for kind in KINDS:
        found = np.empty(len(scores))
        for fold in np.unique(folds):
            out = folds == fold
            found[out] = calibrated(scores[out], fit_calibration(kind, scores[~out], labels[~out]))
        losses[kind] = METRICS["log_loss"](labels, found, np.ones(len(labels)))
    best = KINDS[0]
    for kind in KINDS[1:]:
        if losses[kind] < losses[best] - _GAIN_MIN:
            best = kind
    return fit_calibration(best, scores, labels), losses


def thresholds(costs: Costs) -> RiskThresholds:
    """The probabilities at which more effort begins to pay.

    An effort brings p * saved - cost, in worths of a customer; the next one is better from
    (cost' - cost) / (saved' - saved) on.

    Raises:
        UsageError: an effort saves no more than the one before it, or its band would begin below that one's or above 1.
    """
    found = []
    cost, saved = 0.0, 0.0
    for name in ("medium", "high", "critical"):
        effort: Effort = getattr(costs, name)
        if effort.saved <= saved:
            raise UsageError(f"The effort for {name} risk saves no more than the one before it.", "Correct the costs.")
        found.append((effort.cost - cost) / (effort.saved - saved))
        cost, saved = effort.cost, effort.saved
    medium, high, critical = found
    if not 0 < medium <= high <= critical <= 1:
        raise UsageError(
            f"These costs give bands from {medium:.2f}, {high:.2f} and {critical:.2f}, which do not ascend to 1.",
            "An effort for a higher risk must cost more for each customer that it keeps.",
        )
    return RiskThresholds(medium, high, critical)
