"""Feature rows of an archive of any size at any number of times, in one pass over it.

The steps: tasks read and judge files as `shopstream features` does; Spark brings each customer's records into one
bucket, and sorts it by slice of the customers and by the time at which records became known; tasks lead a state through
each slice, one after the other, and evaluate the declarations at each time. A task holds a file's rows, or the state of
a slice's customers, however large its bucket is; sorting spills to disk.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from features.backfill import ArchiveCounts, rows_of
from features.definitions import ROW_SCHEMA
from features.errors import ShopstreamError
from shopstream.spark.archive_files import ArchiveFile, dealt
from shopstream.spark.archive_scan import Files, hadoop_path
from shopstream.spark.shuffle_rows import spans_of

BUCKET_BYTES: Final = 16_000_000
"""Of an archive's files for each bucket of customers: a million events, more or less."""
BUCKETS_MAX: Final = 20_000
"""More make more blocks of shuffle than Spark likes; buckets are larger then, and slices as large as ever."""
SLICE_BYTES: Final = 16_000_000
"""Of an archive's files for each slice of a bucket: what a task leads a state through at a time."""
TASK_BYTES: Final = 64_000_000
"""Of an archive's files for each task that reads."""
SHARES: Final = 1_000_000
"""A share of the customers is a whole number of these parts."""
ROWS_PER_PIECE: Final = 20_000
"""Feature rows that a task hands to Spark at a time."""

SLICE: Final = "slice"
"""Column of a record's slice of its bucket, from 0."""

_SPARK_TYPES: Final = {pl.String: "string", pl.Int64: "bigint", pl.Float64: "double"}
_ARROW_TYPES: Final = {pl.String: pa.string(), pl.Int64: pa.int64(), pl.Float64: pa.float64()}
LeadBucket = Callable[[Iterable[pa.RecordBatch], ArchiveCounts], Iterator[pa.RecordBatch]]
ROWS_DDL: Final = ", ".join(f"{name} {_SPARK_TYPES[kind]}" for name, kind in ROW_SCHEMA.items())
"""`definitions.ROW_SCHEMA` in the words of Spark."""
ROWS_ARROW: Final = pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in ROW_SCHEMA.items()])


