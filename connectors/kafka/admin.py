"""Queries Kafka's administration: availability, topics and their messages, lag of consumer groups."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    ConsumerGroupTopicPartitions,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, not declared

from connectors.endpoints import KafkaEndpoint
from connectors.kafka.client import check_broker
from connectors.kafka.offsets import query_leader
from features.errors import ShopstreamError

_SPEC: Any = OffsetSpec  # its methods have no types
Offsets = dict[tuple[str, int], int]
"""(topic, partition) -> offset."""


@dataclass(frozen=True, slots=True)
class TopicSize:
    """Number of messages in a topic. For a compacted topic `messages` counts offsets, so it is an upper bound."""

    topic: str
    partitions: int
    messages: int
    offsets: dict[int, tuple[int, int]] = field(default_factory=dict, compare=False)
    """Partition -> (first retained offset, next offset to be assigned)."""


@dataclass(frozen=True, slots=True)
class GroupLag:
    """Lag of a consumer group, in messages."""

    group: str
    state: str
    members: int
    lag: int
    lag_by_topic: dict[str, int]


def _client(endpoint: KafkaEndpoint) -> AdminClient:
    # log_level 0: an unavailable server is a normal result here and must not be printed
    return AdminClient({**endpoint.client_properties(), "log_level": 0, "socket.timeout.ms": 10_000})


@contextmanager
def _translate_errors(endpoint: KafkaEndpoint) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise ShopstreamError(
            f"Kafka at {endpoint.bootstrap_servers} does not answer: {error.args[0].str()}.",
            "Check kafka.bootstrap_servers and kafka.properties (security.protocol, sasl...).",
        ) from error


def answers(endpoint: KafkaEndpoint, timeout_s: float, cluster: str | None = None) -> bool:
    """Return whether a broker returns metadata in time, of this cluster and not of another one on the same port."""
    try:
        metadata = _client(endpoint).list_topics(timeout=timeout_s)
        return bool(metadata.brokers) and cluster in (None, metadata.cluster_id)
    except KafkaException:
        return False


def check(endpoint: KafkaEndpoint, timeout_s: float = 10) -> None:
    """Raise unless a broker responds.

    Raises:
        ShopstreamError: no broker responds; with reason and remedy.
    """
    check_broker(endpoint.client_properties(), timeout_s)


def topic_sizes(endpoint: KafkaEndpoint, prefix: str = "", timeout_s: float = 10) -> list[TopicSize]:
    """Return the non-internal topics whose name begins with `prefix`, sorted by name.

    Raises:
        ShopstreamError: Kafka does not respond.
    """
    with _translate_errors(endpoint):
        client = _client(endpoint)
        topics = client.list_topics(timeout=timeout_s).topics
        names = sorted(name for name in topics if name.startswith(prefix) and not name.startswith("__"))
        keys = [(name, number) for name in names for number in topics[name].partitions]
        first = _offsets(client, keys, _SPEC.earliest(), timeout_s)
        last = _offsets(client, keys, _SPEC.latest(), timeout_s)
    offsets: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names}
    for key in keys:
        offsets[key[0]][key[1]] = (first[key], last[key])
    return [
        TopicSize(name, len(ranges), sum(high - low for low, high in ranges.values()), ranges)
        for name, ranges in offsets.items()
    ]


def group_lags(endpoint: KafkaEndpoint, run: str | None = None, timeout_s: float = 10) -> list[GroupLag]:
    """Return the consumer groups of one run, or all groups, sorted by name.

    A partition without a committed offset counts from its first message.

    Raises:
        ShopstreamError: Kafka does not respond.
    """
    with _translate_errors(endpoint):
        client = _client(endpoint)
        listed = client.list_consumer_groups(request_timeout=timeout_s).result()
        groups = sorted(group.group_id for group in listed.valid)
        # exactly this run's groups: run `shop` has `shop-features`; `shop-v2-features` belongs to another run
        names = groups if run is None else [name for name in groups if name.rpartition("-")[0] == run]
        if not names:
            return []
        described = client.describe_consumer_groups(names, request_timeout=timeout_s)
        return [_lag(client, name, described[name].result(), timeout_s) for name in names]


def _lag(client: AdminClient, name: str, description: Any, timeout_s: float) -> GroupLag:
    request = [ConsumerGroupTopicPartitions(name)]
    response = client.list_consumer_group_offsets(request, request_timeout=timeout_s)[name].result()
    committed = {(part.topic, part.partition): part.offset for part in response.topic_partitions}
    known = client.list_topics(timeout=timeout_s).topics
    partitions = [key for key in committed if key[0] in known]
    first = _offsets(client, partitions, _SPEC.earliest(), timeout_s)
    last = _offsets(client, partitions, _SPEC.latest(), timeout_s)
    by_topic: dict[str, int] = {}
    for key in partitions:
        at = first[key] if committed[key] == OFFSET_INVALID else committed[key]
        by_topic[key[0]] = by_topic.get(key[0], 0) + max(0, last[key] - max(at, first[key]))
    return GroupLag(name, description.state.name.lower(), len(description.members), sum(by_topic.values()), by_topic)


def _offsets(client: AdminClient, keys: Iterable[tuple[str, int]], spec: Any, timeout_s: float) -> Offsets:
    requests = {TopicPartition(topic, partition): spec for topic, partition in keys}
    if not requests:
        return {}

    def listed(left_s: float) -> Offsets:
        futures: dict[TopicPartition, Future[Any]] = client.list_offsets(requests, request_timeout=left_s)
        return {(part.topic, part.partition): future.result().offset for part, future in futures.items()}

    return query_leader(listed, time.monotonic() + timeout_s)
