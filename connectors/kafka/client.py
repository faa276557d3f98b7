"""Opens tuned Kafka clients, checks the connection at start and creates the topics of a run.

No function depends on the content of records. Every function uses the cluster of its `properties` (plain librdkafka
properties) and converts errors to readable messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ re-exports implicitly
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from connectors.kafka.errors import LOG, ClientMessage, is_final, unreachable
from connectors.kafka.logs import ClientLog, is_secret, redact
from connectors.kafka.offsets import REQUEST_TIMEOUT_S
from connectors.kafka.topic_settings import (
    DEAD_LETTER_BYTES_MAX,
    TOMBSTONE_RETENTION_MS,
    TOMBSTONE_SETTING,
    settings_warnings,
    topic_configs,
)
from features.errors import ShopstreamError, UsageError
from features.schema import (
    COMPACTED_TOPICS,
    FEATURE_TOPIC,
    SOURCE_TOPICS,
    Partitioner,
    check_run,
    topic_name,
)

CHECK_TIMEOUT_S: Final = 5.0
POLL_EVERY_S: Final = 0.5
QUEUE_WAIT_S: Final = 0.05
FLUSH_TIMEOUT_S: Final = 60.0
PARTITION_BY_KEY: Final = -1
"""Lets the key choose the partition."""
TUNED_CONSUMER: Final[Mapping[str, Any]] = {
    # the default of 1000 stops fetching for a second whenever the local queue is full: most of a factor of six
    "fetch.queue.backoff.ms": 5,
    "fetch.wait.max.ms": 50,
    "max.partition.fetch.bytes": 1024 * 1024,
    "queued.min.messages": 30_000,
    # bounds the memory of prefetched records in one process; more causes cache misses and gains nothing
    "queued.max.messages.kbytes": 16_384,
    "session.timeout.ms": 8_000,
    "heartbeat.interval.ms": 2_000,
    "isolation.level": "read_committed",
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 2_000,
}
"""Defaults that user properties may override."""

EXACTNESS_CONSUMER: Final[Mapping[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    # assigns one worker the same partition number of every topic, so that it owns all records of its customers
    "partition.assignment.strategy": "range",
    # with this protocol, refused commits of a former owner have the codes that FencedError distinguishes
    "group.protocol": "classic",
    "allow.auto.create.topics": False,
}
"""Properties that exactly-once depends on. They cannot be overridden."""

TUNED_PRODUCER: Final[Mapping[str, Any]] = {
    "linger.ms": 20,
    "compression.type": "lz4",
    "batch.num.messages": 10_000,
    "queue.buffering.max.kbytes": 65_536,
    "queue.buffering.max.messages": 200_000,
    "reconnect.backoff.ms": 100,
    "reconnect.backoff.max.ms": 2_000,
}
EXACTNESS_PRODUCER: Final[Mapping[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
}
PARTITIONERS: Final[Mapping[str, Partitioner]] = {
    "murmur2_random": "murmur2",
    "consistent_random": "crc32",
    "fnv1a_random": "fnv1a",
}
"""librdkafka's name of a partitioner that places a key by its bytes alone -> its name here. The first is the default:
that of the Java clients. Every producer of a run must put a customer into the same partition.
"""
_PARTITIONER: Final = "partitioner"


def _merge(
    kind: str, properties: Mapping[str, Any], tuned: Mapping[str, Any], required: Mapping[str, Any]
) -> dict[str, Any]:
    for name, value in required.items():
        given = properties.get(name)
        if given is not None and str(given).lower() != str(value).lower():
            raise UsageError(
                f"The Kafka property `{name}` is set to {given!r}, but the {kind} needs {value!r} for exact results.",
                f"Remove `{name}` from the Kafka properties.",
            )
    return {**tuned, **properties, **required}


def partitioner_property(properties: Mapping[str, Any]) -> str:
    """Return librdkafka's name of the run's partitioner: the property `partitioner`, or the first of PARTITIONERS.

    Raises:
        UsageError: it is none of PARTITIONERS.
    """
    default = next(iter(PARTITIONERS))
    given = str(properties.get(_PARTITIONER, default))
    if given not in PARTITIONERS:
        raise UsageError(
            f"The Kafka property `{_PARTITIONER}` is set to {given!r}, but all records of a customer must be in one "
            "partition.",
            f"Remove it, which means {default}, or set it to one of {', '.join(PARTITIONERS)}: that of all producers.",
        )
    return given


def consumer_config(
    properties: Mapping[str, Any],
    group: str,
    instance_id: str | None = None,
    *,
    on_error: Callable[[KafkaError], None] | None = None,
    assignment: str = "range",
) -> dict[str, Any]:
    """Return the properties of a consumer in `group`, tuned for catch-up and exact by construction.

    Args:
        properties: librdkafka properties of the user. They override tuned defaults.
        group: name of the consumer group.
        instance_id: id of a static member: a restart under the same id gets its partitions back immediately.
        on_error: callback for errors of the whole client, called from `poll`/`consume`.
        assignment: `range`, or `roundrobin` for topics whose partition numbers do not belong together.

    Raises:
        UsageError: a property would break exactness.
    """
    own = {key: value for key, value in properties.items() if key != _PARTITIONER}
    exactness = {**EXACTNESS_CONSUMER, "partition.assignment.strategy": assignment}
    config = _merge("consumer", own, TUNED_CONSUMER, exactness)
    config["group.id"] = group
    if instance_id is not None:
        config["group.instance.id"] = instance_id
    config["logger"] = ClientLog(properties, instance_id or group)
    if on_error is not None:
        config["error_cb"] = on_error
    return config


def producer_config(
    properties: Mapping[str, Any],
    name: str = "shopstream",
    *,
    tuned: Mapping[str, Any] = MappingProxyType({}),
    failures_only: bool = False,
) -> dict[str, Any]:
    """Return the properties of an idempotent producer with acks from all replicas and the run's partitioner.

    Args:
        properties: librdkafka properties of the user. They override tuned defaults.
        name: client name in the log.
        tuned: defaults of this producer that differ from TUNED_PRODUCER.
        failures_only: whether delivery callbacks are called for failed messages only.

    Raises:
        UsageError: a property would break exactness.
    """
    defaults = {**TUNED_PRODUCER, **tuned}
    # the producer would warn about consumer properties in the shared set
    foreign = (TUNED_CONSUMER.keys() | EXACTNESS_CONSUMER.keys()) - defaults.keys()
    own = {key: value for key, value in properties.items() if key not in foreign}
    partitioner = {_PARTITIONER: partitioner_property(properties)}
    required = {**EXACTNESS_PRODUCER, **partitioner, "delivery.report.only.error": failures_only}
    return {**_merge("producer", own, defaults, required), "logger": ClientLog(properties, name)}


def open_consumer(config: dict[str, Any]) -> Consumer:
    """Open a consumer. An unknown librdkafka property is a usage error that names it."""
    try:
        return Consumer(config)
    except KafkaException as error:
        raise _bad_property(error) from error


def open_producer(config: dict[str, Any]) -> Producer:
    """Open a producer. An unknown librdkafka property is a usage error that names it."""
    try:
        return Producer(config)
    except KafkaException as error:
        raise _bad_property(error) from error


Record = tuple[str, bytes | None, bytes | None, list[tuple[str, Any]]]
"""Full topic name, key, value and headers of a record to send."""


def enqueue(producer: Producer, topic: str, value: bytes | None, key: str | bytes | None, **options: Any) -> None:
    """Enqueue one message with the `options` of `Producer.produce`, waiting while the producer's queue is full.

    Raises:
        KafkaException: the client refuses the message.
    """
    while True:
        try:
            producer.produce(topic, value, key, **options)
        except BufferError:
            producer.poll(QUEUE_WAIT_S)
        else:
            return


def produce_all(
    properties: Mapping[str, Any], name: str, records: Iterable[Record], partition: int = PARTITION_BY_KEY
) -> list[TopicPartition]:
    """Send records in order and wait until all are acknowledged. Values may be as large as dead letters.

    Args:
        properties: librdkafka properties.
        name: client name in the log.
        records: records to send. They are requested while earlier ones are sent.
        partition: partition of all records.

    Returns:
        The partition and offset of each record.

    Raises:
        UsageError: a Kafka property is wrong.
        ShopstreamError: a record was not acknowledged. Later ones are not sent.
    """
    producer = open_producer({**producer_config(properties, name), "message.max.bytes": DEAD_LETTER_BYTES_MAX})
    delivered: list[TopicPartition] = []
    failed: list[str] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is None:
            delivered.append(TopicPartition(message.topic() or "", message.partition() or 0, message.offset() or 0))
        else:
            failed.append(error.str())

    for topic, key, value, headers in records:
        try:
            enqueue(producer, topic, value, key, partition=partition, headers=headers, on_delivery=on_delivery)
        except KafkaException as error:
            failed.append(error.args[0].str())
        producer.poll(0)
        if failed:
            break
    left = producer.flush(FLUSH_TIMEOUT_S)
    if left or failed:
        raise ShopstreamError(
            f"{left or len(failed)} records were not acknowledged by Kafka: {failed[0] if failed else 'no answer'}.",
            "Run the command again: duplicate records have no effect.",
        )
    return delivered


def _bad_property(error: KafkaException) -> UsageError:
    return UsageError(f"Kafka client: {error.args[0].str()}.", "Correct the Kafka properties in the settings.")


def check_broker(properties: Mapping[str, Any], timeout_s: float = CHECK_TIMEOUT_S) -> None:
    """Request the cluster's metadata once. Return when it responds.

    Raises:
        ShopstreamError: within `timeout_s`: not reachable, unknown host name, TLS or authentication refused.
    """
    open_admin(properties, timeout_s)


def open_admin(properties: Mapping[str, Any], timeout_s: float = CHECK_TIMEOUT_S) -> AdminClient:
    """Open an admin client of a cluster that has responded.

    Raises:
        ShopstreamError: as `check_broker`.
    """
    secrets = [str(v) for k, v in properties.items() if is_secret(k)]
    messages = _ClientMessages(secrets)
    # debug lines of the client would hide its error messages
    others = {"debug", *TUNED_CONSUMER, *EXACTNESS_CONSUMER}
    own = {k: v for k, v in properties.items() if k not in others}
    try:
        config = {"reconnect.backoff.max.ms": 1_000, **own, "error_cb": messages.error}
        client = AdminClient(config, logger=messages)
    except KafkaException as error:
        raise _bad_property(error) from error
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            client.list_topics(timeout=min(POLL_EVERY_S, timeout_s))
        except KafkaException as error:
            client.poll(0)
            if time.monotonic() < until_s and not is_final(messages.all):
                continue
            messages.error(error.args[0])
            where = str(properties.get("bootstrap.servers", "(no bootstrap.servers given)"))
            raise unreachable(where, messages.all) from None
        return client


class _ClientMessages:
    """Collects all messages of a client while it connects, so that they become one error instead of being printed."""

    LINES_MAX: Final = 200

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self.all: list[ClientMessage] = []

    def error(self, error: KafkaError) -> None:
        """Collect an error, as `error_cb`."""
        self._add(error.name(), error.str())

    def log(self, _level: int, fmt: str, *args: object) -> None:
        """Collect a log line, as a logger."""
        self._add(LOG, fmt % args if args else fmt)

    def _add(self, name: str, text: str) -> None:
        if len(self.all) < self.LINES_MAX:
            self.all.append((name, redact(text, self._secrets)))


# --- topics of a run --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopicReport:
    """Result of `ensure_topics`. Warnings are sentences for the user."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    warnings: tuple[str, ...]


