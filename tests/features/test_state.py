"""The state at its borders: who leaves when, what is remembered, what a large table does as a small one."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.loops import loop_rows
from oracle.rows import assert_same_rows, feature_frame
from oracle.shop import DAY, HOUR, MINUTE
from stream.feeding import as_events, as_orders

import features.state.state
from features.backfill import evaluate_all
from features.schema import ABANDONED_AFTER_MS, EVENT_LATENESS_MS, ORDER_LATENESS_MS, SESSION_RETENTION_MS
from features.state.state import State

NO_ROWS = np.zeros(0, np.int32)
NOW = 20_000 * DAY


@pytest.fixture(autouse=True)
def searching(monkeypatch):
    monkeypatch.setattr(features.state.state, "SCAN_ROWS_MIN", 0)


def click(name: str, ts: int, event_type: str = "page_view", customer: str = "c", **more) -> dict:
    row = {"event_id": f"{name} {ts} {event_type}", "event_type": event_type, "customer_id": customer}
    return row | {"session_id": name, "ts": ts, "device": "mobile"} | more


def order(name: str, ts: int, updated_ts: int | None = None, **more) -> dict:
    row = {"order_id": name, "customer_id": "c", "ts": ts, "updated_ts": ts if updated_ts is None else updated_ts}
    return row | {"status": "placed", "total": 1.0} | more


def events(state: State, *rows: dict) -> int:
    return state.apply_events(as_events(rows)).applied


def orders(state: State, *rows: dict):
    return state.apply_orders(as_orders(rows))


def test_empty_batch_leaves_the_state_empty():
    state = State()
    assert events(state) == 0
    assert len(orders(state).customers) == 0
    assert state.max_event_time == 0
    assert evaluate_all(state, NOW).is_empty()


def test_touched_rows_are_unique():
    state = State()
    touched = state.apply_events(as_events([click("s", NOW), click("s", NOW + 1), click("t", NOW), click("s", NOW)]))
    assert (touched.applied, touched.customers.tolist(), touched.sessions.tolist()) == (3, [0], [0, 1])
    again = state.apply_events(as_events([click("s", NOW)]))
    assert (again.applied, again.customers.tolist(), again.sessions.tolist()) == (0, [], [])
    result = orders(state, order("a", NOW), order("b", NOW), order("a", NOW, NOW + 1), order("b", NOW))
    assert (result.customers.tolist(), result.orders.tolist(), result.won.tolist()) == ([0], [0, 1], [0, 1, 0, -1])


def test_event_id_is_stored_to_the_end_of_its_horizon():
    state = State()
    events(state, click("s", NOW), click("t", NOW + EVENT_LATENESS_MS))
    state.expire(NO_ROWS, NO_ROWS)
    assert events(state, click("s", NOW)) == 0, "not yet passed"
    events(state, click("t", NOW + EVENT_LATENESS_MS + HOUR))
    state.expire(NO_ROWS, NO_ROWS)
    assert state.id_count == 2


def test_session_expires_after_93_days_to_the_millisecond():
    state = State()
    events(state, click("s", NOW), click("u", NOW + SESSION_RETENTION_MS))
    assert state.expire(NO_ROWS, NO_ROWS).sessions is None
    events(state, click("u", NOW + SESSION_RETENTION_MS + 1))
    moved = state.expire(NO_ROWS, NO_ROWS).sessions
    assert moved.tolist() == [-1, 0]
    assert state.session_count == 1


def test_order_expires_after_402_days_and_its_totals_stay():
    state = State()
    rows = [order("a", NOW, total=1.25), order("b", NOW + DAY, status="refunded"), order("z", NOW + ORDER_LATENESS_MS)]
    orders(state, *rows)
    assert state.expire(NO_ROWS, NO_ROWS).orders is None
    rows.append(order("y", NOW + ORDER_LATENESS_MS + 1))
    orders(state, rows[-1])
    assert state.expire(NO_ROWS, NO_ROWS).orders.tolist() == [-1, 0, 1, 2]
    rows.append(order("x", NOW + 3 * ORDER_LATENESS_MS))
    orders(state, rows[-1])
    state.expire(NO_ROWS, NO_ROWS)
    assert state.order_count == 1
    assert_same_rows(
        evaluate_all(state, state.max_event_time), feature_frame(loop_rows([], rows, state.max_event_time))
    )


def test_rows_pending_for_a_sink_do_not_expire():
    state = State()
    events(state, click("s", NOW), click("t", NOW), click("u", NOW + 2 * SESSION_RETENTION_MS))
    orders(state, order("a", NOW), order("b", NOW), order("z", NOW + 2 * ORDER_LATENESS_MS))
    busy = np.array([1], np.int32)
    moved = state.expire(busy, busy)
    assert moved.sessions.tolist() == moved.orders.tolist() == [-1, 0, 1]
    assert state.session_ids(np.array([0, 1], np.int32)) == ["t", "u"]


def test_keep_sessions_prevents_their_expiry():
    state = State()
    events(state, click("s", NOW), click("u", NOW + 9 * SESSION_RETENTION_MS))
    assert state.expire(NO_ROWS, NO_ROWS, keep_sessions=True).sessions is None
    assert state.session_count == 2


def test_first_event_of_a_tie_survives_a_restart_and_a_compaction():
    state = State()
    events(state, click("s", NOW, event_id="b", device="desktop"))
    state.expire(NO_ROWS, NO_ROWS)
    state = State.restore({name: array.copy() for name, array in state.arrays().items()})
    events(state, click("s", NOW, event_id="c", device="tablet"))
    assert state.sessions["device"][0] == 1
    events(state, click("s", NOW, event_id="a", device="tablet"))
    assert state.sessions["device"][0] == 2


def test_cart_is_due_once_and_again_after_new_events():
    state = State()
    wait = ABANDONED_AFTER_MS
    events(state, click("s", NOW, "add_to_cart"), click("t", NOW, "add_to_cart"), click("t", NOW + 1, "purchase"))
    assert state.abandoned(NOW + wait - 1, wait).tolist() == []
    assert state.abandoned(NOW + wait, wait).tolist() == [0]
    assert state.abandoned(NOW + 2 * wait, wait).tolist() == []
    events(state, click("s", NOW + MINUTE))
    assert state.abandoned(NOW + wait, wait).tolist() == []
    assert state.abandoned(NOW + MINUTE + wait, wait).tolist() == [0]
    events(state, click("s", NOW + 2 * MINUTE, "purchase"))
    assert state.abandoned(NOW + DAY, wait).tolist() == []


def test_cart_is_due_again_when_its_document_is_for_an_earlier_time():
    state = State()
    wait, rows = ABANDONED_AFTER_MS, np.array([0], np.int32)
    events(state, click("s", NOW, "add_to_cart"))
    assert state.abandoned(NOW + DAY, wait).tolist() == [0]
    state.watch_carts(rows, NOW + wait, wait)
    assert state.abandoned(NOW + DAY, wait).tolist() == [], "its document says so already"
    state.watch_carts(rows, NOW + wait - 1, wait)
    state.watch_carts(rows, NOW + wait - 1, wait)
    assert state.abandoned(NOW + DAY, wait).tolist() == [0]


def test_session_with_an_open_cart_retains_its_id():
    state = State()
    events(state, click("cart", NOW, "add_to_cart"), click("s", NOW))
    events(state, click("u", NOW + 10 * DAY))
    state.expire(NO_ROWS, NO_ROWS)
    due = state.abandoned(state.max_event_time, ABANDONED_AFTER_MS)
    assert state.session_ids(due) == ["cart"]


def test_session_with_a_pending_cart_does_not_expire():
    state = State()
    events(state, click("s", NOW), click("cart", NOW, "add_to_cart"), click("u", NOW + 2 * SESSION_RETENTION_MS))
    state.expire(NO_ROWS, NO_ROWS)
    due = state.abandoned(state.max_event_time, ABANDONED_AFTER_MS)
    assert state.session_ids(due) == ["cart"]


def test_known_codes_contain_stored_customers_only():
    state = State()
    events(state, click("s", NOW, customer="b"), click("s", NOW, customer="a"))
    assert state.known_codes(["a", "x", "b", "a"]).tolist() == [0, 1]


def test_sessions_and_orders_with_equal_ids_are_separate_by_customer():
    state = State()
    rows = [click("s", NOW, customer=name) for name in "abc"]
    events(state, *(row | {"event_id": row["customer_id"]} for row in rows))
    orders(state, *(order("o", NOW) | {"customer_id": name} for name in "abc"))
    assert (state.session_count, state.order_count) == (3, 3)


def test_new_ids_are_taken_once():
    state = State()
    events(state, click("s", NOW), click("s", NOW + 1))
    assert len(state.take_new_ids()) == 2
    assert len(state.take_new_ids()) == 0
    events(state, click("s", NOW), click("s", NOW + 2))
    assert len(state.take_new_ids()) == 1


def test_tables_that_grow_repeatedly_preserve_their_rows():
    """Thousands of sessions, orders, ids and long names in batches of every size, some of them leaving in between."""
    rng = np.random.default_rng(1)
    state, all_events, all_orders, at = State(), [], [], 0
    for size in (1, 3, 1_000, 2_500, 10, 4_000):
        batch = []
        for n in range(size):
            ts = NOW + (at + n) * 40 * MINUTE
            kind = ("product_view", "add_to_cart", "purchase")[n % 3]
            name, customer = f"s{(at + n) // 2}{'x' * int(rng.integers(60))}", f"c{(at + n) // 4 % 900}"
            batch.append(click(name, ts, kind, customer, category=f"k{rng.integers(30)}"))
        changes = [order(f"o{at + n}", batch[n]["ts"], customer_id=batch[n]["customer_id"]) for n in range(0, size, 3)]
        at += size
        events(state, *batch)
        orders(state, *changes)
        all_events += batch
        all_orders += changes
        state.abandoned(state.max_event_time, ABANDONED_AFTER_MS)
        state.expire(NO_ROWS, NO_ROWS)
        assert events(state, *batch[-50:]) == 0
    as_of = state.max_event_time
    assert_same_rows(evaluate_all(state, as_of), feature_frame(loop_rows(all_events, all_orders, as_of)))
    assert state.session_count < 4_000, "most of them are long over"
    assert len(state.ids) <= 1_024, "48 hours hold 72 events"
