"""Trains the churn model: tests candidates on later times, chooses by held-out scores and refits to all rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from msgspec import Meta

from features.errors import ShopstreamError
from features.schema import DAY_MS
from features.scores.score import RiskThresholds
from training import bgnbd, pareto_nbd
from training.churn.calibration import Calibration, choose_calibration, thresholds
from training.churn.candidates import Candidate, Family, Fitted, Float32, Labels, families, fit
from training.churn.external_fit import FitTask, Learner
from training.churn.hazard import FittedHazard, Periods, chooses_visits, fit_hazard
from training.churn.metrics import REPEATS, Predictions, fold_ranks
from training.churn.seasonality import WINDOW_MS, expected_level
from training.churn.selection import (
    INNER_FOLDS,
    LABEL_ROWS_MIN,
    OUTER_FOLDS,
    Choice,
    Split,
    TrainFold,
    TrainSplit,
    check_folds,
    chosen,
    customer_folds,
    search,
    splits,
)
from training.dataset import LABEL, TrainingSet
from training.labels import BOUGHT, STEP, step_ends
from training.options import Costs, Validation
from training.predict import COLUMNS, calibrated, matrix
from training.scorer import numbers

Float64 = npt.NDArray[np.float64]
Step = Callable[[str], None]
InputParameters = dict[str, Any]
"""Parameters of `predict.matrix`: those of BG/NBD, and `visits` where customers have visits."""

SEARCH_ROWS_MAX: Final = 40_000
"""Maximum rows of the search; the models themselves are fitted to all rows."""


class TrainingPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the training.

    Attributes:
        validation: see `selection.splits`.
        test_cutoffs: number of latest cut-offs for the test.
        tries: number of XGBoost (and LightGBM) settings to try.
        seed: random seed.
        threads: number of threads.
        costs: costs that determine the risk bands.
        repeats: number of bootstrap repeats for intervals.
    """

    validation: Validation = "auto"
    test_cutoffs: Annotated[int, Meta(ge=1)] = 3
    tries: Annotated[int, Meta(ge=1, le=200)] = 6
    seed: Annotated[int, Meta(ge=0)] = 1
    threads: Annotated[int, Meta(ge=1)] = 1
    costs: Costs = Costs()
    repeats: Annotated[int, Meta(ge=20)] = REPEATS


@dataclass(frozen=True, slots=True)
class Tested:
    """Held-out rows and the predictions of each family.

    Attributes:
        kind: `time` or `customers`, see `selection.splits`.
        rows: feature rows with LABEL.
        predictions: family -> calibrated probabilities of the rows.
        choices: choices of each family in the last split, best first, for the table of candidates.
        train_cutoffs: cut-offs of the training rows, epoch ms.
        levels: family -> level of the last split, see `training.churn.seasonality`.
    """

    kind: Literal["time", "customers"]
    rows: pl.DataFrame
    predictions: dict[Family, Predictions]
    choices: dict[Family, list[Choice]]
    train_cutoffs: list[int]
    levels: dict[Family, float]

    @property
    def labels(self) -> Labels:
        """LABEL of the rows."""
        return self.rows[LABEL].to_numpy()


@dataclass(frozen=True, slots=True)
class Trained:
    """A model ready for use.

    Attributes:
        model: model fitted to all rows of the training set.
        preparation: see `preparation`.
        thresholds: thresholds of the risk bands.
        tested: test results of all families.
        external_fit: see `external_fit.Learner.about`; None for a fit to the training set.
        level: present level of the shop, see `training.churn.seasonality`; for the models of the next purchase.
    """

    model: Fitted | FittedHazard
    preparation: dict[str, Any]
    thresholds: RiskThresholds
    tested: Tested
    external_fit: dict[str, Any] | None = None
    level: float = 1.0


