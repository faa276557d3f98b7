"""The independent count against topics whose content is known message by message; and the end of a run."""

from __future__ import annotations

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.kafka.client import ensure_topics
from connectors.kafka.run_removal import drop_topics_and_groups
from connectors.kafka.topic_settings import run_topics, topic_configs
from consumers.audit import TopicAudit, audit_topics
from consumers.dead_letters.producer import DeadLetter, open_dead_letters
from features.errors import ShopstreamError


def an_event(event_id, customer="c1", session="s1"):
    return {"event_id": event_id, "customer_id": customer, "session_id": session}


def an_order(order_id, customer):
    return {"order_id": order_id, "customer_id": customer}


@pytest.fixture
def write(servers, run_name):
    properties = servers.kafka.client_properties()
    ensure_topics(properties, run_name, 2)
    producer = Producer(properties)

    def send(topic, *records):
        for record in records:
            value = record if isinstance(record, bytes | None) else msgspec.json.encode(record)
            producer.produce(f"{run_name}.{topic}", value, b"k", partition=0)
        assert producer.flush(20) == 0

    return send


def test_audit_counts_duplicates_dead_letters_and_missing_records(servers, run_name, write):
    properties = servers.kafka.client_properties()
    # the same pair of ids cut elsewhere is another session
    write("events", an_event("e1"), an_event("e2"), an_event("e1"), b"no json", an_event("e3", "c", "1s1"))
    write("orders", an_order("o1", "c9"), an_order("o1", "c9"), an_order("o1", "c1"), an_order("o2", "c1"))
    write("customers", {"customer_id": "c1"}, {"customer_id": "c1"}, {"customer_id": "nobody"}, None)
    dead_letters = open_dead_letters(properties, run_name)
    for _ in range(2):  # after a crash the same letter may stand there twice
        dead_letters.send(DeadLetter(f"{run_name}.events", 0, 3, b"k", b"no json", "not JSON"))
    dead_letters.flush()

    result = audit_topics(properties, run_name)
    assert result.topics["events"] == TopicAudit(messages=5, dead_letters=1, distinct=3)
    assert result.topics["events"].repeated == 1
    assert result.topics["orders"] == TopicAudit(messages=4, dead_letters=0, distinct=3)
    assert result.topics["customers"] == TopicAudit(messages=3, dead_letters=0, distinct=2)
    assert (result.customers, result.profiles_unseen, result.sessions) == (3, 1, 2)


def test_audit_counts_neither_an_erased_profile_nor_its_tombstone(servers, run_name, write):
    producer = Producer(servers.kafka.client_properties())
    for customer in ("c1", "c2", "c1", "c3", "-c1", "-c2", "c2"):
        key = customer.removeprefix("-")
        value = None if key != customer else msgspec.json.encode({"customer_id": key})
        producer.produce(f"{run_name}.customers", value, key.encode(), partition=1)
    assert producer.flush(20) == 0
    result = audit_topics(servers.kafka.client_properties(), run_name)
    assert result.topics["customers"] == TopicAudit(messages=5, dead_letters=0, distinct=2)
    assert result.profiles_unseen == 2


def test_audit_reports_an_invalid_message_without_a_dead_letter(servers, run_name, write):
    write("events", an_event("e1"), b"no json")
    with pytest.raises(ShopstreamError, match=r"events\[0\] 1 is not a record"):
        audit_topics(servers.kafka.client_properties(), run_name)


def test_dropping_a_run_leaves_a_run_of_a_similar_name(servers, run_name, write):
    properties = servers.kafka.client_properties()
    write("events", an_event("e1"))
    ensure_topics(properties, f"{run_name}-2", 1)
    admin = AdminClient(properties)
    try:
        assert set(drop_topics_and_groups(properties, run_name)) == set(topic_configs(run_name))
        left = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(run_name)]
        assert set(left) == set(topic_configs(f"{run_name}-2"))
        assert drop_topics_and_groups(properties, run_name) == ()
    finally:
        drop_topics_and_groups(properties, f"{run_name}-2")


def test_topics_of_another_producer_are_not_those_of_a_run(servers, run_name):
    properties = servers.kafka.client_properties()
    admin = AdminClient(properties)
    foreign = [f"{run_name}.{topic}" for topic in ("orders", "events", "alerts")]
    for future in admin.create_topics([NewTopic(topic, 1, 1) for topic in foreign]).values():
        future.result()
    assert run_name not in run_topics(admin.list_topics(timeout=10).topics)
    assert drop_topics_and_groups(properties, run_name) == ()
    assert set(foreign) <= set(admin.list_topics(timeout=10).topics)
    ensure_topics(properties, run_name, 1)
    assert set(run_topics(admin.list_topics(timeout=10).topics)[run_name]) == set(topic_configs(run_name))


@pytest.mark.parametrize(
    ("topics", "belong"),
    [
        (("orders", "customers", "events"), False),
        (("orders", "alerts"), False),
        (("orders", "alerts", "dead-letter"), True),
        (("customer-features", "dead-letter-replays"), True),
    ],
    ids=["sources", "one of its own", "two of its own", "sources are gone"],
)
def test_topics_belong_to_a_run_if_two_are_its_own(topics, belong):
    assert ("web" in run_topics([f"web.{topic}" for topic in topics] + ["web.shipments"])) == belong
