"""Computes the same features on Spark, for archives that are too large for one machine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.model_tables import print_models
from shopstream.cli.options import (
    Cutoffs,
    FinalAsOf,
    Force,
    History,
    Horizon,
    IndexPii,
    Run,
    Seed,
    Spacing,
    Threads,
    Tries,
    UntilEnd,
    chosen,
    parse_duration_s,
    parsed_option,
    time_option,
)
from shopstream.cli.progress import progress
from shopstream.spark.options import Learn, Reader

CUTOFFS_MAX = 100_000
"""Upper limit of cut-offs; more indicate a mistake in --every."""

SparkArchive = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="Folder or URI of the archive (s3://, gs://, hdfs://, s3a://).")
]
Master = Annotated[
    str | None,
    typer.Option(
        "--master",
        help="Spark master: local[2], spark://…, yarn, k8s://…; default: that of spark-submit or of the cluster.",
    ),
]
ReaderOption = Annotated[
    Reader,
    typer.Option(
        "--reader",
        help="Reader of the archive's files: arrow (a few row groups at a time) or spark (whole files, any Hadoop file "
        "system). auto: arrow if it supports the URI.",
    ),
]
Conf = Annotated[list[str] | None, typer.Option("--conf", metavar="KEY=VALUE", help="Property of Spark; repeatable.")]


def backfill(  # noqa: PLR0917 - typer makes an option of each
    archive: SparkArchive,
    out: Annotated[str, typer.Option("--out", help="Output folder or URI of Parquet files.", show_default=False)],
    as_of: Annotated[list[int] | None, time_option("--as-of", "ISO 8601 time of rows; repeatable.")] = None,
    every_s: Annotated[
        float | None,
        parsed_option("--every", parse_duration_s, "DURATION", "Step between times, from --from to --to: 1d, 12h."),
    ] = None,
    start_ms: Annotated[int | None, time_option("--from", "First of these times, ISO 8601.")] = None,
    end_ms: Annotated[int | None, time_option("--to", "Upper limit of these times, ISO 8601, inclusive.")] = None,
    master: Master = None,
    conf: Conf = None,
    buckets: Annotated[
        int | None, typer.Option("--buckets", min=1, help="Number of customer buckets; default: a million events each.")
    ] = None,
    force: Force = False,
    reader: ReaderOption = "auto",
) -> None:
    """Write the feature rows of every customer of an archive at many times, in one pass over it, on Spark.

    The rows equal those of `shopstream features`, in one folder per time. A time before the first customer has no
    folder.

    Example: `shopstream spark backfill archive --every 1d --from 2026-01-01 --to 2026-06-30 --out rows`
    """
    from features.backfill import ArchiveCounts
    from shopstream.spark.archive_scan import archive_files
    from shopstream.spark.backfill import feature_rows, write_rows
    from shopstream.spark.backfill import plan as plan_backfill
    from shopstream.spark.session import parse_properties, session

    times = cutoffs(as_of or [], every_s, start_ms, end_ms)
    properties = parse_properties(conf or [])
    counts = ArchiveCounts()
    with session("shopstream spark backfill", master, properties) as spark:
        files = archive_files(spark, located(archive), reader)
        plan = plan_backfill(files, times, spark.sparkContext.defaultParallelism, buckets)
        rows, gather = feature_rows(spark, plan, counts)
        write_rows(spark, rows, located(out), replace=force)
        written = gather()
    console = Console(stderr=True)
    console.print(
        f"{written:,} rows at {len(times):,} times from {counts.read['events']:,} events and "
        f"{counts.read['orders']:,} order records ({counts.duplicates:,} duplicates, "
        f"{counts.rejected.total():,} invalid) in {plan.buckets:,} buckets → {out}"
    )
    for reason, count in counts.rejected.most_common():
        console.print(f"  {count:,} invalid: {reason}")


def train(  # noqa: PLR0917 - typer makes an option of each
    archive: SparkArchive,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Output folder of the bundle, on this machine.", show_default=False),
    ],
    work: Annotated[
        str | None,
        typer.Option("--work", help="Shared folder or URI for the executors' rows; default: next to the bundle."),
    ] = None,
    share: Annotated[
        float,
        typer.Option(
            "--share", min=0.000_001, max=1, help="Share of the customers, to fit the memory of this machine."
        ),
    ] = 1.0,
    horizon: Horizon = None,
    history: History = None,
    spacing: Spacing = None,
    cutoffs_max: Cutoffs = None,
    tries: Tries = 6,
    seed: Seed = 1,
    threads: Threads = 2,
    learn: Annotated[
        Learn,
        typer.Option(
            "--learn",
            help="Place of training: machine, or cluster (XGBoost on all rows; a sample chooses its settings and tests "
            "it here). auto: this machine if the training set fits its memory.",
        ),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Number of training tasks on the cluster; default: all free slots."),
    ] = None,
    sample_rows: Annotated[
        int, typer.Option("--sample-rows", min=1_000, help="Rows of the sample for this machine, with --learn cluster.")
    ] = 1_000_000,
    master: Master = None,
    conf: Conf = None,
    reader: ReaderOption = "auto",
) -> None:
    """Train as `shopstream train`, with rows computed on Spark and models trained here or on the cluster.

    The same customers yield the same training set, so training here yields the same bundle.

    Example: `shopstream spark train archive --out bundles/large --learn cluster`
    """
    from shopstream.jobs.train import train_bundle
    from shopstream.settings import load_settings
    from shopstream.spark.archive_scan import archive_files
    from shopstream.spark.session import parse_properties, session
    from shopstream.spark.xgboost_training import ClusterTraining
    from training.churn.train import TrainingPlan

    console = Console(stderr=True)
    settings = load_settings()
    window = settings.training.to_horizon(horizon, history, spacing, cutoffs_max)
    plan = TrainingPlan("auto", tries=tries, seed=seed, threads=threads, costs=settings.training.costs.to_costs())
    rows = out.with_name(f".{out.name}.rows") if work is None else None
    row_folder = located(work if work is not None else str(rows))
    try:
        with (
            session("shopstream spark train", master, parse_properties(conf or [])) as spark,
            progress(console) as on_step,
        ):
            learning = ClusterTraining(spark, learn, workers, sample_rows)
            files = archive_files(spark, located(archive), reader)
            bundle, seconds = train_bundle(
                Path(archive),
                out,
                window,
                plan,
                on_step=on_step,
                gather=lambda _, horizon, on_step: learning.gather(files, horizon, row_folder, share, on_step),
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
        str,
        typer.Option(
            "--checkpoint", help="Folder or URI of Spark's checkpoint, shared by all machines.", show_default=False
        ),
    ],
    until_end: UntilEnd = False,
    as_of: FinalAsOf = None,
    run: Run = None,
    sinks: Annotated[
        str, typer.Option("--sinks", help="Comma-separated sinks: elastic (documents), topic (rows and alerts).")
    ] = "elastic,topic",
    rows: Annotated[
        str | None, typer.Option("--rows", help="Folder or URI for feature rows as Parquet, one folder per batch.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="Bundle that scores customers, in a folder on every machine.")
    ] = None,
    index_pii: IndexPii = False,
    trigger: Annotated[
        str, typer.Option("--trigger", help="Time from the start of a batch to the next: 10s, 1m.")
    ] = "10s",
    batch_records: Annotated[
        int, typer.Option("--batch-records", min=1, help="Maximum number of records in a batch.")
    ] = 500_000,
    cells: Annotated[
        int,
        typer.Option("--cells", min=1, max=1_000_000, help="State cells per partition, for a new checkpoint."),
    ] = 1_024,
    master: Master = None,
    conf: Conf = None,
) -> None:
    """Consume a run's topics as the role `features` does, on Spark's Structured Streaming.

    The rows, documents, ids and versions equal those of `shopstream consume --roles features`. Each of the two can
    continue where the other stopped, one at a time. Ctrl-C cancels the current batch; the next start repeats it.

    Example: `shopstream spark stream --checkpoint s3a://shop/spark --until-end --master "local[2]"`
    """
    from shopstream.jobs import spark_stream
    from shopstream.settings import load_settings

    request = spark_stream.SparkStreamRequest(
        checkpoint=located(checkpoint),
        until_end=until_end,
        as_of=as_of,
        sinks=chosen("--sinks", sinks, spark_stream.SINKS, may_be_none=True),
        rows=None if rows is None else located(rows),
        bundle=bundle,
        contact=index_pii,
        trigger_s=parse_duration_s(trigger, "--trigger"),
        records_max=batch_records,
        cells=cells,
        master=master,
        conf=tuple(conf or ()),
        debug=bool((context.obj or {}).get("debug")),
    )
    if spark_stream.stream(load_settings(run=run), request, Console(stderr=True)) and until_end:
        raise typer.Exit(130)


def cutoffs(as_of: Sequence[int], every_s: float | None, start_ms: int | None, end_ms: int | None) -> list[int]:
    """Return the times that the options request, epoch ms, ascending, each once.

    Raises:
        UsageError: the options request no time or too many, or contradict each other.
    """
    times = set(as_of)
    if every_s is not None or start_ms is not None or end_ms is not None:
        if every_s is None or start_ms is None or end_ms is None:
            raise UsageError("--every, --from and --to belong together.", "Give all three, or --as-of.")
        steps = range(start_ms, end_ms + 1, max(round(every_s * 1_000), 1))
        if len(steps) > CUTOFFS_MAX:
            raise UsageError(f"--every requests {len(steps):,} times.", "Give a longer --every.")
        times.update(steps)
    if not times:
        raise UsageError("No time is requested.", "Give --as-of, or --every with --from and a later --to.")
    return sorted(times)


def located(location: str) -> str:
    """Return the URI of a location: a path becomes a `file:` URI."""
    return location if "://" in location else Path(location).absolute().as_uri()