def train(
    training: TrainingSet, plan: TrainingPlan, on_step: Step = lambda _: None, learner: Learner | None = None
) -> Trained:
    """Test every family on held-out rows, choose one and fit it to all rows.

    Args:
        training: rows in memory.
        plan: settings of the training.
        on_step: callback with the name of the current step.
        learner: learner that fits XGBoost to more rows, of which `training` is a sample. Settings are searched,
            calibrated and tested on the sample. The model is then XGBoost without SMOTE, which needs all rows in
            memory.

    Raises:
        ShopstreamError: all customers have the same label, there are too few customers for the folds, or the requested
            validation is impossible.
    """
    rows = training.rows
    if rows[LABEL].n_unique() < 2:
        raise ShopstreamError(
            "All customers of the training set have the same label.",
            "Give another --horizon, or a longer archive.",
        )
    kind, parts = splits(rows, training.horizon_days, plan.validation, plan.test_cutoffs, plan.seed)
    tested_rows = rows.filter(np.any([split.test for split in parts], axis=0))
    if tested_rows[LABEL].n_unique() < 2:
        raise ShopstreamError(
            f"The model cannot be tested: its {len(tested_rows):,} held-out rows all have the same label.",
            "Give another --horizon, --validation customers, or a longer archive.",
        )
    tested, searched = _tested(training, plan, kind, parts, on_step, learner)
    train_fold, parameters = _train_fold(training, TrainSplit(), plan)
    limited = train_fold.limited(SEARCH_ROWS_MAX)
    # a calibration of these rows, or of a hazard, whose pace and levels follow the latest rows without one
    known: Choice | None = None
    if learner is not None and kind == "time":
        candidate = tested.choices["xgboost"][0].candidate
    elif learner is not None:
        candidate = _usable(search(limited, "xgboost", plan.tries, _progress(on_step, "all")), learner)[0].candidate
    elif kind == "time":
        pick = chosen([tried[0] for tried in tested.choices.values()], searched.labels, searched.customers)
        candidate, known = pick.candidate, pick if pick.candidate.family == "paced_hazard" else None
    else:
        best = [search(limited, family, plan.tries, _progress(on_step, "all"))[0] for family in tested.choices]
        known = chosen(best, limited.labels, limited.customers)
        candidate = known.candidate
    on_step(f"fitting {candidate.name} to all rows")
    if known is None:
        calibration, _ = choose_calibration(limited.held_out(candidate), limited.labels, limited.folds)
    else:
        calibration = known.calibration
    model = _fitted(candidate, train_fold, _fit_task(TrainSplit(), parameters, training.horizon_days), plan, learner)
    season = _Season(training, parameters, training.cutoffs, training.end_ms) if kind == "time" else None
    model, calibration, level = _in_season(model, calibration, season, training.end_ms)
    prepared = preparation(train_fold, parameters, training.horizon_days, calibration, model)
    external_fit = None if learner is None else dict(learner.about)
    return Trained(model, prepared, thresholds(plan.costs), tested, external_fit, level)


def _in_season(
    model: Fitted | FittedHazard, calibration: Calibration, season: _Season | None, now: int
) -> tuple[Fitted | FittedHazard, Calibration, float]:
    """Return model, calibration and level for the present season; a hazard has the pace itself. None: no season."""
    if season is None:
        return model, calibration | {"level": 1.0}, 1.0
    if isinstance(model, FittedHazard):
        model = model.at_present(now)
        return model, calibration | {"level": 1.0}, model.level
    level = season.level(model, calibration)
    return model, calibration | {"level": level}, level


def _fit_task(train_split: TrainSplit, parameters: InputParameters, horizon_days: int) -> FitTask:
    return FitTask(LABEL, train_split, common(parameters), horizon_days)


def _fitted(
    candidate: Candidate, train_fold: TrainFold, task: FitTask, plan: TrainingPlan, learner: Learner | None
) -> Fitted | FittedHazard:
    """Fit a candidate to the rows in memory; a learner, if given, fits XGBoost to all rows."""
    if candidate.family == "paced_hazard":
        return fit_hazard(candidate, train_fold.periods_of(candidate), seed=plan.seed, threads=plan.threads)
    trees = None if learner is None else functools.partial(learner.fit, task=task)
    return fit(
        candidate,
        train_fold.rows,
        train_fold.labels,
        train_fold.names,
        seed=plan.seed,
        threads=plan.threads,
        trees=trees,
    )


def _usable(tried: list[Choice], learner: Learner | None) -> list[Choice]:
    """Return the XGBoost choices, those that a learner can fit first: SMOTE needs all rows in memory."""
    return tried if learner is None else sorted(tried, key=lambda choice: choice.candidate.treatment == "smote")


def preparation(
    train_fold: TrainFold,
    parameters: InputParameters,
    horizon_days: int,
    calibration: Calibration,
    model: Fitted | FittedHazard,
) -> dict[str, Any]:
    """Return the parameters that `predict.Model` needs in addition to the model."""
    trees = model.candidate.family in ("xgboost", "lightgbm")
    inputs = train_fold.inputs(model.candidate)
    return {
        "columns": list(COLUMNS),
        "names": list(train_fold.names[: inputs.shape[1]]),
        "horizon_days": horizon_days,
        "bgnbd": parameters_of(parameters, model.candidate),
        "calibration": calibration,
        "typical": _medians(inputs).tolist(),
        "fill": model.fill if trees else None,
        **({"hazard": model.about} if isinstance(model, FittedHazard) else {}),
    }


