"""Decides whether keys are in the partition that a producer's partitioner gives them.

A partition holds its customers completely only if every producer places a key alike. The functions are those of the
common clients, over the UTF-8 bytes of a key:

- `murmur2`: the Java clients' default, also of kafka-python, aiokafka and kafkajs
- `crc32`: librdkafka's default, used by the Confluent clients for Python, Go and .NET
- `fnv1a`: default of the Go clients Sarama and kafka-go
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.hashing import key_partitions
from features.records.columns import Int32, Int64, Uint8
from features.schema import PARTITIONERS, Partitioner
from features.state.tables import string_buffers


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
        key_partitions(PARTITIONERS.index(self.partitioner), data, ends, self.partitions, out)
        return out

    def misplaced(self, keys: pa.StringArray, number: int) -> npt.NDArray[np.bool_]:
        """Return which keys of partition `number` belong in another partition; no nulls."""
        if self.partitions == 1 or not len(keys):
            return np.zeros(len(keys), np.bool_)
        misplaced: npt.NDArray[np.bool_] = self.of(keys) != number
        return misplaced

    def fault(self, key: str, number: int) -> str:
        """Return the reason why a record of a key in partition `number` is invalid."""
        return (
            f"partition {number}: the partitioner {self.partitioner} puts this key into partition {self.of_key(key)} "
            f"of {self.partitions}, where the customer's other records are"
        )
