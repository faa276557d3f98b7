"""Builds a features consumer with its real connections."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.elasticsearch.client import ElasticConnection, open_client, open_sink, stored_version
from connectors.elasticsearch.index_identity import open_identities
from connectors.elasticsearch.mappings import write_index
from connectors.kafka.client import (
    PARTITIONERS,
    consumer_config,
    open_admin,
    open_consumer,
    open_producer,
    partitioner_property,
    producer_config,
)
from connectors.kafka.offsets import partitions_of, topic_ids
from connectors.kafka.source import Source
from consumers.checkpoints.coordinator import INTERVAL_S, CheckpointCoordinator
from consumers.checkpoints.store import CheckpointStore
from consumers.collector import tune_collector
from consumers.dead_letters.producer import open_dead_letters
from consumers.features.consumer import Clock, FeaturesConsumer
from consumers.features.freshness import Freshness
from consumers.features.scoring import Bundles, LiveScoring
from consumers.features.sinks import Sinks
from consumers.features.topic_sink import TopicSink
from consumers.features.transactional_topic import TransactionalTopic, transactional_config
from consumers.state.lost_indices import WATCHED
from features.placement import Placement
from features.schema import ALERT_TOPIC, SOURCE_TOPICS, group_name, topic_name

ROLE = "features"


@dataclass(frozen=True, slots=True)
class FeaturesOptions:
    """Options of a worker of the role `features`.

    Attributes:
        run: name of the run.
        kafka: librdkafka properties.
        elastic: Elasticsearch connection; None writes no documents.
        state: local path or URI of the checkpoints.
        instance_id: static membership: a restart with the same id gets its partitions back immediately.
        clock: `stream` or `wall`.
        contact: whether to index name and e-mail of profiles.
        feature_topic: whether to write rows to the compacted topic.
        checkpoint_interval_s: minimum time between two checkpoints of a partition.
        bundles: source of the bundles that score rows; None: rows have no scores.
    """

    run: str
    kafka: Mapping[str, Any] = field(repr=False)
    elastic: ElasticConnection | None
    state: str
    instance_id: str | None = None
    clock: Clock = "stream"
    contact: bool = False
    feature_topic: bool = True
    dead_letters: bool = True
    checkpoint_interval_s: float = INTERVAL_S
    bundles: Bundles | None = None


def open_features(options: FeaturesOptions) -> FeaturesConsumer:
    """Return the consumer with open clients; `run` joins the group.

    Raises:
        ShopstreamError: a server does not answer, refuses the credentials, or a topic is missing.
    """
    tune_collector()
    config = consumer_config(options.kafka, group_name(options.run, ROLE), options.instance_id)
    consumer = open_consumer(config)
    partitions = partitions_of(consumer, [topic_name(options.run, topic) for topic in SOURCE_TOPICS])
    ids = topic_ids(open_admin(options.kafka), [topic_name(options.run, topic) for topic in SOURCE_TOPICS])
    counts = {topic: sum(p.topic == topic for p in partitions) for topic in {p.topic for p in partitions}}
    source = Source(consumer, options.run, SOURCE_TOPICS)
    dead_letters = open_dead_letters(options.kafka, options.run) if options.dead_letters else None
    sink = open_sink(options.elastic) if options.elastic is not None else None
    topic = alerts = None
    if options.feature_topic:
        fenced = transactional_config(options.kafka, transactional_id(options.run, options.instance_id))
        topic = TransactionalTopic(lambda: open_producer(fenced), source.fence, options.run)
        alerts = TopicSink(open_producer(producer_config(options.kafka, "alerts")), options.run, ALERT_TOPIC)
    sinks = Sinks(
        options.run,
        sink,
        topic,
        dead_letters,
        freshness=_open_freshness(options),
        null=sink is None and topic is None,
        alerts=alerts,
        identities=None if options.elastic is None else open_identities(options.elastic, options.run, WATCHED),
    )
    checkpoints = CheckpointCoordinator(
        CheckpointStore(options.state, options.run),
        source,
        dead_letters,
        run=options.run,
        partitions=max(counts.values()),
        sinks=sinks.names,
        contact=options.contact,
        interval_s=options.checkpoint_interval_s,
        topic_ids={topic: ids[topic_name(options.run, topic)] for topic in SOURCE_TOPICS},
    )
    stale_after_s = float(config["session.timeout.ms"]) / 2_000
    return FeaturesConsumer(
        options.run,
        source,
        checkpoints,
        sinks,
        dead_letters,
        clock=options.clock,
        stale_after_s=stale_after_s,
        scoring=None if options.bundles is None else LiveScoring(options.bundles),
        placement=Placement(PARTITIONERS[partitioner_property(options.kafka)], max(counts.values())),
    )


def transactional_id(run: str, instance_id: str | None) -> str:
    """Return the row producer's transactional id; with an instance id, a restart ends the old transaction."""
    return instance_id or f"{group_name(run, ROLE)}-{uuid.uuid4().hex}"


def _open_freshness(options: FeaturesOptions) -> Freshness | None:
    if options.elastic is None:
        return None
    client, index = open_client(options.elastic, connections=1), write_index(options.run, "customers")
    return Freshness(lambda document_id: stored_version(client, index, document_id), client.close)
