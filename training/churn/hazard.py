"""Fits a discrete-time hazard with the pace of each calendar window: P(an order within a step, given none before it).

A label at the horizon is known a horizon late. A step of it ends sooner, so cut-offs up to one step before the present
teach. Each step of each row lies in one calendar window, and customers of all cut-offs share the window's pace:

    log odds of an order = (trees(row) + linear(row)) / 2 + level of the step + pace of the window

The log odds are those of D. R. Cox: Regression Models and Life-Tables. J. R. Stat. Soc. B 34 (2), 1972, section 6.
The linear part estimates levels and paces together with its coefficients. The trees get both as an offset. A present
pace then replaces those of the past windows, as the season does for the other models. A row has one sum for all steps:
separate sums by step are no better here, and one evaluation is enough for a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

from features.schema import DAY_MS
from training.churn.candidates import Candidate
from training.churn.seasonality import CAMPAIGN_FACTOR, LEVEL_RANGE, PACE_WINDOWS
from training.predict import Float32, Float64, hazard_margin, linear_inputs, survival

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

TREES: Final[dict[str, Any]] = {
    "max_depth": 3, "n_estimators": 130, "learning_rate": 0.075, "subsample": 0.7, "colsample_bytree": 0.4,
    "min_child_weight": 50, "reg_lambda": 10.0, "tree_method": "hist", "max_bin": 64, "base_score": 0.5,
}  # fmt: skip
"""`base_score` 0.5 adds nothing to the offsets. Fewer trees and bins than usual: as good here, and twice as fast."""
C: Final = 0.1
"""Inverse ridge penalty of the linear part, on standardised columns."""
_FREE: Final = 3.0
"""Size of the indicators of steps and windows: their penalty is a ninth of that of the inputs."""
CUTOFFS_MIN: Final = 2
"""Minimum cut-offs for a pace: with one cut-off, windows and steps are the same."""
LINEAR_ROWS_MAX: Final = 100_000
"""Approximate maximum rows for the linear part, which has about a hundred coefficients and needs dense columns."""
_SPREAD_MIN: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Periods:
    """Rows of customers at cut-offs, and the step in which each ordered first.

    Attributes:
        rows: inputs, (n, k), NaN for missing values.
        times: cut-off of each row, epoch ms.
        step: `labels.STEP` of each row.
        known: number of steps of each row that have ended.
        ends: ends of the steps, ms after the cut-off.
        customers: number of each row's customer.
        folds: number of each row's fold; all rows of a customer share one.
    """

    rows: Float32
    times: Times
    step: npt.NDArray[np.int8]
    known: npt.NDArray[np.int64]
    ends: Sequence[int]
    customers: npt.NDArray[np.int64]
    folds: npt.NDArray[np.int64]

    def where(self, selected: Mask) -> Periods:
        """Return the selected rows."""
        names = ("rows", "times", "step", "known", "customers", "folds")
        return replace(self, **{name: getattr(self, name)[selected] for name in names})

    def expanded(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.int8]]:
        """Return row, step (from 0) and outcome of each step of each row that began without an order and has ended."""
        parts = []
        for step in range(len(self.ends)):
            rows = np.flatnonzero((self.known > step) & ((self.step == 0) | (self.step > step)))
            parts.append((rows, np.full(len(rows), step), (self.step[rows] == step + 1).astype(np.int8)))
        row, step_of, ordered = (np.concatenate(values) for values in zip(*parts, strict=True))
        return row, step_of, ordered

    def starts(self, row: npt.NDArray[np.intp], step: npt.NDArray[np.intp]) -> Times:
        """Return the start of each step, epoch ms."""
        starts: Times = self.times[row] + np.asarray([0, *self.ends[:-1]])[step]
        return starts


@dataclass(frozen=True, slots=True)
class FittedHazard:
    """A fitted hazard.

    Attributes:
        trees: XGBoost model of the trees.
        about: parameters of `predict.hazard_margin` and `predict.survival` at the pace that applies, and `means`: mean
            of each linear input.
        paces: start of each calendar window, epoch ms -> its pace in log odds; 0 on average over the training rows.
        pace: pace that applies.
    """

    candidate: Candidate
    trees: XGBClassifier
    about: dict[str, Any]
    paces: dict[int, float]
    pace: float = 0.0
    pipeline: None = None
    column: None = None
    fill: None = None

    def survival(self, rows: Float32) -> Float64:
        """Return P(no order by the end of each step), (n, steps), before calibration."""
        margin = self.trees.get_booster().inplace_predict(rows, predict_type="margin")
        return survival(hazard_margin(np.asarray(margin, np.float64), rows, self.about), self.about)

    def probability(self, rows: Float32) -> Float64:
        """Return P(churned) of each row, before calibration."""
        return self.survival(rows)[:, -1]

    def at_present(self, now: int) -> FittedHazard:
        """Return the same hazard at the pace of the latest windows before `now`, epoch ms, instead of the mean one."""
        change = present_pace(self.paces, self.about["ends_days"][0] * DAY_MS, now) - self.pace
        offsets = [offset + change for offset in self.about["offsets"]]
        return replace(self, about=self.about | {"offsets": offsets}, pace=self.pace + change)

    @property
    def level(self) -> float:
        """Factor on everybody's odds of an order, against the mean of the training windows."""
        return float(np.exp(self.pace))


