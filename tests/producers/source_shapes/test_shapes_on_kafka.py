"""Messages of shapes on a real Kafka: topics are made with their partitions, and keep the order of a key."""

from zoneinfo import ZoneInfo

import pytest
from archives import NOON, event, order, write
from mapped_back import events_of, mapper_of, orders_of

from connectors.kafka.client import consumer_config, ensure_raw_topics, open_consumer
from connectors.kafka.offsets import partitions_of, watermarks
from connectors.kafka.reader import read_ranges
from connectors.messages.mapped import Message
from producers.archive.event_order import ArchiveRange
from producers.publisher import Publisher
from producers.source_shapes.replay import ShapeReplay, replay_shapes
from producers.source_shapes.shape import Faults

SHAPES = ("segment", "debezium")
PARTITIONS = 3


@pytest.fixture
def properties(servers):
    return servers.kafka.client_properties()


def read_topic(properties, topic):
    """The messages of a topic, partition by partition."""
    consumer = open_consumer(consumer_config(properties, f"{topic}-reader"))
    try:
        marks = watermarks(consumer, partitions_of(consumer, [topic], 10), 10)
        return [(one.partition(), one.key(), one.value()) for one in read_ranges(consumer, marks, 10)]
    finally:
        consumer.close()


def test_replayed_messages_map_to_the_records_of_the_archive(tmp_path, properties, run_name, fake_clock):
    archive = write(
        tmp_path / "a",
        events=[event(n, NOON + n * 60_000) for n in range(400)],
        orders=[order(n, NOON + n * 60_000) for n in range(50)],
    )
    topics = {shape: f"{run_name}.raw.{shape}" for shape in SHAPES}
    assert set(ensure_raw_topics(properties, list(topics.values()), PARTITIONS)) == set(topics.values())
    assert ensure_raw_topics(properties, list(topics.values()), PARTITIONS) == ()
    report = replay_shapes(
        ShapeReplay(ArchiveRange(archive), SHAPES, Faults(dirt=0.2, poison=0.05), ZoneInfo("Europe/Berlin")),
        lambda on_failure: Publisher(properties, run_name, on_failure, topics),
        fake_clock.clock(), lambda: False, lambda _: None,
    )  # fmt: skip
    assert report.complete
    for shape in SHAPES:
        messages = read_topic(properties, topics[shape])
        assert len(messages) == report.delivery.delivered[shape]
        assert {partition for partition, _, _ in messages} == set(range(PARTITIONS))
        mapped = mapper_of(shape).map([Message(value, f"t-{n}") for n, (_, _, value) in enumerate(messages)])
        assert len(mapped.refused) == report.reports[shape].broken
        assert len(mapped.left_out) == report.reports[shape].left_out
        records = events_of(mapped) if shape == "segment" else orders_of(mapped)
        assert len(records) == (400 if shape == "segment" else 50)
