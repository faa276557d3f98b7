"""Assembles typed rows into events: sessions and ids over all files of an import, and repeated event ids."""

from __future__ import annotations

from typing import Final

import polars as pl

from producers.importing.orders import REPEATED, Assembled, in_shop_currency
from producers.importing.rows import EVENT_BYTES_MAX
from producers.importing.sessionise import with_sessions

EVENT_COLUMNS: Final = (
    "event_id", "event_type", "customer_id", "session_id", "ts", "device", "product_id", "category", "price",
    "quantity", "channel", "country",
)  # fmt: skip
_MADE: Final = ("session_id", "event_id")


def event_records(rows: pl.DataFrame) -> Assembled:
    """Return the events of typed rows.

    Args:
        rows: all rows of their customers.
    """
    price = in_shop_currency(rows["_price"], rows["_rate"])
    rows = rows.with_columns(price=price).select(*EVENT_COLUMNS, "_file", "_line", "_first_counts")
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
    records = events.filter(pl.col("reason").is_null()).select(EVENT_COLUMNS)
    repeated = repeated.with_columns(reason=pl.lit(REPEATED))
    return Assembled(records, refused, repeated, pl.DataFrame(schema={"_file": pl.Int32, "reason": pl.String}))


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
    differing = distinct.filter(pl.col("event_id").is_duplicated())
    refused = suspects.join(differing.select("event_id").unique(), on="event_id", how="semi")
    repeated = suspects.join(pl.concat([distinct, refused]).select("_row").unique(), on="_row", how="anti")
    used = distinct.join(refused.select("_row"), on="_row", how="anti").drop("_row")
    repeated = repeated.select("_file", "_line")
    reason = pl.lit("event id of different events")
    return pl.concat([rows.filter(~twice), used]), repeated, refused.select("_file", "_line", reason=reason)
