"""Evaluates a bundle on an archive: on cut-offs inside and after its training window, with the drift of the rows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl
from polars import col

from features.schema import DAY_MS
from features.scores.drift import drift_of
from training.bundle import Bundle
from training.churn import metrics
from training.churn.evaluation import Report, by_segment, customer_numbers, day, described
from training.churn.metrics import Predictions
from training.dataset import LABEL, TrainingSet
from training.next_purchase.evaluation import evaluate_next_purchase
from training.scorer import numbers

REPEATS: Final = 60
"""Bootstrap repeats. An archive has many more rows than a held-out part of it, so its intervals are narrow."""


def evaluate(bundle: Bundle, training: TrainingSet, *, seed: int = 1, repeats: int = REPEATS) -> Report:
    """Compute the metrics of a bundle on labelled rows.

    Args:
        bundle: bundle to evaluate.
        training: labelled rows with the bundle's horizon.
        seed: seed of the bootstrap.
        repeats: number of bootstrap repeats.

    Returns:
        `parts`: `unseen` (cut-offs from the end of the bundle's window on) and `learnt` (earlier cut-offs, which may be
        in the training set). Each has metrics, intervals, curves and segments if there are such rows. `psi`: value of
        every column at the end of the archive against the training window, highest first. `next_purchase`: see
        `next_purchase.evaluation.evaluate_next_purchase`.
    """
    content: Report = {"bundle": bundle.name, "horizon_days": bundle.horizon_days, "parts": {}}
    scorer = bundle.scorer()
    # a horizon that begins within the window shares outcomes with the training set
    unseen = col("as_of") >= bundle.trained_until_ms
    for title, part in (("unseen", unseen), ("learnt", ~unseen)):
        rows = training.rows.filter(part)
        if rows.is_empty() or rows[LABEL].n_unique() < 2:
            continue
        content["parts"][title] = _part(bundle, rows, scorer.score(rows.drop(LABEL)), seed, repeats)
    predictions = scorer.model.next_purchase(scorer.model.inputs(numbers(training.followed)))
    content["next_purchase"] = evaluate_next_purchase(
        training.followed, predictions, unseen, seed=seed, repeats=repeats
    )
    scores = scorer.score(training.latest)
    latest = training.latest.hstack(scores.select("churn_probability"))
    psi = drift_of(bundle.training_profile, latest, training.end_ms // DAY_MS).psi
    content["psi"] = dict(sorted(psi.items(), key=lambda item: -item[1]))
    return content


def _part(bundle: Bundle, rows: pl.DataFrame, scores: pl.DataFrame, seed: int, repeats: int) -> dict[str, Any]:
    labels = rows[LABEL].to_numpy()
    probability = scores["churn_probability"].to_numpy()
    predictions = Predictions(probability, probability)
    weights = metrics.resampled(customer_numbers(rows), repeats, seed)
    return {
        "first": day(int(np.min(rows["as_of"].to_numpy()))),
        "last": day(int(np.max(rows["as_of"].to_numpy()))),
        "rows": len(rows),
        "customers": rows["customer_id"].n_unique(),
        "churned": float(labels.mean()),
        **described(labels, predictions, weights),
        "segments": by_segment(rows, predictions, bundle.breaks, bundle.rules, weights),
    }
