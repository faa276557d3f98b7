"""Splits rows into training and test sets, runs the bounded search and chooses a model.

The rule of this file: test rows influence nothing that is fitted. By time, the horizons of all training rows end before
the first cut-off of the test. Within the training rows, folds hold whole customers, since the rows of a customer at
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
from training.churn.calibration import Calibration, choose_calibration, held_out_calibrated
from training.churn.candidates import TREATMENTS, Candidate, Family, Fitted, Float32, Labels, fit, search_space
from training.churn.hazard import FittedHazard, Periods, chooses_visits, fit_hazard
from training.churn.metrics import METRICS, fold_ranks
from training.options import Validation

Float64 = npt.NDArray[np.float64]
Folds = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

INNER_FOLDS: Final = 3
OUTER_FOLDS: Final = 5
LABEL_ROWS_MIN: Final = 2
"""Minimum training rows of each label: SMOTE interpolates between two rows of one label."""
ROC_AUC_LOSS_MAX: Final = 0.005
"""ROC-AUC that the preferred model may lose against the best one."""
PREFERRED: Final[tuple[Family, ...]] = ("paced_hazard", "xgboost")
"""Families with a fast live path and exact reasons."""
TRIED_TREATMENTS: Final[tuple[Family, ...]] = ("logistic", "xgboost")
"""Families on which class weights and SMOTE are compared."""


@dataclass(frozen=True, slots=True)
class TrainSplit:
    """Selects training rows by a rule, so that the rule also applies to rows held elsewhere.

    Attributes:
        until_ms: last cut-off of the training rows, epoch ms; None: no limit.
        left_out: number of the excluded fold of OUTER_FOLDS; None: no fold is excluded.
        seed: seed of the folds.
    """

    until_ms: int | None = None
    left_out: int | None = None
    seed: int = 0

    def of(self, rows: pl.DataFrame) -> Mask:
        """Return whether each row is a training row; `rows` with as_of and customer_id."""
        selected: Mask = np.ones(len(rows), np.bool_)
        if self.until_ms is not None:
            selected &= rows["as_of"].to_numpy() <= self.until_ms
        if self.left_out is not None:
            selected &= customer_folds(rows["customer_id"], OUTER_FOLDS, self.seed) != self.left_out
        return selected


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint training and test rows. `train_split` is the rule that selects the former."""

    train: Mask
    test: Mask
    train_split: TrainSplit


def customer_folds(customers: pl.Series, folds: int, seed: int) -> Folds:
    """Return a fold for each customer by a hash of the id, independent of the run and of other customers."""
    unique = customers.unique()
    numbers = [
        int.from_bytes(hashlib.blake2b(f"{seed}:{one}".encode(), digest_size=8).digest(), "little") % folds
        for one in unique
    ]
    table = pl.DataFrame({"customer": unique, "fold": numbers}, schema_overrides={"fold": pl.Int64})
    return (
        customers.to_frame("customer").join(table, on="customer", how="left", maintain_order="left")["fold"].to_numpy()
    )


def check_folds(labels: Labels, folds: Folds, customers: int) -> None:
    """Check that the rows outside of each fold have enough rows of both labels for every candidate.

    Args:
        labels: labels of the training rows.
        folds: fold of each row.
        customers: number of customers, for the message.

    Raises:
        ShopstreamError: some fold leaves too few rows of a label.
    """
    for fold in np.unique(folds):
        left = np.bincount(labels[folds != fold], minlength=2)
        if left.min() < LABEL_ROWS_MIN:
            raise ShopstreamError(
                f"{customers:,} customers with an order are too few to train a model: one fold of them leaves "
                f"{left[0]:,} training rows with a later order and {left[1]:,} without; {LABEL_ROWS_MIN} of each are "
                "the least.",
                "Give a longer archive or one with more customers, or more cut-offs (--cutoffs, --spacing).",
            )


