"""Runs `shopstream spark stream` around the query: checks servers, creates topics and indices, prints progress."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from features.schema import ALERT_TOPIC, FEATURE_TOPIC, SOURCE_TOPICS, topic_name

if TYPE_CHECKING:
    from rich.console import Console

    from shopstream.embedded import Endpoints
    from shopstream.settings import Settings
    from shopstream.spark.stream import StreamOptions, StreamTotals

SINKS: Final = ("elastic", "topic")
ROLE: Final = "features"
"""Role that the query performs."""


@dataclass(frozen=True, slots=True)
class SparkStreamRequest:
    """Options of the command.

    Attributes:
        checkpoint: URI of the checkpoint.
        until_end: stop at the current end.
        as_of: time of the final rows, epoch ms.
        sinks: names from SINKS.
        rows: URI for rows as Parquet.
        bundle: folder of a bundle.
        contact: write names and e-mails to the index.
        trigger_s: seconds between the starts of batches.
        records_max: maximum number of records per batch.
        cells: number of cells per bucket.
        master: master URL of Spark.
        conf: `KEY=VALUE` properties of Spark.
        debug: let Spark log more than its errors.
    """

    checkpoint: str
    until_end: bool
    as_of: int | None
    sinks: tuple[str, ...]
    rows: str | None
    bundle: str | None
    contact: bool
    trigger_s: float
    records_max: int
    cells: int
    master: str | None
    conf: tuple[str, ...]
    debug: bool = False


def stream(settings: Settings, request: SparkStreamRequest, console: Console) -> bool:
    """Stream with these options; return whether the stream was interrupted.

    Raises:
        ShopstreamError: a server, Spark or the checkpoint is not usable.
        UsageError: an option is invalid.
    """
    from shopstream import embedded  # noqa: PLC0415
    from shopstream.jobs import consume as consume_job  # noqa: PLC0415
    from shopstream.jobs.produce import stop_on_signal  # noqa: PLC0415
    from shopstream.spark.checkpoint_registry import record_spark_checkpoint  # noqa: PLC0415
    from shopstream.spark.session import parse_properties, session  # noqa: PLC0415
    from shopstream.spark.stream import STATE_PROPERTIES, run  # noqa: PLC0415

    consume_job.checked(consume_job.Consumption(roles=(ROLE,), until_end=request.until_end, as_of=request.as_of))
    properties = parse_properties(list(request.conf))
    endpoints = embedded.endpoints(settings)
    name, properties = f"shopstream spark stream {settings.run}", {**STATE_PROPERTIES, **properties}
    with consume_job.exclusive_consumer_lock(settings, (ROLE,)):
        report = consume_job.prepare(settings, endpoints, documents="elastic" in request.sinks, contact=request.contact)
        for warning in report.warnings:
            console.print(f"[yellow]warning[/] {warning}", highlight=False)
        streaming = _streaming(settings, endpoints, request)
        record_spark_checkpoint(settings, settings.run, request.checkpoint)
        # Spark installs its own Ctrl-C handler at its start, so ours follows
        with session(name, request.master, properties) as spark, stop_on_signal() as interrupted:
            if not request.debug:
                spark.sparkContext.setLogLevel("ERROR")
            console.print(f"Spark {spark.version}: run {settings.run}, {streaming.partitions} buckets", highlight=False)
            done = run(
                spark,
                streaming,
                until_end=request.until_end,
                as_of=request.as_of,
                stop=interrupted,
                on_batch=lambda done: console.print(progress_line(done), highlight=False),
            )
    console.print(summary(done, request), highlight=False)
    return interrupted()


def _streaming(settings: Settings, endpoints: Endpoints, request: SparkStreamRequest) -> StreamOptions:
    from connectors.elasticsearch.client import connection  # noqa: PLC0415
    from connectors.kafka.client import open_admin  # noqa: PLC0415
    from connectors.kafka.offsets import topic_ids  # noqa: PLC0415
    from connectors.kafka.reader import Ranges  # noqa: PLC0415
    from shopstream.jobs import consume as consume_job  # noqa: PLC0415
    from shopstream.spark.stream import StreamOptions  # noqa: PLC0415

    kafka = endpoints.kafka.client_properties()
    names = {topic: topic_name(settings.run, topic) for topic in SOURCE_TOPICS}
    ids = topic_ids(open_admin(kafka), list(names.values()))
    ranges = Ranges(kafka, settings.run)
    try:
        partitions = ranges.partitions
    finally:
        ranges.close()
    bundle = consume_job.chosen_bundle(request.bundle)
    return StreamOptions(
        run=settings.run,
        kafka=kafka,
        elastic=connection(endpoints) if "elastic" in request.sinks else None,
        topic_ids={topic: ids[name] for topic, name in names.items()},
        partitions=partitions,
        checkpoint=request.checkpoint,
        rows=request.rows,
        topic="topic" in request.sinks,
        contact=request.contact,
        bundle=None if bundle is None else str(bundle),
        records_max=request.records_max,
        cells=request.cells,
        trigger=f"{max(1, round(request.trigger_s * 1_000))} milliseconds",
    )


def progress_line(done: StreamTotals) -> str:
    """Format the progress line of a batch."""
    reached = max((mark.max_event_time for mark in done.results.values()), default=0)
    at = datetime.fromtimestamp(reached / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if reached else "no event time yet"
    return (
        f"batch {done.batches}: {done.counts.consumed:,} records up to {at}, "
        f"{done.written['document']:,} documents, {done.written[FEATURE_TOPIC]:,} rows"
    )


def summary(done: StreamTotals, request: SparkStreamRequest) -> str:
    """Format the totals of the stream."""
    counts, written = done.counts, done.written
    customers = sum(mark.customers for mark in done.results.values())
    records = (
        f"{counts.consumed:,} records: {counts.applied:,} applied, {counts.duplicates:,} duplicates, "
        f"{counts.rejected:,} invalid, {counts.late:,} too late; {customers:,} customers"
    )
    writes = (
        f"{written['document']:,} documents, {written[FEATURE_TOPIC]:,} rows, {written[ALERT_TOPIC]:,} alerts, "
        f"{written['letter']:,} dead letters, {written['refused']:,} refused"
    )
    parts = [records, writes]
    if request.rows is not None:
        parts.append(f"rows in {request.rows}")
    return "\n".join(parts)
