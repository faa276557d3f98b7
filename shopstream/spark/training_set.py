"""Builds the training set of an archive that is too large or too slow to read on one machine.

1. Tasks label the rows of their customers with the code of `training.dataset`, slice by slice.
2. The labelled rows are written once.
3. This machine loads all of them, or those of a sample of the customers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
import pyarrow as pa
from polars import col

from features.backfill import ArchiveCounts, rows_of
from features.definitions import ROW_SCHEMA
from features.errors import ShopstreamError
from features.schema import TS_MAX
from shopstream.spark.archive_files import days_of
from shopstream.spark.archive_scan import Files, escape_glob, hadoop_path
from shopstream.spark.backfill import ROWS_ARROW, ROWS_DDL, SHARES, plan, process_rows, slices_of, write_rows
from shopstream.spark.shuffle_rows import spans_of
from training import dataset
from training.labels import BOUGHT, DAYS, REVENUE, STEP
from training.options import Horizon

SLICE_BYTES: Final = 4_000_000
"""Archive bytes per slice of a bucket: the rows of its customers at all cut-offs are in memory together."""
OUTCOMES: Final[dict[str, type[pl.DataType]]] = {
    dataset.LABEL: pl.Int8,
    BOUGHT: pl.Int8,
    DAYS: pl.Float64,
    REVENUE: pl.Float64,
    STEP: pl.Int8,
}
"""Columns added to the features of a row: null if the row is not labelled, or its outcome is unknown."""
LABELLED_SCHEMA: Final = {**ROW_SCHEMA, **OUTCOMES}
LABELLED_DDL: Final = (
    f"{ROWS_DDL}, {dataset.LABEL} tinyint, {BOUGHT} tinyint, {DAYS} double, {REVENUE} double, {STEP} tinyint"
)
LABELLED_ARROW: Final = pa.schema(
    [
        *ROWS_ARROW,
        (dataset.LABEL, pa.int8()),
        (BOUGHT, pa.int8()),
        (DAYS, pa.float64()),
        (REVENUE, pa.float64()),
        (STEP, pa.int8()),
    ]
)


@dataclass(frozen=True, slots=True)
class LabelTimes:
    """Times of the rows, as plain numbers that tasks receive.

    Attributes:
        cutoffs: times of the rows, epoch ms, ascending.
        horizon_days: horizon of the labels in days.
        end_ms: end of the known history, epoch ms.
    """

    cutoffs: list[int]
    horizon_days: int
    end_ms: int

    @property
    def times(self) -> list[int]:
        """Times at which features are evaluated, epoch ms, ascending."""
        return dataset.times_needed(self.cutoffs, self.horizon_days, self.end_ms)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """A training set on Spark.

    Attributes:
        frame: columns of LABELLED_DDL; rows of every customer at every cut-off, at the later times with known shorter
            outcomes, and at the end.
        rows: number of rows.
        label_times: times of the rows.
        counts: numbers of records read.
    """

    frame: Any
    rows: int
    label_times: LabelTimes
    counts: ArchiveCounts

    def load(self, rows_max: int | None = None) -> dataset.TrainingSet:
        """Load the training set to this machine: all customers, or a sample with about `rows_max` rows.

        Raises:
            ShopstreamError: none of these customers has ordered by the last cut-off.
        """
        sample = self.frame
        if rows_max is not None and rows_max < self.rows:
            from pyspark.sql import functions  # noqa: PLC0415

            # the hash of `--share` may have chosen the customers already
            hashed = functions.pmod(functions.xxhash64("customer_id", functions.lit("sample")), functions.lit(SHARES))
            sample = sample.where(hashed < round(rows_max / self.rows * SHARES))
        table = pl.concat([_load_rows(sample.where(sample.as_of == time)) for time in self.label_times.times])
        labelled = table.filter(col(dataset.LABEL).is_not_null())
        if labelled.is_empty():
            raise ShopstreamError("No customer has ordered before the last cut-off.", "Choose later cut-offs.")
        is_last = table["as_of"] == self.label_times.end_ms
        return dataset.TrainingSet(
            labelled.drop(BOUGHT, DAYS, REVENUE, STEP),
            table.filter(~is_last).drop(dataset.LABEL),
            table.filter(is_last).drop(*OUTCOMES),
            self.label_times.horizon_days,
            self.label_times.end_ms,
            self.counts,
        )


def _load_rows(frame: Any) -> pl.DataFrame:
    """Load the rows of one time as a frame on this machine."""
    return pl.DataFrame(frame.select(*LABELLED_SCHEMA).toArrow(), schema=LABELLED_SCHEMA).sort("customer_id")


def labelled_rows(
    spark: Any,
    files: Files,
    horizon: Horizon,
    work: str,
    share: float,
    on_step: Callable[[str, float | None], None],
) -> LabelledRows:
    """Compute the labelled rows of `training.dataset.build` for a share of the customers, and leave them on Spark.

    Args:
        spark: the session.
        files: files of the archive.
        horizon: requested horizon and cut-offs.
        work: URI of a folder for the rows alone, which Spark writes and then reads.
        share: share of the customers, above 0.
        on_step: called with the name of the current step.

    Raises:
        ShopstreamError: the history is too short.
    """
    days, read_day = days_of(files.listed(TS_MAX), files.read)
    first, end = dataset.known_span(days, read_day)
    label_times = LabelTimes(dataset.plan_cutoffs(first, end, horizon), horizon.horizon_days, end)
    counts = ArchiveCounts()
    on_step(f"rows at {len(label_times.times)} times on Spark", None)
    planned = plan(files, label_times.times, spark.sparkContext.defaultParallelism, slice_bytes=SLICE_BYTES)
    rows, gather = process_rows(
        spark, planned, counts, functools.partial(labelled_bucket, label_times), LABELLED_DDL, share
    )
    write_rows(spark, rows, work, replace=True)
    number = gather()
    written = spark.read.schema(LABELLED_DDL).parquet(escape_glob(hadoop_path(work)))
    return LabelledRows(written, number, label_times, counts)


# --- in the tasks -----------------------------------------------------------------------------------------------------
def labelled_bucket(
    label_times: LabelTimes, batches: Iterable[pa.RecordBatch], counts: ArchiveCounts
) -> Iterator[pa.RecordBatch]:
    """Yield labelled rows of a bucket's customers, a slice at a time; arguments as for `backfill.bucket_rows`."""
    times: Sequence[int] = label_times.times
    for records in slices_of(batches):
        by_time = rows_of(spans_of(records), times, counts)
        rows, followed, latest = dataset.labelled_frames(
            by_time, label_times.cutoffs, label_times.horizon_days, end_ms=label_times.end_ms
        )
        labels = rows.select("customer_id", "as_of", dataset.LABEL)
        labelled = followed.join(labels, on=["customer_id", "as_of"], how="left")
        for part in (labelled, latest):
            complete = part.with_columns(
                pl.lit(None, kind).alias(name) for name, kind in OUTCOMES.items() if name not in part
            )
            if complete.height:
                table = complete.select(*LABELLED_SCHEMA).to_arrow()
                yield from table.cast(LABELLED_ARROW).combine_chunks().to_batches()
