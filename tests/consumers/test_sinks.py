"""The outlets: each sink at its own pace, always the newest state of a row, and never a wait."""

from __future__ import annotations

import json
import threading
import tracemalloc

import numpy as np
import pytest
from oracle.shop import DAY
from stream.feeding import as_batch, message

from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.documents import SLICE_BYTES, Outcome, Rejected, SendError, Verdict
from consumers.checkpoints.recovery import empty
from consumers.features.documents import COUNTER_MAX, EPOCH_SHIFT, next_version
from consumers.features.sinks import ELASTIC, TOPIC, EmitTimer, Sinks
from consumers.state.dirty_rows import DirtyRows
from consumers.state.partition import PartitionState
from features.state.tables import LINES_MAX, OPEN_CART


class HandSink:
    """A bulk sink worked by hand."""

    last_error = None

    def __init__(self, room: int = 30_000) -> None:
        self.room = room
        self.taken: list = []

    @property
    def in_flight(self) -> int:
        return sum(len(docs) for docs, _ in self.taken)

    def free(self) -> int:
        return self.room

    def submit(self, docs, on_done) -> None:
        self.taken.append((docs, on_done))

    def land(self, position: int = 0, rejected: tuple = ()) -> list[dict]:
        docs, on_done = self.taken.pop(position)
        on_done(Outcome(docs, len(docs) - len(rejected), (), rejected, 0.0))
        return [json.loads(doc.body) for doc in docs]


class HandTopic:
    last_error = None

    def __init__(self) -> None:
        self.room = 20_000
        self.taken: list = []

    def free(self) -> int:
        return self.room

    def send(self, rows, on_done) -> None:
        self.taken.append((rows, on_done))


class ManualDeadLetters:
    def __init__(self) -> None:
        self.sent: list = []

    def send(self, dead_letter) -> None:
        self.sent.append(dead_letter)


@pytest.fixture
def partition() -> PartitionState:
    partition = empty(3, [ELASTIC], contact=False)
    partition.epoch = 5
    for topic in ("events", "orders", "customers"):
        partition.reached_end(topic)
    return partition


def click(partition: PartitionState, customer: str, ts: int, **more) -> None:
    offset = partition.buffers["events"].position
    row = {"event_id": f"e{offset}", "event_type": "page_view", "customer_id": customer, "session_id": customer}
    partition.receive(as_batch("events", [message({**row, "ts": ts, "device": "mobile", **more})], offset))
    partition.reached_end("events")
    partition.advance()


def order(partition: PartitionState, name: str, ts: int, lines: int = 0, **more) -> None:
    offset = partition.buffers["orders"].position
    row = {"order_id": name, "customer_id": "a", "ts": DAY, "updated_ts": ts, "status": "placed", "total": 2.345}
    items = [{"product_id": f"p{n}", "quantity": 3, "unit_price": 0.285} for n in range(lines)]
    partition.receive(as_batch("orders", [message({**row, "items": items, **more})], offset))
    partition.reached_end("orders")
    partition.advance()


def test_slow_sink_gets_the_newest_row_once_and_does_not_delay_the_other(partition):
    partition.customers_dirty[TOPIC] = DirtyRows()
    sink, topic = HandSink(room=0), HandTopic()
    sinks = Sinks("r", sink, topic, None)
    for n in range(5):
        click(partition, "a", DAY + n)
        sinks.emit(partition, DAY + n)
        rows, done = topic.taken.pop()
        done([])
        assert json.loads(rows.lines[0])["as_of"] == DAY + n
    assert sink.taken == []
    sink.room = 30_000
    sinks.emit(partition, DAY + 4)
    assert topic.taken == []
    (row,) = sink.land()
    assert (row["customer_id"], row["events_30d"], row["as_of"]) == ("a", 5, DAY + 4)
    assert sinks.written.topic_rows == 5
    assert sinks.written.customers == 1


def test_row_that_changes_in_flight_is_written_again(partition):
    sink = HandSink()
    sinks = Sinks("r", sink, None, None)
    click(partition, "a", DAY)
    sinks.emit(partition, DAY)
    click(partition, "a", DAY + 1)
    sink.land()
    sink.land()
    assert len(partition.customers_dirty[ELASTIC]) == len(partition.sessions_dirty) == 1
    sinks.emit(partition, DAY + 1)
    (row,), (session,) = sink.land(), sink.land()
    assert row["events_30d"] == session["events"] == 2
    assert partition.customers_dirty[ELASTIC].unwritten().tolist() == []


