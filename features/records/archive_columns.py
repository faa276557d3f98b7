"""Reads a column of a foreign Parquet table as plain arrays for the validation rules.

Archives come from many writers: a string may be dictionary-encoded and a time may be in nanoseconds. An integer may be
a float because pandas had to store a null in the same column. This module reads such a column for its meaning. A value
that cannot mean what the field requires is marked as wrong, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask: TypeAlias = npt.NDArray[np.bool_]

_INT64_MAX: Final = 2**63 - 1
_INT64_END: Final = 2.0**63
"""The smallest float above int64."""
_MS_PER_S: Final = 1_000
_TICKS_PER_MS: Final = {"us": 1_000, "ns": 1_000_000}


@dataclass(frozen=True, slots=True)
class Column:
    """Values of a column.

    Attributes:
        values: pa.StringArray, int64 or float64 array. Values at null or wrong positions are meaningless.
        null: mask of the rows without a value.
        wrong: mask of the rows whose value does not have the field's type.
    """

    values: pa.StringArray | npt.NDArray[np.int64] | npt.NDArray[np.float64]
    null: Mask
    wrong: Mask


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array without dictionaries. A column may hold at most 2 GiB of text."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if pa.types.is_dictionary(column.type):
        chunks = [_decoded(chunk) for chunk in chunks]
    return pa.concat_arrays(chunks) if chunks else pa.nulls(0, column.type)


def _decoded(array: pa.DictionaryArray) -> pa.Array:
    words = array.dictionary
    if pa.types.is_string_view(words.type):  # Arrow has no take kernel for string views
        words = words.cast(pa.string())
    return words.take(array.indices)


def text_column(array: pa.Array) -> Column:
    """Read strings: string, large_string, string_view, dictionaries of them. Values that are not UTF-8 are wrong."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        text = array if pa.types.is_string(kind) else array.cast(pa.string())
        null = _nulls(text)
        try:
            text.validate(full=True)
        except pa.ArrowInvalid:
            return _readable_text(text, null)
        return Column(text, null, _nowhere(array))
    null = _nulls_and_nans(array)
    return Column(pa.nulls(len(array), pa.string()), null, ~null)


def _readable_text(text: pa.StringArray, null: Mask) -> Column:
    values: list[str | None] = []
    wrong = np.zeros(len(text), np.bool_)
    for row, value in enumerate(text.cast(pa.binary()).to_pylist()):
        try:
            values.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            values.append(None)
            wrong[row] = True
    return Column(pa.array(values, pa.string()), null, wrong)


def amount_column(array: pa.Array) -> Column:
    """Read numbers as float64: floats, integers, decimals. NaN is null; infinities are values."""
    if not _is_number(array.type):
        return _all_wrong(array, np.float64)
    if pa.types.is_decimal(array.type):
        # Arrow's own cast multiplies by a rounded power of ten: 1.015 becomes 1.0150000000000001
        array = array.cast(pa.string())
    values = _filled(array.cast(pa.float64(), safe=False))
    return Column(values, _nulls(array) | np.isnan(values), _nowhere(array))


def integer_column(array: pa.Array) -> Column:
    """Read integers as int64: integers of any width, and floats and decimals without a fractional part.

    NaN is null. Values beyond int64 become the nearest int64.
    """
    if not _is_number(array.type):
        return _all_wrong(array, np.int64)
    if not pa.types.is_floating(array.type):
        try:
            return Column(_filled(array.cast(pa.int64())), _nulls(array), _nowhere(array))
        except pa.ArrowInvalid:  # a fraction or a value beyond int64 in the column
            pass
    floats = amount_column(array)
    values = np.where(floats.null, 0.0, floats.values)
    wrong = (values != np.floor(values)) | np.isinf(values)
    values[wrong] = 0.0
    integers = np.where(values < 0, -_INT64_MAX, _INT64_MAX)
    inside = np.abs(values) < _INT64_END
    integers[inside] = values[inside].astype(np.int64)
    return Column(integers, floats.null, wrong)


def millis_column(array: pa.Array) -> Column:
    """Read times as int64 epoch ms: timestamps of any unit and zone (none is UTC), and integers, which are ms.

    A finer unit is floored to the millisecond, so that a time never moves to a later window.
    """
    if not pa.types.is_timestamp(array.type):
        return integer_column(array)
    millis = _filled(array.cast(pa.int64()))
    if array.type.unit == "s":
        end = _INT64_MAX // _MS_PER_S
        millis = np.clip(millis, -end, end) * _MS_PER_S
    elif array.type.unit != "ms":
        millis = millis // _TICKS_PER_MS[array.type.unit]
    return Column(millis, _nulls(array), _nowhere(array))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _all_wrong(array: pa.Array, kind: type[np.int64 | np.float64]) -> Column:
    null = _nulls(array)
    return Column(np.zeros(len(array), kind), null, ~null)


def _nowhere(array: pa.Array) -> Mask:
    return np.zeros(len(array), np.bool_)


def _nulls(array: pa.Array) -> Mask:
    if not array.null_count:
        return _nowhere(array)
    mask: Mask = array.is_null().to_numpy(zero_copy_only=False)
    return mask


def _nulls_and_nans(array: pa.Array) -> Mask:
    mask: Mask = array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    return mask


def _filled(array: pa.Array) -> Any:
    values = (pc.fill_null(array, 0) if array.null_count else array).to_numpy(zero_copy_only=False)
    # Arrow's memory is read-only; numba has different types for writable and read-only arrays
    return values if values.flags.writeable else values.copy()
