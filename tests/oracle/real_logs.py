"""Two real shops' logs as order records, straight from the files as published, and the figures known for them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl
import pytest
from oracle.rows import Row


@dataclass(frozen=True)
class Window:
    """What is known of one window: customers with an order in it, their orders, and the sum of those."""

    days: int
    customers: int
    orders: int
    revenue: float


CDNOW_AS_OF: Final = int(datetime(1997, 9, 30, tzinfo=UTC).timestamp() * 1000)
CDNOW: Final = (Window(30, 168, 237, 7_358.32), Window(90, 409, 735, 26_410.63))
RETAIL_AS_OF: Final = int(datetime(2011, 12, 9, 12, 50, tzinfo=UTC).timestamp() * 1000)
RETAIL: Final = (Window(30, 1_648, 2_738, 1_351_088.00), Window(90, 2_889, 6_626, 3_456_002.72))
RETAIL_TOTAL: Final = (4_338, 18_532, 8_911_407.90)
CDNOW_TOTAL: Final = (2_357, 6_919, 244_091.94)


def shared_file(name: str) -> Path:
    """A file of the shared data folder; skips the test where there is none."""
    sibling = Path(__file__).parents[2].parent / "shared" / "data"
    path = Path(os.environ.get("SHOPTEST_SHARED_DATA", sibling)) / name
    if not path.exists():
        pytest.skip(f"{name} is not here; SHOPTEST_SHARED_DATA names the folder that has it")
    return path


def cdnow_orders() -> list[Row]:
    """Every purchase of the CDNOW sample as a placed order, dated at 00:00 UTC of its day."""
    rows = []
    for number, line in enumerate(shared_file("cdnow_sample.txt").read_text().splitlines()):
        _, customer, day, _, dollars = line.split()
        ts = int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp() * 1000)
        rows.append(_placed(f"cdnow-{number}", customer, ts, float(dollars)))
    return rows


def retail_orders() -> list[Row]:
    """Invoices of Online Retail with a customer, not cancelled, of the lines with quantity and price above zero."""
    lines = pl.read_parquet(shared_file("online_retail_lines.parquet")).filter(
        pl.col("CustomerID").is_not_null()
        & ~pl.col("InvoiceNo").str.starts_with("C")
        & (pl.col("Quantity") > 0)
        & (pl.col("UnitPrice") > 0)
    )
    invoices = lines.group_by("InvoiceNo").agg(
        pl.col("CustomerID").first().cast(pl.Int64).cast(pl.String),
        pl.col("InvoiceDate").min().dt.epoch("ms"),
        (pl.col("Quantity") * pl.col("UnitPrice")).sum().round(2).alias("total"),
    )
    return [_placed(*row) for row in invoices.iter_rows()]


LOGS: Final = pytest.mark.parametrize(
    ("read", "as_of", "windows", "whole"),
    [(cdnow_orders, CDNOW_AS_OF, CDNOW, None), (retail_orders, RETAIL_AS_OF, RETAIL, RETAIL_TOTAL)],
    ids=["cdnow", "online-retail"],
)
"""Both logs, each with a time and the figures that are known for it, as `assert_figures` takes them."""


def _placed(order_id: str, customer_id: str, ts: int, total: float) -> Row:
    row: Row = {"order_id": order_id, "customer_id": customer_id, "ts": ts, "updated_ts": ts}
    return row | {"status": "placed", "total": total}


def assert_figures(rows: pl.DataFrame, windows: tuple[Window, ...], whole: tuple[int, int, float] | None) -> None:
    """Checks feature rows against the known figures; `whole` is (customers, orders, revenue) of all orders."""
    for window in windows:
        orders, revenue = pl.col(f"orders_{window.days}d"), pl.col(f"revenue_{window.days}d")
        result = rows.select((orders > 0).sum(), orders.sum().alias("n"), revenue.sum().round(2)).row(0)
        assert result == (window.customers, window.orders, window.revenue), f"{window.days} days"
    if whole is not None:
        result = rows.select(pl.len(), pl.col("orders_total").sum(), pl.col("revenue_total").sum().round(2)).row(0)
        assert result == whole
