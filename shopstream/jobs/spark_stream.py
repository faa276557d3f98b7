"""What `shopstream spark stream` does around the query: servers checked, topics and indices made, progress told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from features.schema import ALERT_TOPIC, FEATURE_TOPIC, SOURCE_TOPICS, topic_name

if TYPE_CHECKING:
    from rich.console import Console

    from shopstream.embedded import Endpoints
    from shopstream.settings import Settings
    from shopstream.spark.stream import Done, Streaming

SINKS: Final = ("elastic", "topic")
ROLE: Final = "features"
"""Whose work it is."""


@dataclass(frozen=True, slots=True)
class SparkStreamRequest:
    """The options of the command.

    Attributes:
        checkpoint: URI.
        until_end: stop at what is the end now.
        as_of: of the final rows, epoch ms.
        sinks: of SINKS.
        rows: URI for rows as Parquet.
        bundle: folder of a bundle.
        contact: names and e-mails go into the index.
        trigger_s: seconds between the beginnings of batches.
        records_max: of a batch.
        cells: of each bucket.
        master: of Spark.
        conf: `KEY=VALUE` properties of Spark.
        debug: let Spark say more than its errors.
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


def stream(settings: Settings, asked: SparkStreamRequest, console: Console) -> bool:
    """Stream as asked; returns whether it was interrupted.

    Raises:
        ShopstreamError: a server, Spark or the checkpoint is not as it has to be.
        UsageError: an option cannot be.
    """
    from shopstream import embedded  # noqa: PLC0415
    from shopstream.jobs import consume as consume_job  # noqa: PLC0415
    from shopstream.jobs.produce import stop_on_signal  # noqa: PLC0415
    from shopstream.spark.checkpoint_registry import note_spark_place  # noqa: PLC0415
    from shopstream.spark.session import parsed_properties, session  # noqa: PLC0415
    from shopstream.spark.stream import STATE_PROPERTIES, run  # noqa: PLC0415

    consume_job.checked(consume_job.Consumption(roles=(ROLE,), until_end=asked.until_end, as_of=asked.as_of))
    properties = parsed_properties(list(asked.conf))
    endpoints = embedded.endpoints(settings)
    name, properties = f"shopstream spark stream {settings.run}", {**STATE_PROPERTIES, **properties}
    with consume_job.alone(settings, (ROLE,)):
        report = consume_job.prepare(settings, endpoints, documents="elastic" in asked.sinks, contact=asked.contact)
        for warning in report.warnings:
            console.print(f"[yellow]warning[/] {warning}", highlight=False)
        streaming = _streaming(settings, endpoints, asked)
        note_spark_place(settings, settings.run, asked.checkpoint)
        # Spark takes Ctrl-C for itself when it starts, so ours comes after
        with session(name, asked.master, properties) as spark, stop_on_signal() as interrupted:
            if not asked.debug:
                spark.sparkContext.setLogLevel("ERROR")
            console.print(f"Spark {spark.version}: run {settings.run}, {streaming.partitions} buckets", highlight=False)
            done = run(
                spark,
                streaming,
                until_end=asked.until_end,
                as_of=asked.as_of,
                stop=interrupted,
                tell=lambda done: console.print(told(done), highlight=False),
            )
    console.print(summary(done, asked), highlight=False)
    return interrupted()


def _streaming(settings: Settings, endpoints: Endpoints, asked: SparkStreamRequest) -> Streaming:
    from connectors.elasticsearch.client import connection  # noqa: PLC0415
    from connectors.kafka.client import open_admin  # noqa: PLC0415
    from connectors.kafka.offsets import topic_ids  # noqa: PLC0415
    from connectors.kafka.reader import Ranges  # noqa: PLC0415
    from shopstream.jobs import consume as consume_job  # noqa: PLC0415
    from shopstream.spark.stream import Streaming  # noqa: PLC0415

    kafka = endpoints.kafka.client_properties()
    names = {topic: topic_name(settings.run, topic) for topic in SOURCE_TOPICS}
    ids = topic_ids(open_admin(kafka), list(names.values()))
    ranges = Ranges(kafka, settings.run)
    try:
        partitions = ranges.partitions
    finally:
        ranges.close()
    bundle = consume_job.chosen_bundle(asked.bundle)
    return Streaming(
        run=settings.run,
        kafka=kafka,
        elastic=connection(endpoints) if "elastic" in asked.sinks else None,
        topic_ids={topic: ids[name] for topic, name in names.items()},
        partitions=partitions,
        checkpoint=asked.checkpoint,
        rows=asked.rows,
        topic="topic" in asked.sinks,
        contact=asked.contact,
        bundle=None if bundle is None else str(bundle),
        records_max=asked.records_max,
        cells=asked.cells,
        trigger=f"{max(1, round(asked.trigger_s * 1_000))} milliseconds",
    )


def told(done: Done) -> str:
    """A line for a batch."""
    reached = max((mark.stream_time for mark in done.marks.values()), default=0)
    at = datetime.fromtimestamp(reached / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if reached else "no time yet"
    return (
        f"batch {done.batches}: {done.counts.consumed:,} records up to {at}, "
        f"{done.written['document']:,} documents, {done.written[FEATURE_TOPIC]:,} rows"
    )


def summary(done: Done, asked: SparkStreamRequest) -> str:
    """What was done in all."""
    counts, written = done.counts, done.written
    customers = sum(mark.customers for mark in done.marks.values())
    records = (
        f"{counts.consumed:,} records: {counts.applied:,} applied, {counts.duplicates:,} duplicates, "
        f"{counts.rejected:,} invalid, {counts.late:,} too late; {customers:,} customers"
    )
    writes = (
        f"{written['document']:,} documents, {written[FEATURE_TOPIC]:,} rows, {written[ALERT_TOPIC]:,} alerts, "
        f"{written['letter']:,} dead letters, {written['refused']:,} refused"
    )
    parts = [records, writes]
    if asked.rows is not None:
        parts.append(f"rows in {asked.rows}")
    return "\n".join(parts)
