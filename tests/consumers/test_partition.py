"""One partition: topics read in step, verdicts record by record, positions that lose nothing.

The reference reads one message at a time and knows neither batches nor chunks.
"""

from __future__ import annotations

import json
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.loops import in_log, loop_rows
from oracle.rows import assert_same_rows, feature_frame
from oracle.shop import DAY, HOUR
from oracle.strategies import streams
from oracle.wire import LATENESS, TIME_FIELD, bad_messages
from stream.feeding import as_batch, message

import features.state.state
from consumers.checkpoints.recovery import empty, restore, snapshot
from consumers.state.partition import PartitionState
from features.backfill import evaluate_all
from features.schema import EVENT_LATENESS_MS, ORDER_LATENESS_MS
from features.state.int48 import read_int48

TIMED = ("events", "orders")
SINK = "elastic"
BAD = [m for m in bad_messages(1_000_000_000_000) if m.kind != "future"]
MANY = settings(max_examples=80, deadline=None)


@pytest.fixture(autouse=True)
def searching(monkeypatch):
    monkeypatch.setattr(features.state.state, "SCAN_ROWS_MIN", 0)


def fresh() -> PartitionState:
    return empty(0, [SINK], contact=False)


def click(ts: int, n: int = 0, customer: str = "c") -> dict:
    row = {"event_id": f"e{n}-{ts}", "event_type": "page_view", "customer_id": customer, "session_id": f"s{ts // DAY}"}
    return row | {"ts": ts, "device": "mobile"}


def order(ts: int, updated_ts: int | None = None, n: int = 0, customer: str = "c") -> dict:
    row = {"order_id": f"o{n}-{ts}", "customer_id": customer, "ts": ts, "status": "placed", "total": 1.0}
    return row | {"updated_ts": ts if updated_ts is None else updated_ts}


class Reference:
    """The contract, one message after the other."""

    def __init__(self) -> None:
        self.waiting = {topic: deque() for topic in TIMED}
        self.high = dict.fromkeys(TIMED, 0)
        self.at_end = dict.fromkeys(TIMED, False)
        self.accepted = {topic: [] for topic in TIMED}
        self.letters: list[tuple[str, int]] = []
        self.position = dict.fromkeys(TIMED, 0)

    def receive(self, topic: str, items) -> None:
        self.at_end[topic] = False
        self.waiting[topic].extend(items)

    def read_on(self) -> None:
        while (topic := self._next()) is not None:
            offset, row, _ = self.waiting[topic].popleft()
            self.position[topic] = offset + 1
            if self._counts_not(topic, row):
                self.letters.append((topic, offset))
                continue
            self.accepted[topic].append(row)
            self.high[topic] = max(self.high[topic], row[TIME_FIELD[topic]])

    def _next(self) -> str | None:
        """The topic whose highest time is lower, unless it is at its end; what does not count waits for no clock."""
        for topic in TIMED:
            if self.waiting[topic] and self._counts_not(topic, self.waiting[topic][0][1]):
                return topic
        open_topics = [t for t in TIMED if self.waiting[t] or not self.at_end[t]]
        lowest = min((self.high[t] for t in open_topics), default=0)
        return next((t for t in open_topics if self.high[t] == lowest and self.waiting[t]), None)

    def _counts_not(self, topic: str, row) -> bool:
        return row is None or row["ts"] < self.high[topic] - LATENESS[topic]

    @property
    def stream_time(self) -> int:
        return max(self.high.values())


@st.composite
def topics(draw):
    """Two topics as lists of (offset, row or None, message), in any order of time: some records are too late."""
    stream = draw(streams())
    entries = {}
    for topic, rows in (("events", stream.events), ("orders", stream.orders)):
        own = draw(st.permutations(rows)) if draw(st.booleans()) else sorted(rows, key=lambda r: r[TIME_FIELD[topic]])
        items = [(row, message(row)) for row in own]
        bad = [m for m in BAD if m.topic == topic]
        for broken in draw(st.lists(st.sampled_from(bad), max_size=3)):
            items.insert(draw(st.integers(0, len(items))), (None, (broken.key, broken.value)))
        entries[topic] = [(offset, row, pair) for offset, (row, pair) in enumerate(items)]
    return entries, stream.as_of


def dead_letters_of(partition: PartitionState):
    return [(dead_letter.topic, dead_letter.offset) for dead_letter in partition.rejected]


