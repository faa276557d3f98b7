"""Records of the oracle as what the product takes: bytes, batches of a partition, columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from oracle.rows import Row

from connectors.kafka.source import Batch, Partition
from features.records.columns import EventColumns, OrderColumns
from features.records.decode import decode, decode_events, order_columns

FAR_MS = 4_000_000_000_000
"""An append time that no record of a test is ahead of."""


def message(row: Row) -> tuple[bytes, bytes]:
    """Key and value of a record in its plainest spelling."""
    return row["customer_id"].encode(), msgspec.json.encode(row)


def as_batch(
    topic: str, messages: Sequence[tuple[bytes | None, bytes | None]], offset: int = 0, number: int = 0
) -> Batch:
    """Messages that stand one after the other from `offset` on."""
    keys, values = [key for key, _ in messages], [value for _, value in messages]
    offsets = list(range(offset, offset + len(messages)))
    return Batch(Partition(topic, number), offsets, values, keys, [FAR_MS] * len(messages))


def as_events(rows: Iterable[Row]) -> EventColumns:
    """The columns of valid events."""
    keys, values = _unzipped(rows)
    decoded = decode_events(values, keys, [FAR_MS] * len(keys))
    assert not decoded.rejected
    return decoded.columns


def as_orders(rows: Iterable[Row]) -> OrderColumns:
    """The columns of valid order records, the records beside them."""
    keys, values = _unzipped(rows)
    decoded = decode("orders", values, keys, [FAR_MS] * len(keys))
    assert not decoded.rejected
    return order_columns(decoded.records, keep_records=True)


def _unzipped(rows: Iterable[Row]) -> tuple[list[Any], list[Any]]:
    messages = [message(row) for row in rows]
    return [key for key, _ in messages], [value for _, value in messages]
