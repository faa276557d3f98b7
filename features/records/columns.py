"""Holds batches of valid records as columns, the input of `State.apply_*` for both the wire and the archive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.schema import Order

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Uint8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Valid events. All columns have the same length. String columns have no nulls unless noted."""

    event_id: pa.StringArray
    customer_id: pa.StringArray
    session_id: pa.StringArray
    ts: Int64
    """Epoch ms, UTC."""
    event_type: Uint8
    """Index into schema.EVENT_TYPES."""
    device: Uint8
    """Index into schema.DEVICES."""
    category: Int32
    """Index into `words`, -1 for null. An empty string is a word."""
    channel: Int32
    """As category."""
    country: Int32
    """As category."""
    words: pa.StringArray
    """Values of the three columns above, of any length; may contain duplicates and values that no row uses."""

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def held_bytes(self) -> int:
        """Memory that the columns take, in bytes."""
        return sum(getattr(self, item.name).nbytes for item in fields(self))

    def spelt(self, codes: Int32) -> pa.StringArray:
        """Return the strings of category, channel or country, with nulls."""
        return self.words.take(pa.array(codes, mask=codes < 0))


@dataclass(frozen=True, slots=True)
class OrderColumns:
    """Valid order records. All columns have the same length."""

    order_id: pa.StringArray
    customer_id: pa.StringArray
    ts: Int64
    """Time at which the order was placed, epoch ms, UTC."""
    updated_ts: Int64
    """Time of the change that the record describes, epoch ms, UTC."""
    status: Uint8
    """Index into schema.STATUSES, whose order breaks ties."""
    total_cents: Int64
    lines: npt.NDArray[np.int32]
    """Number of items of the record."""
    records: list[Order] | None
    """The complete records, needed to write documents; None in batch runs."""

    def __len__(self) -> int:
        return len(self.ts)


C = TypeVar("C", bound=EventColumns | OrderColumns)


def coded(*columns: pa.StringArray) -> tuple[pa.StringArray, list[Int32]]:
    """Return the strings as one array of words, and for each column the indices into it, -1 for null."""
    dictionaries: list[pa.StringArray] = []
    codes: list[Int32] = []
    base = 0
    for column in columns:
        encoded = column.dictionary_encode()
        indices = encoded.indices.fill_null(-1 - base).to_numpy(zero_copy_only=False)
        codes.append(np.asarray(indices + np.int32(base), np.int32))
        dictionaries.append(encoded.dictionary.cast(pa.string()))
        base += len(encoded.dictionary)
    return pa.concat_arrays(dictionaries), codes


def between(columns: C, start: int, stop: int) -> C:
    """Return the rows from `start` up to but excluding `stop`."""
    if start == 0 and stop == len(columns):
        return columns
    return _each(columns, lambda column: column[start:stop])


def where(columns: C, keep: npt.NDArray[np.bool_]) -> C:
    """Return the rows for which `keep` is true; `records` must be None."""
    if keep.all():
        return columns
    return _each(columns, lambda column: column[keep] if isinstance(column, np.ndarray) else column.filter(keep))


def taken(columns: EventColumns, rows: Int64) -> EventColumns:
    """Return the given rows, in the given order."""
    return _each(columns, lambda column: column[rows] if isinstance(column, np.ndarray) else column.take(rows))


def joined(parts: Sequence[C]) -> C:
    """Concatenate the rows of at least one part, in their order."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    columns = {item.name: [getattr(part, item.name) for part in parts] for item in fields(first)}
    if "words" in columns:
        bases = np.cumsum([0, *map(len, columns["words"][:-1])]).tolist()
        for name in _CODED:
            columns[name] = [_moved(codes, base) for codes, base in zip(columns[name], bases, strict=True)]
    return replace(first, **{name: _concatenated(each) for name, each in columns.items() if each[0] is not None})


_CODED: Final = ("category", "channel", "country")


def _moved(codes: Int32, base: int) -> Int32:
    return np.where(codes < 0, codes, codes + np.int32(base)) if base else codes


def _concatenated(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    if isinstance(parts[0], list):
        return [record for part in parts for record in part]
    return pa.concat_arrays(parts)


def _each(columns: C, change: Callable[[Any], Any]) -> C:
    values = {item.name: getattr(columns, item.name) for item in fields(columns) if item.name != "words"}
    return replace(columns, **{name: change(value) for name, value in values.items() if value is not None})
