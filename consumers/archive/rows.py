"""Converts batches of messages to archive columns of valid records that are not late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from connectors.kafka.source import Batch
from features.records.decode import decode
from features.records.lateness import split_late
from features.schema import EVENT_LATENESS_MS, ORDER_LATENESS_MS, arrow_schema, record_fields


def judge(batch: Batch, high: int) -> tuple[list[Any], list[bool], int, int]:
    """Return a batch's valid events or orders, their late flags, the number rejected and the new max event time."""
    if batch.partition.topic == "events":
        events = decode("events", batch.values, batch.keys, batch.append_ms)
        ts = np.array([r.ts for r in events.records], np.int64)
        late, high = split_late(ts, high, EVENT_LATENESS_MS)
        return events.records, late.tolist(), len(events.rejected), high
    orders = decode("orders", batch.values, batch.keys, batch.append_ms)
    ts = np.array([r.ts for r in orders.records], np.int64)
    updated = np.array([r.updated_ts for r in orders.records], np.int64)
    late, high = split_late(ts, high, ORDER_LATENESS_MS, clock=updated)
    return orders.records, late.tolist(), len(orders.rejected), high


def to_arrow(record: type[msgspec.Struct], records: Sequence[msgspec.Struct]) -> pa.RecordBatch:
    """Return records as columns of the archive."""
    schema = arrow_schema(record)
    columns = []
    for item in record_fields(record):
        values = [getattr(r, item.name) for r in records]
        if item.kind == "items":
            values = [None if v is None else [msgspec.structs.asdict(line) for line in v] for v in values]
        columns.append(pa.array(values, schema.field(item.name).type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