def chooses_visits(candidate: Candidate) -> bool:
    """Return whether the inputs of a candidate include `predict.visit_posterior`."""
    return candidate.family == "paced_hazard" and bool(candidate.parameters.get("visits"))


def present_pace(paces: Mapping[int, float], window_ms: float, now: int) -> float:
    """Return the pace for the next windows: the latest one, or the usual one if the latest is a campaign.

    Args:
        paces: start of each window, epoch ms -> pace in log odds.
        window_ms: length of a window.
        now: present time, epoch ms.

    Returns:
        The latest pace, limited to LEVEL_RANGE. The usual pace replaces one above it by more than CAMPAIGN_FACTOR, as
        in `training.churn.seasonality`. It is the median of PACE_WINDOWS windows, and at least the mean of the history:
        a rise from a slow month to the mean is no campaign. 0 if no window is recent.
    """
    late = sorted(paces)[-PACE_WINDOWS:]
    if not late or late[-1] <= now - 2 * window_ms:
        return 0.0
    usual, latest = max(float(np.median([paces[start] for start in late])), 0.0), paces[late[-1]]
    pace = usual if latest > usual + np.log(CAMPAIGN_FACTOR) else latest
    return float(np.clip(pace, *np.log(LEVEL_RANGE)))


def fit_hazard(candidate: Candidate, periods: Periods, *, seed: int, threads: int) -> FittedHazard:
    """Fit a hazard; it applies the mean pace of the training rows.

    Args:
        candidate: candidate of the family `paced_hazard`; its parameters are those of XGBoost, `C` and `visits`.
        periods: training rows; some step must have an order, and some none.
        seed: random seed.
        threads: number of threads.
    """
    parameters = dict(candidate.parameters)
    strength = parameters.pop("C", C)
    parameters.pop("visits", None)
    row, step, ordered = periods.expanded()
    windows, window = np.unique(periods.starts(row, step), return_inverse=True)
    paced = len(np.unique(periods.times[row])) >= CUTOFFS_MIN
    some = _sample(periods.customers[row], seed)
    about, levels, effects = _linear(
        periods, row[some], step[some], window[some], ordered[some], len(windows) if paced else 0, strength
    )
    pace = effects[window] if paced else np.zeros(len(row))
    levels, pace, effects = levels + pace.mean(), pace - pace.mean(), effects - pace.mean()
    share = np.bincount(step, ordered, len(periods.ends)) / np.maximum(
        np.bincount(step, minlength=len(periods.ends)), 1
    )
    inside = np.clip(share, 1e-4, 1 - 1e-4)
    usual = np.log(inside / (1 - inside))
    trees = XGBClassifier(**TREES | parameters, random_state=seed, n_jobs=threads)
    trees.fit(periods.rows[row], ordered, base_margin=usual[step] + pace)
    # the mean of both parts has the mean of both offsets
    about["offsets"] = ((usual + levels) / 2).tolist()
    return FittedHazard(candidate, trees, about, dict(zip(windows.tolist(), effects.tolist(), strict=False)))


def _sample(customers: npt.NDArray[np.int64], seed: int) -> Mask:
    """Return whether each row belongs to a sample of customers with about LINEAR_ROWS_MAX rows."""
    drawn = np.random.default_rng(seed).random(int(customers.max()) + 1)
    selected: Mask = drawn[customers] < LINEAR_ROWS_MAX / len(customers)
    return selected


def _linear(
    periods: Periods,
    row: npt.NDArray[np.intp],
    step: npt.NDArray[np.intp],
    window: npt.NDArray[np.intp],
    ordered: npt.NDArray[np.int8],
    windows: int,
    strength: float,
) -> tuple[dict[str, Any], Float64, Float64]:
    """Fit the linear part with the levels of the steps and the paces of `windows` windows.

    Returns:
        Parameters of `predict.hazard_margin`; level of each step; pace of each window.
    """
    missing, fill = _missing(periods.rows)
    inputs = linear_inputs(periods.rows, fill, missing)
    means, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale[scale < _SPREAD_MIN] = 1.0
    steps = len(periods.ends)
    columns = [((inputs - means) / scale)[row], np.eye(steps)[step] * _FREE]
    if windows:
        columns.append(np.eye(windows)[window] * _FREE)
    model = LogisticRegression(C=strength, max_iter=200, solver="newton-cholesky")
    model.fit(np.concatenate(columns, axis=1), ordered)
    fitted, width = model.coef_[0], inputs.shape[1]
    coefficients = fitted[:width] / scale
    about = {
        "ends_days": [end / DAY_MS for end in periods.ends],
        "fill": fill,
        "missing": missing,
        "coefficients": coefficients.tolist(),
        "intercept": float(-(coefficients * means).sum()),
        "means": means.tolist(),
    }
    levels = model.intercept_[0] + fitted[width : width + steps] * _FREE
    return about, levels, fitted[width + steps :] * _FREE


def _missing(rows: Float32) -> tuple[list[int], list[float]]:
    """Return the columns with missing logarithms, and the median logarithm of each column; 0 for one without any."""
    logs = linear_inputs(rows, [np.nan] * rows.shape[1], [])
    unknown = ~np.isfinite(logs)
    known = np.where(unknown.all(axis=0), 0.0, logs)
    return np.flatnonzero(unknown.any(axis=0)).tolist(), np.nanmedian(known, axis=0).tolist()
