"""Laws of the state: order of arrival, batches, partitions, restarts and letting go change nothing in a row."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.loops import all_of, in_log, loop_rows
from oracle.rows import assert_same_rows, feature_frame
from oracle.shop import DAY
from oracle.strategies import arrivals, cuts, homes, streams
from stream.feeding import as_events, as_orders

import features.state.state
from features.backfill import evaluate_all
from features.definitions import ROW_SCHEMA
from features.state.state import State
from features.state.tables import EVENT_ID

NO_ROWS = features.state.state._NO_ROWS
LATER = (0, 1, 7 * DAY - 1, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def searching(monkeypatch):
    """Every table is searched for what may leave whenever it is asked to."""
    monkeypatch.setattr(features.state.state, "SCAN_ROWS_MIN", 0)


def apply(state: State, records) -> None:
    state.apply_events(as_events([row for topic, row in records if topic == "events"]))
    state.apply_orders(as_orders([row for topic, row in records if topic == "orders"]))


def restarted(state: State) -> State:
    """As a checkpoint keeps it: copies of the arrays, the event ids beside them."""
    arrays = {name: array.copy() for name, array in state.arrays().items()}
    ids = state.ids[(state.ids["low"] != 0) | (state.ids["high"] != 0)]
    fresh = State.restore(arrays)
    fresh.remember(ids.astype(EVENT_ID))
    return fresh


def assert_same_arrays(got, expected) -> None:
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        assert np.array_equal(got[name], array), name


def rows_of(states, as_of: int) -> pl.DataFrame:
    return pl.concat([evaluate_all(state, as_of) for state in states])


def expected(records, as_of: int, home) -> pl.DataFrame:
    """By the log of each partition: of the events of one id the first counts."""
    events = []
    for number in set(home.values()):
        events += in_log(row for topic, row in records if topic == "events" and home[row["customer_id"]] == number)
    orders = [row for topic, row in records if topic == "orders"]
    return feature_frame(loop_rows(events, orders, as_of, all_of))


@MANY
@given(st.data())
def test_rows_at_every_prefix_equal_the_oracle(data):
    stream = data.draw(streams())
    arrived = data.draw(arrivals(stream))
    partitions = data.draw(st.integers(1, 4))
    home = data.draw(homes(stream, partitions))
    states = [State() for _ in range(partitions)]
    before = 0
    for end in [*data.draw(cuts(len(arrived), 4)), len(arrived)]:
        for number, state in enumerate(states):
            apply(state, [record for record in arrived[before:end] if home[record[1]["customer_id"]] == number])
        before = end
        happens = data.draw(st.sampled_from(("nothing", "expire", "restart", "both")))
        if happens in ("expire", "both"):
            for state in states:
                state.expire(NO_ROWS, NO_ROWS)
        if happens in ("restart", "both"):
            states = [restarted(state) for state in states]
        as_of = max(state.max_event_time for state in states) + data.draw(st.sampled_from(LATER))
        assert_same_rows(rows_of(states, as_of), expected(arrived[:end], as_of, home))


@MANY
@given(st.data())
def test_any_two_orders_of_arrival_give_the_same_rows(data):
    """Unbounded disorder: the state by itself knows no too late while nothing has left it."""
    stream = data.draw(streams(again=False))
    records = [*(("events", e) for e in stream.events), *(("orders", o) for o in stream.orders)]
    entries = []
    for _ in range(2):
        arrived = data.draw(st.permutations(records))
        state, before = State(), 0
        for end in [*data.draw(cuts(len(records), 3)), len(records)]:
            apply(state, arrived[before:end])
            before = end
        entries.append(evaluate_all(state, stream.end).sort("customer_id"))
    assert entries[0].equals(entries[1])
    assert entries[0].schema == pl.Schema(ROW_SCHEMA)


@MANY
@given(st.data())
def test_batch_applied_twice_equals_applied_once(data):
    """What was read again after a crash: events by their ids, orders by their records."""
    stream = data.draw(streams(again=False))
    arrived = data.draw(arrivals(stream))
    once, twice = State(), State()
    apply(once, arrived)
    apply(twice, arrived)
    twice = restarted(twice)
    assert twice.apply_events(as_events(stream.events)).applied == 0
    apply(twice, arrived)
    rows = evaluate_all(once, stream.end).sort("customer_id")
    assert evaluate_all(twice, stream.end).sort("customer_id").equals(rows)
    assert_same_arrays(once.arrays(), twice.arrays())


@MANY
@given(st.data())
def test_restored_state_equals_the_saved_state(data):
    stream = data.draw(streams())
    state = State()
    apply(state, data.draw(arrivals(stream)))
    assert_same_arrays(restarted(state).arrays(), state.arrays())
