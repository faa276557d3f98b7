"""Computes feature rows of an archive of any size at any number of times, in one pass over it.

1. Tasks read and validate files like `shopstream features`.
2. Spark brings each customer's records into one bucket. It sorts a bucket by slice of the customers and by the time at
   which records became known.
3. Tasks apply each slice in turn to a new state, and evaluate the feature declarations at each time.

A task holds the rows of a file, or the state of a slice's customers, however large its bucket is. Sorting spills to
disk.
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
from shopstream.spark.archive_files import DayFile, distribute
from shopstream.spark.archive_scan import Files, hadoop_path
from shopstream.spark.shuffle_rows import spans_of

BUCKET_BYTES: Final = 16_000_000
"""Archive bytes per bucket of customers: about a million events."""
BUCKETS_MAX: Final = 20_000
"""Maximum number of buckets, since Spark slows down with more shuffle blocks; larger archives get larger buckets."""
SLICE_BYTES: Final = 16_000_000
"""Archive bytes per slice of a bucket: the part that a task processes at a time."""
TASK_BYTES: Final = 64_000_000
"""Archive bytes per reading task."""
SHARES: Final = 1_000_000
"""Denominator of the customers' share."""
ROWS_PER_PIECE: Final = 20_000
"""Feature rows that a task passes to Spark at a time."""

SLICE: Final = "slice"
"""Column with the number of a record's slice in its bucket, from 0."""

_SPARK_TYPES: Final = {pl.String: "string", pl.Int64: "bigint", pl.Float64: "double"}
_ARROW_TYPES: Final = {pl.String: pa.string(), pl.Int64: pa.int64(), pl.Float64: pa.float64()}
ProcessBucket = Callable[[Iterable[pa.RecordBatch], ArchiveCounts], Iterator[pa.RecordBatch]]
ROWS_DDL: Final = ", ".join(f"{name} {_SPARK_TYPES[kind]}" for name, kind in ROW_SCHEMA.items())
"""`definitions.ROW_SCHEMA` as a Spark DDL."""
ROWS_ARROW: Final = pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in ROW_SCHEMA.items()])