@MANY
@given(st.data())
def test_batches_of_any_size_give_the_state_of_single_messages(data):
    """Whatever the batches: the same records count, the same are letters, and as_of is never further on."""
    logs, _ = data.draw(topics())
    partition, reference = fresh(), Reference()
    done = dict.fromkeys(TIMED, 0)
    plan = data.draw(st.lists(st.tuples(st.sampled_from(TIMED), st.integers(0, 8), st.booleans()), max_size=10))
    for topic, size, messages in [*plan, *((topic, 1_000, True) for topic in TIMED)]:
        log, start = logs[topic], done[topic]
        stop = min(len(log), start + size)
        if stop > start:
            partition.receive(as_batch(topic, [pair for _, _, pair in log[start:stop]], start))
            reference.receive(topic, log[start:stop])
            done[topic] = stop
        if stop == len(log) and messages:
            partition.reached_end(topic)
            reference.at_end[topic] = True
        partition.advance()
        reference.read_on()
        assert partition.state.max_event_time == reference.stream_time
        for name in TIMED:
            assert partition.max_event_time(name) == reference.high[name]
            assert partition.buffers[name].position <= reference.position[name]
        sent = set(dead_letters_of(partition))
        assert {at for at in reference.letters if at[1] < partition.buffers[at[0]].position} == sent
        if partition.state.max_event_time:
            rows = evaluate_all(partition.state, partition.state.max_event_time)
            oracle = loop_rows(
                reference.accepted["events"], reference.accepted["orders"], reference.stream_time, in_log
            )
            assert_same_rows(rows, feature_frame(oracle))
    assert partition.dry
    assert sorted(dead_letters_of(partition)) == sorted(reference.letters)
    assert {t: buffer.position for t, buffer in partition.buffers.items()} == {t: len(logs[t]) for t in TIMED} | {
        "customers": 0
    }
    counts = partition.counts
    assert counts.consumed == sum(map(len, logs.values()))
    assert counts.consumed == counts.applied + counts.duplicates + counts.rejected + counts.late
    assert counts.valid == counts.applied + counts.duplicates


@MANY
@given(st.data())
def test_restart_from_any_position_loses_nothing(data):
    """Killed after any step: the next one sees every message that the position does not cover, no letter is lost."""
    logs, _ = data.draw(topics())
    partition, sent, safe = fresh(), [], []
    stored = snapshot(partition, "r", 1, [])
    happenings = st.sampled_from(("nothing", "checkpoint", "kill"))
    plan = data.draw(st.lists(st.tuples(st.sampled_from(TIMED), st.integers(0, 6), happenings), max_size=14))
    for topic, size, happens in [*plan, *((topic, 1_000, "nothing") for topic in TIMED)]:
        buffer = partition.buffers[topic]
        start = buffer.chunks[-1].end_offset if buffer.chunks else buffer.position
        stop = min(len(logs[topic]), start + size)
        if stop > start:
            partition.receive(as_batch(topic, [pair for _, _, pair in logs[topic][start:stop]], start))
        if stop == len(logs[topic]):
            partition.reached_end(topic)
        partition.advance()
        sent += dead_letters_of(partition)
        partition.rejected.clear()
        if happens == "checkpoint":
            ids = partition.state.ids[partition.state.ids["low"] != 0]
            taken = snapshot(partition, "r", 1, [])
            stored = type(taken)(taken.manifest, taken.arrays, ids)
            safe += sent
            sent = []
        elif happens == "kill":
            partition, sent = restore(stored, [SINK]), []
    assert partition.dry
    reference = Reference()
    for topic in TIMED:
        reference.receive(topic, logs[topic])
        reference.at_end[topic] = True
    reference.read_on()
    # everything was received before it was judged there; the verdicts are the same
    assert set(safe + sent) == set(reference.letters)
    as_of = partition.state.max_event_time
    oracle = loop_rows(reference.accepted["events"], reference.accepted["orders"], as_of, in_log)
    assert_same_rows(evaluate_all(partition.state, as_of), feature_frame(oracle))


# --- borders, each by its name ---


