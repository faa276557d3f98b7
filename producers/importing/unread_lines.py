"""Finds the orders of order lines that the reader refuses. Without such a line the total of its order is too small.

value unreadable in Parquet, Excel:   the order id of the row is known
too many or too few values in a CSV:  each id that the row may have, for each place where the fault may be
JSON that does not parse, no id:      unknown, which the report states
"""

from __future__ import annotations

import polars as pl

from connectors.tables.batches import LINE, Batch
from producers.importing.judge import Plan, trimmed


def unread_lines(batch: Batch, plan: Plan, like: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Return a refused row of each order that lacks a line, or may lack one.

    Args:
        batch: rows of order lines.
        plan: expressions for this file.
        like: typed rows with the columns of the result.

    Returns:
        Typed rows with order_id, `_line` and `_bad`, and the number of refused rows whose order is not certain.
    """
    refused = sum(not one.left_out for one in batch.refused)
    if not refused or batch.readings is None:
        return like.clear(), refused
    ids = trimmed(batch.readings()).select(LINE, order_id=plan.texts["order_id"])
    ids = ids.select(
        pl.col(LINE).cast(pl.Int64).alias("_line"), order_id=plan.values["v_order_id"].struct.field("value")
    )
    certain = len(ids.filter(~pl.col("_line").is_duplicated() & pl.col("order_id").is_not_null()))
    ids = ids.drop_nulls("order_id").unique(maintain_order=True)
    return like.clear(len(ids)).with_columns(ids["order_id"], ids["_line"], _bad=True, _grouped=True), refused - certain
