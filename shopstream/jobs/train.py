"""Trains a bundle from an archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import polars as pl

from connectors.formats.rules_file import load_rules
from features.backfill import ArchiveCounts
from features.rules.segments import with_profiles
from features.scores.score import learn_breaks
from producers.archive.archive import read_customers
from shopstream.jobs.archive_features import archive_days, batch_features
from shopstream.jobs.bayes_ceiling import bounds_of, known_shop
from shopstream.jobs.history import History, known_history
from training import bundle as bundles
from training import dataset
from training.bundle import Bundle
from training.churn import evaluation
from training.churn import train as churn
from training.churn.external_fit import Learner
from training.churn.train import TrainingPlan
from training.dataset import TrainingSet
from training.next_purchase import evaluation as next_purchase_evaluation
from training.next_purchase import train as next_purchase
from training.options import Horizon

OnStep = Callable[[str, float | None], None]
Gather = Callable[[Path, Horizon, OnStep], TrainingSet]


def train_bundle(
    directory: Path,
    out: Path,
    horizon: Horizon,
    plan: TrainingPlan,
    rules_name: str = "segments",
    on_step: OnStep = lambda *_: None,
    *,
    rename: bool = False,
    history: History | None = None,
    gather: Gather | None = None,
    learner: Callable[[], Learner | None] = lambda: None,
) -> tuple[Bundle, tuple[float, float]]:
    """Train a bundle from an archive.

    Args:
        directory: folder of the archive.
        out: folder of the bundle.
        horizon: horizon and cut-offs of the training set.
        plan: settings of the models.
        rules_name: name of the segment rules.
        on_step: called with the name of the current step, and the share that is done or None.
        rename: name the folder after the bundle instead, next to `out`.
        history: part of the archive that counts; None: all records. Not used by `gather`.
        gather: function that builds the training set; default: `training_set`.
        learner: called once the training set exists; returns the learner that fits trees to further rows, or None.

    Returns:
        The bundle, and the seconds that the training set and the models took.
    """
    rules = load_rules(rules_name)
    began = perf_counter()
    training = gather(directory, horizon, on_step) if gather else training_set(directory, horizon, on_step, history)
    built = perf_counter()
    external = learner()
    trained = churn.train(training, plan, lambda step: on_step(step, None), external)
    following = next_purchase.train(training, trained, plan, lambda step: on_step(step, None), external)
    on_step("intervals of the metrics", None)

    model = known_shop(directory)

    def bounds(rows: pl.DataFrame, days: int) -> pl.DataFrame:
        assert model is not None
        on_step("what can be known about the synthetic shop", None)
        return bounds_of(directory, model, rows, days, plan.seed)

    before = training.rows.filter(training.rows["as_of"] == trained.tested.train_cutoffs[-1])
    report = evaluation.report(
        trained, learn_breaks(before), rules, bounds=bounds if model else None, seed=plan.seed, repeats=plan.repeats
    )
    report["next_purchase"] = next_purchase_evaluation.next_report(following, seed=plan.seed, repeats=plan.repeats)
    on_step("writing the bundle", None)
    breaks = learn_breaks(training.latest)
    written = bundles.write_bundle(out, trained, training, breaks, rules, report, plan.seed, following, own_name=rename)
    return written, (built - began, perf_counter() - built)


def training_set(
    directory: Path, horizon: Horizon, on_step: OnStep = lambda *_: None, history: History | None = None
) -> TrainingSet:
    """Build the labelled rows of an archive at its cut-offs; `on_step` and `history` as in `train_bundle`."""
    history = history or known_history(directory)
    days, read_day = archive_days(directory, history.limit_ms)
    first, end = history.first_ms, history.end_ms
    cutoffs = dataset.plan_cutoffs(first, end, horizon)
    position_of = {day: position for position, day in enumerate(days)}

    def on_day(day: int) -> None:
        on_step(f"reading the archive for {len(cutoffs)} cut-offs", position_of[day] / len(days))

    return dataset.build(days, read_day, cutoffs, horizon.horizon_days, end_ms=end, on_day=on_day)


def joined_rows(
    directory: Path,
    moment: int,
    profile_columns: tuple[str, ...],
    counts: ArchiveCounts,
    on_step: Callable[[str, float | None], None],
) -> pl.DataFrame:
    """Compute feature rows, with the profile columns that the rules use."""
    rows = batch_features(
        directory, moment, counts, lambda position, total, _: on_step("reading the archive", position / total)
    )
    if not profile_columns:
        return rows
    table = read_customers(directory)
    if table is None:
        return rows
    profiles = pl.DataFrame(pl.from_arrow(table)).unique("customer_id", keep="last", maintain_order=True)
    return with_profiles(rows, profiles, profile_columns)