def test_the_clock_waits_for_a_topic_that_may_have_earlier_records():
    partition = fresh()
    partition.receive(as_batch("events", [message(click(ts)) for ts in (10, 20, 30)]))
    partition.advance()
    # one record more than the orders' time of nothing: it was chosen while the events were not ahead
    assert partition.state.max_event_time == 10
    partition.receive(as_batch("orders", [message(order(25))]))
    partition.advance()
    assert partition.state.max_event_time == 30
    partition.receive(as_batch("events", [message(click(ts)) for ts in (40, 50)], 3))
    partition.advance()
    assert partition.max_event_time("events") == 30
    assert partition.buffers["events"].waiting == 2
    partition.reached_end("orders")
    partition.advance()
    assert partition.state.max_event_time == 50


def test_topic_at_its_end_delays_nothing_until_it_has_records_again():
    partition = fresh()
    for topic in TIMED:
        partition.reached_end(topic)
    partition.receive(as_batch("events", [message(click(ts)) for ts in (10, 20)]))
    partition.advance()
    assert partition.state.max_event_time == 20
    partition.receive(as_batch("orders", [message(order(5))]))
    partition.receive(as_batch("events", [message(click(ts)) for ts in (30, 40)], 2))
    partition.reached_end("events")
    partition.advance()
    assert partition.max_event_time("events") == 20, "the orders have gone on and are at 5"


