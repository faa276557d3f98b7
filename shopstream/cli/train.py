"""Trains models on an archive, evaluates them and scores customers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.model_tables import print_evaluation, print_models
from shopstream.cli.options import (
    Archive,
    AsOf,
    Cutoffs,
    History,
    Horizon,
    OutFile,
    Seed,
    Spacing,
    Threads,
    Tries,
)
from shopstream.cli.progress import progress, stated_history, write_table
from shopstream.runtime.bundles import FOLDER
from training.options import Costs, Validation

BUNDLE_HELP = "Bundle of models, or folder with a current one."


def train(
    directory: Archive,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Output folder of the bundle; default: a new current one in the data folder."
        ),
    ] = None,
    horizon: Horizon = None,
    history: History = None,
    spacing: Spacing = None,
    cutoffs: Cutoffs = None,
    validation: Annotated[
        Validation,
        typer.Option(
            "--validation", help="Test data: later cut-offs (time) or five folds of customers; auto: time if possible."
        ),
    ] = "auto",
    tries: Tries = 6,
    repeats: Annotated[
        int, typer.Option("--repeats", help="Bootstrap resamples for the intervals of the metrics.", min=20)
    ] = 300,
    rules: Annotated[str, typer.Option("--rules", help="Segment rules: built-in or a YAML file.")] = "segments",
    costs: Annotated[
        Path | None,
        typer.Option(
            "--costs",
            help="JSON file of the costs that define the churn risks.",
            show_default="the settings training.costs",
        ),
    ] = None,
    seed: Seed = 1,
    threads: Threads = 2,
    as_of: AsOf = None,
    current: Annotated[
        bool | None,
        typer.Option(
            "--current/--not-current", help="Make the bundle the current one of its folder.", show_default=False
        ),
    ] = None,
) -> None:
    """Train a churn model on an archive, test it on later times, and write a bundle with its model card.

    Example: `shopstream train shop-archive --out bundles/first --horizon 90`
    """
    from shopstream.jobs.train import train_bundle
    from shopstream.settings import load_settings
    from training.bundle import point_current
    from training.churn.calibration import thresholds
    from training.churn.train import TrainingPlan

    console = Console(stderr=True)
    settings = load_settings()
    target = out if out is not None else settings.home / FOLDER / "new"
    risk_costs = settings.training.costs.to_costs() if costs is None else _read_costs(costs)
    thresholds(risk_costs)  # fails before the long work if the costs define no thresholds
    plan = TrainingPlan(validation, tries=tries, seed=seed, threads=threads, costs=risk_costs, repeats=repeats)
    window = settings.training.to_horizon(horizon, history, spacing, cutoffs)
    counted = stated_history(console, directory, as_of)
    with progress(console) as on_step:
        bundle, seconds = train_bundle(
            directory, target, window, plan, rules, on_step, rename=out is None, history=counted
        )
    if current or (current is None and out is None):
        point_current(bundle.folder)
    print_models(console, bundle.metrics)
    console.print(
        f"training set {seconds[0]:.1f} s, models {seconds[1]:.1f} s → {bundle.name} in {bundle.folder} "
        "(read its card.html)"
    )


def evaluate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help=BUNDLE_HELP)],
    directory: Archive,
    history: History = None,
    spacing: Spacing = None,
    cutoffs: Cutoffs = None,
    as_of: AsOf = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Output file for the metrics (JSON).")
    ] = None,
) -> None:
    """Evaluate a bundle on an archive: metrics on cut-offs with a known outcome, and the drift of the rows.

    Cut-offs of the training are reported separately from unseen ones.

    Example: `shopstream evaluate bundles/first shop-archive`
    """
    from connectors.files import write_whole
    from shopstream.jobs.train import training_set
    from shopstream.settings import load_settings
    from training.bundle import load_bundle
    from training.evaluate_bundle import evaluate as evaluate_bundle

    console = Console(stderr=True)
    loaded = load_bundle(bundle)
    window = load_settings().training.to_horizon(loaded.horizon_days, history, spacing, cutoffs)
    counted = stated_history(console, directory, as_of)
    with progress(console) as on_step:
        rows = training_set(directory, window, on_step, counted)
        on_step("intervals of the metrics", None)
        report = evaluate_bundle(loaded, rows)
    print_evaluation(console, report)
    if out is not None:
        write_whole(out, lambda path: path.write_text(json.dumps(report, indent=1) + "\n", "utf-8"))


def score(
    directory: Archive,
    bundle: Annotated[Path, typer.Option("--bundle", help=BUNDLE_HELP, show_default=False)],
    out: OutFile,
    as_of: AsOf = None,
    rules: Annotated[
        str | None,
        typer.Option("--rules", help="Segment rules, built-in or a YAML file; default: rules of the bundle."),
    ] = None,
) -> None:
    """Write the feature rows and scores of every customer of an archive at a time.

    Example: `shopstream score shop-archive --bundle bundles/first --as-of 2026-06-30 --out scores.parquet`
    """
    import polars as pl

    from connectors.formats.rules_file import load_rules
    from features.backfill import ArchiveCounts
    from shopstream.jobs.train import joined_rows
    from training.bundle import load_bundle

    console = Console(stderr=True)
    loaded = load_bundle(bundle)
    segment_rules = loaded.rules if rules is None else load_rules(rules)
    profile_columns = segment_rules.profile_columns
    moment = stated_history(console, directory, None).end_ms if as_of is None else as_of
    with progress(console) as on_step:
        rows = joined_rows(directory, moment, profile_columns, ArchiveCounts(), on_step)
    scores = loaded.scorer(segment_rules).score(rows)
    scored = rows.drop(profile_columns, strict=False).hstack(scores)
    scored = scored.with_columns(pl.lit(loaded.name).alias("bundle"))
    write_table(out, scored)
    risks = scored["churn_risk"].drop_nulls().value_counts().sort("count", descending=True)
    summary = ", ".join(f"{count:,} {risk}" for risk, count in risks.iter_rows())
    console.print(
        f"{scored.height:,} customers scored by {loaded.name} ({summary or 'no customer has ordered'}) → {out}"
    )


def _read_costs(path: Path) -> Costs:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Costs)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"The costs {path} cannot be read: {error}.",
            'Write them as {"medium": {"cost": 0.01, "saved": 0.03}, "high": …, "critical": …}.',
        ) from None
