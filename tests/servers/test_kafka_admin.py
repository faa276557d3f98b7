"""Counting what stands in Kafka, against the real one."""

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.kafka import admin as kafka_admin
from features.errors import ShopstreamError
from features.schema import group_name, topic_name
from shopstream.embedded import Endpoints, KafkaEndpoint


def make_topic(endpoint: KafkaEndpoint, topic: str, messages: int, partitions: int = 2) -> None:
    admin = AdminClient(endpoint.client_properties())
    for future in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
        future.result(timeout=30)
    producer = Producer(endpoint.client_properties())
    for number in range(messages):
        producer.produce(topic, b"{}", partition=number % partitions)
    assert producer.flush(30) == 0


def commit(endpoint: KafkaEndpoint, group: str, topic: str, offsets: list[int]) -> None:
    consumer = Consumer({**endpoint.client_properties(), "group.id": group, "enable.auto.commit": False})
    consumer.commit(
        offsets=[TopicPartition(topic, number, offset) for number, offset in enumerate(offsets)], asynchronous=False
    )
    consumer.close()


def test_topic_sizes_cover_the_topics_of_the_run_only(servers: Endpoints, run_name: str) -> None:
    events = topic_name(run_name, "events")
    make_topic(servers.kafka, events, messages=7)
    counts = kafka_admin.topic_sizes(servers.kafka, f"{run_name}.")
    assert counts == [kafka_admin.TopicSize(events, partitions=2, messages=7)]


def test_lag_is_end_minus_committed_over_partitions(servers: Endpoints, run_name: str) -> None:
    events, group = topic_name(run_name, "events"), group_name(run_name, "features")
    make_topic(servers.kafka, events, messages=10)  # 5 in each partition
    commit(servers.kafka, group, events, [5, 2])
    commit(servers.kafka, group_name(f"{run_name}-v2", "features"), events, [5, 5])
    (lag,) = kafka_admin.group_lags(servers.kafka, run_name)
    assert (lag.group, lag.lag, lag.lag_by_topic, lag.members) == (group, 3, {events: 3}, 0)


def test_run_without_groups_has_no_lag(servers: Endpoints, run_name: str) -> None:
    assert kafka_admin.group_lags(servers.kafka, run_name) == []
    assert kafka_admin.topic_sizes(servers.kafka, f"{run_name}.") == []


def test_topic_is_not_created_by_a_read(servers: Endpoints, run_name: str) -> None:
    producer = Producer({**servers.kafka.client_properties(), "message.timeout.ms": 3000})
    errors: list[object] = []
    producer.produce(topic_name(run_name, "evnets"), b"{}", on_delivery=lambda error, _: errors.append(error))
    producer.flush(10)
    assert errors
    assert errors[0] is not None
    assert kafka_admin.topic_sizes(servers.kafka, f"{run_name}.") == []


def test_unresponsive_broker_is_an_error_that_names_the_address() -> None:
    nobody = KafkaEndpoint("127.0.0.1:1", {"sasl.password": "geheim"})
    with pytest.raises(ShopstreamError, match=r"127\.0\.0\.1:1") as caught:
        kafka_admin.check(nobody, timeout_s=1)
    assert "geheim" not in str(caught.value)
    assert not kafka_admin.answers(nobody, timeout_s=1)
