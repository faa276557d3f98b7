"""The reader of offset ranges and the producing loop, against consumers and producers that are played."""

from __future__ import annotations

from itertools import repeat
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.kafka import client, reader
from features.errors import ShopstreamError


def message(offset, partition=0, error=None):
    return SimpleNamespace(
        topic=lambda: "t",
        partition=lambda: partition,
        offset=lambda: offset,
        error=lambda: None if error is None else KafkaError(error),
    )


def end_at(offset, partition=0):
    return message(offset, partition, KafkaError._PARTITION_EOF)


class PlayedConsumer:
    def __init__(self, *batches):
        self._batches = iter(batches)
        self.assigned = []

    def assign(self, partitions):
        self.assigned = [(p.partition, p.offset) for p in partitions]

    def consume(self, _number, _timeout_s):
        return next(self._batches)


def read(consumer, ranges, **options):
    places = {TopicPartition("t", number): both for number, both in ranges.items()}
    return [(m.partition(), m.offset()) for m in reader.read_ranges(consumer, places, **options)]


def test_a_range_ends_before_its_end_offset_and_an_empty_range_is_not_read():
    consumer = PlayedConsumer([message(3), message(4), message(5)], [message(7, 2)])
    assert read(consumer, {0: (3, 5), 1: (6, 6), 2: (7, 8)}) == [(0, 3), (0, 4), (2, 7)]
    assert consumer.assigned == [(0, 3), (2, 7)]


def test_range_with_compacted_last_records_ends_with_its_partition():
    assert read(PlayedConsumer([message(0)], [end_at(9)]), {0: (0, 9)}) == [(0, 0)]


def test_temporary_error_is_retried():
    consumer = PlayedConsumer([message(0, error=KafkaError._ALL_BROKERS_DOWN)], [message(0)])
    assert read(consumer, {0: (0, 1)}) == [(0, 0)]


@pytest.mark.parametrize("code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._AUTO_OFFSET_RESET])
def test_a_permanent_error_ends_the_reading(code):
    with pytest.raises(ShopstreamError, match=r"refuses the reader|has no record"):
        read(PlayedConsumer([message(0, error=code)]), {0: (0, 1)})


@pytest.mark.parametrize("nothing", [[], [message(0, error=KafkaError._ALL_BROKERS_DOWN)]], ids=["silence", "errors"])
def test_brokers_that_deliver_no_record_end_the_reading(monkeypatch, nothing):
    now_s = iter(range(1_000))
    monkeypatch.setattr(reader.time, "monotonic", lambda: next(now_s))
    with pytest.raises(ShopstreamError, match="delivered no record of t for 3 s"):
        read(PlayedConsumer([message(0)], *repeat(nothing, 7)), {0: (0, 2)}, silence_max_s=3.0)


class PlayedProducer:
    """Has room for one message, and fails those whose value is in `failing`."""

    def __init__(self, failing=(), refused=()):
        self._failing, self._refused = failing, refused
        self._queue = []
        self.sent = []

    def produce(self, topic, value, key, *, partition, headers, on_delivery):
        if value in self._refused:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if self._queue:
            raise BufferError
        self._queue.append((topic, value, key, partition, headers, on_delivery))

    def poll(self, timeout_s):
        if timeout_s:
            self.flush(timeout_s)

    def flush(self, _timeout_s):
        for topic, value, key, partition, headers, on_delivery in self._queue:
            error = KafkaError(KafkaError._MSG_TIMED_OUT) if value in self._failing else None
            self.sent.append((topic, value, key, partition, headers))
            on_delivery(error, message(len(self.sent), 3))
        self._queue.clear()
        return 0


@pytest.fixture
def played(monkeypatch):
    def play(**how):
        producer = PlayedProducer(**how)
        monkeypatch.setattr(client, "open_producer", lambda _: producer)
        return producer

    return play


def records(*values):
    return [("t", b"k", value, [("h", b"1")]) for value in values]


def test_full_queue_delays_sending_and_every_record_is_acknowledged(played):
    producer = played()
    placed = client.produce_all({}, "test", iter(records(b"a", b"b")), 3)
    assert [(p.topic, p.partition, p.offset) for p in placed] == [("t", 3, 1), ("t", 3, 2)]
    assert producer.sent == [("t", b"a", b"k", 3, [("h", b"1")]), ("t", b"b", b"k", 3, [("h", b"1")])]


def test_a_record_without_acknowledgement_is_an_error_and_ends_the_sending(played):
    producer = played(failing=[b"a"])
    with pytest.raises(ShopstreamError, match=r"1 records were not acknowledged by Kafka: .*timed out"):
        client.produce_all({}, "test", records(b"a", b"b", b"c"))
    assert [value for _, value, *_ in producer.sent] == [b"a", b"b"]


def test_records_before_a_refused_one_are_sent(played):
    producer = played(refused=[b"b"])
    with pytest.raises(ShopstreamError, match="not acknowledged"):
        client.produce_all({}, "test", records(b"a", b"b", b"c"))
    assert [value for _, value, *_ in producer.sent] == [b"a"]
