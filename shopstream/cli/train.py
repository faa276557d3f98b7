"""`shopstream train`, `evaluate` and `score`: train models on an archive, evaluate them and score customers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from training.dataset import TrainingSet
    from training.options import Costs, Horizon

    Gather = Callable[[Path, Horizon, Callable[[str, float | None], None]], TrainingSet]

BUNDLES = "bundles"
"""Folder of bundles below the data folder, with `current` beside them."""

Archive = Annotated[Path, typer.Argument(metavar="DIR", help="The archive.")]
HorizonDays = Annotated[
    int | None,
    typer.Option(
        "--horizon",
        help="No order in so many days after the cut-off is churn.",
        min=1,
        max=400,
        show_default="the setting training.horizon_days",
    ),
]
HistoryDays = Annotated[
    int | None,
    typer.Option(
        "--history",
        help="Days of history before the first cut-off, at least.",
        min=1,
        max=400,
        show_default="the setting training.history_days",
    ),
]
Spacing = Annotated[
    int | None,
    typer.Option(
        "--spacing",
        help="Days between two cut-offs.",
        min=1,
        max=400,
        show_default="the setting training.spacing_days",
    ),
]
CutoffsMax = Annotated[
    int | None,
    typer.Option(
        "--cutoffs",
        help="Number of cut-offs, the latest ones.",
        min=1,
        max=400,
        show_default="the setting training.cutoffs_max",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("train")(train)
    app.command("evaluate")(evaluate)
    app.command("score")(score)


def train(
    directory: Archive,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the bundle; default: a new one in the data folder, made current."),
    ] = None,
    horizon: HorizonDays = None,
    history: HistoryDays = None,
    spacing: Spacing = None,
    cutoffs: CutoffsMax = None,
    validation: Annotated[
        str,
        typer.Option(
            "--validation", help="time: later cut-offs test. customers: five folds. auto: time where it fits."
        ),
    ] = "auto",
    tries: Annotated[int, typer.Option("--tries", help="Settings of XGBoost that are tried.", min=1, max=200)] = 6,
    rules: Annotated[
        str, typer.Option("--rules", help="Rules of the segments: a ready name or a YAML file.")
    ] = "segments",
    costs: Annotated[
        Path | None,
        typer.Option(
            "--costs",
            help="JSON of the costs that the bands of risk follow from.",
            show_default="the settings training.costs",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same model.", min=0)] = 1,
    threads: Annotated[int, typer.Option("--threads", help="Threads of the models.", min=1)] = 2,
    current: Annotated[
        bool | None,
        typer.Option("--current/--not-current", help="Point `current` beside the bundle at it.", show_default=False),
    ] = None,
) -> None:
    """Train a churn model on an archive, test it on later times, and write a bundle with its model card.

    Example: `shopstream train shop-archive --out bundles/first --horizon 90`
    """
    from rich.console import Console

    from shopstream.cli.model_tables import print_models
    from shopstream.cli.progress import progress
    from shopstream.jobs.train import train_bundle
    from shopstream.settings import load_settings
    from training.bundle import point_current
    from training.churn.train import TrainingPlan

    console = Console(stderr=True)
    settings = load_settings()
    target = out if out is not None else settings.home / BUNDLES / "new"
    given = settings.training.costs.asked() if costs is None else _costs(costs)
    plan = TrainingPlan(_validation(validation), tries=tries, seed=seed, threads=threads, costs=_checked(given))
    asked = settings.training.asked(horizon, history, spacing, cutoffs)
    with progress(console) as tell:
        bundle, seconds = train_bundle(directory, target, asked, plan, rules, tell, rename=out is None)
    if current or (current is None and out is None):
        point_current(bundle.folder)
    print_models(console, bundle.metrics)
    console.print(
        f"training set {seconds[0]:.1f} s, models {seconds[1]:.1f} s → {bundle.name} in {bundle.folder} "
        "(read its card.html)"
    )


def evaluate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle, or a folder with a current one.")],
    directory: Archive,
    history: HistoryDays = None,
    spacing: Spacing = None,
    cutoffs: CutoffsMax = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the figures as JSON.")] = None,
) -> None:
    """Judge a bundle on an archive: its metrics where the outcome is known by now, and how far the rows have moved.

    Cut-offs that the bundle learnt from are told apart from those it has not seen.

    Example: `shopstream evaluate bundles/first shop-archive`
    """
    import json

    from rich.console import Console

    from connectors.files import write_whole
    from shopstream.cli.model_tables import print_judgement
    from shopstream.cli.progress import progress
    from shopstream.jobs.train import training_set
    from shopstream.settings import load_settings
    from training.bundle import load_bundle
    from training.evaluate_bundle import evaluate

    console = Console(stderr=True)
    loaded = load_bundle(bundle)
    with progress(console) as tell:
        asked = load_settings().training.asked(loaded.horizon_days, history, spacing, cutoffs)
        training = training_set(directory, asked, tell)
        tell("intervals of the metrics", None)
        report = evaluate(loaded, training)
    print_judgement(console, report)
    if out is not None:
        write_whole(out, lambda path: path.write_text(json.dumps(report, indent=1) + "\n", "utf-8"))


def score(
    directory: Archive,
    bundle: Annotated[
        Path, typer.Option("--bundle", help="The bundle, or a folder with a current one.", show_default=False)
    ],
    as_of: Annotated[str, typer.Option("--as-of", help="ISO 8601; a time without a zone is UTC.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Parquet file, or CSV by its ending.", show_default=False)],
    rules: Annotated[
        str | None, typer.Option("--rules", help="Other rules of the segments: a ready name or a YAML file.")
    ] = None,
) -> None:
    """Write the feature rows and scores of every customer of an archive at a time.

    Example: `shopstream score shop-archive --bundle bundles/first --as-of 2026-06-30 --out scores.parquet`
    """
    import polars as pl
    from rich.console import Console

    from connectors.formats.rules_file import load_rules
    from features.backfill import ArchiveCounts
    from shopstream.cli.options import parse_time
    from shopstream.cli.progress import progress, write_table
    from shopstream.jobs.train import joined_rows
    from training.bundle import load_bundle

    console = Console(stderr=True)
    moment = parse_time(as_of, "--as-of")
    loaded = load_bundle(bundle)
    asked = loaded.rules if rules is None else load_rules(rules)
    counts = ArchiveCounts()
    with progress(console) as tell:
        rows = joined_rows(directory, moment, asked.profile_columns, counts, tell)
    scores = loaded.scorer(asked).score(rows)
    scored = rows.drop(asked.profile_columns, strict=False).hstack(scores)
    scored = scored.with_columns(pl.lit(loaded.name).alias("bundle"))
    write_table(out, scored)
    risks = scored["churn_risk"].drop_nulls().value_counts().sort("count", descending=True)
    said = ", ".join(f"{count:,} {risk}" for risk, count in risks.iter_rows())
    console.print(f"{scored.height:,} customers scored by {loaded.name} ({said or 'nobody has ordered'}) → {out}")


def _validation(name: str) -> Any:
    from features.errors import UsageError

    if name not in ("auto", "time", "customers"):
        raise UsageError(f"--validation is {name!r}.", "Give auto, time or customers.")
    return name


def _costs(path: Path) -> Costs:
    import msgspec

    from features.errors import UsageError
    from training.options import Costs

    try:
        return msgspec.json.decode(path.read_bytes(), type=Costs)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"The costs {path} cannot be read: {error}.",
            'Write them as {"medium": {"cost": 0.01, "saved": 0.03}, "high": …, "critical": …}.',
        ) from None


def _checked(costs: Costs) -> Costs:
    """Check that the costs give bands, before long work begins."""
    from training.churn.calibration import thresholds

    thresholds(costs)
    return costs
