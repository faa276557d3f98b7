"""Computes hashes over slices of a byte buffer, compiled: MurmurHash3 of ids, and those of partitioners.

The state stores ids as hashes: MurmurHash3 x64 128 (Austin Appleby, public domain). Event ids are unique across the
shop and have 128 bits. Session and order ids are looked up within one customer and have 64 bits. Checkpoints contain
the hash, so it must never change.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

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


# --- partitioners ----------------------------------------------------------------------------------------------------
_MASK = np.uint64(0xFFFFFFFF)
_M = np.uint64(0x5BD1E995)
_MURMUR_SEED = np.uint64(0x9747B28C)
_FNV_PRIME = np.uint64(0x01000193)
_FNV_BASIS = np.uint64(0x811C9DC5)


def _crc_table() -> npt.NDArray[np.uint64]:
    table = np.arange(256, dtype=np.uint64)
    for _ in range(8):
        table = np.where(table & np.uint64(1), (table >> np.uint64(1)) ^ np.uint64(0xEDB88320), table >> np.uint64(1))
    return table


_CRC_TABLE = _crc_table()


@numba.njit(cache=True)
def _murmur2(data, start, end):
    length = end - start
    h = _MURMUR_SEED ^ np.uint64(length)
    at = start
    while end - at >= 4:
        k = np.uint64(
            byte_at(data, at)
            | (byte_at(data, at + 1) << 8)
            | (byte_at(data, at + 2) << 16)
            | (byte_at(data, at + 3) << 24)
        )
        k = (k * _M) & _MASK
        k = ((k ^ (k >> np.uint64(24))) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
        at += 4
    rest = end - at
    if rest > 0:
        for i in range(rest):
            h ^= np.uint64(byte_at(data, at + i) << (8 * i))
        h = (h * _M) & _MASK
    h = ((h ^ (h >> np.uint64(13))) * _M) & _MASK
    # the Java clients clear the sign
    return np.int64((h ^ (h >> np.uint64(15))) & np.uint64(0x7FFFFFFF))


@numba.njit(cache=True)
def _crc32(data, start, end):
    crc = _MASK
    for at in range(start, end):
        crc = _CRC_TABLE[np.int64((crc ^ np.uint64(byte_at(data, at))) & np.uint64(0xFF))] ^ (crc >> np.uint64(8))
    return np.int64(crc ^ _MASK)


@numba.njit(cache=True)
def _fnv1a(data, start, end):
    h = _FNV_BASIS
    for at in range(start, end):
        h = ((h ^ np.uint64(byte_at(data, at))) * _FNV_PRIME) & _MASK
    # the Go clients take it as a signed number, and its absolute value
    signed = np.int64(h)
    return (1 << 32) - signed if signed >= (1 << 31) else signed


@numba.njit(cache=True, nogil=True)
def key_partitions(kind, data, ends, count, out):
    """Write the partition of each key: the n-th is data[ends[n]:ends[n + 1]].

    Args:
        kind: index into schema.PARTITIONERS.
        data: bytes of the keys, uint8.
        ends: positions in `data`, one more than keys.
        count: number of partitions.
        out: out, int32.
    """
    for i in range(len(out)):
        start, end = np.int64(ends[i]), np.int64(ends[i + 1])
        if kind == 0:
            value = _murmur2(data, start, end)
        elif kind == 1:
            value = _crc32(data, start, end)
        else:
            value = _fnv1a(data, start, end)
        out[i] = value % count
