"""`map guess` on the real Kafka: the newest messages of every partition, and nothing is committed."""

import json

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from connectors.kafka.admin import group_lags
from connectors.kafka.topic_sample import GROUP, sample_topic
from features.errors import ShopstreamError, UsageError
from producers.topic_mapping.ready import ready_examples
from shopstream.cli.app import build_app

SIZES = (3, 40, 17, 0)


def create(properties, name, partitions):
    admin = AdminClient(properties)
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()


@pytest.fixture
def topic(servers, run_name):
    """A topic with partitions of SIZES; the value of each message is its number, the key that of its partition."""
    properties = servers.kafka.client_properties()
    name = f"{run_name}.raw"
    create(properties, name, len(SIZES))
    producer = Producer(properties)
    for partition, size in enumerate(SIZES):
        for number in range(size):
            producer.produce(name, str(number), str(partition), partition, headers=[("ce_id", b"x")])
    producer.flush()
    return properties, name


@pytest.mark.parametrize(("count", "shares"), [(30, (3, 14, 13, 0)), (60, SIZES), (1_000, SIZES), (2, (0, 1, 1, 0))])
def test_newest_messages_of_every_partition_are_read_in_equal_shares(topic, count, shares):
    properties, name = topic
    sample = sample_topic(properties, name, count)
    assert [one.high - one.low for one in sample.partitions] == list(SIZES)
    read = [[one.offset for one in sample.messages if one.partition == partition] for partition in range(len(SIZES))]
    assert sorted(map(len, read)) == sorted(shares)
    assert sum(map(len, read)) == min(count, sum(SIZES))
    assert read == [list(range(size - len(own), size)) for size, own in zip(SIZES, read, strict=True)]
    one = sample.messages[-1]
    assert (one.key, one.value, one.headers) == (
        str(one.partition).encode(),
        str(one.offset).encode(),
        (("ce_id", b"x"),),
    )
    assert one.time_ms > 1_700_000_000_000


def test_reading_leaves_no_group_behind(topic, servers):
    properties, name = topic
    sample_topic(properties, name, 10)
    assert GROUP not in [one.group for one in group_lags(servers.kafka)]


def test_absent_and_empty_topics_are_refused(topic, servers):
    properties, name = topic
    with pytest.raises(ShopstreamError, match="absent"):
        sample_topic(properties, f"{name}.absent", 10)
    empty = f"{name}.empty"
    create(properties, empty, 2)
    with pytest.raises(UsageError, match="has no messages"):
        sample_topic(properties, empty, 10)


def test_command_finds_the_ready_mapping_of_a_topic(topic, servers, run_name, monkeypatch, tmp_path):
    properties, _ = topic
    name = f"{run_name}.shopify"
    create(properties, name, 3)
    producer = Producer(properties)
    for number, line in enumerate(ready_examples("shopify-orders")[0].read_bytes().splitlines()):
        order = json.loads(line)
        key = None if order is None else str(order["id"])
        producer.produce(name, None if order is None else line, key, number % 3)
    producer.flush()
    monkeypatch.setenv("SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS", properties["bootstrap.servers"])
    result = CliRunner().invoke(build_app(), ["map", "guess", name, "--json", "--out", str(tmp_path / "orders.yaml")])
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads(result.output)
    assert document["ready_mappings"][0]["name"] == "shopify-orders"
    assert document["null_values"] == 1
    assert document["keys"]["equal"] == {"id": 11}
    assert sum(one["read"] for one in document["partitions"]) == document["messages"] == 12
    assert f"topic: {name}," in (tmp_path / "orders.yaml").read_text("utf-8")