class Noted:
    """How notes of tasks are gathered: by a key of the work they tell of, so that work done twice counts once."""

    def zero(self, _value: dict[str, Any]) -> dict[str, Any]:
        """No notes."""
        return {}

    def addInPlace(self, notes: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Spark's name
        """Both."""
        notes.update(more)
        return notes


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What a backfill will do.

    Attributes:
        files: of the archive.
        cutoffs: epoch ms, ascending, each once.
        deals: the files of each reading task.
        buckets: number of them; a bucket has all records of its customers.
        slices: of each bucket; a slice has all records of its customers, too.
    """

    files: Files
    cutoffs: list[int]
    deals: list[list[ArchiveFile]]
    buckets: int
    slices: int


def plan(
    files: Files,
    cutoffs: Sequence[int],
    cores: int,
    buckets: int | None = None,
    slices: int | None = None,
    slice_bytes: int = SLICE_BYTES,
) -> BackfillPlan:
    """Deal the files of an archive out.

    Args:
        files: of the archive; those of days after the last cut-off have no part.
        cutoffs: epoch ms, in any order.
        cores: of the cluster.
        buckets: None: by the size of the archive, and at least two for each core.
        slices: None: by the size of a bucket.
        slice_bytes: that size, of the archive's files.
    """
    listed = files.listed(max(cutoffs))
    size = sum(file.size for file in listed)
    wanted = buckets or max(2 * cores, min(-(-size // BUCKET_BYTES), BUCKETS_MAX))
    each = slices or max(-(-size // (wanted * slice_bytes)), 1)
    return BackfillPlan(files, sorted(set(cutoffs)), dealt(listed, 2 * cores, TASK_BYTES), wanted, each)


def feature_rows(spark: Any, planned: BackfillPlan, counts: ArchiveCounts) -> tuple[Any, Any]:
    """The feature rows at every time of a plan; as `led_rows`, columns ROWS_DDL."""
    return led_rows(spark, planned, counts, functools.partial(bucket_rows, planned.cutoffs), ROWS_DDL)


def led_rows(
    spark: Any, planned: BackfillPlan, counts: ArchiveCounts, lead: LeadBucket, columns: str, share: float = 1.0
) -> tuple[Any, Callable[[], int]]:
    """What comes of leading a state through every bucket, as a Spark frame that is not computed yet.

    Args:
        spark: the session.
        planned: what to read; nothing after its last cut-off.
        counts: filled by the function returned.
        lead: gives the rows of a bucket, out of its records in the order of `bucket_rows`.
        columns: of those rows, in the words of Spark.
        share: of the customers, above 0; the same ones each time, chosen by their id alone.

    Returns:
        The frame; and a function without arguments that fills `counts` once the frame was written, and gives the number
        of rows.
    """
    from pyspark.sql import functions  # noqa: PLC0415

    context = spark.sparkContext
    read = context.accumulator({}, Noted())
    led = context.accumulator({}, Noted())
    moved = planned.files.records(planned.deals, planned.cutoffs[-1], read)
    if share < 1:
        place = functions.pmod(functions.xxhash64("customer_id"), functions.lit(SHARES))
        moved = moved.where(place < round(share * SHARES))
    # another hash than that of buckets, or all customers of a bucket would be in one slice
    slice_of = functions.pmod(functions.xxhash64("customer_id", functions.lit(SLICE)), functions.lit(planned.slices))
    buckets = moved.repartition(planned.buckets, functions.col("customer_id"))
    in_order = buckets.withColumn(SLICE, slice_of).sortWithinPartitions(SLICE, "at")
    rows = in_order.mapInArrow(functools.partial(lead_bucket, lead, led), columns)

    def gather() -> int:
        for topic, number, rejected in read.value.values():
            counts.read[topic] += number
            counts.rejected += Counter(rejected)
        counts.duplicates += sum(duplicates for _, duplicates in led.value.values())
        return sum(written for written, _ in led.value.values())

    return rows, gather


def write_rows(spark: Any, rows: Any, out: str, *, replace: bool) -> None:
    """Write rows as Parquet, a folder for each as_of; what an interrupted run left there is replaced.

    Args:
        spark: the session.
        rows: of `feature_rows`.
        out: any URI that Spark writes to.
        replace: also what a finished run left.

    Raises:
        ShopstreamError: a finished run's rows, or anything else, stand there.
    """
    place = hadoop_path(out)
    if not replace and _is_taken(spark, place):
        raise ShopstreamError(f"{out} is not empty.", "Name another folder, or add --force to replace it.")
    # few large files for each as_of, whatever the number of buckets
    writer = rows.hint("rebalance", "as_of").write.mode("overwrite").partitionBy("as_of")
    writer.parquet(place, compression="zstd")


def _is_taken(spark: Any, out: str) -> bool:
    """Whether anything but the leftovers of an interrupted run is there."""
    hadoop = spark.sparkContext._jvm.org.apache.hadoop.fs  # noqa: SLF001 - the file systems that Spark writes to
    path = hadoop.Path(out)
    files = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())  # noqa: SLF001
    if not files.exists(path):
        return False
    return any(status.getPath().getName() != "_temporary" for status in files.listStatus(path))


# --- in the tasks -----------------------------------------------------------------------------------------------------
def lead_bucket(lead: LeadBucket, notes: Any, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of a Spark partition; `notes` gets the number of rows and of duplicates."""
    from pyspark import TaskContext  # noqa: PLC0415

    counts = ArchiveCounts()
    written = 0
    for piece in lead(batches, counts):
        written += piece.num_rows
        yield piece
    notes.add({str(TaskContext.get().partitionId()): (written, counts.duplicates)})


def bucket_rows(
    cutoffs: Sequence[int], batches: Iterable[pa.RecordBatch], counts: ArchiveCounts
) -> Iterator[pa.RecordBatch]:
    """Feature rows of a bucket's customers at each cut-off.

    Args:
        cutoffs: epoch ms, ascending, each once.
        batches: rows of `rows.MOVED` and SLICE, all of the bucket's customers, sorted by SLICE and `at`.
        counts: gets the duplicates.

    Yields:
        Rows of ROWS_ARROW, at most ROWS_PER_PIECE at a time.
    """
    for records in slices_of(batches):
        for _, rows in rows_of(spans_of(records), cutoffs, counts):
            for piece in rows.iter_slices(ROWS_PER_PIECE):
                if piece.height:
                    yield from piece.to_arrow().cast(ROWS_ARROW).combine_chunks().to_batches()


def slices_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """The batches of each slice, split where one ends within a batch; each slice is to be taken before the next one."""
    for _, parts in itertools.groupby(_split(batches), key=lambda part: part[0]):
        yield (batch for _, batch in parts)


def _split(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    for batch in batches:
        slices = batch.column(SLICE).to_numpy(zero_copy_only=False)
        borders = [0, *(np.flatnonzero(np.diff(slices)) + 1).tolist(), batch.num_rows]
        for start, end in itertools.pairwise(borders):
            if end > start:
                yield int(slices[start]), batch.slice(start, end - start)
