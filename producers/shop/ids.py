"""Builds columns of identifiers from a prefix and a number of fixed width, without a loop."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


def _numbered(prefix: str, numbers: npt.NDArray[np.int64], width: int, base: int) -> pa.StringArray:
    if len(numbers) and int(numbers.max()) >= base**width:
        raise OverflowError(f"{int(numbers.max())} does not fit {width} digits of base {base}")
    head = prefix.encode("ascii")
    size = len(head) + width
    text = np.empty((len(numbers), size), np.uint8)
    text[:, : len(head)] = np.frombuffer(head, np.uint8)
    rest = numbers.astype(np.int64)
    for column in range(size - 1, len(head) - 1, -1):
        rest, digit = np.divmod(rest, base) if base == 10 else (rest >> 4, rest & 15)
        text[:, column] = _DIGITS[digit]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * size
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def decimal_ids(prefix: str, numbers: npt.NDArray[np.int64], width: int) -> pa.StringArray:
    """Return `prefix` followed by each number in `width` decimal digits; OverflowError if one does not fit."""
    return _numbered(prefix, numbers, width, 10)


def hex_ids(prefix: str, numbers: npt.NDArray[np.int64], width: int) -> pa.StringArray:
    """Return `prefix` followed by each number in `width` hexadecimal digits; OverflowError if one does not fit."""
    return _numbered(prefix, numbers, width, 16)


def tag(*parts: object) -> str:
    """Return five hexadecimal digits that very likely differ if any of the parts differs."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=3).hexdigest()[:5]