def ensure_topics(properties: Mapping[str, Any], run: str, partitions: int, *, replicas: int = -1) -> TopicReport:
    """Create the missing topics of `run`. Existing ones are unchanged.

    Args:
        properties: librdkafka properties.
        run: name of the run.
        partitions: partitions of each source topic and of `customer-features` (dead letters and alerts have one).
        replicas: replication factor; -1 is the cluster's default.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the cluster does not respond, a topic has another number of partitions, or creation failed.
    """
    check_run(run)
    admin = open_admin(properties)
    known = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    configs = topic_configs(run)
    pause_ms = longest_pause_ms(admin)
    for topic in COMPACTED_TOPICS:
        configs[topic_name(run, topic)][TOMBSTONE_SETTING] = str(pause_ms)
    keyed = [topic_name(run, t) for t in (*SOURCE_TOPICS, FEATURE_TOPIC)]
    _check_partitions(known, keyed, partitions)
    missing = [t for t in configs if t not in known]
    new = [
        NewTopic(t, num_partitions=partitions if t in keyed else 1, replication_factor=replicas, config=configs[t])
        for t in missing
    ]
    created = _create(admin, new) if new else []
    if raced := set(missing) - set(created):
        _check_partitions(_when_known(admin, raced), keyed, partitions)
    existing = [t for t in configs if t not in created]
    return TopicReport(tuple(created), tuple(existing), tuple(_topic_warnings(admin, existing, run, pause_ms)))


