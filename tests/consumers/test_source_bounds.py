"""How much a source reads in one call: bounded by messages, and by bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from confluent_kafka import Message, TopicPartition

from connectors.kafka.source import READ_BYTES_MAX, SLICE_MAX, Partition, Source

LARGE = b"x" * 990_000


class Broker:
    """A consumer of librdkafka whose topic has all that is asked for."""

    def __init__(self, value: bytes) -> None:
        self.value, self.asked, self.offset = value, [], 0

    def consume(self, count: int, timeout: float) -> list[Message]:
        self.asked.append(count)
        first, self.offset = self.offset, self.offset + count
        return [
            Message(topic="r.events", partition=0, offset=n, key=b"c", value=self.value, timestamp=(2, 1))
            for n in range(first, self.offset)
        ]

    def assign(self, _: list[TopicPartition]) -> None:
        """Nothing to do."""

    def resume(self, _: list[TopicPartition]) -> None:
        """Nothing to do."""

    def get_watermark_offsets(self, _: TopicPartition, **__: object) -> tuple[int, int]:
        return 0, 10**9


def source_of(value: bytes) -> tuple[Source, Broker]:
    broker = Broker(value)
    source = Source(broker, "r", ["events"])  # type: ignore[arg-type]
    source.open_at({Partition("events", 0): 0})
    return source, broker


def test_small_messages_are_read_up_to_the_requested_count():
    source, broker = source_of(b"x" * 200)
    for _ in range(3):
        (batch,) = source.read(2_000, 0.1)
        assert len(batch.values) == 2_000
    assert max(broker.asked) == SLICE_MAX


def test_first_read_of_large_messages_is_at_most_one_slice():
    source, broker = source_of(b"x" * 200)
    source.read(10_000, 0.1)
    broker.value = LARGE
    (batch,) = source.read(10_000, 0.1)
    assert len(batch.values) == SLICE_MAX
    for _ in range(3):
        (batch,) = source.read(10_000, 0.1)
        assert sum(map(len, batch.values)) <= 2 * READ_BYTES_MAX
    broker.value = b"x" * 200
    assert sum(len(batch.values) for batch in source.read(10_000, 0.1)) == 10_000


def test_batch_with_large_messages_is_bounded_by_bytes():
    source, broker = source_of(b"x" * 200)
    sizes = iter(range(10**9))

    def mixed(count: int, timeout: float) -> list[Message]:
        broker.value = LARGE if next(sizes) % 2 else b"x"
        return Broker.consume(broker, count, timeout)

    broker.consume = mixed  # type: ignore[method-assign]
    for _ in range(5):
        (batch,) = source.read(10_000, 0.1)
        assert sum(map(len, batch.values)) <= READ_BYTES_MAX + SLICE_MAX * len(LARGE)


def test_a_message_larger_than_the_bound_is_read_alone():
    source, broker = source_of(b"x" * (READ_BYTES_MAX + 1))
    source.read(1, 0.1)
    source.read(10_000, 0.1)
    assert broker.asked == [1, 1]


def opened_source(broker: Broker) -> tuple[Source, dict[str, Any]]:
    """A source in a group, and its callbacks."""
    callbacks: dict[str, Any] = {}
    broker.subscribe = lambda _, **given: callbacks.update(given)  # type: ignore[attr-defined]
    broker.list_topics = lambda *_, **__: known  # type: ignore[attr-defined]
    broker.committed = lambda partitions, **_: partitions  # type: ignore[attr-defined]
    known = SimpleNamespace(topics={"r.events": SimpleNamespace(error=None, partitions=[0])})
    owner = SimpleNamespace(assigned=lambda _: None, revoked=lambda _: None, lost=lambda _: None)
    source = Source(broker, "r", ["events"])  # type: ignore[arg-type]
    source.open(owner)  # type: ignore[arg-type]
    return source, callbacks


def test_messages_from_before_an_assignment_in_the_same_read_are_dropped():
    """The partition is lost and comes back at an earlier offset: its records would be read twice."""
    broker = Broker(b"x" * 200)
    source, callbacks = opened_source(broker)
    callbacks["on_assign"](broker, [TopicPartition("r.events", 0)])
    consume, calls = broker.consume, iter(range(10**9))

    def rebalanced(count: int, timeout: float) -> list[Message]:
        if next(calls) == 1:
            callbacks["on_lost"](broker, [TopicPartition("r.events", 0)])
            callbacks["on_assign"](broker, [TopicPartition("r.events", 0)])
            broker.offset = 0
        return consume(count, timeout)

    broker.consume = rebalanced  # type: ignore[method-assign]
    (batch,) = source.read(300, 0.1)
    assert list(batch.offsets) == list(range(300))


def test_owned_partitions_follow_the_assignment():
    broker = Broker(b"x")
    source, callbacks = opened_source(broker)
    assert source.owned() is None
    callbacks["on_assign"](broker, [TopicPartition("r.events", 2), TopicPartition("r.events", 0)])
    assert source.owned() == (0, 2)
    callbacks["on_revoke"](broker, [TopicPartition("r.events", 2)])
    assert source.owned() == (0,)
    callbacks["on_lost"](broker, [TopicPartition("r.events", 0)])
    assert source.owned() == ()
