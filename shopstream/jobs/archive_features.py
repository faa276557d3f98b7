"""Computes the feature rows of an archive in batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from features.backfill import ArchiveCounts, known_at, rows_at
from features.schema import DAY_MS
from producers.archive import archive

ROWS_PER_TABLE = 1_000_000
"""Rows of a day in memory at a time."""


def batch_features(
    directory: Path,
    as_of: int,
    counts: ArchiveCounts | None = None,
    on_day: Callable[[int, int, str], None] = lambda *_: None,
) -> pl.DataFrame:
    """Compute the feature rows of every customer of an archive.

    Args:
        directory: folder of the archive.
        as_of: time of the features, epoch ms.
        counts: filled with the numbers of records read and left out.
        on_day: called before each day with its position, the number of days and the day's name.

    Returns:
        One row per customer, columns as in `features.definitions.ROW_SCHEMA`, ordered by customer_id.
    """
    numbers, read_day = archive_days(directory, as_of)

    def on_number(day: int) -> None:
        on_day(numbers.index(day), len(numbers), str(datetime.fromtimestamp(day * 86_400, UTC).date()))

    ((_, rows),) = rows_at(numbers, read_day, [as_of], counts, on_number)
    return rows.sort("customer_id")


def archive_days(
    directory: Path, as_of: int | None = None
) -> tuple[list[int], Callable[[str, int], Iterable[pa.Table]]]:
    """Return the day numbers of an archive, and a reader for the rows of one topic and day.

    Args:
        directory: folder of the archive.
        as_of: epoch ms; limits the rows to those known by then. None: all rows.
    """
    days_of = {topic: set(archive.days(directory, topic)) for topic in ("events", "orders")}
    epoch = date(1970, 1, 1)

    def read_day(topic: str, number: int) -> Iterable[pa.Table]:
        day = date.fromordinal(epoch.toordinal() + number)
        return archive.read_day_parts(directory, topic, day, ROWS_PER_TABLE) if day in days_of[topic] else ()

    numbers = sorted({(day - epoch).days for days in days_of.values() for day in days})
    if as_of is None:
        return numbers, read_day
    return [number for number in numbers if number * DAY_MS <= as_of], known_at(read_day, as_of)
