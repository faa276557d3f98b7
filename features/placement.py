"""Decides whether keys are in the partition that a producer's partitioner gives them.

A partition holds its customers completely only if every producer places a key alike. The functions are those of the
common clients, over the UTF-8 bytes of a key:

- `murmur2`: the Java clients' default, also of kafka-python, aiokafka and kafkajs
- `crc32`: librdkafka's default, used by the Confluent clients for Python, Go and .NET
- `fnv1a`: default of the Go clients Sarama and kafka-go
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.records.columns import Int32, Int64, Uint8
from features.records.memory_words import byte_at
from features.schema import PARTITIONERS, Partitioner
from features.state.tables import string_buffers

_MASK = np.uint64(0xFFFFFFFF)
_M = np.uint64(0x5BD1E995)
_MURMUR_SEED = np.uint64(0x9747B28C)
_FNV_PRIME, _FNV_BASIS = np.uint64(0x01000193), np.uint64(0x811C9DC5)


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
def _partitions(kind, data, ends, count, out):
    for i in range(len(out)):
        start, end = np.int64(ends[i]), np.int64(ends[i + 1])
        if kind == 0:
            value = _murmur2(data, start, end)
        elif kind == 1:
            value = _crc32(data, start, end)
        else:
            value = _fnv1a(data, start, end)
        out[i] = value % count


@dataclass(frozen=True, slots=True)
class Placement:
    """Placement of the keys of a run: the partitioner of its producers and the number of partitions of its topics."""

    partitioner: Partitioner
    partitions: int

    def of(self, keys: pa.StringArray) -> Int32:
        """Return the partition of each key; no nulls."""
        return self.of_texts(*string_buffers(keys))

    def of_key(self, key: str) -> int:
        """Return the partition of one key."""
        return int(self.of(pa.array([key], pa.string()))[0])

    def of_texts(self, ends: Int32 | Int64, data: Uint8) -> Int32:
        """Return the partition of each key: the n-th is data[ends[n]:ends[n + 1]]."""
        out = np.empty(len(ends) - 1, np.int32)
        _partitions(PARTITIONERS.index(self.partitioner), data, ends, self.partitions, out)
        return out

    def misplaced(self, keys: pa.StringArray, number: int) -> npt.NDArray[np.bool_]:
        """Return which keys of partition `number` belong in another partition; no nulls."""
        if self.partitions == 1 or not len(keys):
            return np.zeros(len(keys), np.bool_)
        return self.of(keys) != number

    def fault(self, key: str, number: int) -> str:
        """Return the reason why a record of a key in partition `number` is invalid."""
        return (
            f"partition {number}: the partitioner {self.partitioner} puts this key into partition {self.of_key(key)} of "
            f"{self.partitions}, where the customer's other records are"
        )

