"""Against the real Kafka: exact counts, keys, the partition of a key, a resumed position."""

import json
from collections import Counter

import pytest
from archives import NOON, event, order, write
from confluent_kafka import Consumer, KafkaError, TopicPartition

from connectors.kafka.client import ensure_topics
from features.schema import topic_name
from producers.archive.event_order import ArchiveRange
from producers.publisher import Publisher, newest_event_ms
from producers.replay import ReplayOptions, replay

PARTITIONS = 4


def murmur2(key: bytes) -> int:
    """The Java clients' hash, from its specification."""
    m, h = 0x5BD1E995, (0x9747B28C ^ len(key)) & 0xFFFFFFFF
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ k
    rest = key[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * m & 0xFFFFFFFF
    return h ^ (h >> 15)


def test_murmur2_equals_the_published_values():
    # from the tests of Apache Kafka's clients, as unsigned numbers
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    assert {key: murmur2(key) for key in known} == {key: value % 2**32 for key, value in known.items()}


def partition_of(key: bytes) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % PARTITIONS


def read_all(properties, run, topic):
    """All messages of a topic as (partition, key, value), each partition in its order."""
    config = {"group.id": f"{run}-test", "enable.partition.eof": True, "enable.auto.commit": False}
    consumer = Consumer({**properties, **config})
    consumer.assign([TopicPartition(topic_name(run, topic), partition, 0) for partition in range(PARTITIONS)])
    found, ends = [], 0
    while ends < PARTITIONS:
        for message in consumer.consume(10_000, timeout=0.5):
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF
                ends += 1
            else:
                found.append((message.partition(), message.key(), message.value()))
    consumer.close()
    return found


@pytest.fixture
def properties(servers, run_name):
    properties = servers.kafka.client_properties()
    ensure_topics(properties, run_name, PARTITIONS)
    return properties


@pytest.fixture
def replayed(tmp_path, properties, run_name, fake_clock):
    archive = write(
        tmp_path / "a",
        events=[event(n, NOON + n % 3_000, customer_id=f"cüst{n % 211}") for n in range(12_000)],
        orders=[order(n, NOON + n, customer_id=f"cüst{n % 211}") for n in range(500)],
        customers=[{"customer_id": f"cüst{n}"} for n in range(211)],
    )
    report = replay(
        ReplayOptions(ArchiveRange(archive)),
        lambda on_failure: Publisher(properties, run_name, on_failure),
        fake_clock.clock(),
        lambda: False,
        lambda _: None,
    )
    assert report.complete
    return report


def test_messages_arrive_complete_keyed_and_in_order(replayed, properties, run_name):
    assert replayed.delivery.delivered == {"customers": 211, "events": 12_000, "orders": 500}
    for topic, number, time in (("events", 12_000, "ts"), ("orders", 500, "updated_ts"), ("customers", 211, None)):
        found = read_all(properties, run_name, topic)
        assert len(found) == number
        last = Counter()
        for partition, key, value in found:
            record = json.loads(value)
            assert record["customer_id"].encode() == key
            assert partition == partition_of(key)
            if time:
                assert record[time] >= last[partition]
                last[partition] = record[time]
        name = {"events": "event_id", "orders": "order_id", "customers": "customer_id"}[topic]
        assert len({json.loads(value)[name] for _, _, value in found}) == number


def test_newest_event_time_is_read_for_resuming(replayed, properties, run_name):
    assert newest_event_ms(properties, run_name) == NOON + 2_999


def test_an_empty_run_has_no_newest_event(properties, run_name):
    assert newest_event_ms(properties, run_name) is None
