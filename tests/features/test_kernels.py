"""The compiled loops hold to the words of the schema, and their hashes to what checkpoints have written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.hashing import murmur3_128
from features.schema import EVENT_TYPES, HOUR_MS
from features.state import hash_index, kernels, row_chains
from features.state.tables import (
    CUSTOMER,
    EVENT_ID,
    ORDER,
    RECENT,
    SESSION,
    VIEW,
    Strings,
    crowded,
    empty_slots,
    grown,
    take,
)

COMPILING = settings(deadline=None)
"""The first call of a loop may compile it."""


def test_constants_are_positions_of_the_schema():
    positions = (kernels._PRODUCT_VIEW, kernels._ADD_TO_CART, kernels._CHECKOUT, kernels._PURCHASE)
    assert positions == tuple(map(EVENT_TYPES.index, ("product_view", "add_to_cart", "checkout", "purchase")))
    # the kernel writes 0, 1 and 4 as they are
    assert [EVENT_TYPES.index(name) for name in ("page_view", "search", "remove_from_cart")] == [0, 1, 4]
    assert kernels._HOUR_MS == HOUR_MS
    assert [f"n_{event_type}" for event_type in EVENT_TYPES] == [n for n in SESSION.names if n.startswith("n_")]


@pytest.mark.parametrize(
    ("table", "size"), [(CUSTOMER, 48), (ORDER, 32), (SESSION, 80), (VIEW, 6), (RECENT, 32), (EVENT_ID, 16)]
)
def test_rows_are_as_small_as_the_documents_say(table, size):
    assert table.itemsize == size


@pytest.mark.parametrize("table", [CUSTOMER, ORDER, SESSION, VIEW, RECENT, EVENT_ID])
def test_taken_rows_hold_all_bytes(table):
    rows = np.random.default_rng(1).integers(0, 256, 7 * table.itemsize, np.uint8).view(table)
    assert take(rows, np.array([6, 0, 6], np.int32)).tolist() == rows[[6, 0, 6]].tolist()
    assert take(rows, np.zeros(0, np.int32)).dtype == table


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (b"", 0, 0),
        (b"hello", 0xCBD8A7B341BD9B02, 0x5B1E906A48AE1D19),
        (b"The quick brown fox jumps over the lazy dog", 0xE34BBC7BBC071B6C, 0x7A433CA9C49A9347),
    ],
)
def test_hash_equals_the_published_values(text, low, high):
    data = np.frombuffer(b"??" + text + b"!", np.uint8)
    assert murmur3_128(data, 2, 2 + len(text)) == (low, high)


@COMPILING
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


def test_slice_of_strings_numbers_its_own_words_only():
    strings = Strings()
    whole = pa.array([f"word {n}" for n in range(5_000)], pa.string())
    assert strings.codes(whole.slice(100, 3)).tolist() == [0, 1, 2]
    assert strings.codes(whole).tolist()[:104] == [*range(3, 103), 0, 1, 2, 103][:104]
    assert strings.count == 5_000


def ids(*pairs) -> np.ndarray:
    return np.array([(low, hour) for low, hour in pairs], EVENT_ID)


def test_ids_expire_by_their_hour_modulo_2_to_the_20():
    table = np.zeros(16, EVENT_ID)
    last = (1 << 20) - 1
    assert hash_index.remember_all(table, ids((1, 100), (2, 101), (3, last), (4, 0), (1, 100))) == 4
    out = np.empty(16, EVENT_ID)
    alive = lambda hour: sorted(out["low"][: hash_index.live_ids(table, hour, out)].tolist())  # noqa: E731
    assert alive(101) == [2]
    assert alive(100) == [1, 2]
    assert alive(last) == [1, 2, 3, 4], "hour 0 is the one after the last"
    assert alive(1 << 20) == [1, 2, 4]


def test_tied_most_viewed_category_is_the_first_word():
    group = np.array([0, 0, 0, 2, 2, 3], np.int32)
    category = np.array([1, 0, 1, 2, 0, 2], np.int32)
    weight = np.array([1, 2, 1, 5, 5, 1], np.int64)
    order = np.array([1, 2, 0], np.int32)  # place of each word in byte order
    top, share = np.empty(4, np.int32), np.empty(4, np.float64)
    row_chains.sum_views(group, category, weight, 4, order, top, share)
    assert top.tolist() == [0, -1, 2, 2]
    assert share.tolist()[0] == 0.5
    assert np.isnan(share[1])
    assert share.tolist()[2:] == [0.5, 1.0]


@COMPILING
@given(st.lists(st.integers(0, 39), max_size=90))
def test_chains_hold_each_row_once(owners):
    owners = np.array(owners, np.int32)
    heads, following = np.full(40, -1, np.int32), np.empty(len(owners), np.int32)
    row_chains.relink(heads, following, owners, len(owners))
    lengths = np.empty(40, np.int32)
    assert row_chains.chain_lengths(heads, following, lengths) == len(owners)
    assert lengths.tolist() == np.bincount(owners, minlength=40).tolist()
    group, out = np.empty(len(owners), np.int32), np.empty(len(owners), np.int32)
    row_chains.gather_chains(heads, following, lengths, group, out)
    assert sorted(out.tolist()) == list(range(len(owners)))
    assert owners[out].tolist() == group.tolist()


def test_growth_preserves_rows_and_happens_only_when_needed():
    rows = np.array([(n, n) for n in range(5)], EVENT_ID)
    assert grown(rows, 5, 5) is rows
    larger = grown(rows, 5, 6)
    assert larger[:5].tolist() == rows.tolist()
    assert not larger["low"][5:].any()
    assert take(rows, np.array([3, 0], np.int32)).tolist() == [(3, 3), (0, 0)]
    assert not any(crowded(empty_slots(n), n * 5 // 4) for n in range(1, 5_000, 7))
    assert crowded(empty_slots(5_000), 6_300)
