"""Rows of few bytes hold what rows of many held: every valid time and amount, and counts of any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream.feeding import as_events, as_orders

import features.state.state
from features.backfill import evaluate_all
from features.definitions import evaluate
from features.records.columns import EventColumns
from features.records.money import to_cents
from features.schema import AMOUNT_MAX, EVENT_TYPES, ORDER_CHANGE_MS_MAX, ORDER_LINES_MAX, TS_MAX
from features.state import kernels, tables
from features.state.hash_index import EMPTY, filled, find_row, home, mixed_key, row_bits
from features.state.int48 import INT48_MAX, NEVER_MAX, NEVER_MIN, fill_int48, high_part, joined, low_part, read_int48
from features.state.session_counts import session_counts, top_categories
from features.state.state import State
from features.state.tables import COUNT_MAX, NONE, carried_word, crowded, empty_slots

PAIR = np.dtype([("ts_low", "u4"), ("ts_high", "u2")])
NO_ROWS = np.zeros(0, np.int32)
NOW = 1_700_000_000_000


@settings(deadline=None)
@given(st.lists(st.integers(0, INT48_MAX), min_size=1))
def test_wide_number_reads_back_as_written(numbers):
    rows = np.zeros(len(numbers), PAIR)
    for row, number in zip(rows, numbers, strict=True):
        row["ts_low"], row["ts_high"] = low_part(np.int64(number)), high_part(np.int64(number))
        assert joined(row["ts_low"], row["ts_high"]) == number
    assert read_int48(rows, "ts").tolist() == numbers
    fill_int48(rows[:1], "ts", numbers[-1])
    assert read_int48(rows, "ts")[0] == numbers[-1]


def test_every_valid_number_is_below_the_never_marker():
    assert NEVER_MAX < 1, "the first valid time"
    assert max(TS_MAX, int(to_cents(np.array([AMOUNT_MAX]))[0])) < NEVER_MIN == INT48_MAX
    assert ORDER_CHANGE_MS_MAX < 1 << 40


def test_compiled_constants_equal_those_of_the_tables():
    assert (kernels._COUNT_MAX, kernels._OPEN_CART, kernels._SEEN, kernels._CARRIED) == (
        tables.COUNT_MAX, tables.OPEN_CART, tables.SEEN, tables.CARRIED,
    )  # fmt: skip
    assert int(kernels._NEVER_LOW) | int(kernels._NEVER_HIGH) << 32 == NEVER_MIN


def order(ts: int, updated_ts: int, total: float, status: str = "placed") -> dict:
    return {"order_id": "o", "customer_id": "c", "ts": ts, "updated_ts": updated_ts, "status": status, "total": total}


def click(n: int, ts: int, session: str = "s") -> dict:
    row = {"event_id": f"{session}{n}", "event_type": "product_view", "customer_id": "c", "session_id": session}
    return row | {"ts": ts, "device": "mobile", "category": "k"}


def test_latest_change_and_highest_amount_fit_a_row():
    state = State()
    ts = NOW
    for updated_ts, total in ((ts, 1.0), (ts + ORDER_CHANGE_MS_MAX, AMOUNT_MAX), (ts + ORDER_CHANGE_MS_MAX - 1, 2.0)):
        state.apply_orders(as_orders([order(ts, updated_ts, total)]))
    tie = state.apply_orders(as_orders([order(ts, ts + ORDER_CHANGE_MS_MAX, AMOUNT_MAX - 0.01)]))
    assert tie.won.tolist() == [NONE], "the higher total wins a tie"
    assert evaluate_all(state, ts + ORDER_CHANGE_MS_MAX)["revenue_total"].to_list() == [AMOUNT_MAX]


def test_session_of_maximum_length_fits_a_row():
    state = State()
    columns = as_events([click(0, NOW), click(1, NOW)])
    state.apply_events(_at(columns, np.array([1, TS_MAX])))
    sessions = state.sessions[:1]
    assert [read_int48(sessions, name)[0] for name in ("start", "last", "first_view")] == [1, TS_MAX, 1]
    assert read_int48(sessions, "first_cart")[0] == NEVER_MIN
    row = evaluate_all(state, TS_MAX).row(0, named=True)
    assert (row["first_seen_ts"], row["last_seen_ts"], row["last_order_ts"]) == (1, TS_MAX, None)


def _at(columns: EventColumns, ts) -> EventColumns:
    return EventColumns(**{name: getattr(columns, name) for name in columns.__slots__} | {"ts": ts})


def views(state: State, count: int, first: int, session: str = "s") -> None:
    state.apply_events(as_events([click(n, NOW + n, session) for n in range(first, first + count)]))


@pytest.mark.parametrize("above", [-1, 0, 1, 2])
def test_count_above_its_field_width_is_exact(above, monkeypatch):
    """As it is after each event around the border, in the features, the category's tally, a restart and an expiry."""
    monkeypatch.setattr(features.state.state, "SCAN_ROWS_MIN", 0)
    state = State()
    views(state, 1, 0, "t")
    views(state, 3, 0)
    # as if the session had come so far already: all of its views but the last few, in its count and its tally
    row = state.session_count - 1
    state.sessions["n_product_view"][row] += COUNT_MAX - 4
    state.views["count"][state.sessions["views"][row]] += COUNT_MAX - 4
    views(state, above + 1, 3)
    total = COUNT_MAX + above
    for _ in range(2):
        sessions = state.sessions[: state.session_count]
        assert session_counts(state, sessions)["n_product_view"].tolist() == [1, total]
        assert sum(count.sum() for count in session_counts(state, sessions).values()) == 1 + total
        result = evaluate_all(state, NOW + total).row(0, named=True)
        assert (result["product_views_30d"], result["events_30d"]) == (1 + total, 1 + total)
        assert (result["top_category_90d"], result["top_category_share_90d"]) == ("k", 1.0)
        state.expire(NO_ROWS, NO_ROWS)
        state = State.restore({name: array.copy() for name, array in state.arrays().items()})


