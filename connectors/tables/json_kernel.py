"""Checks JSON messages with compiled code: which are plain objects without a key twice.

A message that is accepted is JSON by every rule: structure, numbers, escapes. UTF-8 is not checked here. A message that
is not accepted has no verdict: the decoder reads it. The kernel may therefore be narrow. It must never accept a message
that the decoder refuses, or one with an object that has a key twice.

Messages are concatenated with a zero byte after each, and PADDING more bytes at the end. No accepted text has a zero
byte, so every scan ends within its message.
"""

from __future__ import annotations

import numba
import numpy as np

from features.records.memory_words import byte_at, eight_at

PADDING = 24
"""Bytes after the last message."""
DEPTH_MAX = 64
KEYS_MAX = 1_024
"""Most keys of a message."""
_SLOTS = 4_096
_NUMBER_BYTES_MAX = 64

_QUOTE, _SLASH, _COLON, _COMMA, _MINUS, _DOT, _ZERO, _NINE = 34, 92, 58, 44, 45, 46, 48, 57
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _U = 123, 125, 91, 93, 117
_REFUSED = np.int64(-1)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_ONES = np.uint64(0x0101010101010101)
_TOPS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_SLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)
_SPACE = np.array([code in (9, 10, 13, 32) for code in range(256)])
_DIGIT = np.array([_ZERO <= code <= _NINE for code in range(256)])
_HEX = np.array([chr(code) in "0123456789abcdefABCDEF" for code in range(256)])
_SHORT_ESCAPE = np.array([chr(code) in '"\\/bfnrt' for code in range(256)])

_NULL = np.uint64(int.from_bytes(b"null", "little"))
_TRUE = np.uint64(int.from_bytes(b"true", "little"))
_FALS = np.uint64(int.from_bytes(b"fals", "little"))

_VALUE, _VALUE_OR_END, _KEY, _KEY_OR_END, _NEXT = range(5)
"""What the next token may be: `_NEXT` is a comma or the end of the container."""


@numba.njit(forceinline=True)
def _skip_space(data, at):
    while _SPACE[byte_at(data, at)]:
        at += 1
    return at


@numba.njit(forceinline=True)
def _special_at(data, at):
    """Return the position of the next quote, backslash or byte below 32 (Hacker's Delight, section 6-1)."""
    while True:
        word = eight_at(data, at)
        quote, slash = word ^ _QUOTES, word ^ _SLASHES
        special = (((quote - _ONES) & ~quote) | ((slash - _ONES) & ~slash) | ((word - _SPACES) & ~word)) & _TOPS
        if special != np.uint64(0):
            below = (special & (~special + np.uint64(1))) - np.uint64(1)
            return at + np.int64(((below & _ONES) * _ONES) >> np.uint64(56)) - 1
        at += 8


@numba.njit
def _string_end(data, at):
    """Return the position of the closing quote of a string whose text begins at `at`, or -1."""
    while True:
        at = _special_at(data, at)
        code = byte_at(data, at)
        if code == _QUOTE:
            return at
        if code != _SLASH:
            return _REFUSED
        code = byte_at(data, at + 1)
        if _SHORT_ESCAPE[code]:
            at += 2
        elif code == _U:
            for i in range(2, 6):
                if not _HEX[byte_at(data, at + i)]:
                    return _REFUSED
            # halves of surrogate pairs (D8 to DF) are left to the decoder
            if byte_at(data, at + 2) in (68, 100) and not 48 <= byte_at(data, at + 3) <= 55:
                return _REFUSED
            at += 6
        else:
            return _REFUSED


@numba.njit
def _number_end(data, at):
    """Return the position after a number, or -1."""
    start = at
    if byte_at(data, at) == _MINUS:
        at += 1
    first = at
    while _DIGIT[byte_at(data, at)]:
        at += 1
    if at == first or (byte_at(data, first) == _ZERO and at - first > 1):
        return _REFUSED
    if byte_at(data, at) == _DOT:
        at += 1
        first = at
        while _DIGIT[byte_at(data, at)]:
            at += 1
        if at == first:
            return _REFUSED
    if byte_at(data, at) in (69, 101):
        at += 1
        if byte_at(data, at) in (43, 45):
            at += 1
        first = at
        while _DIGIT[byte_at(data, at)]:
            at += 1
        if at == first:
            return _REFUSED
    return at if at - start <= _NUMBER_BYTES_MAX else _REFUSED


