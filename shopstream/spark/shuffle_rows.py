"""Converts valid records to the rows that Spark shuffles, with only the columns that features need.

Events and orders share one schema. One shuffle then brings a customer's records together, and one sort orders them by
the time at which they become known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.backfill import TimeRange
from features.records.columns import EventColumns, OrderColumns, coded

SHUFFLED: Final = pa.schema(
    [
        ("at", pa.int64()),
        ("customer_id", pa.string()),
        ("is_order", pa.bool_()),
        ("id", pa.string()),
        ("session_id", pa.string()),
        ("code", pa.int8()),
        ("device", pa.int8()),
        ("category", pa.string()),
        ("ts", pa.int64()),
        ("cents", pa.int64()),
    ]
)
"""Schema of shuffled records.

`at` is the time at which the record is known: ts of an event, updated_ts of an order. `id` is the event's or the
order's, `code` an event's type or an order's status. Columns that a kind of record does not have are empty or 0, the
category null.
"""

SHUFFLED_DDL: Final = (
    "at bigint, customer_id string, is_order boolean, id string, session_id string, code tinyint, device tinyint, "
    "category string, ts bigint, cents bigint"
)
"""MOVED as a Spark DDL."""


def shuffle_events(events: EventColumns) -> pa.RecordBatch:
    """Convert events to rows of MOVED."""
    n = len(events)
    columns = {
        "at": events.ts,
        "customer_id": events.customer_id,
        "is_order": np.zeros(n, np.bool_),
        "id": events.event_id,
        "session_id": events.session_id,
        "code": events.event_type.astype(np.int8),
        "device": events.device.astype(np.int8),
        "category": events.spelt(events.category),
        "ts": events.ts,
        "cents": np.zeros(n, np.int64),
    }
    return _batch(columns)


def shuffle_orders(orders: OrderColumns) -> pa.RecordBatch:
    """Convert order records to rows of MOVED."""
    n = len(orders)
    columns = {
        "at": orders.updated_ts,
        "customer_id": orders.customer_id,
        "is_order": np.ones(n, np.bool_),
        "id": orders.order_id,
        "session_id": pa.repeat("", n),
        "code": orders.status.astype(np.int8),
        "device": np.zeros(n, np.int8),
        "category": pa.nulls(n, pa.string()),
        "ts": orders.ts,
        "cents": orders.total_cents,
    }
    return _batch(columns)


def spans_of(batches: Iterable[pa.RecordBatch]) -> Iterator[TimeRange]:
    """Yield rows of MOVED, sorted by `at`, as spans of records: one per batch, without empty batches."""
    for batch in batches:
        if batch.num_rows:
            at = batch.column("at")
            yield TimeRange(at[0].as_py(), at[-1].as_py(), lambda batch=batch: _records(batch))  # type: ignore[misc]


def _records(batch: pa.RecordBatch) -> tuple[list[EventColumns], list[OrderColumns]]:
    is_order = batch.column("is_order")
    orders, events = batch.filter(is_order), batch.filter(pc.invert(is_order))
    return [_events(events)] if events.num_rows else [], [_orders(orders)] if orders.num_rows else []


def _events(batch: pa.RecordBatch) -> EventColumns:
    words, (category,) = coded(batch.column("category"))
    nothing = np.full(batch.num_rows, -1, np.int32)
    return EventColumns(
        event_id=batch.column("id"),
        customer_id=batch.column("customer_id"),
        session_id=batch.column("session_id"),
        ts=_numbers(batch, "ts", np.int64),
        event_type=_numbers(batch, "code", np.uint8),
        device=_numbers(batch, "device", np.uint8),
        category=category,
        # no feature uses them
        channel=nothing,
        country=nothing,
        words=words,
    )


def _orders(batch: pa.RecordBatch) -> OrderColumns:
    return OrderColumns(
        order_id=batch.column("id"),
        customer_id=batch.column("customer_id"),
        ts=_numbers(batch, "ts", np.int64),
        updated_ts=_numbers(batch, "at", np.int64),
        status=_numbers(batch, "code", np.uint8),
        total_cents=_numbers(batch, "cents", np.int64),
        lines=np.zeros(batch.num_rows, np.int32),
        records=None,
    )


def _numbers(batch: pa.RecordBatch, name: str, dtype: Any) -> Any:
    return batch.column(name).to_numpy(zero_copy_only=False).astype(dtype)


def _batch(columns: dict[str, Any]) -> pa.RecordBatch:
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns.values(), SHUFFLED, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SHUFFLED)
