"""Reads JSON events into columns with compiled code, without one object per record.

The kernel accepts what producers write: one flat object, strings without escapes, plain integers, decimals without an
exponent, fields in any order, arbitrary spaces, unknown fields. It either reads a message exactly as the specification
requires or refuses it without a verdict. The strict decoder (`validity`) reads refused messages, and its verdict is
final. The kernel may therefore be narrow, but must never accept or interpret a message differently from that decoder.

Messages are concatenated with a zero byte after each, and PADDING more bytes at the end. Since no accepted text
contains a zero byte, every scan ends within its message. Eight-byte words can be compared without checking for the end.
"""

from __future__ import annotations

import numba
import numpy as np

from features.hashing import murmur3_128
from features.records.memory_words import byte_at, eight_at, put_eight

PADDING = 24
"""Bytes after the last message."""

# Kinds of fields in the kernel; `features/records/event_reader.py` derives them from the record type.
ID, WORD, TEXT, TYPE, DEVICE, TIME, AMOUNT, QUANTITY, UNKNOWN = range(9)

_QUOTE, _COLON, _COMMA, _OPEN, _CLOSE, _DOT, _ZERO, _NINE = 34, 58, 44, 123, 125, 46, 48, 57
_TIME_DIGITS, _QUANTITY_DIGITS, _AMOUNT_DIGITS = 15, 18, 12
"""Most digits read before the point: within them only the lower bound can be violated."""
_REFUSED = np.int64(-1)

_MIX = np.uint64(0x9E3779B97F4A7C15)
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_SLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)
_SPACE = np.array([code in (9, 10, 13, 32) for code in range(256)])
_DIGIT = np.array([_ZERO <= code <= _NINE for code in range(256)])


@numba.njit(forceinline=True)
def _skip_space(data, at):
    while _SPACE[byte_at(data, at)]:
        at += 1
    return at


@numba.njit(forceinline=True)
def _string_end(data, at):
    """Return the position of the closing quote of the string whose text begins at `at`, or -1.

    Scans eight bytes at a time: among bytes below 32, quotes and backslashes, the lowest gets an exact mark in its top
    bit (Hacker's Delight, 2nd edition, section 6-1).
    """
    while True:
        word = eight_at(data, at)
        quote, slash = word ^ _QUOTES, word ^ _SLASHES
        special = (((quote - _ONES) & ~quote) | ((slash - _ONES) & ~slash) | ((word - _SPACES) & ~word)) & _TOPS
        if special != np.uint64(0):
            below = (special & (~special + np.uint64(1))) - np.uint64(1)
            end = at + np.int64(((below & _ONES) * _ONES) >> np.uint64(56)) - 1
            return end if byte_at(data, end) == _QUOTE else _REFUSED
        at += 8


@numba.njit(forceinline=True)
def _has_word(data, at, word):
    """Return whether the text `null` or `true` (as one little-endian number) is at `at`."""
    return eight_at(data, at) & np.uint64(0xFFFFFFFF) == word


_NULL = np.uint64(int.from_bytes(b"null", "little"))
_TRUE = np.uint64(int.from_bytes(b"true", "little"))
_FALS = np.uint64(int.from_bytes(b"fals", "little"))


@numba.njit(forceinline=True)
def _number_end(data, at, digits_max, fraction):
    """Return (end, whole part) of a plain number without a sign; end -1 if invalid. `fraction`: decimals may follow."""
    start = at
    value = np.int64(0)
    while _DIGIT[byte_at(data, at)] and at - start < digits_max:
        value = value * 10 + np.int64(byte_at(data, at) - _ZERO)
        at += 1
    if at == start or (byte_at(data, start) == _ZERO and at - start > 1):
        return _REFUSED, value
    if fraction and byte_at(data, at) == _DOT:
        at += 1
        start = at
        while _DIGIT[byte_at(data, at)]:
            at += 1
        if at == start:
            return _REFUSED, value
    return at, value


@numba.njit(forceinline=True)
def _same(data, start, length, other, other_start):
    i = 0
    while length - i >= 8:
        if eight_at(data, start + i) != eight_at(other, other_start + i):
            return False
        i += 8
    while i < length:
        if byte_at(data, start + i) != byte_at(other, other_start + i):
            return False
        i += 1
    return True


@numba.njit(cache=True)
def _is_utf8(data, start, end):
    """Return whether data[start:end] is UTF-8 (RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF)."""
    at = start
    while at < end:
        lead = byte_at(data, at)
        if lead < 0x80:
            at += 1
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if at + more >= end:
            return False
        for i in range(1, more + 1):
            if byte_at(data, at + i) < low or byte_at(data, at + i) > high:
                return False
            low, high = 0x80, 0xBF
        at += more + 1
    return True


