"""Assembles typed rows into events: sessions and ids over all files of an import, and repeated event ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import polars as pl

from producers.importing.conversion import Conversion
from producers.importing.orders import REPEATED, Assembled
from producers.importing.rows import EVENT_BYTES_MAX
from producers.importing.sessionise import with_sessions
from producers.importing.spill import Spill

EVENT_COLUMNS: Final = (
    "event_id", "event_type", "customer_id", "session_id", "ts", "device", "product_id", "category", "price",
    "quantity", "channel", "country",
)  # fmt: skip
_MADE: Final = ("session_id", "event_id")


def event_spill(folder: Path, pending_max: int) -> Spill:
    """Return the place where rows of events wait until all rows of their customer are read."""
    return Spill(folder, "customer_id", pending_max, second="event_id")


def event_rows(rows: pl.DataFrame, conversion: Conversion) -> pl.DataFrame:
    """Return typed rows as they wait, with the price in the shop's currency."""
    price = conversion.amounts(rows["_price"], rows["_rate"])
    return rows.with_columns(price=price).select(*EVENT_COLUMNS, "_file", "_line", "_first_counts")


def settled_ids(
    rows: Spill, folder: Path, pending_max: int, rows_max: int, settle: Callable[[Assembled], None]
) -> Spill:
    """Judge event ids whose rows may be in several parts, as `event_records` judges those of one part.

    Args:
        rows: all rows of the log.
        folder: empty folder for the remaining rows; the caller deletes it.
        pending_max: rows in memory from which they are written.
        rows_max: rows of a part.
        settle: receives rows that are refused or left out.

    Returns:
        The remaining rows: those of an event id are in one part.
    """
    hashes = rows.in_several_buckets(rows_max)
    if hashes.is_empty():
        return rows
    remaining, suspects = event_spill(folder, pending_max), Spill(folder, "event_id", pending_max)
    several = pl.col("event_id").is_not_null() & pl.col("event_id").hash(0).is_in(hashes.implode())
    for part in rows.parts(rows_max):
        suspects.add(part.filter(several))
        remaining.add(part.filter(~several))
    for part in suspects.parts(rows_max):
        distinct, repeated, refused = _without_repeats(part)
        settle(_assembled(distinct.clear(), repeated, refused))
        remaining.add(distinct)
    return remaining


def event_records(rows: pl.DataFrame) -> Assembled:
    """Return the events of rows.

    Args:
        rows: all rows of their customers and of their event ids, as `event_rows` returns them.
    """
    rows, repeated, refused = _without_repeats(rows)
    events = with_sessions(rows)
    long = pl.coalesce(
        *(
            pl.when(pl.col(name).str.len_bytes() > EVENT_BYTES_MAX[name]).then(
                pl.lit(f"{name} longer than {EVENT_BYTES_MAX[name]} bytes")
            )
            for name in _MADE
        )
    )
    events = events.with_columns(reason=long)
    refused = pl.concat([refused, events.filter(pl.col("reason").is_not_null()).select("_file", "_line", "reason")])
    return _assembled(events.filter(pl.col("reason").is_null()), repeated, refused)


def _assembled(events: pl.DataFrame, repeated: pl.DataFrame, refused: pl.DataFrame) -> Assembled:
    dropped = pl.DataFrame(schema={"_file": pl.Int32, "reason": pl.String})
    return Assembled(events.select(EVENT_COLUMNS), refused, repeated.with_columns(reason=pl.lit(REPEATED)), dropped)


def _without_repeats(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return distinct rows, rows that repeat an event, and rows whose id stands for different events."""
    twice = pl.col("event_id").is_not_null() & pl.col("event_id").is_duplicated()
    suspects = rows.filter(twice)
    empty = rows.clear().select("_file", "_line")
    if suspects.is_empty():
        return rows, empty, empty.with_columns(reason=pl.lit(None, pl.String))
    suspects = suspects.sort("event_id", "_file", "_line").with_row_index("_row")
    distinct = suspects.unique(EVENT_COLUMNS, keep="first", maintain_order=True)
    first_counts = pl.col("_first_counts").all().over("event_id")
    earliest = (
        distinct.filter(first_counts)
        .sort("ts", *EVENT_COLUMNS, nulls_last=True)
        .unique("event_id", keep="first", maintain_order=True)
    )
    distinct = pl.concat([distinct.filter(~first_counts), earliest])
    differing = pl.col("event_id").is_duplicated()
    repeated = suspects.join(distinct, on="_row", how="anti").select("_file", "_line")
    used = distinct.filter(~differing).drop("_row")
    refused = distinct.filter(differing).select("_file", "_line", reason=pl.lit("event id of different events"))
    return pl.concat([rows.filter(~twice), used]), repeated, refused