def ensure_raw_topics(
    properties: Mapping[str, Any], topics: Sequence[str], partitions: int, *, replicas: int = -1
) -> tuple[str, ...]:
    """Create missing topics for messages of other systems. Existing ones are unchanged.

    They keep everything, as the source topics of a run do: the messages are history.

    Args:
        properties: librdkafka properties.
        topics: full names.
        partitions: partitions of a new topic.
        replicas: replication factor; -1 is the cluster's default.

    Returns:
        The topics that were created.

    Raises:
        ShopstreamError: the cluster does not respond, or a topic could not be created.
    """
    admin = open_admin(properties)
    known = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    missing = [topic for topic in topics if topic not in known]
    config = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
    new = [NewTopic(t, num_partitions=partitions, replication_factor=replicas, config=config) for t in missing]
    return tuple(_create(admin, new)) if new else ()


def _check_partitions(known: Mapping[str, TopicMetadata], keyed: Sequence[str], partitions: int) -> None:
    for topic in keyed:
        present = len(known[topic].partitions) if topic in known else partitions
        if present != partitions:
            raise ShopstreamError(
                f"Topic {topic} has {present} partitions, but {partitions} are expected: "
                "events, orders and customers need equal partitions, or a customer's records go to different workers.",
                f"Set the number of partitions to {present}, or use another run (`--run NAME`).",
            )