def test_both_sinks_share_one_evaluation_of_the_same_customers(partition):
    partition.customers_dirty[TOPIC] = DirtyRows()
    sink, topic = HandSink(), HandTopic()
    click(partition, "a", DAY)
    Sinks("r", sink, topic, None).emit(partition, DAY)
    docs, _ = sink.taken[0]
    assert docs[0].version == topic.taken[0][0].version == (5 << EPOCH_SHIFT) + 1


def test_no_row_is_written_before_the_profiles_are_read(partition):
    sink = HandSink()
    partition.profiles_read = False
    click(partition, "a", DAY)
    assert Sinks("r", sink, None, None).emit(partition, DAY) == 0
    partition.reached_end("customers")
    assert Sinks("r", sink, None, None).emit(partition, DAY) > 0


def test_versions_grow_and_a_full_epoch_continues_as_the_next_one(partition):
    versions = [next_version(partition) for _ in range(3)]
    partition.counter = COUNTER_MAX - 1
    versions += [next_version(partition) for _ in range(3)]
    assert versions == sorted(set(versions))
    assert (partition.epoch, partition.counter) == (6, 2)


def test_documents_of_an_order_hold_its_winning_record(partition):
    """Money as whole cents, a line each; a shorter later record voids the lines it no longer has."""
    sink = HandSink()
    sinks = Sinks("r", sink, None, None)
    order(partition, "o", DAY, lines=2)
    sinks.emit(partition, 2 * DAY)
    sink.land()
    head, first, second = sink.land()
    assert (head["total"], head["items"]) == (2.34, 2)
    assert (first["unit_price"], first["amount"], first["line"], first["status"]) == (0.28, 0.84, 1, "placed")
    assert second["line"] == 2
    order(partition, "o", DAY + 1, lines=1, status="refunded")
    sinks.emit(partition, 2 * DAY)
    sink.land()
    head, first, second = sink.land()
    assert (head["status"], head["items"], first["status"]) == ("refunded", 1, "refunded")
    assert second == {"order_id": "o", "line": 2, "customer_id": "a", "ts": DAY, "status": "void"} | dict.fromkeys(
        ("channel", "country")
    )
    assert partition.order_records == {}


def test_an_order_that_passes_to_another_customer_has_two_documents(partition):
    """The void one and its lines stay those of the former customer."""
    sink = HandSink()
    sinks = Sinks("r", sink, None, None)
    order(partition, "o", DAY, lines=1)
    order(partition, "o", DAY + 5, lines=1, status="void")
    order(partition, "o", DAY + 5, lines=1, customer_id="b")
    sinks.emit(partition, 2 * DAY)
    sink.land()
    found = [(doc["customer_id"], doc.get("line"), doc["status"]) for doc in sink.land()]
    assert sorted(found, key=repr) == [("a", 1, "void"), ("a", None, "void"), ("b", 1, "placed"), ("b", None, "placed")]


def test_ids_of_order_documents_are_unique_by_customer_order_and_line(partition):
    """Ids that look alike when they are joined."""
    sink = Roomy(room=1_000)
    sinks = Sinks("r", sink, None, None)
    pairs = [("a", "b|c"), ("a|b", "c"), ("a", "b"), ("a|b", "1"), ("a", "b|1"), ("b", "a")]
    for customer, name in pairs:
        order(partition, name, DAY, lines=2, customer_id=customer)
    sinks.emit(partition, 2 * DAY)
    docs = [doc for docs, _ in sink.taken for doc in docs if "-order" in doc.index]
    assert len({(doc.index.split("-order")[1][:2], doc.id) for doc in docs}) == len(docs) == 3 * len(pairs)


def test_lines_of_a_losing_record_leave_no_document(partition):
    sink = HandSink()
    order(partition, "o", DAY + 5, lines=1)
    order(partition, "o", DAY, lines=4)
    Sinks("r", sink, None, None).emit(partition, 2 * DAY)
    sink.land()
    assert [doc.get("line") for doc in sink.land()] == [None, 1]


