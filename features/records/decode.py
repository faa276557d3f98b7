"""Decodes the bytes of messages into valid records and columns, and rejects invalid ones with a reason.

A common message costs only its share of compiled or vectorised work. Only a message that a compiled kernel or a strict
decoder rejects is examined individually. Work proceeds in chunks of CHUNK messages, which fit the processor's cache
(benchmarks/decode.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar, overload

import msgspec
import numpy as np
import pyarrow as pa

from features.records.columns import EventColumns, Int64, OrderColumns, Uint8, coded, joined, taken, where
from features.records.event_reader import read_common
from features.records.money import to_cents
from features.records.validity import READERS, Rejected, Tombstone, is_unusual, read_chunk
from features.schema import (
    DEVICES,
    EVENT_TYPES,
    STATUSES,
    Customer,
    Event,
    Order,
)

__all__ = [
    "CHUNK",
    "Decoded",
    "DecodedEvents",
    "Rejected",
    "Tombstone",
    "Topic",
    "decode",
    "decode_events",
    "event_columns",
    "order_columns",
]

Topic = Literal["events", "orders", "customers"]

CHUNK: Final = 2_000
"""Messages decoded at a time."""

R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Decoded(Generic[R]):
    """The valid records of a batch, in the order of their messages, and the rejected messages.

    Attributes:
        positions: int64 [len(records)]: position of each record's message in the batch.
        rejected: rejected messages by ascending position. Every message is either a record or rejected.
    """

    records: list[R]
    positions: Int64
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class DecodedEvents:
    """The valid events of a batch as columns; positions and rejected as in Decoded."""

    columns: EventColumns
    positions: Int64
    rejected: list[Rejected]


@overload
def decode(
    topic: Literal["events"],
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None],
    append_ms: Sequence[int] | Int64,
) -> Decoded[Event]: ...
@overload
def decode(
    topic: Literal["orders"],
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None],
    append_ms: Sequence[int] | Int64,
) -> Decoded[Order]: ...
@overload
def decode(
    topic: Literal["customers"],
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None],
    append_ms: Sequence[int] | Int64,
) -> Decoded[Customer | Tombstone]: ...
def decode(
    topic: Topic, values: Sequence[bytes | None], keys: Sequence[bytes | None], append_ms: Sequence[int] | Int64
) -> Decoded[Any]:
    """Decode and validate messages of one source topic.

    The verdict on a message depends on that message alone, so it is the same in every batch. Of equal keys in an object
    the last one counts. An integer beyond int64 is valid but stored as the largest int64, so that no column or index
    overflows. A `signup_ts` out of range becomes the nearest millisecond of the years 1 to 9999. JSON nested deeper
    than the interpreter's stack allows (some 900 levels) is rejected.

    Args:
        topic: topic that defines the record type.
        values: values of the messages; None is a null value.
        keys: keys of the messages; None is no key.
        append_ms: append times of the messages, epoch ms (on a topic with CreateTime: the consumer's clock).

    Returns:
        The valid records, and the rejected messages with reasons.
    """
    reader = READERS[topic]
    records: list[Any] = []
    positions: list[Int64] = []
    rejected: list[Rejected] = []
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        chunk = read_chunk(reader, start, values[part], keys[part], append_ms[part])
        records.extend(map(reader.bound, chunk.records) if reader.is_unbounded(chunk.records) else chunk.records)
        positions.append(chunk.positions)
        rejected.extend(chunk.rejected)
    return Decoded(records, np.concatenate(positions) if positions else np.zeros(0, np.int64), rejected)


def decode_events(
    values: Sequence[bytes | None], keys: Sequence[bytes | None], append_ms: Sequence[int] | Int64
) -> DecodedEvents:
    """Return `event_columns(decode("events", ...).records)` at lower cost: no record outlives its chunk.

    Args and the verdict on each message are those of `decode`.
    """
    columns: list[EventColumns] = []
    positions: list[Int64] = []
    rejected: list[Rejected] = []
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        decoded = _decode_chunk(values[part], keys[part], np.asarray(append_ms[part], np.int64))
        columns.append(decoded.columns)
        positions.append(decoded.positions + start)
        rejected += [Rejected(start + one.position, one.reason) for one in decoded.rejected]
    if not columns:
        return DecodedEvents(_NO_EVENTS, np.zeros(0, np.int64), rejected)
    return DecodedEvents(joined(columns), np.concatenate(positions), rejected)


def _decode_chunk(values: Sequence[bytes | None], keys: Sequence[bytes | None], append_ms: Int64) -> DecodedEvents:
    common = read_common(values, keys)
    if common is None:
        return _decode_strictly(np.arange(len(values)), values, keys, append_ms)
    columns, positions = common
    unusual = is_unusual(columns.ts, append_ms[positions])
    if unusual.any():
        columns, positions = where(columns, ~unusual), positions[~unusual]
    if len(positions) == len(values):
        return DecodedEvents(columns, positions, [])
    refused = np.ones(len(values), np.bool_)
    refused[positions] = False
    others = _decode_strictly(np.flatnonzero(refused), values, keys, append_ms)
    if not len(others.positions):
        return DecodedEvents(columns, positions, others.rejected)
    together = np.concatenate([positions, others.positions])
    order = np.argsort(together)
    return DecodedEvents(taken(joined([columns, others.columns]), order), together[order], others.rejected)


def _decode_strictly(
    positions: Int64, values: Sequence[bytes | None], keys: Sequence[bytes | None], append_ms: Int64
) -> DecodedEvents:
    """Decode the messages at the given positions of a chunk with the strict decoder, whose verdict is final."""
    at = positions.tolist()
    chunk = read_chunk(READERS["events"], 0, [values[i] for i in at], [keys[i] for i in at], append_ms[positions])
    rejected = [Rejected(at[one.position], one.reason) for one in chunk.rejected]
    columns = _event_columns(chunk.records, chunk.ids, chunk.ts) if chunk.records else _NO_EVENTS
    return DecodedEvents(columns, positions[chunk.positions], rejected)


def event_columns(records: list[Event]) -> EventColumns:
    """Return the columns of valid events, in the same order."""
    return _event_columns(records, [r.customer_id for r in records], np.array([r.ts for r in records], np.int64))


def order_columns(records: list[Order], *, keep_records: bool) -> OrderColumns:
    """Return the columns of valid order records, in the same order. `keep_records` adds the records themselves."""
    return OrderColumns(
        order_id=pa.array([r.order_id for r in records], pa.string()),
        customer_id=pa.array([r.customer_id for r in records], pa.string()),
        ts=np.array([r.ts for r in records], np.int64),
        updated_ts=np.array([r.updated_ts for r in records], np.int64),
        status=_codes(_STATUS_CODE, [r.status for r in records]),
        total_cents=to_cents(np.array([r.total for r in records], np.float64)),
        lines=np.array([len(r.items) if r.items else 0 for r in records], np.int32),
        records=records if keep_records else None,
    )


def _code_of(words: tuple[str, ...]) -> Callable[[str], int]:
    return {word: code for code, word in enumerate(words)}.__getitem__


_EVENT_TYPE_CODE: Final = _code_of(EVENT_TYPES)
_DEVICE_CODE: Final = _code_of(DEVICES)
_STATUS_CODE: Final = _code_of(STATUSES)


def _codes(code_of: Callable[[str], int], words: Sequence[str]) -> Uint8:
    return np.frombuffer(bytearray(map(code_of, words)), np.uint8)


def _event_columns(records: list[Event], customer_id: list[str], ts: Int64) -> EventColumns:
    text = pa.string()
    words, (category, channel, country) = coded(
        pa.array([r.category for r in records], text),
        pa.array([r.channel for r in records], text),
        pa.array([r.country for r in records], text),
    )
    return EventColumns(
        event_id=pa.array([r.event_id for r in records], text),
        customer_id=pa.array(customer_id, text),
        session_id=pa.array([r.session_id for r in records], text),
        ts=ts,
        event_type=_codes(_EVENT_TYPE_CODE, [r.event_type for r in records]),
        device=_codes(_DEVICE_CODE, [r.device for r in records]),
        category=category,
        channel=channel,
        country=country,
        words=words,
    )


_NO_EVENTS: Final = event_columns([])
