"""Reads columns whose texts are all in a common form, without a step of the data-frame library for each test."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.formats.text_kernel import are_plain_decimals, are_plain_ids, epochs, iso_times

_Bytes = npt.NDArray[np.uint8]
_Ints = npt.NDArray[np.int64]
_NO_BYTES: Final = np.zeros(0, np.uint8)
MS_MAX: Final = 253_402_300_799_999
"""Last millisecond of the year 9999."""


def plain_ids(text: pl.Series, longest: int, *, digits_count: bool) -> bool:
    """Return whether all texts are ids as written. False is no verdict about a text.

    Args:
        text: texts; a null is none.
        longest: characters of the longest placeholder.
        digits_count: whether no placeholder has a digit, but 0, -1 and those that begin with #.
    """
    buffers = _buffers(text)
    return buffers is not None and bool(are_plain_ids(*buffers, longest, digits_count))


def plain_decimals(text: pl.Series) -> bool:
    """Return whether all texts are plain decimals; -0 is none. False is no verdict about a text."""
    buffers = _buffers(text)
    return buffers is not None and bool(are_plain_decimals(*buffers))


def iso_ms(text: pl.Series) -> pl.Series | None:
    """Return epoch ms of ISO times with an offset, null where a text is null. None if a text has another form."""
    buffers = _buffers(text)
    ms = np.zeros(len(text), np.int64)
    if buffers is None or not iso_times(*buffers, ms) or not _are_in_range(ms, 0):
        return None
    return _numbers(ms, text)


def epoch_ms(text: pl.Series, decimals: int, first_ms: int) -> pl.Series | None:
    """Return epoch ms of counts of a unit, null where a text is null. None if a text has another form.

    Args:
        text: texts.
        decimals: the unit is 10 ** -decimals seconds.
        first_ms: lowest time that counts.
    """
    buffers = _buffers(text)
    counts = np.zeros(len(text), np.int64)
    if buffers is None or not epochs(*buffers, counts):
        return None
    if decimals < 3 and counts.max(initial=0) > MS_MAX:
        return None
    ms = counts // 10 ** (decimals - 3) if decimals >= 3 else counts * 10 ** (3 - decimals)
    given = ms if not text.null_count() else ms[text.is_not_null().to_numpy()]
    return _numbers(ms, text) if _are_in_range(given, first_ms) else None


def nulls(length: int, dtype: Any) -> pl.Series:
    """Return a column without values."""
    return pl.Series([None], dtype=dtype).new_from_index(0, length)


def _are_in_range(ms: _Ints, first_ms: int) -> bool:
    return not len(ms) or bool(ms.min() >= first_ms and ms.max() <= MS_MAX)


def _numbers(values: _Ints, text: pl.Series) -> pl.Series:
    numbers = pl.Series(values)
    return numbers if not text.null_count() else numbers.set(text.is_null(), None)


def _buffers(text: pl.Series) -> tuple[_Bytes, _Ints] | None:
    """Return the bytes of texts and their starts; None if one is empty, which no common form is."""
    if not len(text):
        return _NO_BYTES, np.zeros(1, np.int64)
    array: Any = text.alias("").to_arrow()  # a name with a zero byte has no form in Arrow
    _, starts, data = array.buffers()
    offsets: _Ints = np.frombuffer(starts, np.int64)[array.offset : array.offset + len(text) + 1]
    if int(np.count_nonzero(offsets[1:] == offsets[:-1])) != text.null_count():
        return None
    return (_NO_BYTES if data is None else np.frombuffer(data, np.uint8)), offsets