def test_record_of_an_order_is_retained_until_its_last_batch_is_acknowledged(partition):
    sink = HandSink()
    sinks = Sinks("r", sink, None, None)
    order(partition, "o", DAY)
    sinks.emit(partition, 2 * DAY)
    order(partition, "o", DAY + 1, status="cancelled")
    sinks.emit(partition, 2 * DAY)
    orders = [n for n, (docs, _) in enumerate(sink.taken) if "-orders-" in docs[0].index]
    sink.land(orders[0])
    assert [record.status for record in partition.order_records.values()] == ["cancelled"]
    sink.land(orders[1] - 1)
    assert partition.order_records == {}


def test_unavailable_elasticsearch_delays_no_other_sink(partition):
    """Orders of many lines: the real sink waits when it is given more than it has room for, so it never is."""
    for n in range(300):
        order(partition, f"o{n}", DAY + n, lines=250)
    stuck = threading.Event()

    def send(body):
        stuck.wait(30)
        raise SendError(Verdict.RETRY, "down")

    with BulkSink(send) as sink:
        sinks = Sinks("r", sink, None, None)

        def emit():
            for _ in range(5):
                sinks.emit(partition, 2 * DAY)

        emitting = threading.Thread(target=emit, daemon=True)
        emitting.start()
        emitting.join(20)
        waits = emitting.is_alive()
        stuck.set()
        assert not waits
        assert 0 < sink.in_flight <= 30_000
        assert partition.orders_handover is not None
        assert len(partition.orders_dirty.unwritten()) == 300


class Roomy(HandSink):
    """Has room for so many documents at a time."""

    def free(self) -> int:
        return max(0, self.room - self.in_flight)

    def land_all(self) -> list[dict]:
        return [doc for _ in range(len(self.taken)) for doc in self.land()]


def test_order_larger_than_the_sink_is_submitted_in_parts(partition):
    sink = Roomy(room=20)
    sinks = Sinks("r", sink, None, None)
    order(partition, "large", DAY, lines=50)
    order(partition, "other", DAY + 1, lines=1)
    entries = []
    for _ in range(30):
        sinks.emit(partition, 2 * DAY)
        assert sink.in_flight <= 20
        acknowledged = sink.land_all()
        entries += [doc for doc in acknowledged if "order_id" in doc]
        if len(entries) < 51:
            assert len(partition.order_records) == 2, "the record stays until its last document is acknowledged"
            assert 0 in partition.orders_dirty.unwritten()
    assert [(doc["order_id"], doc.get("line")) for doc in entries] == [
        *(("large", n or None) for n in range(51)),
        *(("other", n or None) for n in range(2)),
    ]
    assert partition.order_records == {}
    assert partition.orders_dirty.unwritten().tolist() == []
    assert partition.orders_handover is None


def test_order_that_changes_while_it_is_submitted_is_rewritten_with_a_higher_version(partition):
    sink = Roomy(room=20)
    sinks = Sinks("r", sink, None, None)
    order(partition, "o", DAY, lines=50)
    sinks.emit(partition, 2 * DAY)
    order(partition, "o", DAY + 1, lines=1, status="refunded")
    newest: dict[str, tuple[int, dict]] = {}
    for _ in range(30):
        sinks.emit(partition, 2 * DAY)
        for doc in [doc for docs, _ in sink.taken for doc in docs if "-order" in doc.index]:
            newest[doc.id] = max(newest.get(doc.id, (0, {})), (doc.version, json.loads(doc.body)), key=lambda x: x[0])
        sink.land_all()
    status = {name: body["status"] for name, (_, body) in newest.items()}
    assert status == {"a|o": "refunded", "a|o|1": "refunded"} | {f"a|o|{n}": "void" for n in range(2, 51)}
    assert partition.order_records == {}


def test_the_documents_of_the_largest_order_are_never_in_memory_together(partition):
    """10,000 lines, ids and texts at their bounds: a slice is a megabyte, made when it is taken."""
    sink = HandSink()
    sinks = Sinks("r", sink, None, None)
    words = {"customer_id": "c" * 512, "channel": "x" * 1_024, "country": "y" * 1_024}
    order(partition, "o" * 512, DAY, lines=10_000, **words)
    partition.customers_dirty[ELASTIC].take_batch(10)
    slices = sizes = 0
    tracemalloc.start()
    while partition.orders_handover is not None or not slices:
        sink.room = 100
        assert sinks.emit(partition, 2 * DAY) <= 2 * 100
        while sink.taken:
            docs, done = sink.taken.pop()
            slices, sizes = slices + 1, sizes + sum(len(doc.body) for doc in docs)
            assert sum(len(doc.body) for doc in docs) < 1.1 * SLICE_BYTES
            done(Outcome(docs, len(docs), (), (), 0.0))
            del docs
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes > 30_000_000
    assert peak < 4 * SLICE_BYTES
    assert partition.order_records == {}


