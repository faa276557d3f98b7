"""Builds the next-purchase part of the card as plain data: each prediction on rows unseen by its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
from polars import col

from training.churn import metrics
from training.churn.evaluation import Report, customer_numbers, day
from training.churn.metrics import Predictions, fold_ranks
from training.next_purchase.baselines import TITLES
from training.next_purchase.metrics import COMPARED, described, drawn, gain
from training.next_purchase.train import TARGETS, NextModel, Predicted, outcomes_of, testable
from training.predict import Float64

REPEATS_MAX: Final = 100
"""Maximum bootstrap repeats: there are three predictions, of every customer, with two or three baselines each."""


def next_report(models: Sequence[NextModel], *, seed: int = 1, repeats: int = REPEATS_MAX) -> Report:
    """Return score column -> results of its model and the baselines.

    Args:
        models: models with their held-out rows.
        seed: seed of the bootstrap.
        repeats: number of bootstrap repeats, at most REPEATS_MAX.
    """
    return {one.target.column: _held_out(one.tested, seed, min(repeats, REPEATS_MAX)) for one in models}


def _held_out(tested: Predicted, seed: int, repeats: int) -> Report:
    outcome = tested.target.outcome
    truth = outcomes_of(tested.rows, tested.target)
    weights = metrics.resampled(customer_numbers(tested.rows), repeats, seed)
    predictions = {
        name: Predictions(values, fold_ranks(values, tested.folds)) for name, values in tested.predictions.items()
    }
    draws = {name: drawn(outcome, truth, one, weights) for name, one in predictions.items()}
    content: Report = {
        "outcome": outcome,
        "window_days": tested.target.window_days,
        "validation": tested.kind,
        "rows": len(tested.rows),
        "customers": tested.rows["customer_id"].n_unique(),
        "taught_rows": tested.train_rows,
        "mean": float(truth.mean()),
        "tested": sorted({day(one) for one in tested.rows["as_of"].to_list()}),
        "chosen": tested.model,
        "models": {
            name: {"title": TITLES[name]} | described(outcome, truth, one, draws[name])
            for name, one in predictions.items()
        },
    }
    return content | {"differences": _differences(outcome, tested.model, content["models"], draws)}


def _differences(outcome: str, model: str, models: Report, draws: Mapping[str, list[dict[str, float]]]) -> list[Report]:
    """Compare the model with every baseline on the same resamples; `gap` > 0 means that the model is better."""
    both = {name: (one["metrics"], draws[name]) for name, one in models.items()}
    differences = []
    for name in COMPARED[outcome]:
        for other, baseline in both.items():
            if other != model:
                gap, span = gain(outcome, name, both[model], baseline)
                differences.append({"metric": name, "against": other, "gap": gap, "interval": list(span)})
    return differences


def evaluate_next_purchase(
    followed: pl.DataFrame,
    predictions: Mapping[str, Float64],
    unseen: pl.Expr,
    *,
    seed: int = 1,
    repeats: int = REPEATS_MAX,
) -> Report:
    """Return score column -> `unseen` and `learnt` -> results of a bundle on rows with a known outcome.

    Args:
        followed: rows with outcomes.
        predictions: score column -> predictions of the bundle, in the order of the rows.
        unseen: filter of the rows that cannot be in the bundle's training set.
        seed: seed of the bootstrap.
        repeats: number of bootstrap repeats.
    """
    content: Report = {}
    for target in TARGETS:
        if target.column not in predictions:
            continue
        rows = followed.with_columns(pl.Series(target.column, predictions[target.column]))
        rows = rows.filter(col(target.outcome).is_not_null())
        parts = {}
        for title, part in (("unseen", rows.filter(unseen)), ("learnt", rows.filter(~unseen))):
            if testable(part, target):
                parts[title] = _part(part, target.column, target.outcome, seed, repeats)
        if parts:
            content[target.column] = parts
    return content


def _part(rows: pl.DataFrame, column: str, outcome: str, seed: int, repeats: int) -> Report:
    values = rows[column].to_numpy()
    truth = rows[outcome].cast(pl.Float64).to_numpy()
    times: list[int] = rows["as_of"].unique().to_list()
    weights = metrics.resampled(customer_numbers(rows), repeats, seed)
    span = {"first": day(min(times)), "last": day(max(times)), "rows": len(rows)}
    predictions = Predictions(values, values)
    return span | described(outcome, truth, predictions, drawn(outcome, truth, predictions, weights))
