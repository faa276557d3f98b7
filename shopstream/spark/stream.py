"""`spark stream`: the role `features` on Structured Streaming, its state in Spark's state store.

A batch, in steps, and what happens again if something dies right there:

1. Spark notes in its checkpoint which offsets the batch has. *It begins with the same ones.*
2. Tasks read, buckets apply and say what is to be written; their state is kept under the batch's number. *They begin
   again with the state of the batch before.*
3. What is to be written is written; everything has an id and a version. *It is written again, the same, over itself.*
4. The buckets' stream times are noted. *They are noted again.*
5. Spark notes that the batch is done.

A query that starts takes a higher epoch than all before it, the consumers' included, so either may go on with a run's
indices where the other has stopped; what a former one still writes is refused as too old.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from connectors.elasticsearch.client import ElasticConnection
from connectors.kafka.source import wall_clock_ms
from connectors.kafka.stop_offsets import check_final
from consumers.state.partition import Counts
from features.errors import ShopstreamError
from shopstream.spark.backfill import ROWS_DDL as FEATURES_DDL
from shopstream.spark.kafka_source import NAME, source
from shopstream.spark.query_log import QueryLog, QueryLogFolder
from shopstream.spark.sinks import REPORT_DDL, Destination, write
from shopstream.spark.state_processor import MARK, WRITES_DDL, Mark, Work, processor

STATE_PROPERTIES: Final = {
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    # a batch writes what changed, not what is there
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    # every batch without records would lead all buckets through their state for nothing
    "spark.sql.streaming.noDataMicroBatches.enabled": "false",
    # Spark searches what a task said when it was cancelled by an expression that takes a frame for a few characters
    "spark.driver.extraJavaOptions": "-Xss16m",
}
LOOK_S: Final = 0.5
"""How often a query is asked whether it is over."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """What is to be streamed, and how.

    Attributes:
        run: the run's name.
        kafka: librdkafka's properties.
        elastic: None writes no documents.
        topic_ids: source topic -> what the cluster tells it apart by.
        partitions: of the topics.
        checkpoint: URI of Spark's checkpoint.
        rows: URI for feature rows as Parquet, a folder for each batch; None writes none.
        topic: write rows and alerts to their topics.
        contact: names and e-mails go into the index.
        bundle: folder of the bundle to score by, on every machine.
        records_max: of a batch.
        cells: of each bucket of a new query.
        trigger: pause between the beginnings of batches, in Spark's words: `10 seconds`.
    """

    run: str
    kafka: Mapping[str, Any] = field(repr=False)
    elastic: ElasticConnection | None
    topic_ids: dict[str, str]
    partitions: int
    checkpoint: str
    rows: str | None = None
    topic: bool = True
    contact: bool = False
    bundle: str | None = None
    records_max: int = 500_000
    cells: int = 1_024
    trigger: str = "10 seconds"


@dataclass(slots=True)
class Done:
    """What was done since the query started.

    Attributes:
        batches: written.
        written: writes acknowledged, by kind.
        marks: of each bucket's last batch.
        counts: of the records.
    """

    batches: int = 0
    written: Counter[str] = field(default_factory=Counter)
    marks: dict[int, Mark] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    def add(self, report: list[Any]) -> None:
        """Rows of sinks.REPORT of one batch."""
        self.batches += 1
        for row in report:
            if row["kind"] == MARK:
                mark = msgspec.json.decode(bytes(row["said"]), type=Mark)
                self.marks[row["bucket"]] = mark
                self.counts.add(mark.counts)
            else:
                self.written[row["kind"]] += row["count"]


def run(
    spark: Any,
    streaming: Streaming,
    *,
    until_end: bool,
    as_of: int | None,
    stop: Callable[[], bool],
    tell: Callable[[Done], None],
    clock_ms: Callable[[], int] = wall_clock_ms,
) -> Done:
    """Stream until `stop`, or up to what is the end now and a final row of every customer.

    Args:
        spark: a session made with STATE_PROPERTIES.
        streaming: what and how.
        until_end: stop at the offsets that are the ends at the start.
        as_of: the time of the final rows, epoch ms; None takes the highest stream time.
        stop: asked twice a second; a batch that is under way is given up, and comes again at the next start.
        tell: called after each batch.
        clock_ms: the wall clock, of which epochs are made.

    Raises:
        UsageError: `as_of` is before the stream's time.
        ShopstreamError: the checkpoint is of another run or of other topics.
    """
    folder = QueryLogFolder(spark, streaming.checkpoint)
    notes = _started(folder.newest(), streaming, clock_ms() // 1_000)
    folder.write(notes)
    query = _Query(spark, streaming, folder, notes, tell)
    if not until_end:
        query.run(tick=0, available_now=False, stop=stop)
        return query.done
    query.run(tick=0, available_now=True, stop=stop)
    reached = max(query.notes.stream_times.values(), default=0)
    if stop() or not reached:
        return query.done
    # before a tick stands among the offsets, which would be tried again at every start
    final = reached if as_of is None else as_of
    check_final(final, reached)
    query.run(tick=final, available_now=True, stop=stop)
    return query.done


def _started(before: QueryLog | None, streaming: Streaming, now_s: int) -> QueryLog:
    """The notes of a query that goes on from others, or begins."""
    if before is None:
        return QueryLog(streaming.run, streaming.partitions, streaming.cells, now_s, streaming.topic_ids)
    remedy = "Give another --checkpoint: it reads the topics from their beginning."
    if before.run != streaming.run:
        raise ShopstreamError(f"The checkpoint is of run {before.run}, not of {streaming.run}.", remedy)
    if before.partitions != streaming.partitions:
        raise ShopstreamError(
            f"The checkpoint is of {before.partitions} partitions, the topics have {streaming.partitions}.", remedy
        )
    for topic, known in before.topic_ids.items():
        if streaming.topic_ids.get(topic) != known:
            raise ShopstreamError(
                f"The topic of {topic} is not the one that the checkpoint was made of: it was deleted and made anew.",
                remedy,
            )
    return msgspec.structs.replace(before, epoch=max(before.epoch + 1, now_s))


def lanes_of(spark: Any, partitions: int) -> tuple[int, ...]:
    """For each partition a number that Spark's hash puts into the shuffle partition of the same number.

    Taken by themselves, a few small numbers crowd in some tasks and leave others idle.
    """
    found: dict[int, int] = {}
    tried = 0
    while len(found) < partitions:
        # the columns of a frame are hashed as the key of a shuffle is
        some = spark.range(tried, tried + 64 * partitions).selectExpr(
            "cast(id as int) lane", f"pmod(hash(cast(id as int)), {partitions}) place"
        )
        for row in some.collect():
            found.setdefault(row["place"], row["lane"])
        tried += 64 * partitions
    return tuple(found[place] for place in range(partitions))


class _Query:
    """The query, from one start to the next."""

    def __init__(
        self, spark: Any, streaming: Streaming, folder: QueryLogFolder, notes: QueryLog, tell: Callable[[Done], None]
    ) -> None:
        self._spark, self._streaming, self._folder, self._tell = spark, streaming, folder, tell
        self.notes = notes
        self.done = Done()
        self._destination = Destination(streaming.run, streaming.kafka, streaming.elastic, streaming.topic)
        self._failure: Exception | None = None

    def run(self, *, tick: int, available_now: bool, stop: Callable[[], bool]) -> None:
        """Until it is over or `stop`; every error of ours as it was raised."""
        from pyspark.errors import PySparkException  # noqa: PLC0415

        streaming = self._streaming
        lanes = lanes_of(self._spark, streaming.partitions)
        self._spark.conf.set("spark.sql.shuffle.partitions", str(streaming.partitions))
        self._spark.dataSource.register(source(streaming.kafka, streaming.run, lanes, streaming.records_max, tick))
        work = Work(streaming.run, lanes, self.notes.epoch, self.notes.cells, streaming.contact, streaming.bundle)
        writes = (
            self._spark.readStream.format(NAME)
            .load()
            .groupBy("lane")
            .transformWithStateInPandas(processor(work), WRITES_DDL, "Append", "None")
        )
        writer = (
            writes.writeStream.queryName(f"shopstream-{streaming.run}")
            .option("checkpointLocation", streaming.checkpoint)
            .outputMode("append")
            .foreachBatch(self._take)
        )
        writer = (
            writer.trigger(availableNow=True) if available_now else writer.trigger(processingTime=streaming.trigger)
        )
        query = writer.start()
        try:
            while not query.awaitTermination(LOOK_S):
                if stop():
                    query.stop()
        except PySparkException as error:
            # what failed in our own function says more than that it failed
            raise self._failure or error from error
        finally:
            if query.isActive:
                query.stop()

    def _take(self, writes: Any, number: int) -> None:
        try:
            self._write(writes, number)
        except Exception as error:
            self._failure = error
            raise

    def _write(self, writes: Any, number: int) -> None:
        """Steps 3 and 4 of a batch."""
        rows = self._streaming.rows
        if rows is not None:
            writes = writes.persist()
        try:
            report = writes.mapInArrow(functools.partial(write, self._destination), REPORT_DDL).collect()
            if rows is not None:
                self._keep_rows(writes, f"{rows.rstrip('/')}/batch={number}")
        finally:
            if rows is not None:
                writes.unpersist()
        self.done.add(report)
        times = {str(bucket): mark.stream_time for bucket, mark in self.done.marks.items()}
        self.notes = msgspec.structs.replace(self.notes, stream_times={**self.notes.stream_times, **times})
        self._folder.write(self.notes)
        self._tell(self.done)

    def _keep_rows(self, writes: Any, place: str) -> None:
        from pyspark.sql import functions  # noqa: PLC0415

        body = functions.from_json(functions.col("body").cast("string"), f"{FEATURES_DDL}, version bigint")
        rows = writes.where("kind = 'row'").select(body.alias("row")).select("row.*")
        # a batch that is given again replaces what it wrote
        rows.write.mode("overwrite").parquet(place, compression="zstd")
