"""`shopstream train`, `evaluate` and `score`: models from an archive, how good they are, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import polars as pl

    from features.replayed import ArchiveCounts
    from training.bundle import Bundle
    from training.churn import Plan
    from training.dataset import TrainingSet
    from training.learner import Learner
    from training.terms import Costs, Horizon

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
    from rich.console import Console  # noqa: PLC0415

    from shopstream.model_tables import print_models  # noqa: PLC0415
    from shopstream.settings import load_settings  # noqa: PLC0415
    from shopstream.working import progress  # noqa: PLC0415
    from training.bundle import point_current  # noqa: PLC0415
    from training.churn import Plan  # noqa: PLC0415

    console = Console(stderr=True)
    settings = load_settings()
    target = out if out is not None else settings.home / BUNDLES / "new"
    given = settings.training.costs.asked() if costs is None else _costs(costs)
    plan = Plan(_validation(validation), tries=tries, seed=seed, threads=threads, costs=_checked(given))
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


def train_bundle(
    directory: Path,
    out: Path,
    horizon: Horizon,
    plan: Plan,
    rules_name: str = "segments",
    on_step: Callable[[str, float | None], None] = lambda *_: None,
    *,
    rename: bool = False,
    gather: Gather | None = None,
    learner: Callable[[], Learner | None] = lambda: None,
) -> tuple[Bundle, tuple[float, float]]:
    """A bundle from an archive.

    Args:
        directory: the archive.
        out: the bundle's folder.
        horizon: of the training set.
        plan: of the models.
        rules_name: of the segments.
        on_step: told what is done now, and the share of it that is done or None.
        rename: call the folder by the bundle's name instead, beside `out`.
        gather: makes the training set; default: `training_set`.
        learner: called once that is there; gives what fits trees to more rows than those.

    Returns:
        The bundle, and the seconds that the training set and the models took.
    """
    from features.score import learn_breaks  # noqa: PLC0415
    from features.segments import load_rules  # noqa: PLC0415
    from shopstream.ceiling import ceiling_of  # noqa: PLC0415
    from training import bundle as bundles  # noqa: PLC0415
    from training import churn, evaluation, next_evaluation, next_purchase  # noqa: PLC0415

    rules = load_rules(rules_name)
    began = perf_counter()
    training = (gather or training_set)(directory, horizon, on_step)
    built = perf_counter()
    elsewhere = learner()
    trained = churn.train(training, plan, lambda step: on_step(step, None), elsewhere)
    following = next_purchase.train(training, trained, plan, lambda step: on_step(step, None), elsewhere)
    on_step("intervals of the metrics", None)

    def ceiling(times: Any, days: int) -> pl.DataFrame:
        found = ceiling_of(directory, times, days)
        assert found is not None
        return found

    known = ceiling_of(directory, training.cutoffs[:1], 1) is not None
    before = training.rows.filter(training.rows["as_of"] == trained.tested.taught[-1])
    report = evaluation.report(
        trained, learn_breaks(before), rules, ceiling=ceiling if known else None, seed=plan.seed, repeats=plan.repeats
    )
    report["next_purchase"] = next_evaluation.next_report(following, seed=plan.seed, repeats=plan.repeats)
    on_step("writing the bundle", None)
    breaks = learn_breaks(training.latest)
    written = bundles.write_bundle(out, trained, training, breaks, rules, report, plan.seed, following, own_name=rename)
    return written, (built - began, perf_counter() - built)


def training_set(
    directory: Path, horizon: Horizon, on_step: Callable[[str, float | None], None] = lambda *_: None
) -> TrainingSet:
    """The labelled rows of an archive at its cut-offs; `on_step` as in `train_bundle`."""
    from shopstream.commands.features import archive_days  # noqa: PLC0415
    from training import dataset  # noqa: PLC0415

    days, read_day = archive_days(directory)
    first, end = dataset.known_span(days, read_day)
    cutoffs = dataset.plan_cutoffs(first, end, horizon)
    place = {day: position for position, day in enumerate(days)}

    def told(day: int) -> None:
        on_step(f"reading the archive for {len(cutoffs)} cut-offs", place[day] / len(days))

    return dataset.build(days, read_day, cutoffs, horizon.horizon_days, end_ms=end, on_day=told)


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
    import json  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from connectors.files import write_whole  # noqa: PLC0415
    from shopstream.model_tables import print_judgement  # noqa: PLC0415
    from shopstream.settings import load_settings  # noqa: PLC0415
    from shopstream.working import progress  # noqa: PLC0415
    from training.bundle import load_bundle  # noqa: PLC0415
    from training.judgement import judge  # noqa: PLC0415

    console = Console(stderr=True)
    loaded = load_bundle(bundle)
    with progress(console) as tell:
        asked = load_settings().training.asked(loaded.horizon_days, history, spacing, cutoffs)
        training = training_set(directory, asked, tell)
        tell("intervals of the metrics", None)
        report = judge(loaded, training)
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
    import polars as pl  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from features.replayed import ArchiveCounts  # noqa: PLC0415
    from features.segments import load_rules  # noqa: PLC0415
    from shopstream.producing import parse_time  # noqa: PLC0415
    from shopstream.working import progress, write_table  # noqa: PLC0415
    from training.bundle import load_bundle  # noqa: PLC0415

    console = Console(stderr=True)
    moment = parse_time(as_of, "--as-of")
    loaded = load_bundle(bundle)
    asked = loaded.rules if rules is None else load_rules(rules)
    counts = ArchiveCounts()
    with progress(console) as tell:
        rows = _rows_at(directory, moment, asked.profile_columns, counts, tell)
    scores = loaded.scorer(asked).score(rows)
    scored = rows.drop(asked.profile_columns, strict=False).hstack(scores)
    scored = scored.with_columns(pl.lit(loaded.name).alias("bundle"))
    write_table(out, scored)
    risks = scored["churn_risk"].drop_nulls().value_counts().sort("count", descending=True)
    said = ", ".join(f"{count:,} {risk}" for risk, count in risks.iter_rows())
    console.print(f"{scored.height:,} customers scored by {loaded.name} ({said or 'nobody has ordered'}) → {out}")


def _rows_at(
    directory: Path,
    moment: int,
    profile_columns: tuple[str, ...],
    counts: ArchiveCounts,
    on_step: Callable[[str, float | None], None],
) -> pl.DataFrame:
    """Feature rows, with the columns of profiles that the rules ask."""
    import polars as pl  # noqa: PLC0415

    from features.segments import with_profiles  # noqa: PLC0415
    from producers.archive import read_customers  # noqa: PLC0415
    from shopstream.commands.features import batch_features  # noqa: PLC0415

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


def _validation(name: str) -> Any:
    from features.errors import UsageError  # noqa: PLC0415

    if name not in ("auto", "time", "customers"):
        raise UsageError(f"--validation is {name!r}.", "Give auto, time or customers.")
    return name


def _costs(path: Path) -> Costs:
    import msgspec  # noqa: PLC0415

    from features.errors import UsageError  # noqa: PLC0415
    from training.terms import Costs  # noqa: PLC0415

    try:
        return msgspec.json.decode(path.read_bytes(), type=Costs)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"The costs {path} cannot be read: {error}.",
            'Write them as {"medium": {"cost": 0.01, "saved": 0.03}, "high": …, "critical": …}.',
        ) from None


def _checked(costs: Costs) -> Costs:
    """Costs that give bands, before anything long begins."""
    from training.calibration import thresholds  # noqa: PLC0415

    thresholds(costs)
    return costs
