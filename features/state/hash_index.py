"""Maps hashes to rows, compiled: open addressing in tables of any size.

A slot has 4 bytes: the row number in as few low bits as the table needs, and bits of the hash in the rest. A probe that
meets another row therefore rarely reads that row, which makes tables that are seven eighths full cheap to search. The
position of a hash is its share of the table (multiply and shift), so a table need not be a power of two.
"""

from __future__ import annotations

import numba
import numpy as np

from features.hashing import murmur3_128

EMPTY = np.uint32(0xFFFF_FFFF)
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFF_FFFF)
_HOUR_BITS = np.uint64((1 << 20) - 1)
_WORD_BITS = np.uint64(6)
_IN_WORD = np.uint64(63)
_ONE = np.uint64(1)
_HOURS = np.int64(1 << 20)
_HALF_HOURS = np.int64(1 << 19)
_HOURS_MASK = np.int64((1 << 20) - 1)


@numba.njit(inline="always")
def row_bits(slots):
    """Return the number of bits of a row number. All bits set means no row, since some slots are always empty."""
    bits = np.uint64(1)
    while (np.uint64(1) << bits) <= np.uint64(len(slots)):
        bits += np.uint64(1)
    return bits


@numba.njit(inline="always")
def home(mixed, count):
    """Return the first of `count` slots to search for a hash, which depends on its upper half."""
    return np.int64(((mixed >> _HALF) * np.uint64(count)) >> _HALF)


@numba.njit(inline="always")
def mixed_key(customer, key):
    """Return the hash of a session or order within its customer. It is reversible: the key can be recovered from it."""
    return (key ^ (np.uint64(customer) * _MIX)) * _MIX


@numba.njit(inline="always")
def find_row(rows, slots, bits, customer, key, mixed):
    """Return slot and row of (customer, key); if there is none, the empty slot for it and -1."""
    count = len(slots)
    tag = np.uint64(mixed << bits) & _LOW
    slot = home(mixed, count)
    match = np.int64(-1)
    while True:
        entry = slots[slot]
        if entry == EMPTY:
            break
        if ((np.uint64(entry) ^ tag) >> bits) == np.uint64(0):
            row = np.int64(np.uint64(entry) ^ tag)
            if rows[row].key == key and rows[row].customer == customer:
                match = row
                break
        slot += 1
        if slot == count:
            slot = 0
    return slot, match


@numba.njit(inline="always")
def filled(row, bits, mixed):
    """Return the slot entry of a row."""
    return np.uint32((np.uint64(mixed << bits) & _LOW) | np.uint64(row))


@numba.njit(inline="always")
def _put(slots, bits, mixed, row):
    count = len(slots)
    slot = home(mixed, count)
    while slots[slot] != EMPTY:
        slot += 1
        if slot == count:
            slot = 0
    slots[slot] = filled(row, bits, mixed)


@numba.njit(cache=True, nogil=True)
def rebuild_row_slots(slots, rows, count):
    """Fill empty slots from the rows of `orders` or `sessions`."""
    bits = row_bits(slots)
    for row in range(count):
        _put(slots, bits, mixed_key(rows[row].customer, rows[row].key), row)


@numba.njit(inline="always")
def _same(data, start, length, other, other_start):
    for i in range(length):
        if data[start + i] != other[other_start + i]:
            return False
    return True


@numba.njit(inline="always")
def _find_string(data, start, length, slots, bits, mixed, ends, store):
    """Return slot and number of a string; if there is none, the empty slot for it and -1."""
    count = len(slots)
    tag = np.uint64(mixed << bits) & _LOW
    slot = home(mixed, count)
    match = np.int64(-1)
    while True:
        entry = slots[slot]
        if entry == EMPTY:
            break
        if ((np.uint64(entry) ^ tag) >> bits) == np.uint64(0):
            row = np.int64(np.uint64(entry) ^ tag)
            if ends[row + 1] - ends[row] == length and _same(data, start, length, store, ends[row]):
                match = row
                break
        slot += 1
        if slot == count:
            slot = 0
    return slot, match


@numba.njit(cache=True, nogil=True)
def intern_strings(offsets, data, slots, ends, store, count, codes):
    """Write the number of each string into `codes`, adding unknown ones to the table; return the new count."""
    bits = row_bits(slots)
    for i in range(len(codes)):
        start, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
        key, _ = murmur3_128(data, start, end)
        slot, row = _find_string(data, start, end - start, slots, bits, key, ends, store)
        if row == -1:
            row = np.int64(count)
            at = ends[row]
            for j in range(end - start):
                store[at + j] = data[start + j]
            ends[row + 1] = at + end - start
            slots[slot] = filled(row, bits, key)
            count += 1
        codes[i] = row
    return count


