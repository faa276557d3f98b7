"""Reads batches of events into columns: prepares the input of the compiled kernel and converts its output.

Names, kinds and vocabularies are derived from schema.Event, so the kernel has no field names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.records.columns import EventColumns, Int64
from features.records.event_kernel import (
    AMOUNT,
    DEVICE,
    ID,
    PADDING,
    QUANTITY,
    TEXT,
    TIME,
    TYPE,
    WORD,
    copy_texts,
    read_events,
)
from features.records.rejections import form_of
from features.schema import DEVICES, EVENT_TYPES, Event, Field, record_fields

BYTES_MAX: Final = 1 << 30
"""Larger batches go to the strict decoder, since positions in a string column have 32 bits."""

Bytes = npt.NDArray[np.uint8]

_FIELDS: Final = record_fields(Event)
_WORDS: Final = ("category", "channel", "country")
_TYPED: Final = {"event_type": TYPE, "device": DEVICE, "ts": TIME, "quantity": QUANTITY, "price": AMOUNT}


def _kind(field: Field) -> int:
    if field.name in _TYPED:
        return _TYPED[field.name]
    assert field.kind == "string", f"the kernel reads no field of kind {field.kind}"
    return WORD if field.name in _WORDS else ID if field.required else TEXT


def _texts(texts: Sequence[str]) -> tuple[Bytes, Int64]:
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.array([0, *accumulate(map(len, encoded))], np.int64)


def _head(name: str) -> list[int]:
    text = f'"{name}":'.encode()
    words = []
    for part in (text[:8], text[8:16]):
        words += [int.from_bytes(part, "little"), (1 << (8 * len(part))) - 1]
    return words


@dataclass(frozen=True, slots=True)
class _Form:
    """Description of the record type for the kernel; constant."""

    names: Bytes
    name_ends: Int64
    heads: npt.NDArray[np.uint64]
    kinds: npt.NDArray[np.int64]
    bounds: Int64
    required: int
    field_numbers: Int64
    types: Bytes
    type_ends: Int64
    devices: Bytes
    device_ends: Int64


def _form() -> _Form:
    names = [field.name for field in _FIELDS]
    assert all(len(name) <= 13 for name in names), "a name with its quotes and colon is compared as sixteen bytes"
    field_names = ("event_id", "event_type", "customer_id", "session_id", "ts", "device", *_WORDS)
    return _Form(
        *_texts(names),
        np.array([_head(name) for name in names], np.uint64),
        np.array([_kind(field) for field in _FIELDS], np.int64),
        np.array([field.bytes_max or BYTES_MAX for field in form_of(Event).fields], np.int64),
        sum(1 << number for number, field in enumerate(_FIELDS) if field.required),
        np.array([names.index(name) for name in field_names], np.int64),
        *_texts(EVENT_TYPES),
        *_texts(DEVICES),
    )


_FORM: Final = _form()


def read_common(values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> tuple[EventColumns, Int64] | None:
    """Read the events that have the common form.

    Args:
        values: values of the messages, at most a few thousand; None is a null value.
        keys: keys of the messages; None is no key.

    Returns:
        The columns of the events read, and the int64 positions of their messages, ascending. A message that is not
        included may be valid or not. None if there is too much data for one batch. Future times are not checked here.
    """
    data, ends = _one_after_another(values)
    key_data, key_ends = _keys(keys)
    if len(data) > BYTES_MAX or len(key_data) > BYTES_MAX:
        return None
    n = len(values)
    accepted, ts = np.empty(n, np.int64), np.empty(n, np.int64)
    event_type, device = np.empty(n, np.uint8), np.empty(n, np.uint8)
    event_id_ends, session_id_ends = np.empty(n + 1, np.int32), np.empty(n + 1, np.int32)
    event_id_starts, session_id_starts = np.empty(n, np.int32), np.empty(n, np.int32)
    codes = np.empty((len(_WORDS), n), np.int32)
    slots = np.full(1 << (max(n, 16) * 4).bit_length(), -1, np.int32)
    word_starts, word_lengths = np.empty(len(_WORDS) * n, np.int32), np.empty(len(_WORDS) * n, np.int32)
    f = _FORM
    text = np.frombuffer(data, np.uint8)
    count, words = read_events(
        text, ends, np.frombuffer(key_data, np.uint8), key_ends,
        f.names, f.name_ends, f.heads, f.kinds, f.bounds, f.required, f.field_numbers,
        f.types, f.type_ends, f.devices, f.device_ends,
        data.isascii(),
        accepted, ts, event_type, device, event_id_starts, event_id_ends, session_id_starts, session_id_ends,
        codes, slots, word_starts, word_lengths,
    )  # fmt: skip
    customer_id = _strings(key_ends, key_data)
    if count < n:
        customer_id = customer_id.take(pa.array(accepted[:count]))
    columns = EventColumns(
        event_id=_copied(text, event_id_starts[:count], event_id_ends[: count + 1]),
        customer_id=customer_id,
        session_id=_copied(text, session_id_starts[:count], session_id_ends[: count + 1]),
        ts=ts[:count],
        event_type=event_type[:count],
        device=device[:count],
        category=codes[0, :count],
        channel=codes[1, :count],
        country=codes[2, :count],
        words=_words(data, word_starts[:words], word_lengths[:words]),
    )
    return columns, accepted[:count]


def _one_after_another(values: Sequence[bytes | None]) -> tuple[bytes, Int64]:
    """Return the messages with a zero byte after each, and the end of each."""
    try:
        data = b"\0".join([*values, bytes(PADDING)])  # type: ignore[list-item]
    except TypeError:  # a null value, which the kernel refuses like an empty text
        return _one_after_another([value or b"" for value in values])
    lengths = np.fromiter(map(len, values), np.int64, len(values))  # type: ignore[arg-type]
    return data, np.cumsum(lengths + 1) - 1


def _keys(keys: Sequence[bytes | None]) -> tuple[bytes, npt.NDArray[np.int32]]:
    try:
        data = b"".join(keys)  # type: ignore[arg-type]
    except TypeError:  # a message without a key is invalid, and the strict decoder rejects it
        return _keys([key or b"" for key in keys])
    ends = np.zeros(len(keys) + 1, np.int32)
    if len(data) <= BYTES_MAX:
        np.cumsum(np.fromiter(map(len, keys), np.int32, len(keys)), out=ends[1:])  # type: ignore[arg-type]
    return data or b"\0", ends


def _copied(text: Bytes, starts: npt.NDArray[np.int32], ends: npt.NDArray[np.int32]) -> pa.StringArray:
    out = np.empty(int(ends[-1]) + 8, np.uint8)
    copy_texts(text, starts, ends, out)
    return _strings(ends, out)


def _strings(ends: npt.NDArray[np.int32], data: Any) -> pa.StringArray:
    return pa.StringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(data))


def _words(data: bytes, starts: npt.NDArray[np.int32], lengths: npt.NDArray[np.int32]) -> pa.StringArray:
    ranges = zip(starts.tolist(), lengths.tolist(), strict=True)
    return pa.array([data[start : start + length].decode() for start, length in ranges], pa.string())
