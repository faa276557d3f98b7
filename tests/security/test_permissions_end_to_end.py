"""The whole way over TLS, each command by a user who has the permissions of its duty and no others."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from elasticsearch import AuthorizationException, Elasticsearch
from security.pair import ELASTIC_PASSWORD, KAFKA_PASSWORD, RUN, variables
from security.world import CUSTOMERS, ESCAPES, EVENTS

from connectors.elasticsearch.client import delete_documents
from connectors.kafka.client import open_producer, producer_config
from features.schema import transaction_prefix


@pytest.mark.slow
@pytest.mark.parametrize("name", ["first", "replay", "consume", "status", "map"])
def test_every_command_works_with_its_permissions(world, name):
    done = world.commands[name]
    assert done.returncode == 0, done.stdout + done.stderr


def test_mapped_message_and_dead_letter_are_written_with_the_permissions_of_map(world):
    assert any(b'"e-foreign"' in message.value() for message in world.messages("events"))
    positions = [dict(message.headers()) for message in world.messages("dead-letter")]
    assert [one["offset"] for one in positions if one["topic"] == b"web-clicks"] == [b"1"]


def client_of(world, user):
    elastic = world.endpoints.elasticsearch
    return Elasticsearch(elastic.url, ca_certs=elastic.options["ca_certs"], basic_auth=(user, ELASTIC_PASSWORD))


def test_reader_can_search_the_documents(world):
    with client_of(world, "reader") as client, Elasticsearch(**world.endpoints.elasticsearch.client_options()) as owner:
        owner.indices.refresh(index=f"{RUN}-*")
        assert client.count(index=f"{RUN}-events")["count"] == EVENTS + len(ESCAPES)
        customers = {hit["_id"] for hit in client.search(index=f"{RUN}-customers", size=1_000)["hits"]["hits"]}
        assert set(ESCAPES) <= customers
        assert len(ESCAPES) < len(customers) <= CUSTOMERS + len(ESCAPES)
        assert client.search(index=f"{RUN}-orders", query={"match_all": {}}, size=1)["hits"]["hits"]


def test_reader_cannot_change_documents(world):
    index = f"{RUN}-customers-000001"
    with client_of(world, "reader") as client:
        tries = [
            lambda: client.index(index=index, id="x", document={"customer_id": "x"}),
            lambda: client.bulk(operations=[{"delete": {"_index": index, "_id": "x"}}]).body["items"][0],
            lambda: client.indices.delete(index=index),
            lambda: client.indices.put_mapping(index=index, properties={"x": {"type": "keyword"}}),
            lambda: client.indices.create(index=f"{RUN}-new"),
            lambda: client.indices.update_aliases(actions=[{"remove": {"index": index, "alias": f"{RUN}-customers"}}]),
            lambda: client.indices.put_index_template(name=f"{RUN}-x", index_patterns=[f"{RUN}-x"]),
            lambda: client.cluster.put_settings(persistent={"action.auto_create_index": "true"}),
        ]
        for attempt in tries:
            try:
                answer = attempt()
            except AuthorizationException:
                continue
            assert answer["delete"]["status"] == 403


@pytest.mark.parametrize("user", ["reader", "writer"])
def test_users_cannot_read_other_indices(world, user):
    elastic = world.endpoints.elasticsearch
    with Elasticsearch(**elastic.client_options()) as master, client_of(world, user) as client:
        master.index(index="others-secrets", document={"a": 1}, refresh=True)
        with pytest.raises(AuthorizationException):
            client.search(index="others-secrets")
        with pytest.raises(AuthorizationException):
            client.index(index="others-secrets", document={"a": 1})


SIBLING = f"{RUN}-x"
"""A run whose name begins with that of the users' run."""


@pytest.mark.parametrize("user", ["reader", "writer"])
@pytest.mark.parametrize("name", ["events-2026.01", "customers-000001", "pipeline-000001"])
def test_users_cannot_read_a_run_with_a_longer_name(world, user, name):
    index = f"{SIBLING}-{name}"
    with Elasticsearch(**world.endpoints.elasticsearch.client_options()) as master, client_of(world, user) as client:
        master.index(index=index, id="1", document={"a": 1}, refresh=True)
        tries = [
            lambda: client.search(index=index),
            lambda: client.get(index=index, id="1"),
            lambda: client.index(index=index, id="1", document={"a": 2}),
            lambda: client.delete(index=index, id="1"),
        ]
        for attempt in tries:
            with pytest.raises(AuthorizationException):
                attempt()
        assert master.get(index=index, id="1")["_source"] == {"a": 1}