@numba.njit(forceinline=True)
def _same(data, start, other, length):
    for i in range(length):
        if byte_at(data, start + i) != byte_at(data, other + i):
            return False
    return True


@numba.njit
def _is_plain(data, at, end, message, kinds, objects, slots, slot_messages, slot_objects, slot_lengths):
    """Return whether data[at:end] is an object in plain form without a key twice."""
    depth, keys, serial = 0, 0, 0
    expected = _VALUE
    while True:
        at = _skip_space(data, at)
        code = byte_at(data, at)
        if expected == _VALUE or expected == _VALUE_OR_END:
            if depth == 0 and code != _OPEN:
                return False
            if code == _QUOTE:
                at = _string_end(data, at + 1) + 1
                if at == 0:
                    return False
                expected = _NEXT
            elif code == _OPEN or code == _OPEN_LIST:
                if depth == DEPTH_MAX:
                    return False
                serial += 1
                kinds[depth] = code
                objects[depth] = serial
                depth += 1
                at += 1
                expected = _KEY_OR_END if code == _OPEN else _VALUE_OR_END
            elif _DIGIT[code] or code == _MINUS:
                at = _number_end(data, at)
                if at < 0:
                    return False
                expected = _NEXT
            elif code == _CLOSE_LIST and expected == _VALUE_OR_END:
                depth -= 1
                at += 1
                expected = _NEXT
            else:
                word = eight_at(data, at) & np.uint64(0xFFFFFFFF)
                if word == _NULL or word == _TRUE:
                    at += 4
                elif word == _FALS and byte_at(data, at + 4) == 101:
                    at += 5
                else:
                    return False
                expected = _NEXT
        elif expected == _NEXT:
            is_object = kinds[depth - 1] == _OPEN
            at += 1
            if code == _COMMA:
                expected = _KEY if is_object else _VALUE
                continue
            if code != (_CLOSE if is_object else _CLOSE_LIST):
                return False
            depth -= 1
        elif code == _CLOSE and expected == _KEY_OR_END:
            depth -= 1
            at += 1
            expected = _NEXT
        else:
            if code != _QUOTE:
                return False
            at += 1
            stop = _special_at(data, at)
            keys += 1
            # an escape may spell a key in another way
            if byte_at(data, stop) != _QUOTE or keys > KEYS_MAX:
                return False
            length = stop - at
            owner = objects[depth - 1]
            key = np.uint64(owner) * _MIX
            for i in range(length):
                key = (key ^ np.uint64(byte_at(data, at + i))) * np.uint64(0x100000001B3)
            slot = np.int64((key * _MIX) >> np.uint64(52))
            while slot_messages[slot] == message:
                if (
                    slot_objects[slot] == owner
                    and slot_lengths[slot] == length
                    and _same(data, slots[slot], at, length)
                ):
                    return False
                slot = (slot + 1) & (_SLOTS - 1)
            slots[slot] = at
            slot_messages[slot] = message
            slot_objects[slot] = owner
            slot_lengths[slot] = length
            at = _skip_space(data, stop + 1)
            if byte_at(data, at) != _COLON:
                return False
            at += 1
            expected = _VALUE
        if depth == 0:
            return _skip_space(data, at) == end


@numba.njit(cache=True, nogil=True)
def plain_objects(data, ends, plain):
    """Find the messages that are objects in plain form without a key twice.

    Args:
        data: messages, uint8, each followed by a zero byte, and PADDING.
        ends: end of each message in `data`. The next begins one byte later.
        plain: out, whether each message is one.
    """
    kinds, objects = np.zeros(DEPTH_MAX, np.int64), np.zeros(DEPTH_MAX, np.int64)
    slots, slot_messages = np.zeros(_SLOTS, np.int64), np.full(_SLOTS, -1, np.int64)
    slot_objects, slot_lengths = np.zeros(_SLOTS, np.int64), np.zeros(_SLOTS, np.int64)
    begin = 0
    for i in range(len(ends)):
        plain[i] = _is_plain(data, begin, ends[i], i, kinds, objects, slots, slot_messages, slot_objects, slot_lengths)
        begin = ends[i] + 1