def _medians(rows: Float32) -> Float32:
    """Return the median of each column without NaN; 0 for a column of NaN only."""
    known = np.where(np.isnan(rows).all(axis=0), np.float32(0), rows)
    medians: Float32 = np.nanmedian(known, axis=0).astype(np.float32)
    return medians


class _Season:
    """Purchases within a month of each cut-off, as known at a given time.

    Args:
        training: training set with `followed`.
        parameters: parameters of the inputs, from the training rows.
        train_cutoffs: cut-offs of the training rows.
        now: present time, epoch ms; later data are ignored.
    """

    def __init__(
        self, training: TrainingSet, parameters: InputParameters, train_cutoffs: Sequence[int], now: int
    ) -> None:
        over = pl.col("as_of") + WINDOW_MS <= now
        rows = training.followed.filter(over & (pl.col("orders_total") > 0) & pl.col(BOUGHT).is_not_null())
        self._times = rows["as_of"].to_numpy()
        self._bought = rows[BOUGHT].to_numpy()
        self._matrix = inputs_of(rows, common(parameters), training.horizon_days)
        self._train_cutoffs, self._horizon_days, self._now = train_cutoffs, training.horizon_days, now

    def level(self, model: Fitted | FittedHazard, calibration: Calibration) -> float:
        """Return the level, see `training.churn.seasonality`."""
        if not len(self._times):
            return 1.0
        probability = calibrated(model.probability(self._matrix), calibration)
        return expected_level(
            self._times, probability, self._bought, self._train_cutoffs, self._horizon_days, self._now
        )


def _progress(on_step: Step, where: str) -> Callable[[Candidate], None]:
    return lambda candidate: on_step(f"{where}: {candidate.name}")


def _train_fold(
    training: TrainingSet, train_split: TrainSplit, plan: TrainingPlan
) -> tuple[TrainFold, InputParameters]:
    """Return the training rows, and the parameters of their inputs."""
    rows = training.rows.filter(train_split.of(training.rows))
    horizon_ms = training.horizon_days * DAY_MS
    now = training.end_ms if train_split.until_ms is None else train_split.until_ms + horizon_ms
    followed = period_rows(training, now, train_split)
    parameters = fit_parameters(rows, followed, plan.seed)
    wide, names = matrix(numbers(rows), parameters, training.horizon_days)
    width = len(matrix(numbers(rows.head(0)), common(parameters), training.horizon_days)[1])
    # one number for a customer in both sets of rows
    ids = pl.concat([rows["customer_id"], followed["customer_id"]]).rank("dense").to_numpy().astype(np.int64) - 1
    folds = customer_folds(rows["customer_id"], INNER_FOLDS, plan.seed)
    check_folds(rows[LABEL].to_numpy(), folds, int(rows["customer_id"].n_unique()))
    periods = periods_of(followed, parameters, training.horizon_days, now, ids[len(rows) :], plan.seed)
    fold = TrainFold(
        wide[:, :width],
        rows[LABEL].to_numpy(),
        names,
        ids[: len(rows)],
        folds,
        plan.seed,
        plan.threads,
        wide,
        periods if _teaches(periods) else None,
    )
    return fold, parameters


def fit_parameters(buyers: pl.DataFrame, everyone: pl.DataFrame, seed: int) -> InputParameters:
    """Fit BG/NBD and the visits to the latest row of each customer.

    Args:
        buyers: rows of customers with an order.
        everyone: rows of customers with or without an order.
        seed: seed of a sample.
    """
    once, all_once = (
        rows.sort("as_of").unique("customer_id", keep="last", maintain_order=True) for rows in (buyers, everyone)
    )
    parameters: InputParameters = msgspec.to_builtins(bgnbd.fit(once))
    visits = pareto_nbd.fit_visits(all_once, seed)
    return parameters if visits is None else parameters | {"visits": msgspec.to_builtins(visits)}


def common(parameters: Mapping[str, Any]) -> InputParameters:
    """Return the parameters of the inputs that every family has."""
    return {name: value for name, value in parameters.items() if name != "visits"}


def parameters_of(parameters: InputParameters, candidate: Candidate) -> InputParameters:
    """Return the parameters of the inputs of a candidate."""
    return parameters if chooses_visits(candidate) else common(parameters)


