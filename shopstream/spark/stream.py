"""Runs `spark stream`: the role `features` on Structured Streaming, with its state in Spark's state store.

Steps of a batch, and what is repeated after a crash in each step:

1. Spark records the offsets of the batch in its checkpoint. *The batch starts again with the same offsets.*
2. Tasks read, and buckets apply the records and return the writes. Their state is stored under the batch's number.
   *They start again with the state of the previous batch.*
3. Sinks write the results; each write has an id and a version. *The same writes overwrite themselves.*
4. The max event times of the buckets are recorded. *They are recorded again.*
5. Spark records that the batch is done.

Each start takes a higher epoch than all earlier ones, those of the consumers included. Either side can therefore
continue a run's indices where the other stopped; late writes of an earlier start are refused as too old.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from connectors.clock import wall_clock_ms
from connectors.elasticsearch.client import ElasticConnection
from connectors.kafka.stop_offsets import check_final
from consumers.state.partition import Counts
from features.errors import ShopstreamError
from shopstream.spark.backfill import ROWS_DDL as FEATURES_DDL
from shopstream.spark.kafka_source import NAME, source
from shopstream.spark.query_log import QueryLog, QueryLogFolder
from shopstream.spark.sinks import REPORT_DDL, Destination, write
from shopstream.spark.state_processor import RESULT, WRITES_DDL, BucketResult, TaskSettings, processor

STATE_PROPERTIES: Final = {
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    # a batch writes the changes, not the whole state
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    # each batch without records would make all buckets load their state for nothing
    "spark.sql.streaming.noDataMicroBatches.enabled": "false",
    # Spark searches the output of a cancelled task with a regex that needs a stack frame per few characters
    "spark.driver.extraJavaOptions": "-Xss16m",
}
POLL_S: Final = 0.5
"""Interval at which the end of a query is checked."""


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """Options of a stream.

    Attributes:
        run: name of the run.
        kafka: properties of librdkafka.
        elastic: connection to Elasticsearch; None writes no documents.
        topic_ids: source topic -> topic id of the cluster.
        partitions: number of partitions of the topics.
        checkpoint: URI of Spark's checkpoint.
        rows: URI for feature rows as Parquet, a folder for each batch; None writes none.
        topic: write rows and alerts to their topics.
        contact: write names and e-mails to the index.
        bundle: folder of the bundle that scores rows, present on every machine.
        records_max: maximum number of records per batch.
        cells: number of cells per bucket of a new query.
        trigger: interval between the starts of batches, in Spark's format: `10 seconds`.
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
class StreamTotals:
    """Totals since the query started.

    Attributes:
        batches: number of written batches.
        written: number of acknowledged writes, by kind.
        results: result of each bucket's last batch.
        counts: counts of the records.
    """

    batches: int = 0
    written: Counter[str] = field(default_factory=Counter)
    results: dict[int, BucketResult] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    def add(self, report: list[Any]) -> None:
        """Add the rows of sinks.REPORT of one batch."""
        self.batches += 1
        for row in report:
            if row["kind"] == RESULT:
                result = msgspec.json.decode(bytes(row["result"]), type=BucketResult)
                self.results[row["bucket"]] = result
                self.counts.add(result.counts)
            else:
                self.written[row["kind"]] += row["count"]


