"""How much is on its way to a slow sink: little, and all kinds of rows get their part of it."""

from __future__ import annotations

import pytest
from oracle.shop import DAY
from stream.feeding import as_batch, message

from connectors.elasticsearch.documents import Outcome
from consumers.checkpoints.recovery import empty
from consumers.features.sinks import DOCS_MAX, DOCS_MIN, ELASTIC, LATENCY_S, InflightLimit, Sinks


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_fast_sink_has_no_limit(clock):
    window = InflightLimit(clock)
    for _ in range(50):
        number = window.submitted(DOCS_MAX)
        clock.now_s += LATENCY_S
        window.acknowledged(number)
        assert window.room(0) == DOCS_MAX
    assert window.room(DOCS_MAX + 5) == 0


def test_limit_of_a_slow_sink_follows_its_throughput(clock):
    window = InflightLimit(clock)
    number = window.submitted(10_000)
    clock.now_s += 20
    window.acknowledged(number)  # 500 a second
    assert window.room(0) == 500 * LATENCY_S
    number = window.submitted(1_000)
    clock.now_s += 1_000
    window.acknowledged(number)
    assert window.room(0) == DOCS_MIN


def test_stalled_sink_is_limited_before_it_responds(clock):
    window = InflightLimit(clock)
    number = window.submitted(3_000)
    clock.now_s += LATENCY_S + 0.1
    assert window.room(3_000) == 0
    assert window.room(0) == DOCS_MIN
    window.acknowledged(number)


def test_limit_of_a_recovered_sink_rises_quickly(clock):
    window = InflightLimit(clock)
    number = window.submitted(100)
    clock.now_s += 100
    window.acknowledged(number)
    for _ in range(7):
        window.acknowledged(window.submitted(DOCS_MIN))
    assert window.room(0) == DOCS_MAX


class NarrowSink:
    """Takes a few documents at a time and acknowledges them at the next turn."""

    last_error = None

    def __init__(self, room: int) -> None:
        self._room = room
        self._waiting: list = []
        self.written: list[str] = []

    @property
    def in_flight(self) -> int:
        return sum(len(docs) for docs, _ in self._waiting)

    def free(self) -> int:
        return self._room - self.in_flight

    def submit(self, docs, on_done) -> None:
        self._waiting.append((docs, on_done))

    def poll(self) -> None:
        waiting, self._waiting = self._waiting, []
        for docs, on_done in waiting:
            self.written += [doc.index for doc in docs]
            on_done(Outcome(docs, len(docs), (), (), 0.0))


def test_busy_customers_leave_room_for_sessions():
    partition = empty(3, [ELASTIC], contact=False)
    partition.epoch = 5
    for topic in ("events", "orders", "customers"):
        partition.reached_end(topic)
    sink = NarrowSink(room=20)
    sinks = Sinks("r", sink, None, None)
    customers = 100
    for turn in range(30):
        rows = [
            {"event_id": f"e{turn}-{n}", "event_type": "search", "customer_id": f"c{n}", "session_id": f"s{turn // 10}"}
            for n in range(customers)
        ]
        offset = partition.buffers["events"].position
        batch = [message({**row, "ts": DAY + turn, "device": "mobile"}) for row in rows]
        partition.receive(as_batch("events", batch, offset))
        partition.reached_end("events")
        partition.advance()
        sinks.emit(partition, DAY + turn)
        sink.poll()
    sessions = sum(index.startswith("r-sessions") for index in sink.written)
    assert sessions >= 30 * 20 // 4
    assert len(sink.written) - sessions >= 30 * 20 // 4