def inputs_of(rows: pl.DataFrame, parameters: Mapping[str, Any], horizon_days: int) -> Float32:
    """Return rows as inputs."""
    return matrix(numbers(rows), parameters, horizon_days)[0]


def period_rows(training: TrainingSet, now: int, train_split: TrainSplit) -> pl.DataFrame:
    """Return the followed rows whose first step had ended by `now`, epoch ms, without the customers left out."""
    followed = training.followed
    if STEP not in followed.columns:
        return followed.head(0).with_columns(pl.lit(0, pl.Int8).alias(STEP))
    first = step_ends(training.horizon_days)[0]
    rows = followed.filter((pl.col("as_of") + first <= now) & pl.col(STEP).is_not_null())
    if train_split.left_out is None:
        return rows
    return rows.filter(customer_folds(rows["customer_id"], OUTER_FOLDS, train_split.seed) != train_split.left_out)


def periods_of(
    rows: pl.DataFrame,
    parameters: InputParameters,
    horizon_days: int,
    now: int,
    customers: npt.NDArray[np.int64],
    seed: int,
) -> Periods:
    """Return rows as training rows of a hazard, with the outcomes known at `now`.

    Args:
        rows: see `period_rows`.
        parameters: parameters of the inputs.
        horizon_days: horizon of the steps.
        now: present time, epoch ms; later outcomes are ignored.
        customers: number of each row's customer.
        seed: seed of the folds.
    """
    ends = step_ends(horizon_days)
    times = rows["as_of"].to_numpy()
    known = (times[:, None] + np.asarray(ends) <= now).sum(axis=1)
    folds = customer_folds(rows["customer_id"], INNER_FOLDS, seed)
    inputs = inputs_of(rows, parameters, horizon_days)
    return Periods(inputs, times, rows[STEP].to_numpy(), known, ends, customers, folds)


def _teaches(periods: Periods) -> bool:
    """Return whether the rows outside of each fold have an order in some step, and none in another."""
    row, _, ordered = periods.expanded()
    folds = periods.folds[row]
    sides = [np.bincount(ordered[folds != fold], minlength=2).min() for fold in np.unique(periods.folds)]
    return len(sides) > 1 and min(sides) >= LABEL_ROWS_MIN


def _tested(
    training: TrainingSet,
    plan: TrainingPlan,
    kind: Literal["time", "customers"],
    parts: Sequence[Split],
    on_step: Step,
    learner: Learner | None,
) -> tuple[Tested, TrainFold]:
    """Return the test results, and the rows of the search in the last split."""
    rows = training.rows
    scores_by_family: dict[Family, Float64] = {family: np.full(len(rows), np.nan) for family in families()}
    choices: dict[Family, list[Choice]] = {}
    levels: dict[Family, float] = dict.fromkeys(families(), 1.0)
    folds = np.zeros(len(rows), np.int64)
    for number, split in enumerate(parts, 1):
        train_fold, parameters = _train_fold(training, split.train_split, plan)
        limited = train_fold.limited(SEARCH_ROWS_MAX)
        wide = inputs_of(rows.filter(split.test), parameters, training.horizon_days)
        times = rows["as_of"].to_numpy()
        now = int(times[split.test].min())
        season = _Season(training, parameters, np.unique(times[split.train]).tolist(), now) if kind == "time" else None
        if train_fold.periods is None:
            for lost in (scores_by_family, choices, levels):
                lost.pop("paced_hazard", None)
        for family, scores in scores_by_family.items():
            tried = search(limited, family, plan.tries, _progress(on_step, f"split {number} of {len(parts)}"))
            if family == "xgboost":
                tried = _usable(tried, learner)
            task = _fit_task(split.train_split, parameters, training.horizon_days)
            model = _fitted(tried[0].candidate, train_fold, task, plan, learner)
            model, calibration, levels[family] = _in_season(model, tried[0].calibration, season, now)
            folds[split.test] = number
            test = wide[:, : train_fold.inputs(model.candidate).shape[1]]
            scores[split.test] = calibrated(model.probability(test), calibration)
            choices[family] = tried
    tested = np.any([split.test for split in parts], axis=0)
    train_rows = np.any([split.train for split in parts], axis=0)
    results = Tested(
        kind,
        rows.filter(tested),
        {
            family: Predictions(scores[tested], fold_ranks(scores[tested], folds[tested]))
            for family, scores in scores_by_family.items()
        },
        choices,
        sorted(rows.filter(train_rows)["as_of"].unique().to_list()),
        levels,
    )
    return results, limited
