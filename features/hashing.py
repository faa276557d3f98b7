"""Computes MurmurHash3 x64 128 (Austin Appleby, public domain) over slices of a byte buffer, compiled.

The state stores ids as hashes. Event ids are unique across the shop and have 128 bits. Session and order ids are looked
up within one customer and have 64 bits. Checkpoints contain the hash, so it must never change.
"""

from __future__ import annotations

import numba
import numpy as np

from features.records.memory_words import byte_at, eight_at

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_F1 = np.uint64(0xFF51AFD7ED558CCD)
_F2 = np.uint64(0xC4CEB9FE1A85EC53)
_N1 = np.uint64(0x52DCE729)
_N2 = np.uint64(0x38495AB5)
_FIVE = np.uint64(5)
_ZERO = np.uint64(0)
_EIGHT = np.uint64(8)


@numba.njit(inline="always")
def _rotate(value, bits):
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@numba.njit(inline="always")
def _finish(value):
    value ^= value >> np.uint64(33)
    value *= _F1
    value ^= value >> np.uint64(33)
    value *= _F2
    return value ^ (value >> np.uint64(33))


@numba.njit(inline="always")
def _rest(data, start, length):
    """Return fewer than eight bytes as one number."""
    word = _ZERO
    for i in range(length):
        word |= np.uint64(byte_at(data, start + i)) << np.uint64(8 * i)
    return word


@numba.njit(cache=True)
def murmur3_128(data, start, end):
    """Return both 64-bit halves of the hash of data[start:end] (uint8), seed 0."""
    h1, h2 = _ZERO, _ZERO
    length = end - start
    position = start
    while end - position >= 16:
        k1 = eight_at(data, position)
        k2 = eight_at(data, position + 8)
        position += 16
        h1 ^= _rotate(k1 * _C1, 31) * _C2
        h1 = (_rotate(h1, 27) + h2) * _FIVE + _N1
        h2 ^= _rotate(k2 * _C2, 33) * _C1
        h2 = (_rotate(h2, 31) + h1) * _FIVE + _N2
    rest = end - position
    if rest > 8:
        h2 ^= _rotate(_rest(data, position + 8, rest - 8) * _C2, 33) * _C1
    if rest > 0:
        h1 ^= _rotate((eight_at(data, position) if rest >= 8 else _rest(data, position, rest)) * _C1, 31) * _C2
    h1 ^= np.uint64(length)
    h2 ^= np.uint64(length)
    h1 += h2
    h2 += h1
    h1 = _finish(h1)
    h2 = _finish(h2)
    h1 += h2
    h2 += h1
    return h1, h2
