"""Events of one id: in a log the first counts, in an archive the earliest, for 48 hours."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.loops import in_archive, loop_rows
from oracle.rows import assert_same_rows, feature_frame
from oracle.shop import DAY, HOUR, MINUTE
from oracle.strategies import EPOCH, cuts, streams
from stream.feeding import as_events

import features.state.state
from features.backfill import ArchiveCounts, rows_at
from features.schema import EVENT_LATENESS_MS, HOUR_MS, Event, Order, arrow_schema
from features.state import kernels, repetitions
from features.state.repetitions import earliest_first
from features.state.state import State

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NO_ROWS = np.zeros(0, np.int32)
NOW = EPOCH + 30 * MINUTE


@pytest.fixture(autouse=True)
def searching(monkeypatch):
    """Every table is searched for what may leave whenever it is asked to."""
    monkeypatch.setattr(features.state.state, "SCAN_ROWS_MIN", 0)


def click(event_id: str, ts: int, session: str = "s", **fields):
    row = {"event_id": event_id, "event_type": "search", "customer_id": "c", "session_id": session, "ts": ts}
    return row | {"device": "mobile"} | fields


def applied(state: State, *rows) -> int:
    return state.apply_events(as_events(rows)).applied


def test_ids_are_remembered_for_the_lateness_of_events():
    assert kernels._REMEMBERED_HOURS * HOUR_MS == EVENT_LATENESS_MS


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("clock", "ts", "new"),
    [
        (NOW, NOW + 1, 0),
        (NOW, NOW - HOUR, 0),
        (NOW + HOUR, NOW + HOUR, 0),
        (NOW + 48 * HOUR, NOW + HOUR, 0),
        (NOW + 49 * HOUR - 30 * MINUTE - 1, NOW + HOUR, 0),
        (NOW + 49 * HOUR - 30 * MINUTE, NOW + HOUR, 1),
        (NOW, NOW + 48 * HOUR, 0),
        (NOW, NOW + 49 * HOUR - 30 * MINUTE - 1, 0),
        (NOW, NOW + 49 * HOUR - 30 * MINUTE, 1),
        (NOW + 100 * HOUR, NOW + 90 * HOUR, 1),
    ],
)
def test_an_id_is_known_until_its_hour_is_more_than_48_ago(clock, ts, new, compacted, restarted):
    """By the running clock of the log, or by the repetition itself."""
    state = State()
    assert applied(state, click("e", NOW), click("clock", clock, "t")) == 2
    if compacted:
        state.expire(NO_ROWS, NO_ROWS)
    if restarted:
        arrays, ids = state.arrays(), state.take_new_ids()
        state = State.restore({name: array.copy() for name, array in arrays.items()})
        state.remember(ids)
    assert applied(state, click("e", ts, "u")) == new
    assert applied(state, click("e", ts, "u")) == 0, "what came first is remembered, or what took its place"
    in_one_batch = State()
    rows = (click("e", NOW), click("clock", clock, "t"), click("e", ts, "u"), click("e", ts, "u"))
    assert applied(in_one_batch, *rows) == 2 + new


def test_a_new_event_takes_over_the_slot_of_a_forgotten_one():
    state = State()
    for n in range(40):
        assert applied(state, click("e", NOW + n * 50 * HOUR, f"s{n}")) == 1
    assert state.id_count == 1
    assert len(state.take_new_ids()) == 40


@pytest.mark.parametrize("newest_first", [False, True])
def test_of_a_restored_id_the_later_hour_counts(newest_first):
    state = State()
    applied(state, click("e", NOW), click("e", NOW + 60 * HOUR, "t"))
    ids = state.take_new_ids()
    assert len(ids) == 2
    again = State.restore({name: array.copy() for name, array in state.arrays().items()})
    again.remember(ids[::-1] if newest_first else ids)
    assert again.id_count == 1
    assert applied(again, click("e", NOW + 61 * HOUR, "u")) == 0


# --- archives ---


def tables(rows, record, ends):
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=arrow_schema(record))
    return [table.slice(start, end - start) for start, end in zip([0, *ends], [*ends, len(rows)], strict=True)]


@MANY
@given(st.data())
def test_rows_of_an_archive_do_not_depend_on_the_order_of_its_rows(data):
    stream = data.draw(streams())
    days = sorted({e["ts"] // DAY for e in stream.events} | {o["updated_ts"] // DAY for o in stream.orders})
    batches = {}
    for day in days:
        events = data.draw(st.permutations([e for e in stream.events if e["ts"] // DAY == day]))
        orders = [o for o in stream.orders if o["updated_ts"] // DAY == day]
        batches["events", day] = tables(events, Event, data.draw(cuts(len(events), 3)))
        batches["orders", day] = tables(orders, Order, [])
    times = [e["ts"] for e in stream.events] or [EPOCH]
    cutoffs = sorted({stream.end, *data.draw(st.lists(st.sampled_from(times), max_size=3))})
    counts = ArchiveCounts()
    for as_of, rows in rows_at(days, lambda topic, day: batches[topic, day], cutoffs, counts):
        assert_same_rows(rows, feature_frame(loop_rows(stream.events, stream.orders, as_of)))
    assert counts.duplicates == len(stream.events) - len(in_archive(stream.events))


def test_later_events_of_an_id_are_separated_in_the_order_of_time():
    rows = [click("a", 5), click("b", 3), click("a", 4), click("c", 9), click("a", 9), click("b", 3), click("b", 8)]
    first, again = earliest_first([as_events(rows[:3]), as_events([]), as_events(rows[3:])])
    assert [(i, t) for b in first for i, t in zip(b.event_id.to_pylist(), b.ts.tolist(), strict=True)] == [
        ("b", 3), ("a", 4), ("c", 9), ("b", 3),
    ]  # fmt: skip
    assert list(zip(again.event_id.to_pylist(), again.ts.tolist(), strict=True)) == [("a", 5), ("b", 8), ("a", 9)]


@pytest.mark.parametrize("batches", [[[1, 1, 2]], [[1], [], [1, 3], [3]], []])
def test_batches_in_the_order_of_time_are_left_as_they_are(monkeypatch, batches):
    monkeypatch.setattr(repetitions, "_later", None)
    given_batches = [as_events([click("e", ts) for ts in times]) for times in batches]
    assert earliest_first(given_batches) == (given_batches, None)


def test_thousands_of_events_are_separated_as_by_a_dictionary():
    rng = np.random.default_rng(3)
    rows = [click(f"e{rng.integers(5_000)}", NOW + int(rng.integers(DAY))) for _ in range(9_000)]
    first, again = earliest_first([as_events(rows[:4_000]), as_events(rows[4_000:])])
    earliest = {}
    for row in rows:
        earliest[row["event_id"]] = min(row["ts"], earliest.get(row["event_id"], row["ts"]))
    kept = Counter((i, t) for b in first for i, t in zip(b.event_id.to_pylist(), b.ts.tolist(), strict=True))
    assert set(kept) == set(earliest.items())
    assert again.ts.tolist() == sorted(again.ts.tolist())
    later = Counter(zip(again.event_id.to_pylist(), again.ts.tolist(), strict=True))
    assert kept + later == Counter((row["event_id"], row["ts"]) for row in rows)
