"""Which rows teach and which rows test, the bounded search, and the choice between models.

The rule of this file: no row of a test tells anything to what is fitted. In time, the horizons of all rows that teach
end before the first cut-off of the test; within those rows, folds hold whole customers, since the rows of a customer at
neighbouring cut-offs share most of their label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import ShopstreamError
from features.schema import DAY_MS
from training.churn.calibration import Calibration, choose_calibration
from training.churn.candidates import TREATMENTS, Candidate, Family, Float32, Labels, fit, search_space
from training.churn.metrics import METRICS, places
from training.predict import calibrated

Float64 = npt.NDArray[np.float64]
Folds = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Validation = Literal["auto", "time", "customers"]

INNER_FOLDS: Final = 3
OUTER_FOLDS: Final = 5
ROC_AUC_GIVEN: Final = 0.005
"""What the preferred model may lack of the best one's ROC-AUC."""
TRIED_TREATMENTS: Final[tuple[Family, ...]] = ("logistic", "xgboost")
"""Families on which class weights and SMOTE are compared."""


@dataclass(frozen=True, slots=True)
class TrainSplit:
    """Which rows teach, told without naming them, so that it can be said of rows that are elsewhere.

    Attributes:
        until_ms: cut-offs up to this one, epoch ms; None: all.
        left_out: customers of this one of OUTER_FOLDS do not; None: all do.
        seed: of the folds.
    """

    until_ms: int | None = None
    left_out: int | None = None
    seed: int = 0

    def of(self, rows: pl.DataFrame) -> Mask:
        """Whether each row teaches; `rows` with as_of and customer_id."""
        found: Mask = np.ones(len(rows), np.bool_)
        if self.until_ms is not None:
            found &= rows["as_of"].to_numpy() <= self.until_ms
        if self.left_out is not None:
            found &= customer_folds(rows["customer_id"], OUTER_FOLDS, self.seed) != self.left_out
        return found


@dataclass(frozen=True, slots=True)
class Split:
    """Rows that teach and rows that test; the two share no row. `teaching` says the former in words."""

    train: Mask
    test: Mask
    teaching: TrainSplit


def customer_folds(customers: pl.Series, folds: int, seed: int) -> Folds:
    """A fold for each customer, by a hash of the id: the same in every run and whatever the other customers are."""
    unique = customers.unique()
    numbers = [
        int.from_bytes(hashlib.blake2b(f"{seed}:{one}".encode(), digest_size=8).digest(), "little") % folds
        for one in unique
    ]
    table = pl.DataFrame({"customer": unique, "fold": numbers}, schema_overrides={"fold": pl.Int64})
    return (
        customers.to_frame("customer").join(table, on="customer", how="left", maintain_order="left")["fold"].to_numpy()
    )