@pytest.mark.parametrize(
    ("topic", "allowance", "row"), [("events", EVENT_LATENESS_MS, click), ("orders", ORDER_LATENESS_MS, order)]
)
def test_record_one_millisecond_over_the_allowance_is_late(topic, allowance, row):
    partition, top = fresh(), 100 * allowance
    for name in TIMED:
        partition.reached_end(name)
    pairs = [message(row(top)), message(row(top - allowance)), message(row(top - allowance - 1))]
    for offset, pair in enumerate(pairs):
        partition.receive(as_batch(topic, [pair], offset))
        partition.reached_end(topic)
        partition.advance()
    (dead_letter,) = partition.rejected
    assert (dead_letter.topic, dead_letter.offset, dead_letter.key, dead_letter.value) == (topic, 2, *pairs[2])
    assert dead_letter.error.startswith("too late: ")
    assert str(top - allowance - 1) in dead_letter.error
    assert str(allowance // HOUR) in dead_letter.error


@pytest.mark.parametrize(
    ("topic", "allowance", "row"), [("events", EVENT_LATENESS_MS, click), ("orders", ORDER_LATENESS_MS, order)]
)
def test_lateness_clock_survives_a_restart(topic, allowance, row):
    partition, top = fresh(), 100 * allowance
    partition.receive(as_batch(topic, [message(row(top))]))
    for name in TIMED:
        partition.reached_end(name)
    partition.advance()
    partition = restore(snapshot(partition, "r", 1, []), [SINK])
    partition.receive(as_batch(topic, [message(row(top - allowance)), message(row(top - allowance - 1))], 1))
    assert dead_letters_of(partition) == []
    for name in TIMED:
        partition.reached_end(name)
    partition.advance()
    assert dead_letters_of(partition) == [(topic, 2)]


def test_lateness_of_an_order_compares_its_placement_with_earlier_changes():
    partition, top = fresh(), 900 * DAY
    rows = [
        order(top - 400 * DAY, top),
        order(top - 402 * DAY, top - 10 * DAY, 1),
        order(top - 402 * DAY - 1, top - 5, 2),
    ]
    partition.receive(as_batch("orders", [message(row) for row in rows]))
    for name in TIMED:
        partition.reached_end(name)
    partition.advance()
    assert dead_letters_of(partition) == [("orders", 2)]


def test_invalid_messages_do_not_advance_the_clock():
    partition = fresh()
    broken = json.dumps(click(50 * DAY) | {"device": "watch"}).encode()
    partition.receive(as_batch("events", [message(click(10)), (b"c", broken), message(click(11))]))
    for name in TIMED:
        partition.reached_end(name)
    partition.advance()
    assert partition.state.max_event_time == 11
    assert (partition.counts.late, partition.counts.rejected) == (0, 1)


def test_dead_letters_are_sent_with_the_position_after_them():
    """A batch that is applied in part: a checkpoint made now is gone on from behind the broken message."""
    partition = fresh()
    pairs = [message(click(10)), (b"c", b"{"), message(click(20)), (b"c", b"["), message(click(30))]
    partition.receive(as_batch("events", pairs))
    partition.receive(as_batch("orders", [message(order(15))]))
    partition.advance()
    assert partition.buffers["events"].position == 3
    assert dead_letters_of(partition) == [("events", 1)]
    partition.reached_end("orders")
    partition.advance()
    assert dead_letters_of(partition) == [("events", 1), ("events", 3)]


def test_new_day_marks_every_customer_and_before_it_only_changed_ones():
    partition = fresh()
    for name in TIMED:
        partition.reached_end(name)
    dirty = partition.customers_dirty[SINK]
    midnight = 100 * DAY

    def click_at(ts, customer, n):
        partition.receive(as_batch("events", [message(click(ts, n, customer))], n))
        partition.reached_end("events")
        partition.advance()
        batch_id, rows = dirty.take_batch(100)
        dirty.acknowledge(batch_id) if len(rows) else None
        return set(partition.state.customer_ids.take(rows).to_pylist())

    assert click_at(midnight - DAY, "a", 0) == {"a"}
    assert click_at(midnight - 2, "b", 1) == {"b"}
    assert click_at(midnight - 1, "b", 2) == {"b"}
    assert click_at(midnight, "b", 3) == {"a", "b"}
    assert click_at(midnight + 1, "a", 4) == {"a"}


def test_cart_becomes_abandoned_without_a_further_event():
    partition = fresh()
    for name in TIMED:
        partition.reached_end(name)
    base = 100 * DAY

    def sessions_dirty_after(ts, n, **more):
        partition.receive(as_batch("events", [message(click(ts, n, more.pop("customer", "c")) | more)], n))
        partition.reached_end("events")
        partition.advance()
        batch_id, rows = partition.sessions_dirty.take_batch(100)
        if len(rows):
            partition.sessions_dirty.acknowledge(batch_id)
        return set(partition.state.session_ids(rows))

    cart = {"event_type": "add_to_cart", "session_id": "cart"}
    assert sessions_dirty_after(base, 0, **cart) == {"cart"}
    assert sessions_dirty_after(base + 30 * 60_000 - 1, 1, customer="d", session_id="x") == {"x"}
    assert sessions_dirty_after(base + 30 * 60_000, 2, customer="d", session_id="x") == {"x", "cart"}
    assert sessions_dirty_after(base + 30 * 60_000 + 1, 3, customer="d", session_id="x") == {"x"}
    assert sessions_dirty_after(base + 1, 4, session_id="cart") == {"cart"}, "it goes on, and may be abandoned again"


def test_profile_marks_its_customer_and_a_tombstone_removes_it():
    partition = fresh()
    partition.receive(as_batch("events", [message(click(10))]))
    for name in TIMED:
        partition.reached_end(name)
    partition.advance()
    dirty = partition.customers_dirty[SINK]
    dirty.acknowledge(dirty.take_batch(10)[0])
    profile = {"customer_id": "c", "country": "DE", "email": "c@example.com", "name": "C", "age": 0, "premium": None}
    partition.receive(as_batch("customers", [message(profile), message({"customer_id": "unseen", "age": 5})]))
    assert json.loads(b"{" + partition.profiles["c"] + b"}") == {"country": "DE", "age": 0}
    assert dirty.unwritten().tolist() == [0]
    dirty.acknowledge(dirty.take_batch(10)[0])
    partition.receive(as_batch("customers", [(b"c", None)], 2))
    assert set(partition.profiles) == {"unseen"}
    assert dirty.unwritten().tolist() == [0]
    assert partition.buffers["customers"].position == 3


def test_orders_keep_their_winning_record_through_a_compaction():
    """Rows move when old orders leave; the records of those that wait for a sink go along."""
    partition = fresh()
    old = [order(DAY, n=n) for n in range(5)]
    partition.receive(as_batch("orders", [message(row) for row in old]))
    for name in TIMED:
        partition.reached_end(name)
    partition.advance()
    batch_id, _ = partition.orders_dirty.take_batch(3)
    for row in partition.orders_dirty.acknowledge(batch_id).tolist():
        partition.order_records.pop(row)
    partition.receive(as_batch("orders", [message(order(DAY + 500 * DAY, n=9))], 5))
    partition.reached_end("orders")
    partition.advance()
    assert partition.state.order_count == 3, "three have left"
    waiting = partition.orders_dirty.unwritten()
    entries = [partition.order_records[row].order_id for row in waiting.tolist()]
    assert entries == [old[3]["order_id"], old[4]["order_id"], f"o9-{501 * DAY}"]
    assert np.array_equal(read_int48(partition.state.orders[waiting], "ts"), [DAY, DAY, 501 * DAY])