class MergedCounts:
    """Accumulates the notes of tasks by a key of their work, so that repeated work counts once."""

    def zero(self, _value: dict[str, Any]) -> dict[str, Any]:
        """Return empty notes."""
        return {}

    def addInPlace(self, notes: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Spark's name
        """Merge both notes."""
        notes.update(more)
        return notes


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """Plan of a backfill.

    Attributes:
        files: files of the archive.
        cutoffs: distinct times, epoch ms, ascending.
        task_files: files of each reading task.
        buckets: number of buckets; a bucket has all records of its customers.
        slices: number of slices per bucket; a slice also has all records of its customers.
    """

    files: Files
    cutoffs: list[int]
    task_files: list[list[DayFile]]
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
    """Plan a backfill: distribute the files of an archive over tasks.

    Args:
        files: files of the archive; days after the last cut-off are left out.
        cutoffs: times of the rows, epoch ms, in any order.
        cores: number of cores of the cluster.
        buckets: number of buckets; None: by the size of the archive, and at least two per core.
        slices: number of slices per bucket; None: by the size of a bucket.
        slice_bytes: archive bytes per slice.
    """
    listed = files.listed(max(cutoffs))
    size = sum(file.size for file in listed)
    bucket_count = buckets or max(2 * cores, min(-(-size // BUCKET_BYTES), BUCKETS_MAX))
    slice_count = slices or max(-(-size // (bucket_count * slice_bytes)), 1)
    return BackfillPlan(
        files, sorted(set(cutoffs)), distribute(listed, 2 * cores, TASK_BYTES), bucket_count, slice_count
    )


def feature_rows(spark: Any, planned: BackfillPlan, counts: ArchiveCounts) -> tuple[Any, Any]:
    """Return the feature rows at every time of a plan; as `process_rows`, with columns ROWS_DDL."""
    return process_rows(spark, planned, counts, functools.partial(bucket_rows, planned.cutoffs), ROWS_DDL)


def process_rows(
    spark: Any, planned: BackfillPlan, counts: ArchiveCounts, process: ProcessBucket, columns: str, share: float = 1.0
) -> tuple[Any, Callable[[], int]]:
    """Process the records of every bucket with `process` and return the resulting rows as a lazy Spark frame.

    Args:
        spark: the session.
        planned: plan of the files to read, up to its last cut-off.
        counts: filled by the returned function.
        process: function from the records of a bucket, in the order of `bucket_rows`, to its rows.
        columns: Spark DDL of those rows.
        share: share of the customers, above 0; the same customers each time, chosen by their id alone.

    Returns:
        The frame, and a function without arguments. Call the function after the frame was written: it fills `counts`
        and returns the number of rows.
    """
    from pyspark.sql import functions  # noqa: PLC0415

    context = spark.sparkContext
    file_counts = context.accumulator({}, MergedCounts())
    bucket_counts = context.accumulator({}, MergedCounts())
    records = planned.files.records(planned.task_files, planned.cutoffs[-1], file_counts)
    if share < 1:
        hashed = functions.pmod(functions.xxhash64("customer_id"), functions.lit(SHARES))
        records = records.where(hashed < round(share * SHARES))
    # with the hash of the buckets, all customers of a bucket would be in one slice
    slice_of = functions.pmod(functions.xxhash64("customer_id", functions.lit(SLICE)), functions.lit(planned.slices))
    buckets = records.repartition(planned.buckets, functions.col("customer_id"))
    in_order = buckets.withColumn(SLICE, slice_of).sortWithinPartitions(SLICE, "at")
    rows = in_order.mapInArrow(functools.partial(process_bucket, process, bucket_counts), columns)

    def gather() -> int:
        for topic, number, rejected in file_counts.value.values():
            counts.read[topic] += number
            counts.rejected += Counter(rejected)
        counts.duplicates += sum(duplicates for _, duplicates in bucket_counts.value.values())
        return sum(written for written, _ in bucket_counts.value.values())

    return rows, gather


def write_rows(spark: Any, rows: Any, out: str, *, replace: bool) -> None:
    """Write rows as Parquet, a folder for each as_of; output of an interrupted run is replaced.

    Args:
        spark: the session.
        rows: rows from `feature_rows`.
        out: any URI that Spark writes to.
        replace: whether output of a finished run is replaced too.

    Raises:
        ShopstreamError: the folder holds the rows of a finished run, or other files.
    """
    folder = hadoop_path(out)
    if not replace and _is_taken(spark, folder):
        raise ShopstreamError(f"{out} is not empty.", "Give another folder, or add --force to replace it.")
    # writes few large files per as_of, whatever the number of buckets
    writer = rows.hint("rebalance", "as_of").write.mode("overwrite").partitionBy("as_of")
    writer.parquet(folder, compression="zstd")


def _is_taken(spark: Any, out: str) -> bool:
    """Return whether the folder holds anything but leftovers of an interrupted run."""
    hadoop = spark.sparkContext._jvm.org.apache.hadoop.fs  # noqa: SLF001 - the file systems that Spark writes to
    path = hadoop.Path(out)
    files = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())  # noqa: SLF001
    if not files.exists(path):
        return False
    return any(status.getPath().getName() != "_temporary" for status in files.listStatus(path))


# --- in the tasks -----------------------------------------------------------------------------------------------------
def process_bucket(
    process: ProcessBucket, bucket_counts: Any, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Spark partition; adds the numbers of rows and duplicates to `bucket_counts`."""
    from pyspark import TaskContext  # noqa: PLC0415

    counts = ArchiveCounts()
    written = 0
    for piece in process(batches, counts):
        written += piece.num_rows
        yield piece
    bucket_counts.add({str(TaskContext.get().partitionId()): (written, counts.duplicates)})


def bucket_rows(
    cutoffs: Sequence[int], batches: Iterable[pa.RecordBatch], counts: ArchiveCounts
) -> Iterator[pa.RecordBatch]:
    """Yield the feature rows of a bucket's customers at each cut-off.

    Args:
        cutoffs: distinct times, epoch ms, ascending.
        batches: rows of `shuffle_rows.MOVED` and SLICE, all of the bucket's customers, sorted by SLICE and `at`.
        counts: filled with the number of duplicates.

    Yields:
        Rows of ROWS_ARROW, at most ROWS_PER_PIECE at a time.
    """
    for records in slices_of(batches):
        for _, rows in rows_of(spans_of(records), cutoffs, counts):
            for piece in rows.iter_slices(ROWS_PER_PIECE):
                if piece.height:
                    yield from piece.to_arrow().cast(ROWS_ARROW).combine_chunks().to_batches()


def slices_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield the batches of each slice, split at slice borders; consume each slice before the next one."""
    for _, parts in itertools.groupby(_split(batches), key=lambda part: part[0]):
        yield (batch for _, batch in parts)


def _split(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    for batch in batches:
        slices = batch.column(SLICE).to_numpy(zero_copy_only=False)
        borders = [0, *(np.flatnonzero(np.diff(slices)) + 1).tolist(), batch.num_rows]
        for start, end in itertools.pairwise(borders):
            if end > start:
                yield int(slices[start]), batch.slice(start, end - start)