def splits(
    rows: pl.DataFrame, horizon_days: int, validation: Validation, test_cutoffs: int, seed: int
) -> tuple[Literal["time", "customers"], list[Split]]:
    """How the models are tested.

    Args:
        rows: with as_of and customer_id.
        horizon_days: of the labels, and the gap between the last cut-off that teaches and the first that tests.
        validation: `time`: one split, the latest `test_cutoffs` test. `customers`: folds of whole customers over all
            cut-offs. `auto`: by time where there is room for it.
        test_cutoffs: fewer are taken where otherwise none would be left to teach.
        seed: of the folds.

    Raises:
        ShopstreamError: `time` is asked for and no two cut-offs lie a horizon apart.
    """
    times = rows["as_of"].to_numpy()
    cutoffs = np.unique(times)
    for tests in range(min(test_cutoffs, len(cutoffs) - 1), 0, -1):
        first = cutoffs[-tests]
        teaching = TrainSplit(until_ms=int(first) - horizon_days * DAY_MS)
        train = teaching.of(rows)
        if train.any() and validation != "customers":
            return "time", [Split(train, times >= first, teaching)]
    if validation == "time":
        raise ShopstreamError(
            f"No two cut-offs lie {horizon_days} days apart, so nothing can be tested on a later time.",
            "Give a shorter --horizon or --history, a longer archive, or --validation customers.",
        )
    folds = customer_folds(rows["customer_id"], OUTER_FOLDS, seed + 1)
    return "customers", [
        Split(folds != fold, folds == fold, TrainSplit(left_out=int(fold), seed=seed + 1)) for fold in np.unique(folds)
    ]


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate that has been chosen within its family.

    Attributes:
        calibration: fitted to the held-out scores.
        scores: calibrated probabilities of the rows that taught, each by a model that had not seen its customer.
        log_loss: of those.
        pr_auc: of the scores before calibration.
        roc_auc: of the places of those within their folds.
    """

    candidate: Candidate
    calibration: Calibration
    scores: Float64
    log_loss: float
    pr_auc: float
    roc_auc: float


@dataclass(frozen=True, slots=True)
class TrainFold:
    """Rows that teach.

    Attributes:
        rows: (n, k), NaN for what is missing.
        names: of the k columns.
        customers: number of each row's customer, from 0.
        folds: number of each row's fold, one for all rows of a customer.
    """

    rows: Float32
    labels: Labels
    names: Sequence[str]
    customers: Folds
    folds: Folds
    seed: int
    threads: int

    def limited(self, rows_max: int) -> TrainFold:
        """Itself, or the rows of so many customers as come near `rows_max`."""
        if len(self.labels) <= rows_max:
            return self
        keep = np.random.default_rng(self.seed).random(int(self.customers.max()) + 1) < rows_max / len(self.labels)
        some = keep[self.customers]
        return replace(
            self,
            rows=self.rows[some],
            labels=self.labels[some],
            folds=self.folds[some],
            customers=self.customers[some],
        )

    def held_out(self, candidate: Candidate) -> Float64:
        """Scores of every row by a model fitted to the other folds."""
        found = np.empty(len(self.labels))
        for fold in np.unique(self.folds):
            out = self.folds == fold
            model = fit(candidate, self.rows[~out], self.labels[~out], self.names, seed=self.seed, threads=self.threads)
            found[out] = model.probability(self.rows[out])
        return found

    def judge(self, candidate: Candidate) -> Choice:
        """The candidate with its calibration and its held-out scores."""
        scores = self.held_out(candidate)
        calibration, losses = choose_calibration(scores, self.labels, self.folds)
        ones = np.ones(len(scores))
        precision = METRICS["pr_auc"](self.labels, scores, ones)
        order = METRICS["roc_auc"](self.labels, places(scores, self.folds), ones)
        loss = losses[calibration["kind"]]
        return Choice(candidate, calibration, calibrated(scores, calibration), loss, precision, order)


def search(
    lesson: TrainFold, family: Family, tries: int, on_try: Callable[[Candidate], None] = lambda _: None
) -> list[Choice]:
    """Every setting and treatment of a family that is tried, the chosen one first.

    Settings are compared first, then class weights and SMOTE with the best of them; the lowest held-out log loss after
    calibration wins, so that a treatment is not punished for probabilities that calibration can mend.
    """
    rng = np.random.default_rng([lesson.seed, len(family)])
    found = []
    for parameters in search_space(family, tries, rng):
        candidate = Candidate(family, "none", parameters)
        on_try(candidate)
        found.append(lesson.judge(candidate))
    best = min(found, key=lambda choice: choice.log_loss)
    if family in TRIED_TREATMENTS:
        for treatment in TREATMENTS[1:]:
            candidate = Candidate(family, treatment, best.candidate.parameters)
            on_try(candidate)
            found.append(lesson.judge(candidate))
    return sorted(found, key=lambda choice: choice.log_loss)


def chosen(choices: Sequence[Choice], labels: Labels, customers: Folds) -> Choice:
    """The model that a bundle gets: the one with the lowest log loss, or XGBoost where the two are as good.

    XGBoost is preferred because its live path is the fastest and its reasons are exact. It is as good where its loss is
    within twice the error of the difference, and its ROC-AUC not lower by more than ROC_AUC_GIVEN.

    Args:
        choices: of each family, judged on the same rows.
        labels: of the rows.
        customers: number of each row's customer; the rows of one customer are one observation.
    """
    best = min(choices, key=lambda choice: choice.log_loss)
    preferred = next((choice for choice in choices if choice.candidate.family == "xgboost"), best)
    gaps = _losses(preferred.scores, labels) - _losses(best.scores, labels)
    error = np.sqrt((np.bincount(customers, gaps - gaps.mean()) ** 2).sum()) / len(gaps)
    as_good = gaps.mean() <= 2 * error and preferred.roc_auc >= best.roc_auc - ROC_AUC_GIVEN
    return preferred if as_good else best


def _losses(scores: Float64, labels: Labels) -> Float64:
    found: Float64 = -np.where(labels == 1, np.log(scores), np.log1p(-scores))
    return found