def run(
    spark: Any,
    streaming: StreamOptions,
    *,
    until_end: bool,
    as_of: int | None,
    stop: Callable[[], bool],
    on_batch: Callable[[StreamTotals], None],
    clock_ms: Callable[[], int] = wall_clock_ms,
) -> StreamTotals:
    """Stream until `stop`, or up to the current end followed by a final row of every customer.

    Args:
        spark: a session made with STATE_PROPERTIES.
        streaming: options of the stream.
        until_end: stop at the end offsets of the start.
        as_of: time of the final rows, epoch ms; None: the max event time.
        stop: callback twice a second; True abandons the current batch, which is repeated at the next start.
        on_batch: called after each batch.
        clock_ms: wall clock from which epochs are made.

    Raises:
        UsageError: `as_of` is before the max event time.
        ShopstreamError: the checkpoint is of another run or of other topics.
    """
    folder = QueryLogFolder(spark, streaming.checkpoint)
    log = _start_log(folder.newest(), streaming, clock_ms() // 1_000)
    folder.write(log)
    query = _Query(spark, streaming, folder, log, on_batch)
    if not until_end:
        query.run(tick=0, available_now=False, stop=stop)
        return query.totals
    query.run(tick=0, available_now=True, stop=stop)
    max_event_time = max(query.log.stream_times.values(), default=0)
    if stop() or not max_event_time:
        return query.totals
    # check before the tick enters the offsets: an invalid tick would be retried at every start
    final = max_event_time if as_of is None else as_of
    check_final(final, max_event_time)
    query.run(tick=final, available_now=True, stop=stop)
    return query.totals


def _start_log(before: QueryLog | None, streaming: StreamOptions, now_s: int) -> QueryLog:
    """Return the metadata of a query that continues from an earlier one, or begins."""
    if before is None:
        return QueryLog(streaming.run, streaming.partitions, streaming.cells, now_s, streaming.topic_ids)
    remedy = "Give another --checkpoint; the stream then reads the topics from their beginning."
    if before.run != streaming.run:
        raise ShopstreamError(f"The checkpoint belongs to run {before.run}, not to {streaming.run}.", remedy)
    if before.partitions != streaming.partitions:
        raise ShopstreamError(
            f"The checkpoint has {before.partitions} partitions, the topics have {streaming.partitions}.", remedy
        )
    for topic, known in before.topic_ids.items():
        if streaming.topic_ids.get(topic) != known:
            raise ShopstreamError(
                f"The topic of {topic} was deleted and created again since the checkpoint.",
                remedy,
            )
    return msgspec.structs.replace(before, epoch=max(before.epoch + 1, now_s))


def choose_partition_keys(spark: Any, partitions: int) -> tuple[int, ...]:
    """Return for each partition a number that Spark's hash assigns to the shuffle partition of the same number.

    Small consecutive numbers would crowd in some tasks and leave others idle.
    """
    key_of: dict[int, int] = {}
    start = 0
    while len(key_of) < partitions:
        # the columns of a frame are hashed like the key of a shuffle
        rows = spark.range(start, start + 64 * partitions).selectExpr(
            "cast(id as int) key", f"pmod(hash(cast(id as int)), {partitions}) partition"
        )
        for row in rows.collect():
            key_of.setdefault(row["partition"], row["key"])
        start += 64 * partitions
    return tuple(key_of[partition] for partition in range(partitions))


class _Query:
    """The streaming query; `run` starts it again for the final tick."""

    def __init__(
        self,
        spark: Any,
        streaming: StreamOptions,
        folder: QueryLogFolder,
        log: QueryLog,
        on_batch: Callable[[StreamTotals], None],
    ) -> None:
        self._spark, self._streaming, self._folder, self._on_batch = spark, streaming, folder, on_batch
        self.log = log
        self.totals = StreamTotals()
        self._destination = Destination(streaming.run, streaming.kafka, streaming.elastic, streaming.topic)
        self._failure: Exception | None = None

    def run(self, *, tick: int, available_now: bool, stop: Callable[[], bool]) -> None:
        """Run until the end or `stop`; errors of our own code are raised unchanged."""
        from pyspark.errors import PySparkException  # noqa: PLC0415

        streaming = self._streaming
        partition_keys = choose_partition_keys(self._spark, streaming.partitions)
        self._spark.conf.set("spark.sql.shuffle.partitions", str(streaming.partitions))
        self._spark.dataSource.register(
            source(streaming.kafka, streaming.run, partition_keys, streaming.records_max, tick)
        )
        work = TaskSettings(
            streaming.run, partition_keys, self.log.epoch, self.log.cells, streaming.contact, streaming.bundle
        )
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
            .foreachBatch(self._handle_batch)
        )
        writer = (
            writer.trigger(availableNow=True) if available_now else writer.trigger(processingTime=streaming.trigger)
        )
        query = writer.start()
        try:
            while not query.awaitTermination(POLL_S):
                if stop():
                    query.stop()
        except PySparkException as error:
            # the error of our own function is more specific than Spark's
            raise self._failure or error from error
        finally:
            if query.isActive:
                query.stop()

    def _handle_batch(self, writes: Any, number: int) -> None:
        try:
            self._write(writes, number)
        except Exception as error:
            self._failure = error
            raise

    def _write(self, writes: Any, number: int) -> None:
        """Perform steps 3 and 4 of a batch."""
        rows = self._streaming.rows
        if rows is not None:
            writes = writes.persist()
        try:
            report = writes.mapInArrow(functools.partial(write, self._destination), REPORT_DDL).collect()
            if rows is not None:
                self._write_rows(writes, f"{rows.rstrip('/')}/batch={number}")
        finally:
            if rows is not None:
                writes.unpersist()
        self.totals.add(report)
        times = {str(bucket): mark.max_event_time for bucket, mark in self.totals.results.items()}
        self.log = msgspec.structs.replace(self.log, stream_times={**self.log.stream_times, **times})
        self._folder.write(self.log)
        self._on_batch(self.totals)

    def _write_rows(self, writes: Any, folder: str) -> None:
        from pyspark.sql import functions  # noqa: PLC0415

        body = functions.from_json(functions.col("body").cast("string"), f"{FEATURES_DDL}, version bigint")
        rows = writes.where("kind = 'row'").select(body.alias("row")).select("row.*")
        # a repeated batch replaces its earlier rows
        rows.write.mode("overwrite").parquet(folder, compression="zstd")