def splits(
    rows: pl.DataFrame, horizon_days: int, validation: Validation, test_cutoffs: int, seed: int
) -> tuple[Literal["time", "customers"], list[Split]]:
    """Return the train-test splits.

    Args:
        rows: rows with as_of and customer_id.
        horizon_days: horizon of the labels, and minimum gap between the last training and the first test cut-off.
        validation: `time`: one split with the latest `test_cutoffs` as test. `customers`: folds of whole customers over
            all cut-offs. `auto`: by time if the archive is long enough.
        test_cutoffs: maximum number of test cut-offs; fewer if no training rows would remain.
        seed: seed of the folds.

    Raises:
        ShopstreamError: `time` is requested and no two cut-offs lie a horizon apart.
    """
    times = rows["as_of"].to_numpy()
    cutoffs = np.unique(times)
    for tests in range(min(test_cutoffs, len(cutoffs) - 1), 0, -1):
        first = cutoffs[-tests]
        train_split = TrainSplit(until_ms=int(first) - horizon_days * DAY_MS)
        train = train_split.of(rows)
        if train.any() and validation != "customers":
            return "time", [Split(train, times >= first, train_split)]
    if validation == "time":
        raise ShopstreamError(
            f"No two cut-offs are {horizon_days} days apart, as a test on later cut-offs requires.",
            "Give a shorter --horizon or --history, a longer archive, or --validation customers.",
        )
    folds = customer_folds(rows["customer_id"], OUTER_FOLDS, seed + 1)
    return "customers", [
        Split(folds != fold, folds == fold, TrainSplit(left_out=int(fold), seed=seed + 1)) for fold in np.unique(folds)
    ]


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate with its held-out results.

    Attributes:
        calibration: calibration fitted to the held-out scores.
        scores: out-of-fold probabilities of the training rows, each calibrated on the other folds; folds hold whole
            customers.
        log_loss: log loss of `scores`.
        pr_auc: PR-AUC of the scores before calibration.
        roc_auc: ROC-AUC of the ranks of these scores within their folds.
    """

    candidate: Candidate
    calibration: Calibration
    scores: Float64
    log_loss: float
    pr_auc: float
    roc_auc: float


@dataclass(frozen=True, slots=True)
class TrainFold:
    """Training rows.

    Attributes:
        rows: inputs of all families, (n, k), NaN for missing values.
        names: names of the columns of `wide`, first those of `rows`.
        customers: number of each row's customer, from 0.
        folds: number of each row's fold; all rows of a customer share one.
        wide: `rows` and the inputs that only a hazard may choose, (n, at least k).
        periods: training rows of the paced hazard, with the same customers and folds; None if they cannot teach it.
    """

    rows: Float32
    labels: Labels
    names: Sequence[str]
    customers: Folds
    folds: Folds
    seed: int
    threads: int
    wide: Float32
    periods: Periods | None = None

    def limited(self, rows_max: int) -> TrainFold:
        """Return itself, or the rows of as many customers as give about `rows_max` rows."""
        if len(self.labels) <= rows_max:
            return self
        periods = self.periods
        count = 1 + int(max(self.customers.max(), -1 if periods is None else periods.customers.max()))
        keep = np.random.default_rng(self.seed).random(count) < rows_max / len(self.labels)
        some = keep[self.customers]
        return replace(
            self,
            rows=self.rows[some],
            wide=self.wide[some],
            labels=self.labels[some],
            folds=self.folds[some],
            customers=self.customers[some],
            periods=None if periods is None else periods.where(keep[periods.customers]),
        )

    def held_out(self, candidate: Candidate) -> Float64:
        """Return out-of-fold scores of every row."""
        scores = np.empty(len(self.labels))
        for fold in np.unique(self.folds):
            out = self.folds == fold
            scores[out] = self._fitted(candidate, int(fold)).probability(self.inputs(candidate)[out])
        return scores

    def inputs(self, candidate: Candidate) -> Float32:
        """Return the inputs of a candidate."""
        return self.wide if chooses_visits(candidate) else self.rows

    def periods_of(self, candidate: Candidate) -> Periods:
        """Return `periods` with the inputs of a candidate."""
        assert self.periods is not None
        return replace(self.periods, rows=self.periods.rows[:, : self.inputs(candidate).shape[1]])

    def _fitted(self, candidate: Candidate, fold: int) -> Fitted | FittedHazard:
        """Fit a candidate to the other folds. A hazard applies its mean pace: the pace of a test is not known then."""
        if candidate.family == "paced_hazard":
            periods = self.periods_of(candidate)
            others = periods.where(periods.folds != fold)
            return fit_hazard(candidate, others, seed=self.seed, threads=self.threads)
        others_only = self.folds != fold
        rows, labels = self.rows[others_only], self.labels[others_only]
        return fit(candidate, rows, labels, self.names, seed=self.seed, threads=self.threads)

    def evaluate(self, candidate: Candidate) -> Choice:
        """Evaluate a candidate: its calibration and its held-out scores."""
        scores = self.held_out(candidate)
        calibration, losses = choose_calibration(scores, self.labels, self.folds)
        ones = np.ones(len(scores))
        precision = METRICS["pr_auc"](self.labels, scores, ones)
        order = METRICS["roc_auc"](self.labels, fold_ranks(scores, self.folds), ones)
        loss = losses[calibration["kind"]]
        held_out = held_out_calibrated(calibration["kind"], scores, self.labels, self.folds)
        return Choice(candidate, calibration, held_out, loss, precision, order)


def search(
    train_fold: TrainFold, family: Family, tries: int, on_try: Callable[[Candidate], None] = lambda _: None
) -> list[Choice]:
    """Return every evaluated setting and treatment of a family, the chosen one first.

    The search compares settings first, then class weights and SMOTE with the best setting. The lowest held-out log loss
    after calibration wins, so a treatment is not penalised for probabilities that calibration can repair.
    """
    rng = np.random.default_rng([train_fold.seed, len(family)])
    choices = []
    for parameters in search_space(family, tries, rng):
        candidate = Candidate(family, "none", parameters)
        on_try(candidate)
        choices.append(train_fold.evaluate(candidate))
    best = min(choices, key=lambda choice: choice.log_loss)
    if family in TRIED_TREATMENTS:
        for treatment in TREATMENTS[1:]:
            candidate = Candidate(family, treatment, best.candidate.parameters)
            on_try(candidate)
            choices.append(train_fold.evaluate(candidate))
    return sorted(choices, key=lambda choice: choice.log_loss)


def chosen(choices: Sequence[Choice], labels: Labels, customers: Folds) -> Choice:
    """Return the model for the bundle: the one with the lowest log loss, or one of PREFERRED if it is equally good.

    The better one of PREFERRED is compared with the best. It is equally good if its loss is within twice the standard
    error of the difference, and its ROC-AUC at most ROC_AUC_LOSS_MAX lower. Losses and their difference are of the same
    out-of-fold probabilities.

    Args:
        choices: choice of each family, evaluated on the same rows.
        labels: labels of the rows.
        customers: number of each row's customer; the rows of one customer are one observation.
    """
    best = min(choices, key=lambda choice: choice.log_loss)
    known = [choice for choice in choices if choice.candidate.family in PREFERRED]
    preferred = min(known, key=lambda choice: choice.log_loss, default=best)
    gaps = _losses(preferred.scores, labels) - _losses(best.scores, labels)
    error = np.sqrt((np.bincount(customers, gaps - gaps.mean()) ** 2).sum()) / len(gaps)
    as_good = gaps.mean() <= 2 * error and preferred.roc_auc >= best.roc_auc - ROC_AUC_LOSS_MAX
    return preferred if as_good else best


def _losses(scores: Float64, labels: Labels) -> Float64:
    losses: Float64 = -np.where(labels == 1, np.log(scores), np.log1p(-scores))
    return losses
