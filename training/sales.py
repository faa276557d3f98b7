"""Reads valid orders and daily sales from an archive.

The rule of this file: an order counts by its winning record among all records of the archive, on the day of its
placement. Records are validated as everywhere (`features.records.archive_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from polars import col

from features.backfill import ReadDay
from features.calendar import UTC_CALENDAR, Calendar
from features.errors import ShopstreamError
from features.records.archive_rows import order_rows
from features.schema import NOT_KNOWN, STATUSES

OTHER_CATEGORIES: Final = "(other)"

ORDER_KEY: Final = ("customer_id", "order_id")
_ORDER: Final = {
    "order_id": pl.String(),
    "customer_id": pl.String(),
    "ts": pl.Int64(),
    "updated_ts": pl.Int64(),
    "status": pl.UInt8(),
    "cents": pl.Int64(),
    "country": pl.String(),
    "channel": pl.String(),
    "items": pl.List(
        pl.Struct({"product_id": pl.String, "category": pl.String, "quantity": pl.Int64, "unit_price": pl.Float64})
    ),
}


def valid_orders(
    days: Sequence[int], read_day: ReadDay, on_day: Callable[[int], None] = lambda _: None
) -> pl.DataFrame:
    """Return the orders whose winning record is `placed`.

    Args:
        days: numbers of the UTC days in the archive, ascending.
        read_day: function that reads the rows of one topic and day.
        on_day: callback before each day is read.

    Returns:
        order_id, customer_id, ts (epoch ms), cents, country, channel, items; ordered by ts, order_id, customer_id.
    """
    parts = [pl.DataFrame(schema=_ORDER)]
    for day in days:
        on_day(day)
        parts += [_records(table) for table in read_day("orders", day)]
    ordered = pl.concat(parts).sort("updated_ts", "status", "cents")
    won = ordered.unique(ORDER_KEY, keep="last", maintain_order=True)
    placed = won.filter(col("status") == STATUSES.index("placed"))
    return placed.drop("updated_ts", "status").sort("ts", "order_id", "customer_id")


def _records(table: pa.Table) -> pl.DataFrame:
    valid = order_rows(table)
    columns = valid.columns
    fields = table.select(["country", "channel", "items"]).take(pa.array(valid.keep)).combine_chunks()
    data = {
        "order_id": pl.Series(pl.from_arrow(columns.order_id)),
        "customer_id": pl.Series(pl.from_arrow(columns.customer_id)),
        "ts": columns.ts,
        "updated_ts": columns.updated_ts,
        "status": columns.status,
        "cents": columns.total_cents,
        **{name: pl.Series(pl.from_arrow(fields.column(name))) for name in fields.column_names},
    }
    return pl.DataFrame(data).cast(_ORDER)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class DailySales:
    """Revenue of each local day, including days without an order.

    Attributes:
        first_day: number of the first day since 1970-01-01.
        total: revenue, float64 [n], in the shop's currency.
        categories: name -> float64 [n], largest first; they sum to `total`. May be empty.
        calendar: calendar of the days.
    """

    first_day: int
    total: npt.NDArray[np.float64]
    categories: dict[str, npt.NDArray[np.float64]]
    calendar: Calendar = UTC_CALENDAR

    @property
    def days(self) -> list[int]:
        """Numbers of the days, ascending."""
        return list(range(self.first_day, self.first_day + len(self.total)))


def daily_sales(
    orders: pl.DataFrame, first_day: int, last_day: int, categories_max: int = 12, calendar: Calendar = UTC_CALENDAR
) -> DailySales:
    """Compute sales by day. The amount of an order is split among its lines in proportion to their prices.

    Args:
        orders: see `valid_orders`.
        first_day: number of the first day.
        last_day: number of the last day.
        categories_max: maximum number of categories, the largest ones; the rest becomes OTHER_CATEGORIES. 0 or 1 gives
            no categories: a single one would repeat the total.
        calendar: calendar of the days.

    Raises:
        ShopstreamError: there is no complete day.
    """
    if last_day < first_day:
        raise ShopstreamError("The archive has no complete day.", "Give a longer archive.")
    inside = orders.with_columns(calendar.day("ts").alias("number")).filter(
        col("number").is_between(first_day, last_day)
    )
    shared = _shares(inside)
    sizes = shared.group_by("category").agg(col("amount").sum()).sort(["amount", "category"], descending=[True, False])
    names = sizes["category"].to_list()
    if len(names) <= 1 or categories_max <= 1:
        names = []
    largest = names if len(names) <= categories_max else names[: categories_max - 1]
    category = pl.when(col("category").is_in(largest)).then(col("category")).otherwise(pl.lit(OTHER_CATEGORIES))
    shared = shared.with_columns(category.alias("category"))
    count = last_day - first_day + 1
    series = {
        name: _by_day(shared.filter(col("category") == name), first_day, count)
        for name in [*largest, *([OTHER_CATEGORIES] if len(largest) < len(names) else [])]
    }
    cents = inside.select("number", (col("cents") / 100).alias("amount"))
    return DailySales(first_day, _by_day(cents, first_day, count), series, calendar)


def _shares(orders: pl.DataFrame) -> pl.DataFrame:
    """Return number, category and amount of each line; an order without lines is one line of unknown category."""
    lines = orders.select(*ORDER_KEY, "number", "cents", "items").explode("items", keep_nulls=True, empty_as_null=True)
    item = col("items").struct
    lines = lines.with_columns(
        item.field("category").fill_null(NOT_KNOWN).alias("category"),
        (item.field("quantity").fill_null(1) * item.field("unit_price").fill_null(0.0)).fill_null(0.0).alias("price"),
    )
    price, count = col("price").sum().over(ORDER_KEY), pl.len().over(ORDER_KEY)
    share = pl.when(price > 0).then(col("price") / price).otherwise(1 / count)
    return lines.select("number", "category", (col("cents") / 100 * share).alias("amount"))


def _by_day(amounts: pl.DataFrame, first_day: int, count: int) -> npt.NDArray[np.float64]:
    positions = (amounts["number"] - first_day).to_numpy()
    return np.bincount(positions, amounts["amount"].to_numpy(), count).astype(np.float64)
