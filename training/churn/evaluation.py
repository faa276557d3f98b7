"""Builds the data of a model card: metrics with intervals, by model, by customers, and against what can be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from polars import col

from features.schema import DAY_MS
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
BoundsOf = Callable[[pl.DataFrame, int], pl.DataFrame]
"""customer_id and as_of (epoch ms) of rows of a synthetic shop, and horizon in days -> customer_id, as_of and
P(no order) by each of BOUNDS, for these rows or a sample of their customers."""

BOUNDS: Final = {
    "posterior": "knows the shop's process, sees the history (posterior)",
    "knows_present": "knows the truth: all rates, past drop-outs",
    "knows_dropout": "knows the truth: all rates, the day of the drop-out",
}
RECENT, REST = "recent", "rest"
GROUPS: Final = {RECENT: "recent buyers", REST: "the rest"}
"""Recent buyers have a valid order within one horizon before the cut-off."""
SEGMENT_ROWS_MIN: Final = 50
COMPARED: Final = ("pr_auc", "roc_auc")


def day(time_ms: int) -> str:
    """Return the UTC date of an epoch time in milliseconds, such as `2026-11-21`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def described(labels: npt.NDArray[np.int8], predictions: Predictions, weights: list[Float64]) -> Report:
    """Return the metrics of one set of scores, with intervals, confusion matrix and curves."""
    return {
        **_measured(labels, predictions, weights),
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
        if not _testable(labels[inside]):
            continue
        segment_reports[name] = {
            "rows": int(count),
            "churned": float(labels[inside].mean()),
            **_measured(labels[inside], predictions.where(inside), [each[inside] for each in weights[:100]]),
        }
    return segment_reports


def report(
    trained: Trained,
    breaks: RfmBreaks,
    rules: SegmentRules,
    *,
    bounds: BoundsOf | None = None,
    seed: int = 1,
    repeats: int = metrics.REPEATS,
) -> Report:
    """Build the complete evaluation report of a model.

    Args:
        trained: model with its held-out rows.
        breaks: RFM breaks for the segments, fitted on rows before the held-out ones.
        rules: segment rules.
        bounds: predictions by what generated a synthetic shop.
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
    horizon_days = trained.preparation["horizon_days"]
    known = None if bounds is None else bound_probabilities(rows, bounds, horizon_days)
    content["overlap"] = overlap(rows["as_of"].unique().to_list(), horizon_days)
    content["cutoffs"] = _by_cutoff(rows, tested.predictions, known)
    content["groups"] = _by_group(rows, tested.predictions, known, horizon_days, weights)
    if known is not None:
        content["bounds"] = _against_bounds(rows, tested.predictions, known, weights)
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


def overlap(cutoffs: Sequence[int], horizon_days: int) -> Report:
    """Return how much the tested horizons share: the days they cover, and their days in sum.

    Args:
        cutoffs: tested cut-offs, epoch ms.
        horizon_days: length of each horizon.
    """
    times = np.sort(np.asarray(cutoffs, np.float64)) / DAY_MS
    covered = horizon_days + float(np.minimum(np.diff(times), horizon_days).sum())
    return {"covered_days": round(covered, 1), "summed_days": horizon_days * len(times)}


def recent_buyers(rows: pl.DataFrame, horizon_days: int) -> npt.NDArray[np.bool_]:
    """Return which rows are of recent buyers, see GROUPS."""
    recent = col("as_of") - col("last_order_ts") < horizon_days * DAY_MS
    return rows.select(recent.fill_null(value=False)).to_series().to_numpy()


def bound_probabilities(rows: pl.DataFrame, bounds: BoundsOf, horizon_days: int) -> dict[str, Float64]:
    """Return name of BOUNDS -> its probabilities of the rows, NaN where unknown; without those that are not given."""
    keys = ["customer_id", "as_of"]
    joined = rows.select(keys).join(bounds(rows.select(keys), horizon_days), on=keys, how="left", maintain_order="left")
    given = [name for name in BOUNDS if name in joined.columns]
    return {name: joined[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in given}


def _inside(known: Mapping[str, Float64] | None, rows: int) -> npt.NDArray[np.bool_]:
    """Return the rows with a probability by every one of BOUNDS."""
    if known is None:
        return np.zeros(rows, np.bool_)
    inside: npt.NDArray[np.bool_] = np.all([np.isfinite(one) for one in known.values()], axis=0)
    return inside


def _measured(labels: npt.NDArray[np.int8], predictions: Predictions, weights: list[Float64]) -> Report:
    spans = metrics.intervals(labels, predictions, weights)
    return {
        "metrics": metrics.measure(labels, predictions),
        "intervals": {metric: list(span) for metric, span in spans.items()},
    }


def _testable(labels: npt.NDArray[np.int8]) -> bool:
    return len(labels) >= SEGMENT_ROWS_MIN and bool(labels.min() != labels.max())


def _by_cutoff(
    rows: pl.DataFrame, predictions: Mapping[Family, Predictions], known: Mapping[str, Float64] | None
) -> dict[str, Report]:
    """Return day of a tested cut-off -> rows, share churned, and the metrics of models and bounds."""
    labels, times = rows[LABEL].to_numpy(), rows["as_of"].to_numpy()
    has = _inside(known, len(rows))
    content = {}
    for time in np.unique(times):
        inside = times == time
        if _testable(labels[inside]):
            content[day(int(time))] = {
                "rows": int(inside.sum()),
                "churned": float(labels[inside].mean()),
                "models": {
                    name: metrics.measure(labels[inside], one.where(inside)) for name, one in predictions.items()
                },
                "bounds": _bounds_measured(labels, known, inside & has, None),
            }
    return content


def _by_group(
    rows: pl.DataFrame,
    predictions: Mapping[Family, Predictions],
    known: Mapping[str, Float64] | None,
    horizon_days: int,
    weights: list[Float64],
) -> dict[str, Report]:
    """Return group of GROUPS -> rows, share churned, and the metrics of models and bounds with intervals.

    A group of too few rows, or of one label, has no metrics: `models` is empty.
    """
    labels, recent = rows[LABEL].to_numpy(), recent_buyers(rows, horizon_days)
    has = _inside(known, len(rows))
    content = {}
    for name, inside in ((RECENT, recent), (REST, ~recent)):
        testable = _testable(labels[inside])
        own = [each[inside] for each in weights]
        content[name] = {
            "rows": int(inside.sum()),
            "churned": float(labels[inside].mean()) if inside.any() else None,
            "models": {family: _measured(labels[inside], one.where(inside), own) for family, one in predictions.items()}
            if testable
            else {},
            "bounds": _bounds_measured(labels, known, inside & has, weights),
        }
    return content


def _bounds_measured(
    labels: npt.NDArray[np.int8],
    known: Mapping[str, Float64] | None,
    inside: npt.NDArray[np.bool_],
    weights: list[Float64] | None,
) -> Report:
    if known is None or not _testable(labels[inside]):
        return {}
    scores = {name: Predictions(one[inside], one[inside]) for name, one in known.items()}
    if weights is None:
        return {name: metrics.measure(labels[inside], one) for name, one in scores.items()}
    own = [each[inside] for each in weights]
    return {name: _measured(labels[inside], one, own) for name, one in scores.items()}


def _against_bounds(
    rows: pl.DataFrame,
    predictions: Mapping[Family, Predictions],
    known: Mapping[str, Float64],
    weights: list[Float64],
) -> Report:
    """Return each bound's metrics, and each model's share of the ROC-AUC gain from recency to the bound."""
    labels, has = rows[LABEL].to_numpy(), _inside(known, len(rows))
    content: Report = {"rows": int(has.sum()), "customers": rows.filter(has)["customer_id"].n_unique()}
    if not _testable(labels[has]):
        return content
    own = [each[has] for each in weights]

    def gained(one: Predictions) -> Float64:
        """Return the ROC-AUC of all rows, then of each resample."""
        drawn = metrics.drawn(("roc_auc",), labels[has], one, [np.ones(len(labels[has])), *own])
        return drawn["roc_auc"]

    areas = {family: gained(one.where(has)) for family, one in predictions.items()}
    for name, probabilities in known.items():
        scores = Predictions(probabilities[has], probabilities[has])
        room = gained(scores) - areas["recency"]
        ways = {
            family: np.divide(area - areas["recency"], room, out=np.full_like(room, np.nan), where=room > 0)
            for family, area in areas.items()
        }
        content[name] = {
            "meaning": BOUNDS[name],
            **_measured(labels[has], scores, own),
            "way": {family: float(way[0]) for family, way in ways.items()},
            "way_intervals": {family: list(metrics.percentiles(way[1:])) for family, way in ways.items()},
        }
    return content
