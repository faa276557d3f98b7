"""The compiled loops hold to the words of the schema, and their hashes to what checkpoints have written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import kernels
from features.hashing import murmur3_128
from features.schema import EVENT_TYPES, HOUR_MS
from features.tables import CUSTOMER, EVENT_ID, ORDER, RECENT, SESSION, VIEW, Strings, grown, slots_for, take


def test_constants_are_positions_of_the_schema():
    positions = (kernels._PRODUCT_VIEW, kernels._ADD_TO_CART, kernels._CHECKOUT, kernels._PURCHASE)
    assert positions == tuple(map(EVENT_TYPES.index, ("product_view", "add_to_cart", "checkout", "purchase")))
    # the kernel writes 0, 1 and 4 as they are
    assert [EVENT_TYPES.index(name) for name in ("page_view", "search", "remove_from_cart")] == [0, 1, 4]
    assert kernels._HOUR_MS == HOUR_MS
    assert [f"n_{event_type}" for event_type in EVENT_TYPES] == [n for n in SESSION.names if n.startswith("n_")]


@pytest.mark.parametrize("table", [CUSTOMER, ORDER, SESSION, VIEW, RECENT, EVENT_ID])
def test_rows_are_whole_words(table):
    """`take` moves words of 8 bytes."""
    assert table.itemsize % 8 == 0


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (b"", 0, 0),
        (b"hello", 0xCBD8A7B341BD9B02, 0x5B1E906A48AE1D19),
        (b"The quick brown fox jumps over the lazy dog", 0xE34BBC7BBC071B6C, 0x7A433CA9C49A9347),
    ],
)
def test_the_hash_is_the_published_one(text, low, high):
    data = np.frombuffer(b"??" + text + b"!", np.uint8)
    assert murmur3_128(data, 2, 2 + len(text)) == (low, high)


@given(st.lists(st.text(max_size=40), max_size=80), st.lists(st.text(max_size=40), max_size=20))
def test_strings_are_numbered_by_first_appearance(words, others):
    strings = Strings()
    known: dict[str, int] = {}
    codes = strings.codes(pa.array(words, pa.string()))
    assert codes.tolist() == [known.setdefault(word, len(known)) for word in words]
    assert strings.find(pa.array(others, pa.string())).tolist() == [known.get(word, -1) for word in others]
    assert strings.array().to_pylist() == list(known)
    again = Strings.restore(**strings.arrays())
    assert again.find(pa.array(words, pa.string())).tolist() == codes.tolist()
    with_null = pa.array([None, *words[:3]], pa.string())
    assert strings.take(np.array([-1, *codes[:3]], np.int32)).to_pylist() == with_null.to_pylist()


def test_strings_of_a_slice():
    strings = Strings()
    whole = pa.array([f"word {n}" for n in range(5_000)], pa.string())
    assert strings.codes(whole.slice(100, 3)).tolist() == [0, 1, 2]
    assert strings.codes(whole).tolist()[:104] == [*range(3, 103), 0, 1, 2, 103][:104]
    assert strings.count == 5_000


def ids(*pairs) -> np.ndarray:
    return np.array([(low, hour) for low, hour in pairs], EVENT_ID)


def test_ids_live_by_their_hour_modulo_2_to_the_20():
    table = np.zeros(16, EVENT_ID)
    last = (1 << 20) - 1
    assert kernels.remember_all(table, ids((1, 100), (2, 101), (3, last), (4, 0), (1, 100))) == 4
    out = np.empty(16, EVENT_ID)
    alive = lambda hour: sorted(out["low"][: kernels.live_ids(table, hour, out)].tolist())  # noqa: E731
    assert alive(101) == [2]
    assert alive(100) == [1, 2]
    assert alive(last) == [1, 2, 3, 4], "hour 0 is the one after the last"
    assert alive(1 << 20) == [1, 2, 4]


def test_the_most_viewed_category_and_its_ties():
    group = np.array([0, 0, 0, 2, 2, 3], np.int32)
    category = np.array([1, 0, 1, 2, 0, 2], np.int32)
    weight = np.array([1, 2, 1, 5, 5, 1], np.int64)
    order = np.array([1, 2, 0], np.int32)  # place of each word in byte order
    top, share = np.empty(4, np.int32), np.empty(4, np.float64)
    kernels.sum_views(group, category, weight, 4, order, top, share)
    assert top.tolist() == [0, -1, 2, 2]
    assert share.tolist()[0] == 0.5
    assert np.isnan(share[1])
    assert share.tolist()[2:] == [0.5, 1.0]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_chains_hold_each_row_once(owners):
    owners = np.array(owners, np.int32)
    heads, following = np.full(5, -1, np.int32), np.empty(len(owners), np.int32)
    kernels.relink(heads, following, owners, len(owners))
    assert kernels.chain_lengths(heads, following) == len(owners)
    group, out = np.empty(len(owners), np.int32), np.empty(len(owners), np.int32)
    kernels.gather_chains(heads, following, group, out)
    assert sorted(out.tolist()) == list(range(len(owners)))
    assert owners[out].tolist() == group.tolist()


def test_growth_keeps_rows_and_does_not_grow_without_need():
    rows = np.array([(n, n) for n in range(5)], EVENT_ID)
    assert grown(rows, 5, 5) is rows
    larger = grown(rows, 5, 6)
    assert larger[:5].tolist() == rows.tolist()
    assert not larger["low"][5:].any()
    assert take(rows, np.array([3, 0], np.int32)).tolist() == [(3, 3), (0, 0)]
    assert all(slots_for(n) * 2 >= n * 3 for n in range(1, 5_000, 7))