@numba.njit(forceinline=True)
def _code_of(data, start, length, vocabulary, ends):
    for code in range(len(ends) - 1):
        if ends[code + 1] - ends[code] == length and _same(data, start, length, vocabulary, ends[code]):
            return code
    return -1


@numba.njit(cache=True, nogil=True)
def copy_texts(data, starts, ends, out):
    """Concatenate texts: the i-th begins at starts[i] in `data` and takes ends[i] to ends[i + 1] of `out`.

    `out` must be eight bytes longer than the texts.
    """
    for i in range(len(starts)):
        at, stop = ends[i], ends[i + 1]
        start = starts[i] - at
        while at < stop:
            put_eight(out, at, eight_at(data, start + at))
            at += 8


@numba.njit(forceinline=True)
def _cut(word, length):
    """Return the first `length` bytes of the eight bytes of a number; none below 1."""
    if length >= 8:
        return word
    if length < 1:
        return np.uint64(0)
    return word & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1))


@numba.njit(forceinline=True)
def _interned(data, start, length, slots, word_starts, word_lengths, words):
    """Return (number, number of words): the text's number within this batch, a new one for an unknown text."""
    mask = len(slots) - 1
    if length <= 16:
        # PADDING makes reading past the text safe; the excess bytes are cut off
        key = _cut(eight_at(data, start), length) ^ (_cut(eight_at(data, start + 8), length - 8) * _MIX)
        key = (key ^ np.uint64(length)) * _MIX
    else:
        key, _ = murmur3_128(data, start, start + length)
    slot = np.int64((key >> np.uint64(32)) & np.uint64(mask))
    while True:
        word = slots[slot]
        if word == -1:
            slots[slot] = words
            word_starts[words] = start
            word_lengths[words] = length
            return words, words + 1
        if word_lengths[word] == length and _same(data, start, length, data, word_starts[word]):
            return word, words
        slot = (slot + 1) & mask


@numba.njit(forceinline=True)
def _field_at(data, start, length, names, name_ends, expected):
    """Return the number of the named field, trying the expected one first; the number of fields if unknown."""
    fields = len(name_ends) - 1
    for step in range(fields):
        field = expected + step
        if field >= fields:
            field -= fields
        if name_ends[field + 1] - name_ends[field] == length and _same(data, start, length, names, name_ends[field]):
            return field
    return fields


@numba.njit(forceinline=True)
def _object(data, at, end, names, name_ends, heads, kinds, bounds, starts, lengths, numbers):
    """Read one message into the positions (or numbers) of its fields; return the bits of its fields, or -1.

    A null field leaves its bit unset, since the specification treats missing and null alike.
    """
    fields = len(kinds)
    at = _skip_space(data, at)
    if byte_at(data, at) != _OPEN:
        return _REFUSED
    at = _skip_space(data, at + 1)
    seen, named = np.int64(0), np.int64(0)
    expected = 0
    while True:
        # tests for the expected next field, with its quotes and colon, as two numbers
        if (eight_at(data, at) & heads[expected, 1]) == heads[expected, 0] and (
            eight_at(data, at + 8) & heads[expected, 3]
        ) == heads[expected, 2]:
            field = expected
            at += name_ends[field + 1] - name_ends[field] + 3
        else:
            if byte_at(data, at) != _QUOTE:
                return _REFUSED
            at += 1
            stop = _string_end(data, at)
            if stop < 0:
                return _REFUSED
            field = _field_at(data, at, stop - at, names, name_ends, expected)
            at = _skip_space(data, stop + 1)
            if byte_at(data, at) != _COLON:
                return _REFUSED
            at += 1
        kind = UNKNOWN
        if field < fields:
            kind = kinds[field]
            if named & (1 << field):
                return _REFUSED
            named |= 1 << field
            expected = field + 1 if field + 1 < fields else 0
        at = _skip_space(data, at)
        first = byte_at(data, at)
        if first == _QUOTE:
            if kind == TIME or kind == AMOUNT or kind == QUANTITY:
                return _REFUSED
            at += 1
            stop = _string_end(data, at)
            if stop < 0:
                return _REFUSED
            if kind != UNKNOWN:
                # the text has no escapes, so its length in bytes here is its UTF-8 length
                if stop - at > bounds[field]:
                    return _REFUSED
                starts[field] = at
                lengths[field] = stop - at
                seen |= 1 << field
            at = stop + 1
        elif _DIGIT[first]:
            if kind == TIME:
                at, value = _number_end(data, at, _TIME_DIGITS, False)
            elif kind == QUANTITY:
                at, value = _number_end(data, at, _QUANTITY_DIGITS, False)
            elif kind == AMOUNT or kind == UNKNOWN:
                at, value = _number_end(data, at, _AMOUNT_DIGITS, True)
            else:
                return _REFUSED
            if at < 0:
                return _REFUSED
            if kind == TIME or kind == QUANTITY:
                if value < 1:
                    return _REFUSED
                numbers[field] = value
            if kind != UNKNOWN:
                seen |= 1 << field
        elif _has_word(data, at, _NULL) or (kind == UNKNOWN and _has_word(data, at, _TRUE)):
            at += 4
        elif kind == UNKNOWN and _has_word(data, at, _FALS) and byte_at(data, at + 4) == 101:
            at += 5
        else:
            return _REFUSED
        at = _skip_space(data, at)
        if byte_at(data, at) == _COMMA:
            at = _skip_space(data, at + 1)
        elif byte_at(data, at) == _CLOSE:
            break
        else:
            return _REFUSED
    at = _skip_space(data, at + 1)
    return seen if at == end else _REFUSED