def test_surplus_lines_of_an_order_from_before_the_limit_are_voided(partition):
    """A state of format 1 counts up to 65,535 lines; a later record of fewer makes the others void."""
    sink = Roomy(room=30_000)
    sinks = Sinks("r", sink, None, None)
    order(partition, "o", DAY, lines=1)
    partition.state.orders["lines"][0] = LINES_MAX
    order(partition, "o", DAY + 1, lines=2)
    entries = []
    for _ in range(20):
        sinks.emit(partition, 2 * DAY)
        entries += [doc for doc in sink.land_all() if "line" in doc]
    assert [doc["line"] for doc in entries] == list(range(1, LINES_MAX + 1))
    assert [doc["status"] for doc in entries] == ["placed"] * 2 + ["void"] * (LINES_MAX - 2)


def test_without_elasticsearch_sessions_and_orders_are_not_marked(partition):
    topic = HandTopic()
    sinks = Sinks("r", None, topic, None)
    assert sinks.names == [TOPIC]
    partition.customers_dirty = {TOPIC: DirtyRows()}
    click(partition, "a", DAY)
    order(partition, "o", DAY)
    sinks.emit(partition, DAY)
    assert partition.order_records == {}
    assert len(partition.sessions_dirty) == len(partition.orders_dirty) == 0


def test_rejected_document_becomes_a_dead_letter_and_its_row_is_done(partition):
    sink, dead_letters = HandSink(), ManualDeadLetters()
    sinks = Sinks("r", sink, None, dead_letters)
    click(partition, "a", DAY)
    sinks.emit(partition, DAY)
    sink.land(0, (Rejected(0, "mapping"),))
    (dead_letter,) = dead_letters.sent
    assert (dead_letter.topic, dead_letter.partition, dead_letter.key, dead_letter.error) == (
        "r-customers-000001",
        3,
        b"a",
        "mapping",
    )
    assert json.loads(dead_letter.value)["customer_id"] == "a"
    assert sinks.written.refused == 1
    assert partition.customers_dirty[ELASTIC].unwritten().tolist() == []


def test_customer_documents_hold_the_profile_and_the_row(partition):
    sink = HandSink()
    partition.receive(as_batch("customers", [message({"customer_id": "a", "country": "DE", "name": "N", "age": 3})]))
    partition.reached_end("customers")
    click(partition, "a", DAY)
    click(partition, "b", DAY)
    Sinks("r", sink, None, None).emit(partition, DAY)
    entries = {doc["customer_id"]: doc for doc in sink.land()}
    assert (entries["a"]["country"], entries["a"]["age"], entries["a"]["events_30d"]) == ("DE", 3, 1)
    assert "name" not in entries["a"]
    assert "country" not in entries["b"]


def test_abandoned_cart_written_for_an_earlier_as_of_is_emitted_again(partition):
    """Handed out at the wall clock, written at the stream's time: its document said "not yet", so it comes again."""
    sink = HandSink()
    sinks = Sinks("r", sink, None, None)
    click(partition, "a", DAY, event_type="add_to_cart")
    partition.advance_clock(1, 2 * DAY)
    sinks.emit(partition, DAY)
    sink.land()
    assert sink.land()[0]["abandoned"] is False
    partition.advance_clock(1, 2 * DAY)
    sinks.emit(partition, 2 * DAY)
    assert [json.loads(docs[0].body).get("abandoned") for docs, _ in sink.taken if docs][-1] is True
    assert not np.any(partition.state.sessions["marks"][: partition.state.session_count] & OPEN_CART)


def test_emit_timer_limits_the_share_of_time_spent_on_writes():
    now = 0.0
    timer = EmitTimer(idle_s=0.2, behind_s=1.0, share=0.1, clock=lambda: now)
    assert timer.due(behind=True)
    timer.emitted(0.5)
    now = 4.9
    assert not timer.due(behind=True)
    now = 5.0
    assert timer.due(behind=True)
    timer.emitted(0.01)
    now = 5.5
    assert not timer.due(behind=True)
    assert timer.due(behind=False), "caught up: immediately"
    timer.emitted(3.0)
    now = 5.69
    assert not timer.due(behind=False)
    now = 5.7
    assert timer.due(behind=False)