@pytest.mark.parametrize("user", ["consumer", "watcher"])
def test_users_cannot_join_a_group_of_a_run_with_a_longer_name(world, user):
    admin = AdminClient(properties_of(world, user))

    def offsets(group):
        request = [ConsumerGroupTopicPartitions(group)]
        return admin.list_consumer_group_offsets(request, request_timeout=20)[group].result().topic_partitions

    assert offsets(f"{RUN}-features")
    with pytest.raises(KafkaException, match="GROUP_AUTHORIZATION_FAILED"):
        offsets(f"{SIBLING}-features")


@pytest.mark.parametrize(("user", "allowed"), [("consumer", True), ("producer", False), ("watcher", False)])
def test_only_the_consumer_can_use_row_transactions(world, user, allowed):
    name = f"{transaction_prefix(RUN)}0"
    producer = Producer({**properties_of(world, user), "transactional.id": name, "transaction.timeout.ms": 10_000})
    if allowed:
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(f"{RUN}.customer-features", b"{}", b"nobody")
        producer.abort_transaction(30)
    else:
        with pytest.raises(KafkaException, match="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
            producer.init_transactions(30)


def test_writer_can_delete_expired_pipeline_documents(world):
    with client_of(world, "writer") as client:
        index = f"{RUN}-pipeline-000001"
        client.index(index=index, id="old", document={"at": 1, "role": "features", "worker": 0})
        delete_documents(client, index, ["old", "gone"], refresh=True)
        assert not client.exists(index=index, id="old")


def test_writer_cannot_delete_other_documents(world):
    with client_of(world, "writer") as client:
        answer = client.bulk(operations=[{"delete": {"_index": f"{RUN}-customers-000001", "_id": "x"}}])
        assert answer["items"][0]["delete"]["status"] == 403
        with pytest.raises(AuthorizationException):
            client.indices.delete(index=f"{RUN}-customers-000001")


def properties_of(world, user):
    return {
        **world.endpoints.kafka.client_properties(),
        "sasl.username": user,
        "sasl.password": KAFKA_PASSWORD,
    }


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("watcher", f"{RUN}.events"),
        ("consumer", f"{RUN}.events"),
        ("producer", f"{RUN}.customer-features"),
        ("owner", "other.events"),
    ],
)
def test_users_cannot_write_topics_of_other_duties(world, user, topic):
    messages = []
    config = producer_config({**properties_of(world, user), "message.timeout.ms": 5_000})
    producer = open_producer({**config, "enable.idempotence": False})
    producer.produce(topic, b"{}", on_delivery=lambda error, _: messages.append(error))
    producer.flush(15)
    assert messages[0].name() in ("TOPIC_AUTHORIZATION_FAILED", "_MSG_TIMED_OUT", "_UNKNOWN_TOPIC")


@pytest.mark.parametrize("user", ["watcher", "consumer", "producer"])
def test_only_the_owner_can_create_topics(world, user):
    admin = AdminClient(properties_of(world, user))
    (future,) = admin.create_topics([NewTopic(f"{RUN}.new", 1)]).values()
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        future.result(timeout=20)


def test_missing_permissions_are_an_error_with_the_remedy(world, tmp_path):
    from consume.command_line import call  # noqa: PLC0415

    result = variables(tmp_path, world.endpoints, kafka={"sasl.username": "watcher", "sasl.password": KAFKA_PASSWORD})
    done = call(["replay", world.archive, "--run", "elsewhere"], result, 60)
    assert done.returncode == 1
    assert "permission" in " ".join(done.stderr.split())


def test_status_shows_paths_of_secret_files_without_their_content(world):
    messages = json.loads(world.commands["status"].stdout)
    assert messages["kafka"]["healthy"]
    assert messages["elasticsearch"]["healthy"]
    assert messages["elasticsearch"]["ca_file"]
