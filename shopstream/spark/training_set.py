"""The training set of an archive that one machine is too slow to read, or too small to hold.

The steps: tasks label the rows of their customers by the code of `training.dataset`, slice after slice; the labelled
rows are written once; this machine takes all of them, or those of a sample of the customers.
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
from shopstream.spark.archive_scan import Files, hadoop_path, literally
from shopstream.spark.backfill import ROWS_ARROW, ROWS_DDL, SHARES, led_rows, plan, slices_of, write_rows
from shopstream.spark.shuffle_rows import spans_of
from training import dataset
from training.labels import BOUGHT, DAYS, REVENUE
from training.options import Horizon

SLICE_BYTES: Final = 4_000_000
"""Of an archive's files for each slice of a bucket: its customers' rows of all cut-offs are held together."""
TOLD: Final[dict[str, type[pl.DataType]]] = {
    dataset.LABEL: pl.Int8,
    BOUGHT: pl.Int8,
    DAYS: pl.Float64,
    REVENUE: pl.Float64,
}
"""Columns that a row gets beside its features: null where it is not labelled, or what became of it is not known."""
LABELLED_SCHEMA: Final = {**ROW_SCHEMA, **TOLD}
LABELLED_DDL: Final = f"{ROWS_DDL}, {dataset.LABEL} tinyint, {BOUGHT} tinyint, {DAYS} double, {REVENUE} double"
LABELLED_ARROW: Final = pa.schema(
    [*ROWS_ARROW, (dataset.LABEL, pa.int8()), (BOUGHT, pa.int8()), (DAYS, pa.float64()), (REVENUE, pa.float64())]
)


@dataclass(frozen=True, slots=True)
class Terms:
    """When rows are taken; plain numbers that tasks are given.

    Attributes:
        cutoffs: epoch ms, ascending.
        horizon_days: of the labels.
        end_ms: until when all is known.
    """

    cutoffs: list[int]
    horizon_days: int
    end_ms: int

    @property
    def times(self) -> list[int]:
        """When features are evaluated, epoch ms, ascending."""
        return dataset.times_needed(self.cutoffs, self.horizon_days, self.end_ms)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """A training set that is on Spark.

    Attributes:
        frame: columns of LABELLED_DDL; rows of every customer at every cut-off, at the later times that shorter
            outcomes are known of, and at the end.
        rows: number of them.
        terms: when they were taken.
        counts: what was read.
    """

    frame: Any
    rows: int
    terms: Terms
    counts: ArchiveCounts

    def here(self, rows_max: int | None = None) -> dataset.TrainingSet:
        """The training set on this machine: of all customers, or of as many as have about `rows_max` rows.

        Raises:
            ShopstreamError: none of these customers has ordered by the last cut-off.
        """
        some = self.frame
        if rows_max is not None and rows_max < self.rows:
            from pyspark.sql import functions  # noqa: PLC0415

            # another hash than the one of `--share`, which may have chosen the customers already
            place = functions.pmod(functions.xxhash64("customer_id", functions.lit("sample")), functions.lit(SHARES))
            some = some.where(place < round(rows_max / self.rows * SHARES))
        table = pl.concat([_taken(some.where(some.as_of == time)) for time in self.terms.times])
        labelled = table.filter(col(dataset.LABEL).is_not_null())
        if labelled.is_empty():
            raise ShopstreamError("No customer has ordered by the last cut-off.", "Choose later cut-offs.")
        is_last = table["as_of"] == self.terms.end_ms
        return dataset.TrainingSet(
            labelled.drop(BOUGHT, DAYS, REVENUE),
            table.filter(~is_last).drop(dataset.LABEL),
            table.filter(is_last).drop(*TOLD),
            self.terms.horizon_days,
            self.terms.end_ms,
            self.counts,
        )


def _taken(frame: Any) -> pl.DataFrame:
    """Rows of one time, as a frame of this machine."""
    return pl.DataFrame(frame.select(*LABELLED_SCHEMA).toArrow(), schema=LABELLED_SCHEMA).sort("customer_id")


def labelled_rows(
    spark: Any,
    files: Files,
    horizon: Horizon,
    work: str,
    share: float,
    on_step: Callable[[str, float | None], None],
) -> LabelledRows:
    """The rows of `training.dataset.build` of a share of the customers, evaluated, labelled and left on Spark.

    Args:
        spark: the session.
        files: of the archive.
        horizon: the wishes.
        work: any URI that Spark writes to and that holds nothing else; gets the rows, which are read from there.
        share: of the customers, above 0.
        on_step: told what is done now.

    Raises:
        ShopstreamError: the history is too short.
    """
    days, read_day = days_of(files.listed(TS_MAX), files.read)
    first, end = dataset.known_span(days, read_day)
    terms = Terms(dataset.plan_cutoffs(first, end, horizon), horizon.horizon_days, end)
    counts = ArchiveCounts()
    on_step(f"rows at {len(terms.times)} times on Spark", None)
    planned = plan(files, terms.times, spark.sparkContext.defaultParallelism, slice_bytes=SLICE_BYTES)
    rows, gather = led_rows(spark, planned, counts, functools.partial(labelled_bucket, terms), LABELLED_DDL, share)
    write_rows(spark, rows, work, replace=True)
    number = gather()
    written = spark.read.schema(LABELLED_DDL).parquet(literally(hadoop_path(work)))
    return LabelledRows(written, number, terms, counts)


# --- in the tasks -----------------------------------------------------------------------------------------------------
def labelled_bucket(terms: Terms, batches: Iterable[pa.RecordBatch], counts: ArchiveCounts) -> Iterator[pa.RecordBatch]:
    """Labelled rows of a bucket's customers, a slice at a time; arguments as for `backfill.bucket_rows`."""
    times: Sequence[int] = terms.times
    for records in slices_of(batches):
        by_time = rows_of(spans_of(records), times, counts)
        rows, followed, latest = dataset.told(by_time, terms.cutoffs, terms.horizon_days, end_ms=terms.end_ms)
        labels = rows.select("customer_id", "as_of", dataset.LABEL)
        told = followed.join(labels, on=["customer_id", "as_of"], how="left")
        for part in (told, latest):
            whole = part.with_columns(pl.lit(None, kind).alias(name) for name, kind in TOLD.items() if name not in part)
            if whole.height:
                table = whole.select(*LABELLED_SCHEMA).to_arrow()
                yield from table.cast(LABELLED_ARROW).combine_chunks().to_batches()