@numba.njit(cache=True, nogil=True)
def find_strings(offsets, data, slots, ends, store, codes):
    """Write the number of each string into `codes`, -1 for unknown ones."""
    bits = row_bits(slots)
    for i in range(len(codes)):
        start, end = np.int64(offsets[i]), np.int64(offsets[i + 1])
        key, _ = murmur3_128(data, start, end)
        _, codes[i] = _find_string(data, start, end - start, slots, bits, key, ends, store)


@numba.njit(cache=True, nogil=True)
def rebuild_string_slots(slots, ends, store, count):
    """Fill empty slots from the strings."""
    bits = row_bits(slots)
    for row in range(count):
        key, _ = murmur3_128(store, ends[row], ends[row + 1])
        _put(slots, bits, key, row)


@numba.njit(inline="always")
def _hours_since(high, hour):
    """Return the hours from `hour` to the hour in an id, both modulo 2^20; negative if the id is earlier."""
    hours = (np.int64(high & _HOUR_BITS) - hour) & _HOURS_MASK
    return hours - _HOURS if hours >= _HALF_HOURS else hours


@numba.njit(inline="always")
def find_id(ids, low, high):
    """Return the slot of an event id, whatever its hour, or the empty slot for it, and whether it is empty."""
    count = len(ids)
    slot = home(low, count)
    is_empty = False
    while True:
        if ids[slot].low == low and ((ids[slot].high ^ high) & ~_HOUR_BITS) == np.uint64(0):
            break
        if ids[slot].low == np.uint64(0) and ids[slot].high == np.uint64(0):
            is_empty = True
            break
        slot += 1
        if slot == count:
            slot = 0
    return slot, is_empty


@numba.njit(inline="always")
def remember(ids, low, high, hour_min):
    """Put an event id into the table.

    An id whose hour is before `hour_min` is forgotten: the new event takes over its slot.

    Returns:
        Whether the event is new, and whether it took an empty slot.
    """
    slot, is_empty = find_id(ids, low, high)
    is_new = is_empty or _hours_since(ids[slot].high, hour_min) < 0
    if is_new:
        ids[slot].low = low
        ids[slot].high = high
    return is_new, is_empty


@numba.njit(cache=True, nogil=True)
def remember_all(ids, new):
    """Put many event ids into the table (restore, growth); return the number of new ones.

    Of an id with several hours the latest is kept: the others were forgotten before it.
    """
    added = 0
    for i in range(len(new)):
        hour = np.int64(new[i].high & _HOUR_BITS)
        _, is_empty = remember(ids, new[i].low, new[i].high, hour)
        added += is_empty
    return added


@numba.njit(cache=True, nogil=True)
def live_ids(ids, hour_min, out):
    """Copy the ids whose hour is `hour_min` or later (modulo 2^20) into `out`; return their number."""
    count = 0
    for slot in range(len(ids)):
        if ids[slot].low == np.uint64(0) and ids[slot].high == np.uint64(0):
            continue
        if _hours_since(ids[slot].high, hour_min) >= 0:
            out[count] = ids[slot]
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def mark_ids(offsets, data, words, low, high):
    """Hash the ids, and set the bit of each: in words[0] for the first id that has it, in words[1] for the others."""
    mask = np.uint64(words.shape[1] * 64 - 1)
    for i in range(len(low)):
        low[i], high[i] = murmur3_128(data, np.int64(offsets[i]), np.int64(offsets[i + 1]))
        at = low[i] & mask
        bit = _ONE << (at & _IN_WORD)
        word = at >> _WORD_BITS
        words[1, word] |= words[0, word] & bit
        words[0, word] |= bit


@numba.njit(cache=True, nogil=True)
def marked_twice(words, low):
    """Return which ids share their bit with another one."""
    mask = np.uint64(words.shape[1] * 64 - 1)
    twice = np.empty(len(low), np.bool_)
    for i in range(len(low)):
        at = low[i] & mask
        twice[i] = (words[1, at >> _WORD_BITS] >> (at & _IN_WORD)) & _ONE != np.uint64(0)
    return twice
