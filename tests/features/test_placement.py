"""Partitions of keys, against the functions' specifications in plain Python. `tests/consumers` has the real client."""

import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.placement import Placement
from features.schema import PARTITIONERS

PUBLISHED_MURMUR2 = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "abc": 479470107}
"""Signed values of the tests of Apache Kafka's clients."""
MANY = 2**31 - 1
"""Partitions of which the remainder is the hash itself, but for the largest hashes."""


def murmur2(key: bytes) -> int:
    m, h = 0x5BD1E995, (0x9747B28C ^ len(key)) & 0xFFFFFFFF
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ ((k ^ (k >> 24)) * m & 0xFFFFFFFF)
    if key[whole:]:
        h = (h ^ int.from_bytes(key[whole:], "little")) * m & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * m & 0xFFFFFFFF
    return (h ^ (h >> 15)) & 0x7FFFFFFF


def fnv1a(key: bytes) -> int:
    h = 0x811C9DC5
    for byte in key:
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return abs(h - 2**32 if h >= 2**31 else h)


SPECIFIED = {"murmur2": murmur2, "crc32": zlib.crc32, "fnv1a": fnv1a}


@pytest.mark.parametrize("name", PARTITIONERS)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=30), st.integers(1, 100) | st.just(MANY))
def test_partitions_are_those_of_the_specification(name, keys, partitions):
    expected = [SPECIFIED[name](key.encode()) % partitions for key in keys]
    texts = pa.array(["another", *keys], pa.string())[1:]
    assert Placement(name, partitions).of(texts).tolist() == expected
    assert [Placement(name, partitions).of_key(key) for key in keys] == expected


def test_murmur2_gives_the_published_values():
    for key, value in PUBLISHED_MURMUR2.items():
        assert Placement("murmur2", MANY).of_key(key) == (value & 0x7FFFFFFF) % MANY


@pytest.mark.parametrize("name", PARTITIONERS)
def test_keys_of_other_partitions_are_misplaced(name):
    keys = [f"customer-{n}" for n in range(200)]
    found = Placement(name, 3).misplaced(pa.array(keys), 1)
    assert found.tolist() == [SPECIFIED[name](key.encode()) % 3 != 1 for key in keys]
    assert 0 < found.sum() < 200


def test_no_key_is_misplaced_in_the_only_partition():
    assert not Placement("murmur2", 1).misplaced(pa.array(["a", "b"]), 0).any()
    assert len(Placement("murmur2", 3).misplaced(pa.array([], pa.string()), 0)) == 0


def test_reason_names_both_partitions_and_the_partitioner():
    right = murmur2(b"customer-7") % 4
    reason = Placement("murmur2", 4).fault("customer-7", (right + 1) % 4)
    assert f"partition {(right + 1) % 4}: the partitioner murmur2 puts this key into partition {right} of 4" in reason


def test_texts_of_the_state_are_placed_like_keys():
    keys = [f"k{n}" for n in range(50)]
    data = np.frombuffer("".join(keys).encode(), np.uint8)
    ends = np.cumsum([0, *map(len, keys)]).astype(np.int64)
    assert Placement("crc32", 7).of_texts(ends, data).tolist() == [zlib.crc32(key.encode()) % 7 for key in keys]