def _when_known(admin: AdminClient, topics: AbstractSet[str]) -> Mapping[str, TopicMetadata]:
    """Return the cluster's topics once it lists topics that another process has just created, or at the time-out."""
    deadline_s = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        known: Mapping[str, TopicMetadata] = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        if topics <= known.keys() or time.monotonic() > deadline_s:
            return known
        time.sleep(POLL_EVERY_S)


def _create(admin: AdminClient, topics: list[NewTopic]) -> list[str]:
    created = []
    for name, future in admin.create_topics(topics, operation_timeout=REQUEST_TIMEOUT_S).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ShopstreamError(
                    f"Topic {name} could not be created: {error.args[0].str()}.",
                    "Create it by hand, or grant the user the permission to create topics.",
                ) from error
        else:
            created.append(name)
    return created


def longest_pause_ms(admin: AdminClient) -> int:
    """Return how long the cluster keeps the offsets of a group without members; at least the default."""
    broker = next(iter(admin.list_topics(timeout=REQUEST_TIMEOUT_S).brokers))
    resources = [ConfigResource(ResourceType.BROKER, str(broker))]
    retention_ms = [TOMBSTONE_RETENTION_MS]
    for future in admin.describe_configs(resources, request_timeout=CHECK_TIMEOUT_S).values():
        # only users who may describe the cluster receive the setting
        with suppress(KafkaException, KeyError, TypeError, ValueError):
            retention_ms.append(int(future.result()["offsets.retention.minutes"].value) * 60_000)
    return max(retention_ms)


def _topic_warnings(admin: AdminClient, existing: list[str], run: str, pause_ms: int) -> list[str]:
    sources = [t for t in existing if t in {topic_name(run, s) for s in SOURCE_TOPICS}]
    if not sources:
        return []
    warnings = []
    responses = admin.describe_configs([ConfigResource(ResourceType.TOPIC, t) for t in sources])
    for resource, future in responses.items():
        try:
            settings = {name: entry.value for name, entry in future.result().items()}
        except KafkaException as error:
            warnings.append(f"The settings of topic {resource.name} could not be read: {error.args[0].str()}.")
            continue
        warnings += settings_warnings(resource.name, settings, run, pause_ms)
    return warnings