def test_carries_are_counted_by_type_without_category():
    state = State()
    views(state, 1, 0)
    state.sessions["n_purchase"][0] = COUNT_MAX
    bought = as_events([click(n, NOW + n) for n in (1, 2)])
    kinds = np.full(2, EVENT_TYPES.index("purchase"), np.uint8)
    state.apply_events(EventColumns(**{n: getattr(bought, n) for n in bought.__slots__} | {"event_type": kinds}))
    assert session_counts(state, state.sessions[:1])["n_purchase"].tolist() == [COUNT_MAX + 2]
    assert session_counts(state, state.sessions[:1])["n_product_view"].tolist() == [1]
    assert state.views["category"][: state.view_count].tolist() == [0, carried_word(EVENT_TYPES.index("purchase"))]
    top, share = top_categories(state, np.zeros(1, np.int32), state.sessions[:1], 1)
    assert (top.tolist(), share.tolist()) == ([0], [1.0])
    assert evaluate(state, np.zeros(1, np.int32), NOW + 2)["converted_sessions_30d"].to_list() == [1]


def test_hash_table_of_any_size_returns_its_own_keys_only():
    """Full to the last slot that is used: rows of equal tags, and searches that pass the end of the table."""
    for size in (5, 16, 1_025):
        slots = np.full(size, EMPTY, np.uint32)
        rows = np.zeros(size * 7 // 8, tables.ORDER)
        rows["customer"] = np.arange(len(rows)) % 3
        rows["key"] = np.arange(len(rows), dtype=np.uint64) // 3 << np.uint64(50)
        bits = row_bits(slots)
        for number, row in enumerate(rows):
            mixed = np.uint64(mixed_key(row["customer"], row["key"]))
            slot, result = find_row(rows, slots, bits, row["customer"], row["key"], mixed)
            assert result == NONE
            assert 0 <= home(mixed, size) < size
            slots[slot] = filled(number, bits, mixed)
            assert slots[slot] != EMPTY
        for number, row in enumerate(rows):
            mixed = np.uint64(mixed_key(row["customer"], row["key"]))
            assert find_row(rows, slots, bits, row["customer"], row["key"], mixed)[1] == number
            assert find_row(rows, slots, bits, np.int32(9), row["key"], mixed)[1] == NONE
    assert not crowded(empty_slots(2_000_000), 2_400_000)
    assert len(empty_slots(7_500_000)) * 4 < 7_500_000 * 6


def test_more_lines_than_a_row_can_count_are_an_error():
    assert ORDER_LINES_MAX < tables.LINES_MAX == np.iinfo(tables.ORDER["lines"]).max
    batch = as_orders([order(NOW, NOW, 1.0)])
    most = replace(batch, lines=np.array([tables.LINES_MAX], np.int32))
    state = State()
    state.apply_orders(most)
    assert state.orders["lines"][0] == tables.LINES_MAX
    with pytest.raises(ValueError, match="65536 lines"):
        state.apply_orders(replace(batch, lines=np.array([tables.LINES_MAX + 1], np.int32)))
