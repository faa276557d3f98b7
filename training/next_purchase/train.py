"""Trains the next-purchase models: probability within 30 days, days until the order, and revenue of the next 90 days.

Each is a model of its own on the inputs of the churn model, so that a row is prepared once. All three cover every
customer, with or without an order, and predict a mean. A probability is a mean, and sums of the others over customers
are expectations of the shop.

The rule of this file: a row is a training row only if its own window ended before the first cut-off of the test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from polars import col
from xgboost import XGBClassifier, XGBRegressor

from training import bgnbd as bgnbd_module
from training.churn.calibration import choose_calibration
from training.churn.external_fit import FitTask, Learner, fitted
from training.churn.selection import INNER_FOLDS, Split, TrainSplit, customer_folds, splits
from training.churn.train import Step, Trained, TrainingPlan, common
from training.dataset import TrainingSet
from training.labels import BOUGHT, DAYS, DAYS_MAX, REVENUE, WINDOWS
from training.next_purchase.baselines import BASELINES, buyers_once
from training.next_purchase.curve import CURVE, CurveTest, curve_value
from training.options import Validation
from training.predict import Float32, Float64, matrix, next_from
from training.scorer import numbers

Booster = XGBClassifier | XGBRegressor
Folds = npt.NDArray[np.int64]

TREES: Final[Mapping[str, Any]] = {
    "max_depth": 2, "n_estimators": 120, "learning_rate": 0.1, "subsample": 0.7, "colsample_bytree": 0.4,
    "min_child_weight": 20, "reg_lambda": 10.0, "tree_method": "hist",
}  # fmt: skip
"""Half as many trees as churn has, each with twice the weight: as good here, and three models are scored live."""
TWEEDIE_POWER: Final = 1.5
"""Between Poisson (1) and gamma (2): many customers spend nothing, the others spend very different sums."""
POSITIVES_MIN: Final = 10
"""Minimum customers on either side of an outcome for a model."""
MODEL: Final = "xgboost"


@dataclass(frozen=True, slots=True)
class Target:
    """One quantity to predict.

    Attributes:
        column: score column.
        outcome: outcome in `training.labels`.
        file: file in the bundle.
    """

    column: str
    outcome: str
    file: str

    @property
    def window_days(self) -> int:
        """Days after a cut-off at which the outcome is known."""
        return WINDOWS[self.outcome]


TARGETS: Final = (
    Target("purchase_probability_30d", BOUGHT, "next_purchase.json"),
    Target("expected_days_to_purchase", DAYS, "next_days.json"),
    Target("expected_revenue_90d", REVENUE, "next_revenue.json"),
)


@dataclass(frozen=True, slots=True)
class Predicted:
    """Held-out rows of one target and the predictions of each model.

    Attributes:
        kind: `time` or `customers`, see `selection.splits`.
        rows: feature rows with the outcome.
        predictions: model -> predictions of the rows, in the unit of the score column.
        folds: number of the split of each row's prediction.
        train_rows: number of training rows.
        model: name of the bundle's model in `predictions`: MODEL or CURVE.
    """

    target: Target
    kind: Literal["time", "customers"]
    rows: pl.DataFrame
    predictions: dict[str, Float64]
    folds: Folds
    train_rows: int
    model: str = MODEL


@dataclass(frozen=True, slots=True)
class NextModel:
    """A model ready for use, fitted to all rows with a known outcome.

    Attributes:
        booster: trees of the model; None if the prediction comes from the survival curve of the churn model.
        about: parameters of `predict.next_from`, and `file`; or `curve`, the value of `predict.of_curve`.
        tested: test results.
    """

    target: Target
    booster: Booster | None
    about: dict[str, Any]
    tested: Predicted


def train(
    training: TrainingSet,
    churn: Trained,
    plan: TrainingPlan,
    on_step: Step = lambda _: None,
    learner: Learner | None = None,
) -> list[NextModel]:
    """Test and fit a model for each target with outcomes in the archive.

    Args:
        training: training set with `followed`.
        churn: churn model; gives the BG/NBD parameters of the live inputs, and the level of the season.
        plan: settings of the training.
        on_step: callback with the name of the current step.
        learner: learner that fits trees to more rows, of which the training set is a sample.

    Returns:
        Models in the order of TARGETS. A target is left out if too few customers have an outcome or all have the
        same.
    """
    models = []
    for target in TARGETS:
        rows = training.followed.filter(col(target.outcome).is_not_null())
        on_step(f"{target.column}: testing")
        seasonal = _seasonal(target, training.horizon_days)
        level = churn.tested.levels[churn.model.candidate.family] if seasonal else 1.0
        value = curve_value(target.outcome, training.horizon_days)
        curve = None if value is None else CurveTest.of(training, churn, plan)
        tested = _tested(rows, target, training.horizon_days, plan, level, learner, curve)
        if tested is None:
            continue
        if curve is not None:
            models.append(NextModel(target, None, {"curve": value}, tested))
            continue
        on_step(f"{target.column}: fitting to all rows")
        bgnbd = common(churn.preparation["bgnbd"])
        inputs, _ = matrix(numbers(rows), bgnbd, training.horizon_days)
        booster, about = _fit_calibrated(
            target, inputs, rows, plan, _fit_task(target, TrainSplit(), bgnbd, training.horizon_days), learner
        )
        now = churn.level if seasonal and tested.kind == "time" else 1.0
        models.append(NextModel(target, booster, about | {"level": now, "file": target.file}, tested))
    return models


def _seasonal(target: Target, horizon_days: int) -> bool:
    """Return whether the churn model's level (`training.churn.seasonality`) applies to the target.

    It does if both have the same windows. Windows of 30 days end so recently that their season is the present one.
    """
    return target.outcome != BOUGHT and target.window_days == horizon_days


def testable(rows: pl.DataFrame, target: Target) -> bool:
    """Return whether POSITIVES_MIN customers bought, as many did not, and one has revenue of the year before."""
    bought = col(target.outcome) < DAYS_MAX if target.outcome == DAYS else col(target.outcome) > 0
    sides = [rows.filter(side)["customer_id"].n_unique() for side in (bought, ~bought)]
    return min(sides) >= POSITIVES_MIN and bool((rows["revenue_365d"] > 0).any())


def outcomes_of(rows: pl.DataFrame, target: Target) -> Float64:
    """Return the outcome of each row, float64."""
    return rows[target.outcome].cast(pl.Float64).to_numpy()


def _tested(
    rows: pl.DataFrame,
    target: Target,
    horizon_days: int,
    plan: TrainingPlan,
    level: float = 1.0,
    learner: Learner | None = None,
    curve: CurveTest | None = None,
) -> Predicted | None:
    """Test the target; None if the data are too few: an untested model is not used."""
    if not testable(rows, target):
        return None
    # two windows of 90 days may not fit, even if two horizons of churn do
    validation: Validation = "auto" if plan.validation == "time" else plan.validation
    kind, parts = splits(rows, target.window_days, validation, plan.test_cutoffs, plan.seed)
    parts = [part for part in parts if testable(rows.filter(part.train), target)]
    if not parts:
        return None
    model = MODEL if curve is None else CURVE
    predictions: dict[str, Float64] = {name: np.full(len(rows), np.nan) for name in (*BASELINES[target.outcome], model)}
    folds = np.zeros(len(rows), np.int64)
    for number, part in enumerate(parts, 1):
        for name, values in _one_split(rows, part, target, horizon_days, plan, learner, curve).items():
            # a curve has its own pace
            power = level if kind == "time" and name != CURVE else 1.0
            predictions[name][part.test] = at_level(values, target, power)
        folds[part.test] = number
    tested = folds > 0
    train_rows = int(np.any([part.train for part in parts], axis=0).sum())
    return Predicted(
        target,
        kind,
        rows.filter(tested),
        {name: of[tested] for name, of in predictions.items()},
        folds[tested],
        train_rows,
        model,
    )


def _one_split(
    rows: pl.DataFrame,
    part: Split,
    target: Target,
    horizon_days: int,
    plan: TrainingPlan,
    learner: Learner | None,
    curve: CurveTest | None,
) -> dict[str, Float64]:
    """Fit every model to the training rows and return its predictions for the test rows."""
    train_rows, test = rows.filter(part.train), rows.filter(part.test)
    baselines: Mapping[str, Callable[..., Float64]] = BASELINES[target.outcome]
    truth = outcomes_of(train_rows, target)
    predictions = {name: model(train_rows, truth, test) for name, model in baselines.items()}
    value = curve_value(target.outcome, horizon_days)
    if curve is not None and value is not None:
        return predictions | {CURVE: curve.predicted(part, target.window_days, test, value)}
    parameters = msgspec.to_builtins(bgnbd_module.fit(buyers_once(train_rows)))
    task = _fit_task(target, part.train_split, parameters, horizon_days)
    inputs, _ = matrix(numbers(train_rows), parameters, horizon_days)
    booster, about = _fit_calibrated(target, inputs, train_rows, plan, task, learner)
    trees = next_from(_raw(booster, matrix(numbers(test), parameters, horizon_days)[0]), about)
    return predictions | {MODEL: trees}


def at_level(predicted: Float64, target: Target, level: float) -> Float64:
    """Move days and revenue to a season; probabilities stay."""
    if target.outcome == BOUGHT:
        return predicted
    most = {"most": float(DAYS_MAX)} if target.outcome == DAYS else {}
    return next_from(predicted, {"scale": 1.0, "level": level} | most)


def _fit_task(target: Target, train_split: TrainSplit, bgnbd: Mapping[str, float], horizon_days: int) -> FitTask:
    return FitTask(target.outcome, train_split, bgnbd, horizon_days, DAYS_MAX if target.outcome == DAYS else 1.0)


def _fit_calibrated(
    target: Target, inputs: Float32, rows: pl.DataFrame, plan: TrainingPlan, task: FitTask, learner: Learner | None
) -> tuple[Booster, dict[str, Any]]:
    """Fit trees, and the parameters that make their mean right on unseen customers."""
    truth = outcomes_of(rows, target)
    booster: Booster = fitted(_trees(target, plan), inputs, truth / task.unit, task, learner)
    if target.outcome == DAYS:  # its objective keeps the mean
        return booster, {"scale": float(DAYS_MAX), "most": float(DAYS_MAX)}
    folds = customer_folds(rows["customer_id"], INNER_FOLDS, plan.seed)
    unseen = np.empty(len(truth))
    for fold in np.unique(folds):
        out = folds == fold
        unseen[out] = _raw(_trees(target, plan).fit(inputs[~out], truth[~out]), inputs[out])
    if target.outcome == BOUGHT:
        # calibrations apply to P(no order), as for churn
        calibration, _ = choose_calibration(1 - unseen, (truth == 0).astype(np.int8), folds)
        return booster, {"calibration": calibration}
    return booster, {"scale": float(truth.sum() / unseen.sum())}


def _trees(target: Target, plan: TrainingPlan) -> Booster:
    """Return the unfitted model."""
    settings = {**TREES, "random_state": plan.seed, "n_jobs": plan.threads}
    if target.outcome == BOUGHT:
        return XGBClassifier(**settings)
    if target.outcome == DAYS:
        # a share of DAYS_MAX by cross-entropy: predicts its mean and cannot leave [0, DAYS_MAX]
        return XGBRegressor(objective="reg:logistic", **settings)
    return XGBRegressor(objective="reg:tweedie", tweedie_variance_power=TWEEDIE_POWER, **settings)


def _raw(booster: Booster, inputs: Float32) -> Float64:
    """Return raw predictions in the same way as `predict.Model`."""
    return np.asarray(booster.get_booster().inplace_predict(inputs), np.float64)
