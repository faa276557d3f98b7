"""Names and e-mail addresses stand in the topic of customers and in the archive, and nowhere else."""

from __future__ import annotations

import json
import re

import pytest
from elasticsearch import Elasticsearch
from security.pair import RUN
from security.watched import files
from security.world import PLANTED

from features.schema import ALERT_TOPIC, DEAD_LETTER_TOPIC, FEATURE_TOPIC


@pytest.fixture(scope="module")
def contact(world):
    return re.compile("|".join(re.escape(word) for word in world.contact()), re.IGNORECASE)


def test_topic_of_customers_holds_contact_data(world, contact):
    values = [message.value().decode() for message in world.messages("customers")]
    assert sum(bool(contact.search(value)) for value in values) > 40


def test_no_index_holds_contact_data(world, contact):
    with Elasticsearch(**world.endpoints.elasticsearch.client_options()) as client:
        client.indices.refresh(index=f"{RUN}-*")
        names = list(client.indices.get(index=f"{RUN}-*", filter_path="*.aliases"))
        assert len(names) > 5
        seen = 0
        for name in names:
            hits = client.search(index=name, size=10_000)["hits"]["hits"]
            seen += len(hits)
            assert [hit for hit in hits if contact.search(json.dumps(hit))] == []
            fields = client.indices.get_mapping(index=name)[name]["mappings"]["properties"]
            assert {"name", "email"} & set(fields) == set()
        assert seen > 1_500


@pytest.mark.parametrize("topic", [FEATURE_TOPIC, ALERT_TOPIC, "events", "orders"])
def test_no_other_topic_holds_contact_data(world, contact, topic):
    planted = PLANTED["email"].encode()  # as a field of an event that nobody asked for
    for message in world.messages(topic):
        if topic == "events" and planted in message.value():
            continue
        assert not contact.search(f"{message.key()} {message.value()} {message.headers()}")


def test_reason_of_a_dead_letter_holds_no_contact_data(world, contact):
    dead_letters = world.messages(DEAD_LETTER_TOPIC)
    assert len(dead_letters) >= 5
    assert any(contact.search(dead_letter.value().decode()) for dead_letter in dead_letters)
    reasons = [dict(dead_letter.headers())["error"].decode() for dead_letter in dead_letters]
    assert [reason for reason in reasons if contact.search(reason)] == []
    assert all(reasons)


def test_printed_and_logged_text_holds_no_contact_data(world, contact):
    assert contact.search(world.output) is None
    logs = [path for path in files(world.home) if {"logs", "metrics"}.intersection(path.parts)]
    assert logs
    assert [path for path in logs if contact.search(path.read_text("utf-8", "replace"))] == []


def test_no_checkpoint_holds_contact_data(world, contact):
    stored = [path for path in files(world.home) if "state" in path.parts]
    assert stored
    assert [path for path in stored if contact.search(path.read_bytes().decode("utf-8", "replace"))] == []
