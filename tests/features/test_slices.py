"""A state in slices is the state: whatever the groups, joined in any order, and whatever comes after."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.strategies import arrivals, cuts, streams
from stream.feeding import as_events, as_orders

import features.state.state
from features.backfill import evaluate_all
from features.schema import ABANDONED_AFTER_MS
from features.state.slices import Slice, join, split
from features.state.state import State

MANY = settings(max_examples=80, deadline=None)


@pytest.fixture(autouse=True)
def searching(monkeypatch):
    monkeypatch.setattr(features.state.state, "SCAN_ROWS_MIN", 0)


def apply(state: State, records) -> None:
    state.apply_events(as_events([row for topic, row in records if topic == "events"]))
    state.apply_orders(as_orders([row for topic, row in records if topic == "orders"]))


def rows(state: State, as_of: int):
    return evaluate_all(state, as_of).sort("customer_id")


def sessions(state: State):
    """Of each session that still has its strings: id, customer, the event that began it, its times and marks."""
    entries = []
    for recent in state.recent[: state.recent_count]:
        session = state.sessions[recent["session"]]
        text = [
            state.recent_bytes[recent[name] : recent[name] + recent[f"{name}_length"]].tobytes()
            for name in ("session_id", "event_id")
        ]
        owner = state.customer_ids.array()[int(session["customer"])].as_py()
        entries.append((owner, *text, *session[["key", "start_low", "last_low", "n_product_view", "marks"]].tolist()))
    return sorted(entries)


@MANY
@given(st.data())
def test_split_and_joined_state_equals_the_whole(data):
    stream = data.draw(streams())
    arrived = data.draw(arrivals(stream))
    whole, parted = State(), State()
    before = 0
    for end in [*data.draw(cuts(len(arrived), 3)), len(arrived)]:
        for state in (whole, parted):
            apply(state, arrived[before:end])
            state.abandoned(state.max_event_time, ABANDONED_AFTER_MS)
        before = end
        ids = parted.ids[(parted.ids["low"] != 0) | (parted.ids["high"] != 0)]
        groups = data.draw(st.integers(1, 5))
        group = data.draw(
            st.lists(st.integers(0, groups - 1), min_size=parted.customer_count, max_size=parted.customer_count)
        )
        slices = split(parted, np.array(group, np.int32), groups)
        restored = [msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=Slice) for part in slices]
        words, highs = parted.words, (parted.high_events, parted.high_orders)
        parted = join(data.draw(st.permutations(restored)), words, *highs)
        parted.remember(ids)
        as_of = whole.max_event_time + data.draw(st.sampled_from((0, 1, 1_800_000, 86_400_000 * 7)))
        assert rows(parted, as_of).equals(rows(whole, as_of))
        assert sessions(parted) == sessions(whole)
        assert parted.open_count == whole.open_count
        assert (parted.order_count, parted.session_count) == (whole.order_count, whole.session_count)


@MANY
@given(st.data())
def test_unchanged_slice_has_the_same_bytes(data):
    """Otherwise every cell that is looked at would be written again."""
    state = State()
    apply(state, data.draw(arrivals(data.draw(streams()))))
    group = np.arange(state.customer_count, dtype=np.int32) % 2
    once = split(state, group, 2)
    again = join(once, state.words, state.high_events, state.high_orders)
    # the slices come one after the other
    regrouped = np.repeat(np.arange(2, dtype=np.int32), np.bincount(group, minlength=2))
    assert split(again, regrouped, 2) == once


def test_empty_state_splits_and_joins():
    assert split(State(), np.zeros(0, np.int32), 3) == [Slice()] * 3
    assert join([], State().words, 0, 0).customer_count == 0
    assert join([Slice(), Slice()], State().words, 5, 6).max_event_time == 6


def test_slices_of_some_customers_join_without_the_others():
    """The rows of some customers do not hang on the others."""
    start = 1_700_000_000_000
    clicks = [
        {"event_id": f"e{n}", "event_type": "product_view", "customer_id": f"c{n % 3}", "session_id": f"s{n % 4}"}
        | {"ts": start + n * 60_000, "device": "mobile", "category": f"k{n % 5}"}
        for n in range(60)
    ]
    orders = [
        {"order_id": f"o{n}", "customer_id": f"c{n % 3}", "ts": start + n, "updated_ts": start + n, "status": "placed"}
        | {"total": n + 0.5}
        for n in range(10)
    ]
    state = State()
    apply(state, [*(("events", row) for row in clicks), *(("orders", row) for row in orders)])
    slices = split(state, np.arange(3, dtype=np.int32), 3)
    for number in range(3):
        alone = join([slices[number]], state.words, state.high_events, state.high_orders)
        expected = rows(state, start + 86_400_000)
        assert rows(alone, start + 86_400_000).equals(expected.filter(expected["customer_id"] == f"c{number}"))
