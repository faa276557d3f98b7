"""Builds the data of a model card: metrics with intervals, by model, by segment and against the ceiling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from polars import col

from features.scores.score import RfmBreaks, SegmentRules, scored
from training.churn import metrics
from training.churn.candidates import BASELINES, TITLES, Family
from training.churn.metrics import Predictions
from training.churn.selection import Choice
from training.churn.train import Trained
from training.dataset import LABEL

Float64 = npt.NDArray[np.float64]
Report = dict[str, Any]
"""JSON-compatible values only."""
CeilingOf = Callable[[Sequence[int], int], pl.DataFrame]
"""Cut-offs (epoch ms) and horizon in days -> customer_id, as_of, `knows_dropout` and `knows_present`: P(no order) of
predictors that use the true parameters of a synthetic shop."""

CEILINGS: Final = {
    "knows_dropout": "all rates and the day of the drop-out known",
    "knows_present": "all rates and past drop-outs known, future ones not",
}
SEGMENT_ROWS_MIN: Final = 50
COMPARED: Final = ("pr_auc", "roc_auc")


def day(time_ms: int) -> str:
    """Return the UTC date of an epoch time in milliseconds, such as `2026-11-21`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def described(labels: npt.NDArray[np.int8], predictions: Predictions, weights: list[Float64]) -> Report:
    """Return the metrics of one set of scores, with intervals, confusion matrix and curves."""
    return {
        "metrics": metrics.measure(labels, predictions),
        "intervals": {name: list(span) for name, span in metrics.intervals(labels, predictions, weights).items()},
        "confusion": metrics.confusion(labels, predictions.scores),
        "curves": metrics.curves(labels, predictions),
    }


def customer_numbers(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Return the number of each row's customer, from 0."""
    customers: npt.NDArray[np.int64] = rows["customer_id"].rank("dense").to_numpy().astype(np.int64) - 1
    return customers


def by_segment(
    rows: pl.DataFrame, predictions: Predictions, breaks: RfmBreaks, rules: SegmentRules, weights: list[Float64]
) -> dict[str, Report]:
    """Return the metrics of each segment that has enough rows of both labels, largest segment first."""
    segments = scored(rows.drop(LABEL), breaks, rules)["segment"].fill_null("none")
    labels = rows[LABEL].to_numpy()
    segment_reports = {}
    for name, count in segments.value_counts().sort(["count", "segment"], descending=[True, False]).iter_rows():
        inside = (segments == name).to_numpy()
        if count < SEGMENT_ROWS_MIN or labels[inside].min() == labels[inside].max():
            continue
        spans = metrics.intervals(labels[inside], predictions.where(inside), [each[inside] for each in weights[:100]])
        segment_reports[name] = {
            "rows": int(count),
            "churned": float(labels[inside].mean()),
            "metrics": metrics.measure(labels[inside], predictions.where(inside)),
            "intervals": {metric: list(span) for metric, span in spans.items()},
        }
    return segment_reports


def report(
    trained: Trained,
    breaks: RfmBreaks,
    rules: SegmentRules,
    *,
    ceiling: CeilingOf | None = None,
    seed: int = 1,
    repeats: int = metrics.REPEATS,
) -> Report:
    """Build the complete evaluation report of a model.

    Args:
        trained: model with its held-out rows.
        breaks: RFM breaks for the segments, fitted on rows before the held-out ones.
        rules: segment rules.
        ceiling: predictions from the true parameters, for a synthetic shop.
        seed: seed of the bootstrap.
        repeats: number of bootstrap repeats.
    """
    tested = trained.tested
    labels, rows = tested.labels, tested.rows
    weights = metrics.resampled(customer_numbers(rows), repeats, seed)
    family = trained.model.candidate.family
    content: Report = {
        "validation": tested.kind,
        "rows": len(rows),
        "customers": rows["customer_id"].n_unique(),
        "churned": float(labels.mean()),
        "taught": [day(one) for one in tested.train_cutoffs],
        "tested": sorted({day(one) for one in rows["as_of"].to_list()}),
        "level": tested.levels[family],
        "chosen": family,
        "models": {
            name: {"title": TITLES[name]} | described(labels, scores, weights)
            for name, scores in tested.predictions.items()
        },
        "tried": [_tried(choice) for choices in tested.choices.values() for choice in choices],
        "differences": _differences(tested.predictions, family, labels, weights),
        "segments": by_segment(rows, tested.predictions[family], breaks, rules, weights),
    }
    if ceiling is not None:
        content["ceiling"] = _ceiling(rows, tested.predictions, ceiling, trained.preparation["horizon_days"])
    return content


def _tried(choice: Choice) -> Report:
    candidate = choice.candidate
    return {
        "family": candidate.family,
        "treatment": candidate.treatment,
        "parameters": dict(candidate.parameters),
        "calibration": choice.calibration["kind"],
        "log_loss": choice.log_loss,
        "pr_auc": choice.pr_auc,
        "roc_auc": choice.roc_auc,
    }


def _differences(
    predictions: Mapping[Family, Predictions], chosen: Family, labels: npt.NDArray[np.int8], weights: list[Float64]
) -> list[Report]:
    """Compare XGBoost and the chosen model with every baseline, on the same resamples."""
    differences = []
    for model in dict.fromkeys(("xgboost", chosen)):
        for name in COMPARED:
            for other in BASELINES:
                if other != model:
                    gap, span = metrics.paired_difference(name, labels, predictions[model], predictions[other], weights)
                    differences.append(
                        {"metric": name, "model": model, "against": other, "gap": gap, "interval": list(span)}
                    )
    return differences


def _ceiling(
    rows: pl.DataFrame, predictions: Mapping[Family, Predictions], ceiling: CeilingOf, horizon_days: int
) -> Report:
    ceilings = ceiling(sorted(rows["as_of"].unique().to_list()), horizon_days)
    joined = rows.select("customer_id", "as_of", LABEL).join(
        ceilings, on=["customer_id", "as_of"], how="left", maintain_order="left"
    )
    has = joined.select(col("knows_dropout").is_not_null()).to_series().to_numpy()
    labels = joined[LABEL].to_numpy()[has]
    content: Report = {"rows": int(has.sum())}
    least = metrics.measure(labels, predictions["recency"].where(has))["roc_auc"]
    for name, meaning in CEILINGS.items():
        known_scores = joined[name].to_numpy()[has]
        top = metrics.measure(labels, Predictions(known_scores, known_scores))
        way = {
            family: (metrics.measure(labels, scores.where(has))["roc_auc"] - least) / (top["roc_auc"] - least)
            for family, scores in predictions.items()
        }
        content[name] = {"meaning": meaning, "metrics": top, "way": way}
    return content
