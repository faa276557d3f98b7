"""Predicts the next purchase from the survival curve of a paced hazard, instead of separate models.

One curve gives churn, the probability of 30 days and the expected days, so they cannot contradict each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from features.schema import DAY_MS
from training.churn.calibration import Calibration
from training.churn.candidates import Candidate
from training.churn.hazard import fit_hazard
from training.churn.selection import Split
from training.churn.train import (
    Trained,
    TrainingPlan,
    fit_parameters,
    inputs_of,
    parameters_of,
    period_rows,
    periods_of,
)
from training.dataset import TrainingSet
from training.labels import BOUGHT, BOUGHT_DAYS, DAYS, DAYS_MAX, step_ends
from training.predict import Float64, calibrated_curve, of_curve

CURVE: Final = "paced_hazard"
"""Name of the curve among the tested models."""


def curve_value(outcome: str, horizon_days: int) -> str | None:
    """Return the value of `predict.of_curve` that predicts an outcome; None if the curve of this horizon has none."""
    ends = step_ends(horizon_days)
    if outcome == BOUGHT and ends[0] == BOUGHT_DAYS * DAY_MS:
        return "probability"
    if outcome == DAYS and ends[-1] == DAYS_MAX * DAY_MS:
        return "days"
    return None


@dataclass(frozen=True, slots=True)
class CurveTest:
    """A hazard to test as a model of the next purchase.

    Attributes:
        training: training set with `followed`.
        candidate: chosen settings.
        calibration: calibration of the churn test, fitted before its test cut-offs.
        plan: settings of the training.
    """

    training: TrainingSet
    candidate: Candidate
    calibration: Calibration
    plan: TrainingPlan

    @classmethod
    def of(cls, training: TrainingSet, churn: Trained, plan: TrainingPlan) -> CurveTest | None:
        """Return the test of the chosen churn model; None if it has no curve."""
        candidate = churn.model.candidate
        if candidate.family != "paced_hazard":
            return None
        calibration = churn.tested.choices["paced_hazard"][0].calibration
        return cls(training, candidate, calibration, plan)

    def predicted(self, part: Split, window_days: int, test: pl.DataFrame, value: str) -> Float64:
        """Fit the hazard to the training rows of a split and predict its test rows.

        Args:
            part: split of the next-purchase model.
            window_days: window of the outcome, the gap before the first test cut-off.
            test: test rows.
            value: see `curve_value`.
        """
        until, horizon_days = part.train_split.until_ms, self.training.horizon_days
        now = self.training.end_ms if until is None else until + window_days * DAY_MS
        rows = period_rows(self.training, now, part.train_split)
        parameters = parameters_of(
            fit_parameters(rows.filter(pl.col("orders_total") > 0), rows, self.plan.seed), self.candidate
        )
        customers = rows["customer_id"].rank("dense").to_numpy().astype(np.int64) - 1
        periods = periods_of(rows, parameters, horizon_days, now, customers, self.plan.seed)
        hazard = fit_hazard(self.candidate, periods, seed=self.plan.seed, threads=self.plan.threads)
        hazard = hazard if until is None else hazard.at_present(now)
        curve = calibrated_curve(hazard.survival(inputs_of(test, parameters, horizon_days)), self.calibration)
        return of_curve(curve, value, hazard.about["ends_days"])
