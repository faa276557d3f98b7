"""The Kafka edge: properties, errors in seconds, topics, fenced commits, dead letters."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from connectors.kafka import client as kafka
from connectors.kafka import offsets as kafka_offsets
from connectors.kafka import topic_settings
from connectors.kafka.logs import ClientLog, redact
from connectors.kafka.source import Source
from consumers.dead_letters.producer import DeadLetter, DeadLetters, open_dead_letters, reason_kind
from features.errors import ShopstreamError, UsageError


def test_consumer_config_is_tuned_and_overridable_where_exactness_allows():
    config = kafka.consumer_config({"bootstrap.servers": "x", "fetch.wait.max.ms": "100"}, "g", "g-0")
    assert config["fetch.wait.max.ms"] == "100"
    assert config["fetch.queue.backoff.ms"] == 5
    assert config["group.instance.id"] == "g-0"
    assert config["enable.auto.commit"] is False
    assert 6_000 <= config["session.timeout.ms"] <= 10_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable.auto.commit", "true"),
        ("auto.offset.reset", "earliest"),
        ("partition.assignment.strategy", "roundrobin"),
    ],
)
def test_property_that_breaks_exactly_once_is_refused(name, value):
    with pytest.raises(UsageError, match=name):
        kafka.consumer_config({name: value}, "g")


def test_equal_value_in_another_spelling_is_accepted():
    assert kafka.consumer_config({"enable.auto.commit": "false"}, "g")["enable.auto.commit"] is False


def test_producer_config_omits_consumer_properties():
    config = kafka.producer_config({"session.timeout.ms": "6000", "linger.ms": "1", "acks": "all"})
    assert config["linger.ms"] == "1"
    assert "session.timeout.ms" not in config
    assert config["enable.idempotence"] is True
    with pytest.raises(UsageError, match="acks"):
        kafka.producer_config({"acks": "1"})


def test_property_that_hides_delivery_reports_is_refused():
    with pytest.raises(UsageError, match=r"delivery\.report\.only\.error"):
        kafka.producer_config({"delivery.report.only.error": "true"})


def test_clients_accept_the_configurations():
    kafka.open_consumer(kafka.consumer_config({"bootstrap.servers": "127.0.0.1:1"}, "g", "g-0")).close()
    kafka.open_producer(kafka.producer_config({"bootstrap.servers": "127.0.0.1:1"})).close()


def test_an_unknown_property_is_named():
    with pytest.raises(UsageError, match=r"no\.such\.property"):
        kafka.open_consumer(kafka.consumer_config({"no.such.property": "1"}, "g"))


def test_unreachable_broker_is_reported_in_seconds_without_secrets():
    started = time.monotonic()
    properties = {"bootstrap.servers": "127.0.0.1:1", "sasl.password": "hunter2"}
    with pytest.raises(ShopstreamError, match=r"127\.0\.0\.1:1 does not answer") as caught:
        kafka.check_broker(properties, timeout_s=2)
    assert time.monotonic() - started < 5
    assert "hunter2" not in str(caught.value)


def test_log_lines_are_cut_counted_and_without_secrets(capsys):
    lines = ClientLog({"sasl.password": "hunter2", "client.id": "me-and-you"}, "c")
    for n in range(1, 251):
        lines.log(30, "%s [%s] %s", "FAIL", "me-and-you", f"login with hunter2 failed (after {n}ms in state AUTH)")
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "me-and-you" in out
    assert out.count("login with") == 3  # the first, the 100th and the 200th


def test_transient_condition_is_logged_at_debug_level():
    lines = ClientLog({}, "c")
    with structlog.testing.capture_logs() as message:
        lines.log(logging.WARNING, "GETPID: Broker: Coordinator load in progress: retrying")
        lines.log(logging.WARNING, "GETPID: %s", "refused")
    assert [line["log_level"] for line in message] == ["debug", "warning"]


def test_redact_replaces_every_occurrence_of_a_secret():
    assert redact("a b a", ["a"]) == "*** b ***"


def test_reasons_are_grouped_without_their_values():
    assert reason_kind('`ts`: expected at most 5, got 17 "x\\"y"') == reason_kind('`ts`: expected at most 5, got 9 "z"')
    assert reason_kind("Invalid enum value 'a\\'b' - at `$.type`") == reason_kind("Invalid enum value '' - at `$.type`")
    assert reason_kind("a customer's day isn't over") == "a customer's day isn't over"


# --- the real server ---


@pytest.fixture
def properties(servers):
    return servers.kafka.client_properties()


def test_topics_are_created_once_with_their_settings(properties, run_name):
    first = kafka.ensure_topics(properties, run_name, 3)
    assert set(first.created) == set(topic_settings.topic_configs(run_name))
    again = kafka.ensure_topics(properties, run_name, 3)
    assert again.created == ()
    assert again.warnings == ()
    for topic in ("customers", "customer-features"):
        stored = settings_of(properties, ResourceType.TOPIC, f"{run_name}.{topic}")["delete.retention.ms"]
        assert stored == str(offsets_retention_ms(properties))
    with pytest.raises(ShopstreamError, match=rf"{run_name}\.events has 3 partitions, but 4"):
        kafka.ensure_topics(properties, run_name, 4)


def test_existing_topic_with_other_settings_gives_warnings(properties, run_name):
    admin = AdminClient(properties)
    config = {"message.timestamp.type": "CreateTime", "retention.ms": "1000000"}
    for future in admin.create_topics([NewTopic(f"{run_name}.events", 2, 1, config=config)]).values():
        future.result()
    warnings = kafka.ensure_topics(properties, run_name, 2).warnings
    assert any("CreateTime" in w and f"{run_name}.events" in w for w in warnings)
    assert any("deletes records after 1000000 ms" in w for w in warnings)


def test_topic_with_tombstone_retention_below_offset_retention_gives_a_warning(properties, run_name):
    admin = AdminClient(properties)
    for future in admin.create_topics(
        [NewTopic(f"{run_name}.customers", 2, 1, config={"cleanup.policy": "compact"})]
    ).values():
        future.result()
    (message,) = (w for w in kafka.ensure_topics(properties, run_name, 2).warnings if "delete.retention.ms" in w)
    assert f"{run_name}.customers" in message
    assert "24 hours" in message
    assert f"delete.retention.ms={offsets_retention_ms(properties)} on" in message


@pytest.mark.parametrize(("minutes", "ms"), [("20160", 1_209_600_000), ("60", 604_800_000), (None, 604_800_000)])
def test_tombstone_retention_equals_the_offset_retention_of_the_cluster(minutes, ms):
    class Cluster:
        brokers = {1: None}  # noqa: RUF012

        def list_topics(self, timeout):
            return self

        def describe_configs(self, resources, request_timeout):
            future = Future()
            if minutes is None:
                future.set_exception(KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED)))
            else:
                future.set_result({"offsets.retention.minutes": SimpleNamespace(value=minutes)})
            return {resources[0]: future}

    assert kafka.longest_pause_ms(Cluster()) == ms


def offsets_retention_ms(properties):
    return int(settings_of(properties, ResourceType.BROKER, "1")["offsets.retention.minutes"]) * 60_000


def settings_of(properties, kind, name):
    admin = AdminClient(properties)
    resource = ConfigResource(kind, name)
    result = admin.describe_configs([resource])[resource].result(timeout=30)
    return {name: entry.value for name, entry in result.items()}


def join(properties, group: str, instance: str, topic: str) -> Consumer:
    consumer = kafka.open_consumer(kafka.consumer_config(properties, group, instance))
    consumer.subscribe([topic])
    end = time.monotonic() + 20
    while not consumer.assignment():
        consumer.poll(0.1)
        assert time.monotonic() < end
    return consumer


def test_commits_carry_metadata_and_a_former_owner_is_fenced(properties, run_name):
    kafka.ensure_topics(properties, run_name, 1)
    topic = f"{run_name}.events"
    position = TopicPartition(topic, 0)
    producer = kafka.open_producer(kafka.producer_config(properties))
    for n in range(10):
        producer.produce(topic, b"%d" % n, b"k")
    producer.flush()
    first = join(properties, f"{run_name}-g", "w0", topic)
    assert kafka_offsets.committed(first, [position]) == {}
    kafka_offsets.commit(first, {position: (4, '{"high":17}')})
    assert kafka_offsets.committed(first, [position]) == {position: (4, '{"high":17}')}
    assert kafka_offsets.watermarks(first, [position]) == {position: (0, 10)}
    assert kafka_offsets.end_offsets(first, [topic]) == {(topic, 0): 10}
    with pytest.raises(ShopstreamError, match=r"nowhere"):
        kafka_offsets.end_offsets(first, [f"{run_name}.nowhere"])

    second = join(properties, f"{run_name}-g", "w0", topic)
    with pytest.raises(kafka_offsets.FencedError):
        kafka_offsets.commit(first, {position: (9, "")})
    kafka_offsets.commit(second, {position: (5, "")})
    assert kafka_offsets.committed(second, [position]) == {position: (5, "")}
    second.close()
    first.close()


class Listener:
    def __init__(self) -> None:
        self.starts = {}

    def assigned(self, starts):
        self.starts |= starts

    def revoked(self, partitions):
        pass

    def lost(self, partitions):
        pass


def test_an_offset_before_the_logs_start_stops_with_the_remedy(properties, run_name):
    kafka.ensure_topics(properties, run_name, 1)
    topic = f"{run_name}.events"
    producer = kafka.open_producer(kafka.producer_config(properties))
    for n in range(10):
        producer.produce(topic, b"%d" % n, b"k")
    producer.flush()
    group = f"{run_name}-g"
    first = join(properties, group, "w0", topic)
    kafka_offsets.commit(first, {TopicPartition(topic, 0): (3, "")})
    first.close()
    admin = AdminClient(properties)
    for future in admin.delete_records([TopicPartition(topic, 0, 6)]).values():
        future.result()
    source = Source(kafka.open_consumer(kafka.consumer_config(properties, group, "w0")), run_name, ["events"])
    source.open(Listener())

    def read_on() -> None:
        for _ in range(100):
            source.read(10, 0.1)

    with pytest.raises(ShopstreamError, match="no record 3 to continue from") as caught:
        read_on()
    assert "--run" in caught.value.remedy
    source.close()


def read_all(properties, topic: str, count: int):
    consumer = kafka.open_consumer(kafka.consumer_config(properties, f"reader-{topic}-{time.monotonic_ns()}"))
    consumer.assign([TopicPartition(topic, 0, 0)])
    entries = []
    end = time.monotonic() + 20
    while len(entries) < count and time.monotonic() < end:
        entries += [m for m in consumer.consume(100, 0.2) if m.error() is None]
    consumer.close()
    return entries


def test_dead_letters_keep_bytes_key_and_origin(properties, run_name):
    kafka.ensure_topics(properties, run_name, 1)
    dead_letters = open_dead_letters(properties, run_name)
    dead_letters.send(DeadLetter("t.events", 2, 17, b"k", b"\xff\x00junk", "not JSON: got 1"))
    dead_letters.send(DeadLetter("t.events", 2, 18, None, None, "the value is null é"))
    dead_letters.send(DeadLetter("t.events", 2, 19, b"k", b"x" * 5_000_000, "not JSON: got 2"))
    dead_letters.flush()
    assert dead_letters.in_flight == 0
    assert dead_letters.counts["not JSON: got …"] == 2
    result = read_all(properties, f"{run_name}.dead-letter", 3)
    assert [(m.key(), m.value() and m.value()[:6]) for m in result] == [
        (b"k", b"\xff\x00junk"),
        (None, None),
        (b"k", b"xxxxxx"),
    ]
    assert len(result[2].value()) == 5_000_000
    assert dict(result[1].headers()) == {
        "error": "the value is null é".encode(),
        "topic": b"t.events",
        "partition": b"2",
        "offset": b"18",
    }


def test_dead_letter_above_the_topic_limit_is_truncated_and_others_are_complete(properties, run_name):
    kafka.ensure_topics(properties, run_name, 1)
    dead_letters = open_dead_letters(properties, run_name)
    dead_letters.send(DeadLetter("t.events", 0, 1, b"k", b"small", "bad"))
    dead_letters.send(DeadLetter("t.events", 0, 2, b"k", b"x" * 17_000_000, "bad"))
    dead_letters.flush()
    small, large = read_all(properties, f"{run_name}.dead-letter", 2)
    assert small.value() == b"small"
    assert large.value() == b"x" * 512 * 1024
    assert dict(large.headers())["cut"] == b"the first 524288 of 17000000 bytes"


def test_undeliverable_dead_letters_are_an_error():
    config = kafka.producer_config({"bootstrap.servers": "127.0.0.1:1", "reconnect.backoff.max.ms": 1000})
    dead_letters = DeadLetters(kafka.open_producer(config), "r")
    dead_letters.send(DeadLetter("t.events", 0, 1, b"k", b"v", "bad"))
    with pytest.raises(ShopstreamError, match="1 dead letters could not be written"):
        dead_letters.flush(0.5)
