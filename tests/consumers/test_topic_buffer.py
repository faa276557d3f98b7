"""The buffer of a topic: bounded by messages and by bytes, whether the messages count or not."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.shop import DAY, HOUR
from stream.feeding import as_batch, message

from connectors.kafka.source import Batch
from connectors.kafka.source import Partition as Where
from connectors.kafka.topic_buffer import BUFFER_BYTES_MAX, BUFFER_RECORDS_MAX
from consumers.checkpoints.recovery import empty
from consumers.features import consumer as loop
from consumers.features.consumer import FeaturesConsumer
from consumers.features.sinks import ELASTIC, Sinks
from consumers.state.partition import PartitionState

EVENTS, ORDERS = Where("events", 0), Where("orders", 0)


def click(number: int, ts: int, **more) -> tuple[bytes, bytes]:
    row = {"event_id": f"e{number}", "event_type": "search", "customer_id": "c", "session_id": "s", "device": "mobile"}
    return message(row | {"ts": ts} | more)


def order(number: int, ts: int, **more) -> tuple[bytes, bytes]:
    row = {"order_id": f"o{number}", "customer_id": "c", "ts": ts, "updated_ts": ts, "status": "placed", "total": 1.0}
    return message(row | more)


class Topics:
    """A source with endless messages of events that do not count, and of orders none; holds back what it is told to."""

    def __init__(self, value: bytes, per_read: int) -> None:
        self.value, self.per_read = value, per_read
        self.offset = self.bytes_read = 0
        self.held: set[Where] = set()
        self.orders: list[tuple[bytes, bytes]] = []

    def read(self, records_max: int, timeout_s: float) -> list[Batch]:
        entries = []
        if self.orders and ORDERS not in self.held:
            entries.append(as_batch("orders", self.orders))
            self.orders = []
        if EVENTS not in self.held:
            count = min(records_max, self.per_read)
            first = [click(0, 2 * DAY)] if self.offset == 0 else []
            entries.append(as_batch("events", [*first, *[(b"c", self.value)] * (count - len(first))], self.offset))
            self.offset += count
            self.bytes_read += count * len(self.value)
        return entries

    def pause_partition(self, where: Where) -> None:
        self.held.add(where)

    def resume_partition(self, where: Where) -> None:
        self.held.discard(where)

    def at_end(self, where: Where) -> bool:
        return where.topic == "customers"


class NoCheckpoints:
    def step(self, _partitions) -> None:
        pass

    def may_write(self, _number: int) -> bool:
        return True


def consumer_of(source: Topics) -> tuple[FeaturesConsumer, PartitionState]:
    sinks = Sinks("r", None, None, None, null=True)
    consumer = FeaturesConsumer("r", source, NoCheckpoints(), sinks, None)  # type: ignore[arg-type]
    partition = consumer._partitions[0] = empty(0, [ELASTIC], contact=False)
    return consumer, partition


@pytest.mark.parametrize(
    ("value", "bound"), [(b"{", "messages"), (b"x" * 100_000, "bytes")], ids=["many small ones", "few large ones"]
)
def test_invalid_messages_fill_a_buffer_as_records_do(value, bound):
    """Orders are behind and not at their end, so the events wait: what of them is malformed is held too."""
    source = Topics(value, 500)
    consumer, partition = consumer_of(source)
    buffer = partition.buffers["events"]
    for _ in range(40):
        consumer._turn_once()
    assert EVENTS in source.held
    assert ORDERS not in source.held
    assert buffer.waiting == source.offset - 500, "the chunk of the one event had its turn, and all others wait"
    if bound == "messages":
        assert BUFFER_RECORDS_MAX <= buffer.waiting < BUFFER_RECORDS_MAX + loop.TURN_MAX + 500
    else:
        assert BUFFER_BYTES_MAX <= buffer.waiting_bytes < BUFFER_BYTES_MAX + loop.TURN_BYTES_MAX + 500 * len(value)
        assert buffer.waiting_bytes >= buffer.waiting * len(value), "what is held of a letter is its bytes"
    source.orders = [order(1, 3 * DAY)]
    consumer._turn_once()
    assert (buffer.waiting, buffer.waiting_bytes) == (0, 0), "the orders are ahead: everything has had its turn"
    assert EVENTS not in source.held
    counts = partition.counts
    assert counts.consumed == counts.valid + counts.rejected + counts.late == source.offset + 1


def test_pending_messages_are_counted_exactly_for_turns_of_any_size():
    """Late and malformed ones among valid ones, applied in parts: the counts are those of the chunks, and end at 0."""
    rng, partition = np.random.default_rng(1), empty(0, [ELASTIC], contact=False)
    partition.reached_end("customers")
    offsets = {"events": 0, "orders": 0}
    for turn in range(60):
        topic = ("events", "orders")[turn % 2]
        pairs = []
        for _ in range(int(rng.integers(1, 30))):
            ts = 1_000 * DAY + turn * HOUR + int(rng.integers(0, 5 * HOUR))
            kind = rng.random()
            if kind < 0.2:
                pairs.append((b"c", b"[" * int(rng.integers(1, 900))))
            else:
                made = click if topic == "events" else order
                late = 900 * DAY if kind < 0.3 else 0
                pairs.append(made(int(rng.integers(10**9)), ts - late))
        held = partition.receive(as_batch(topic, pairs, offsets[topic]))
        offsets[topic] += len(pairs)
        assert held >= sum(
            len(dead_letter.value or b"") for dead_letter in partition.buffers[topic].chunks[-1].rejected
        )
        partition.advance()
        for buffer in partition.buffers.values():
            assert buffer.waiting == sum(chunk.waiting for chunk in buffer.chunks) >= 0
            assert buffer.waiting_bytes == sum(chunk.held_bytes for chunk in buffer.chunks)
        waits = sum(buffer.waiting for buffer in partition.buffers.values())
        counts = partition.counts
        assert waits + counts.applied + counts.duplicates + len(partition.rejected) == counts.consumed
    for topic in ("events", "orders"):
        partition.reached_end(topic)
    partition.advance()
    assert [(buffer.waiting, buffer.waiting_bytes) for buffer in partition.buffers.values()] == [(0, 0)] * 3
    assert partition.counts.late > 0
    assert partition.counts.rejected > 0


def test_order_of_many_short_lines_counts_more_than_its_bytes():
    partition = empty(0, [ELASTIC], contact=False)
    key, value = order(1, DAY, items=[{}] * 10_000)
    held = partition.receive(as_batch("orders", [(key, value)]))
    assert len(value) < 60_000
    assert held > 640_000


def test_large_invalid_profiles_end_a_turn():
    partition = empty(0, [ELASTIC], contact=False)
    assert partition.receive(as_batch("customers", [(b"c", b"x" * 1_000)] * 50)) == 50 * 1_001
    assert partition.buffers["customers"].waiting == 0
