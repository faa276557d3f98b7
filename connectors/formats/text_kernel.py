"""Finds with compiled code which texts of a column are in a common form, and reads ISO times of that form.

A text that is accepted has one meaning, which the readers of ids, numbers and times give, too. A text that is not
accepted has no verdict: the reader decides. The kernel may therefore be narrow.

A column is its UTF-8 bytes one text after the other, and the int64 start of each text with the end of the last one. A
null has no bytes.
"""

from __future__ import annotations

import numba
import numpy as np

_ZERO, _NINE, _MINUS, _PLUS, _DOT, _COMMA, _COLON, _HASH, _T, _Z = 48, 57, 45, 43, 46, 44, 58, 35, 84, 90
_FIRST_VISIBLE, _LAST_VISIBLE = 33, 126
_WHOLE_DIGITS_MAX, _FRACTION_DIGITS_MAX, _SECOND_DIGITS_MAX = 20, 18, 9
_EPOCH_DIGITS_MAX = 18
_DAY_MS = 86_400_000
_SHORTEST_ISO = 20
_UNREAD = np.int64(-1)
_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_DAYS_BEFORE = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int64)


@numba.njit(cache=True, nogil=True)
def are_plain_ids(data, starts, longest, digits_count):
    """Return whether every text is an id as written: visible ASCII, and neither a placeholder nor a printed float.

    Args:
        data: bytes of the texts, uint8.
        starts: starts of the texts and the end of the last one.
        longest: bytes of the longest placeholder.
        digits_count: whether no placeholder has a digit, but 0, -1 and those that begin with #.
    """
    for row in range(len(starts) - 1):
        begin, end = starts[row], starts[row + 1]
        if begin == end:
            continue
        is_known = end - begin > longest
        is_something = False
        may_be_number = data[begin] <= _NINE
        for at in range(begin, end):
            byte = data[at]
            if byte < _FIRST_VISIBLE or byte > _LAST_VISIBLE:
                return False
            if may_be_number and (byte == _DOT or byte == _COMMA or byte == _PLUS):
                return False
            is_something |= byte != _ZERO and byte != _MINUS
            is_known |= digits_count and _ZERO <= byte <= _NINE
        if not (is_something and is_known) or data[begin] == _HASH or (end - begin == 2 and data[begin] == _MINUS):
            return False
    return True


@numba.njit(cache=True, nogil=True)
def are_plain_decimals(data, starts):
    """Return whether every text is a plain decimal such as 0, 12.50 and -3; not -0."""
    for row in range(len(starts) - 1):
        at, end = starts[row], starts[row + 1]
        if at == end:
            continue
        negative = data[at] == _MINUS
        at += negative
        begin = at
        while at < end and _ZERO <= data[at] <= _NINE:
            at += 1
        whole = at - begin
        if whole == 0 or whole > _WHOLE_DIGITS_MAX or (data[begin] == _ZERO and (whole > 1 or negative)):
            return False
        if at < end:
            if data[at] != _DOT:
                return False
            at += 1
            begin = at
            while at < end and _ZERO <= data[at] <= _NINE:
                at += 1
            if at < end or at == begin or at - begin > _FRACTION_DIGITS_MAX:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def epochs(data, starts, out):
    """Read counts since 1970 of digits alone. Return whether every text is one.

    Args:
        data: bytes of the texts, uint8.
        starts: starts of the texts and the end of the last one.
        out: out, int64, the counts; 0 where there is no text.
    """
    for row in range(len(starts) - 1):
        if starts[row + 1] - starts[row] > _EPOCH_DIGITS_MAX:
            return False
        count = 0
        for at in range(starts[row], starts[row + 1]):
            if not _ZERO <= data[at] <= _NINE:
                return False
            count = count * 10 + data[at] - _ZERO
        out[row] = count
    return True


@numba.njit(cache=True, nogil=True)
def iso_times(data, starts, out):
    """Read times such as 2026-05-04T08:00:00.250Z and 2026-05-04T08:00:00+02:00. Return whether every text is one.

    Args:
        data: bytes of the texts, uint8.
        starts: starts of the texts and the end of the last one.
        out: out, int64, epoch ms; 0 where there is no text.
    """
    for row in range(len(starts) - 1):
        begin, end = starts[row], starts[row + 1]
        if begin == end:
            out[row] = 0
            continue
        ms = _iso_ms(data, begin, end)
        if ms == _UNREAD:
            return False
        out[row] = ms
    return True


@numba.njit(cache=True)
def _digits(data, at, count):
    """Return the number of digits at a position, or _UNREAD."""
    number = 0
    for i in range(at, at + count):
        if not _ZERO <= data[i] <= _NINE:
            return _UNREAD
        number = number * 10 + data[i] - _ZERO
    return np.int64(number)


@numba.njit(cache=True)
def _iso_ms(data, at, end):
    if end - at < _SHORTEST_ISO:
        return _UNREAD
    if data[at + 4] != _MINUS or data[at + 7] != _MINUS or data[at + 10] != _T:
        return _UNREAD
    if data[at + 13] != _COLON or data[at + 16] != _COLON:
        return _UNREAD
    year, month, day = _digits(data, at, 4), _digits(data, at + 5, 2), _digits(data, at + 8, 2)
    hour, minute, second = _digits(data, at + 11, 2), _digits(data, at + 14, 2), _digits(data, at + 17, 2)
    if year < 1970 or not 1 <= month <= 12 or not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59:
        return _UNREAD
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= _MONTH_DAYS[month - 1] + (leap and month == 2):
        return _UNREAD
    at += 19
    millis = 0
    if data[at] == _DOT:
        at += 1
        begin = at
        while at < end and _ZERO <= data[at] <= _NINE:
            if at - begin < 3:
                millis = millis * 10 + data[at] - _ZERO
            at += 1
        if at == begin or at - begin > _SECOND_DIGITS_MAX:
            return _UNREAD
        for _ in range(at - begin, 3):
            millis *= 10
    offset = _offset_minutes(data, at, end)
    if offset == _UNREAD:
        return _UNREAD
    before = year - 1
    days = (year - 1970) * 365 + before // 4 - before // 100 + before // 400 - 477
    days += _DAYS_BEFORE[month - 1] + (leap and month > 2) + day - 1
    ms = days * _DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + millis
    return np.int64(ms - (offset - _DAY_MINUTES) * 60_000)


_DAY_MINUTES = 1_440


@numba.njit(cache=True)
def _offset_minutes(data, at, end):
    """Return the offset that ends a time, in minutes and a day more, or _UNREAD."""
    if end - at == 1 and data[at] == _Z:
        return np.int64(_DAY_MINUTES)
    if end - at != 6 or data[at + 3] != _COLON or (data[at] != _PLUS and data[at] != _MINUS):
        return _UNREAD
    hours, minutes = _digits(data, at + 1, 2), _digits(data, at + 4, 2)
    if not 0 <= hours <= 23 or not 0 <= minutes <= 59:
        return _UNREAD
    given = hours * 60 + minutes
    return np.int64(_DAY_MINUTES + (given if data[at] == _PLUS else -given))
