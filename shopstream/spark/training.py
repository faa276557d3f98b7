"""The training set of an archive that one machine is too slow to read; models are learnt on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from features.definitions import ROW_SCHEMA
from features.replayed import ArchiveCounts
from features.schema import TS_MAX
from shopstream.spark.backfill import ROWS_DDL, feature_rows, plan, write_rows
from shopstream.spark.files import days_of
from shopstream.spark.reading import archive_files
from training import dataset
from training.terms import Horizon


def training_set(
    spark: Any,
    archive: str,
    horizon: Horizon,
    work: str,
    share: float,
    on_step: Callable[[str, float | None], None],
) -> dataset.TrainingSet:
    """What `training.dataset.build` gives for a share of the customers; the rows are evaluated on Spark.

    Args:
        spark: the session.
        archive: URI of the archive's folder.
        horizon: the wishes.
        work: any URI that Spark writes to and that holds nothing else; gets the rows of all times.
        share: of the customers, above 0; the training set of that many has to fit this machine.
        on_step: told what is done now.

    Raises:
        ShopstreamError: the history is too short, or nobody has ordered.
    """
    files = archive_files(spark, archive)
    days, read_day = days_of(files.listed(TS_MAX), files.read)
    first, end = dataset.known_span(days, read_day)
    cutoffs = dataset.plan_cutoffs(first, end, horizon)
    times = dataset.times_needed(cutoffs, horizon.horizon_days, end)
    counts = ArchiveCounts()
    on_step(f"rows at {len(times)} times on Spark", None)
    rows, gather = feature_rows(spark, plan(files, times, spark.sparkContext.defaultParallelism), counts, share)
    write_rows(spark, rows, work, replace=True)
    gather()
    on_step("gathering the training set", None)
    found = _rows_at(spark, work, times)
    return dataset.gathered(found, cutoffs, horizon.horizon_days, end_ms=end, counts=counts)


def _rows_at(spark: Any, work: str, times: Sequence[int]) -> Iterator[tuple[int, pl.DataFrame]]:
    written = spark.read.schema(ROWS_DDL).parquet(work)
    for time in times:
        table = written.where(written.as_of == time).select(*ROW_SCHEMA).toArrow()
        yield time, pl.DataFrame(table, schema=ROW_SCHEMA)
