"""`spark`: computes the same features for archives that one machine cannot process, or only too slowly."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from features.errors import UsageError
from shopstream.cli.consume import ConsumedRun, FinalAsOf, IndexContact, UntilEnd
from shopstream.cli.train import CutoffsMax, HistoryDays, HorizonDays, Spacing

CUTOFFS_MAX = 100_000
"""Upper limit of cut-offs; more indicate a mistake in --every."""

Archive = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="The archive: a folder or a URI (s3://, gs://, hdfs://, s3a://).")
]
Master = Annotated[
    str | None,
    typer.Option(
        help="local[2], spark://…, yarn, k8s://…; left out, that of spark-submit or of the cluster's settings."
    ),
]
ReaderOption = Annotated[
    str,
    typer.Option(
        "--reader",
        help="What opens the archive's files: arrow (a few row groups at a time) or spark (whole files, of any file "
        "system that Hadoop has). auto: arrow where it knows the URI.",
    ),
]
Conf = Annotated[list[str] | None, typer.Option("--conf", help="A property of Spark, KEY=VALUE; again for more.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The same features on a Spark cluster (extra `[spark]`).", no_args_is_help=True)
    group.command("backfill")(backfill)
    group.command("stream")(stream)
    group.command("train")(train)
    app.add_typer(group, name="spark")


def backfill(  # noqa: PLR0917 - each is an option
    archive: Archive,
    out: Annotated[str, typer.Option(help="Folder or URI for Parquet, in folders by as_of.", show_default=False)],
    as_of: Annotated[list[str] | None, typer.Option("--as-of", help="ISO 8601; again for more times.")] = None,
    every: Annotated[str | None, typer.Option(help="A time every so often: 1d, 12h; with --from and --to.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="The first of these times, ISO 8601.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="None of these times is later, ISO 8601.")] = None,
    master: Master = None,
    conf: Conf = None,
    buckets: Annotated[
        int | None, typer.Option(min=1, help="Of customers; by default a million events or so each.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at --out.")] = False,
    reader: ReaderOption = "auto",
) -> None:
    """Write the feature rows of every customer of an archive at many times, in one pass over it, on Spark.

    The rows are those of `shopstream features`. A time at which no customer had been seen has no folder.

    Example: `shopstream spark backfill archive --every 1d --from 2026-01-01 --to 2026-06-30 --out rows`
    """
    from rich.console import Console

    from shopstream.spark.session import parse_properties, session

    times, wanted = cutoffs(as_of or [], every, start, end), checked_reader(reader)
    properties = parse_properties(conf or [])
    console = Console(stderr=True)
    with session("shopstream spark backfill", master, properties) as spark:
        from features.backfill import ArchiveCounts
        from shopstream.spark.archive_scan import archive_files
        from shopstream.spark.backfill import feature_rows, plan, write_rows

        counts = ArchiveCounts()
        files = archive_files(spark, located(archive), wanted)
        planned = plan(files, times, spark.sparkContext.defaultParallelism, buckets)
        rows, gather = feature_rows(spark, planned, counts)
        write_rows(spark, rows, located(out), replace=force)
        written = gather()
    console.print(
        f"{written:,} rows at {len(times):,} times from {counts.read['events']:,} events and "
        f"{counts.read['orders']:,} order records ({counts.duplicates:,} duplicates, "
        f"{counts.rejected.total():,} invalid) in {planned.buckets:,} buckets → {out}"
    )
    for reason, count in counts.rejected.most_common():
        console.print(f"  {count:,} of: {reason}")


def train(  # noqa: PLR0917 - typer makes an option of each
    archive: Archive,
    out: Annotated[Path, typer.Option(help="Folder of the bundle, on this machine.", show_default=False)],
    work: Annotated[
        str | None, typer.Option(help="Folder or URI that the executors share, for rows. Default: beside the bundle.")
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.000_001, max=1, help="Of the customers, so that their rows fit this machine.")
    ] = 1.0,
    horizon: HorizonDays = None,
    history: HistoryDays = None,
    spacing: Spacing = None,
    cutoffs_max: CutoffsMax = None,
    tries: Annotated[int, typer.Option(help="Settings of XGBoost that are tried.", min=1, max=200)] = 6,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.", min=0)] = 1,
    threads: Annotated[int, typer.Option(help="Threads of the models that learn on this machine.", min=1)] = 2,
    learn: Annotated[
        str,
        typer.Option(
            "--learn",
            help="Where models learn: machine, or cluster (XGBoost, from all rows; a sample of them chooses its "
            "settings and tests it here). auto: on this machine where the training set fits its memory.",
        ),
    ] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Tasks that learn together on the cluster. Default: all it has room for.")
    ] = None,
    sample_rows: Annotated[
        int, typer.Option(min=1_000, help="Rows of the sample that this machine takes when the cluster learns.")
    ] = 1_000_000,
    master: Master = None,
    conf: Conf = None,
    reader: ReaderOption = "auto",
) -> None:
    """Train as `shopstream train`, with the rows evaluated on Spark; models learn here or on the cluster.

    With the same customers it is the same training set, so learning here gives the same bundle.

    Example: `shopstream spark train archive --out bundles/large --learn cluster`
    """
    from rich.console import Console

    from shopstream.cli.model_tables import print_models
    from shopstream.cli.progress import progress
    from shopstream.jobs.train import train_bundle
    from shopstream.settings import load_settings
    from shopstream.spark.archive_scan import archive_files
    from shopstream.spark.session import parse_properties, session
    from shopstream.spark.xgboost_training import ClusterTraining
    from training.churn.train import TrainingPlan

    console = Console(stderr=True)
    settings = load_settings()
    opened, place_of_learning = checked_reader(reader), checked_learn(learn)
    asked = settings.training.asked(horizon, history, spacing, cutoffs_max)
    plan = TrainingPlan("auto", tries=tries, seed=seed, threads=threads, costs=settings.training.costs.asked())
    rows = out.with_name(f".{out.name}.rows") if work is None else None
    place = located(work if work is not None else str(rows))
    try:
        with (
            session("shopstream spark train", master, parse_properties(conf or [])) as spark,
            progress(console) as tell,
        ):
            learning = ClusterTraining(spark, place_of_learning, workers, sample_rows)
            files = archive_files(spark, located(archive), opened)
            bundle, seconds = train_bundle(
                Path(archive),
                out,
                asked,
                plan,
                on_step=tell,
                gather=lambda _, wishes, told: learning.gather(files, wishes, place, share, told),
                learner=lambda: learning.learner,
            )
    finally:
        if rows is not None:
            shutil.rmtree(rows, ignore_errors=True)
    print_models(console, bundle.metrics)
    console.print(
        f"training set {seconds[0]:.1f} s, models {seconds[1]:.1f} s {learning.description} "
        f"→ {bundle.name} in {bundle.folder}"
    )


def stream(  # noqa: PLR0917 - typer makes an option of each
    context: typer.Context,
    checkpoint: Annotated[
        str, typer.Option(help="Folder or URI of Spark's checkpoint, which all machines see.", show_default=False)
    ],
    until_end: UntilEnd = False,
    as_of: FinalAsOf = None,
    run: ConsumedRun = None,
    sinks: Annotated[
        str, typer.Option("--sinks", help="Of elastic (documents) and topic (rows and alerts).")
    ] = "elastic,topic",
    rows: Annotated[
        str | None, typer.Option("--rows", help="Folder or URI for feature rows as Parquet, a folder for each batch.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="Score by this bundle, a folder that every machine has.")
    ] = None,
    index_contact: IndexContact = False,
    trigger: Annotated[str, typer.Option(help="From the beginning of one batch to that of the next: 10s, 1m.")] = "10s",
    batch_records: Annotated[int, typer.Option(min=1, help="At most, of a batch.")] = 500_000,
    cells: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Of each partition's customers, in the state of a new checkpoint.")
    ] = 1_024,
    master: Master = None,
    conf: Conf = None,
) -> None:
    """Consume a run's topics as the role `features` does, on Spark's Structured Streaming.

    The rows, documents, ids and versions are those of `shopstream consume --roles features`; either may go on where the
    other has stopped, one at a time. Ctrl-C gives up the batch under way, and the next start takes it up again.

    Example: `shopstream spark stream --checkpoint s3a://shop/spark --until-end --master "local[2]"`
    """
    from rich.console import Console

    from shopstream.cli.options import chosen_sinks, parse_duration_s, parse_time
    from shopstream.jobs import spark_stream
    from shopstream.settings import load_settings

    pause_s = parse_duration_s(trigger, "--trigger")
    assert pause_s is not None
    asked = spark_stream.SparkStreamRequest(
        checkpoint=located(checkpoint),
        until_end=until_end,
        as_of=None if as_of is None else parse_time(as_of, "--as-of"),
        sinks=chosen_sinks(sinks),
        rows=None if rows is None else located(rows),
        bundle=bundle,
        contact=index_contact,
        trigger_s=pause_s,
        records_max=batch_records,
        cells=cells,
        master=master,
        conf=tuple(conf or ()),
        debug=bool((context.obj or {}).get("debug")),
    )
    if spark_stream.stream(load_settings(run=run), asked, Console(stderr=True)) and until_end:
        raise typer.Exit(130)


def cutoffs(as_of: list[str], every: str | None, start: str | None, end: str | None) -> list[int]:
    """Return the times that the options request, epoch ms, ascending, each once.

    Raises:
        UsageError: they ask for none, for too many, or contradict each other.
    """
    from shopstream.cli.options import parse_duration_s, parse_time

    times = {parse_time(text, "--as-of") for text in as_of}
    if every is not None or start is not None or end is not None:
        if every is None or start is None or end is None:
            raise UsageError("--every, --from and --to belong together.", "Give all three, or --as-of.")
        step_s = parse_duration_s(every, "--every")
        first, last = parse_time(start, "--from"), parse_time(end, "--to")
        assert step_s is not None
        steps = range(first, last + 1, max(round(step_s * 1_000), 1))
        if len(steps) > CUTOFFS_MAX:
            raise UsageError(f"--every {every} asks for {len(steps):,} times.", "Give a longer --every.")
        times.update(steps)
    if not times:
        raise UsageError("No time is asked for.", "Give --as-of, or --every with --from and a --to that is later.")
    return sorted(times)


def checked_reader(name: str) -> Any:
    """Check the name of a `archive_scan.Reader`. Raises UsageError for another."""
    if name not in ("auto", "arrow", "spark"):
        raise UsageError(f"--reader is {name!r}.", "Give auto, arrow or spark.")
    return name


def checked_learn(name: str) -> Any:
    """Check the name of a `xgboost_training.Learn`. Raises UsageError for another."""
    if name not in ("auto", "machine", "cluster"):
        raise UsageError(f"--learn is {name!r}.", "Give auto, machine or cluster.")
    return name


def located(place: str) -> str:
    """Return the URI of a location: a path becomes a `file:` URI."""
    return place if "://" in place else Path(place).absolute().as_uri()