@numba.njit(cache=True, nogil=True)
def read_events(
    data, ends, keys, key_ends, names, name_ends, heads, kinds, bounds, required, field_numbers,
    types, type_ends, devices, device_ends, is_ascii,
    accepted, ts, event_type, device, event_id_starts, event_id_ends, session_id_starts, session_id_ends,
    codes, slots, word_starts, word_lengths,
):  # fmt: skip
    """Read a batch of messages into columns; return the number accepted and the number of distinct words.

    Args:
        data: messages, each followed by a zero byte, and PADDING.
        ends: end of each message in `data`. The next begins one byte later.
        keys: concatenated keys of the messages. `key_ends` has n + 1 positions.
        names: concatenated names of the fields; `name_ends`: their n + 1 positions.
        heads: per field its name with quotes and colon as two numbers of eight bytes, each followed by its mask.
        kinds: per field its kind.
        bounds: per field the most bytes of its text.
        required: bits of the required fields.
        field_numbers: of event_id, event_type, customer_id, session_id, ts, device, category, channel, country.
        types, type_ends, devices, device_ends: vocabularies.
        is_ascii: whether no byte of the data is above 127.
        accepted: out, numbers of the accepted messages.
        ts, event_type, device: out, one value for each accepted message.
        event_id_starts, session_id_starts: out, starts of their texts in `data`.
        event_id_ends, session_id_ends: out, ends of the texts after concatenation; n + 1 positions.
        codes: out [3, n], numbers of category, channel and country among the words, -1 for null.
        slots: hash slots of the words, all -1; a power of two, more than three times the messages.
        word_starts, word_lengths: out, start and length of each distinct word in `data`.
    """
    fields = len(kinds)
    starts = np.empty(fields, np.int64)
    lengths = np.empty(fields, np.int64)
    numbers = np.empty(fields, np.int64)
    count = 0
    words = 0
    begin = 0
    event_id_ends[0] = 0
    session_id_ends[0] = 0
    for i in range(len(ends)):
        at, end = begin, ends[i]
        begin = end + 1
        seen = _object(data, at, end, names, name_ends, heads, kinds, bounds, starts, lengths, numbers)
        if seen < 0 or seen & required != required:
            continue
        event, customer, session = field_numbers[0], field_numbers[2], field_numbers[3]
        if lengths[event] == 0 or lengths[customer] == 0 or lengths[session] == 0:
            continue
        if key_ends[i + 1] - key_ends[i] != lengths[customer] or not _same(
            data, starts[customer], lengths[customer], keys, key_ends[i]
        ):
            continue
        kind = _code_of(data, starts[field_numbers[1]], lengths[field_numbers[1]], types, type_ends)
        if kind < 0:
            continue
        device_code = _code_of(data, starts[field_numbers[5]], lengths[field_numbers[5]], devices, device_ends)
        if device_code < 0:
            continue
        if not is_ascii and not _is_utf8(data, at, end):
            continue
        accepted[count] = i
        ts[count] = numbers[field_numbers[4]]
        event_type[count] = kind
        device[count] = device_code
        event_id_starts[count] = starts[event]
        event_id_ends[count + 1] = event_id_ends[count] + lengths[event]
        session_id_starts[count] = starts[session]
        session_id_ends[count + 1] = session_id_ends[count] + lengths[session]
        for w in range(3):
            field = field_numbers[6 + w]
            if seen & (1 << field):
                codes[w, count], words = _interned(
                    data, starts[field], lengths[field], slots, word_starts, word_lengths, words
                )
            else:
                codes[w, count] = -1
        count += 1
    return count, words
