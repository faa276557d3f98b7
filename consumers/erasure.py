"""The edge that erases one customer's profile from the servers: topic, index, dead letters.

A log cannot be changed in the middle. What can be done is done: a tombstone, which every reader obeys at once and
compaction makes true of the disk later; a forced compaction on demand; letters copied without his, and the old ones
deleted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import elasticsearch
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ re-exports without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    ResourceType,
)
from elasticsearch import Elasticsearch

from consumers.elastic import document_id, told
from consumers.kafka import DEAD_LETTER_BYTES_MAX, open_admin, open_producer, producer_config
from consumers.letter_topic import read_topic, stored_letter
from consumers.letters import StoredLetter
from consumers.mappings import write_index
from features.definitions import ROW_FIELDS
from features.errors import ShopstreamError
from features.schema import (
    CONTACT_FIELDS,
    DEAD_LETTER_TOPIC,
    Customer,
    group_name,
    record_fields,
    topic_name,
)

REQUEST_TIMEOUT_S: Final = 30.0
PARTITION_UA: Final = -1
"""The partition that the key chooses."""
TRIES: Final = 10
NEEDLE_CHARS_MIN: Final = 4
"""A shorter name stands in too many letters by chance."""
PROFILE_FIELDS: Final = frozenset(field.name for field in record_fields(Customer)) - {
    "customer_id",
    *(field.name for field in ROW_FIELDS),
}
"""What a profile adds to a document of `customers`."""
FORCED: Final = {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.0", "max.compaction.lag.ms": "200"}
"""Settings of a topic under which the broker compacts all but the newest segment at its next look."""


@contextmanager
def _asking(what: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise ShopstreamError(f"{what} could not be asked: {error.args[0].str()}.", "Try again.") from error


# --- the topic --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What was written for a customer.

    Attributes:
        offsets: partition -> offset of the tombstone. One is the rule; a producer with another partitioner than ours
            may have put his records elsewhere, and a tombstone counts in its own partition alone.
        records: older ones of the customer that the log still holds.
        contact: his names and addresses in them: what to look for elsewhere. Never shown.
    """

    offsets: Mapping[int, int]
    records: int
    contact: frozenset[str]

    def __repr__(self) -> str:
        return f"Tombstone({dict(self.offsets)}, {self.records})"


def bury(properties: Mapping[str, Any], run: str, customer_id: str) -> Tombstone:
    """Writes tombstones for the customer's profile; errors as of the client, in words."""
    topic = topic_name(run, "customers")
    first = _send(properties, [(topic, customer_id.encode(), None, [])])
    offsets = {message.partition() or 0: message.offset() or 0 for message in first}
    older = [m for m in _records(properties, topic, customer_id) if m.value() is not None]
    elsewhere = sorted({m.partition() or 0 for m in older} - set(offsets))
    for number in elsewhere:
        (message,) = _send(properties, [(topic, customer_id.encode(), None, [])], number)
        offsets[number] = message.offset() or 0
    contact: set[str] = set()
    for message in older:
        contact |= _contact_of(message.value() or b"")
    return Tombstone(offsets, len(older), frozenset(contact))


def _records(properties: Mapping[str, Any], topic: str, customer_id: str) -> list[Message]:
    key = customer_id.encode()
    return [m for m in read_topic(properties, topic) if m.key() == key]


def _contact_of(value: bytes) -> set[str]:
    try:
        found = json.loads(value)
    except ValueError:
        return set()
    texts = [found.get(name) for name in CONTACT_FIELDS] if isinstance(found, dict) else []
    return {text for text in texts if isinstance(text, str) and len(text) >= NEEDLE_CHARS_MIN}


def compact(properties: Mapping[str, Any], run: str, customer_id: str, grave: Tombstone, timeout_s: float) -> bool:
    """Makes the broker compact the topic of profiles now; whether no older record of the customer is left.

    The topic's settings are changed for as long as it takes and put back.
    """
    topic = topic_name(run, "customers")
    admin = open_admin(properties)
    before = _settings(admin, topic)
    _alter(admin, topic, FORCED)
    try:
        end_s = time.monotonic() + timeout_s
        while True:
            # the newest segment is never compacted: a further tombstone begins another one
            time.sleep(0.5)
            for number in grave.offsets:
                _send(properties, [(topic, customer_id.encode(), None, [])], number)
            left = [m for m in _records(properties, topic, customer_id) if m.value() is not None]
            if not left:
                return True
            if time.monotonic() > end_s:
                return False
            time.sleep(2.0)
    finally:
        _alter(admin, topic, {name: before.get(name) for name in FORCED})


def _settings(admin: AdminClient, topic: str) -> dict[str, str | None]:
    """Those of the topic's own; the broker's defaults are left out."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    with _asking(f"The settings of {topic}"):
        entries = admin.describe_configs([resource])[resource].result(timeout=REQUEST_TIMEOUT_S)
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG
    return {name: entry.value for name, entry in entries.items() if ConfigSource(entry.source) is own}


def _alter(admin: AdminClient, topic: str, settings: Mapping[str, str | None]) -> None:
    entries = [
        ConfigEntry(
            name, value or "", incremental_operation=AlterConfigOpType.SET if value else AlterConfigOpType.DELETE
        )
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    try:
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        raise ShopstreamError(
            f"The settings of {topic} could not be changed: {error.args[0].str()}.",
            "Ask for AlterConfigs on the topic.",
        ) from error


def members(properties: Mapping[str, Any], run: str, role: str) -> int:
    """Workers of a role that belong to its group now."""
    group = group_name(run, role)
    admin = open_admin(properties)  # a client that nobody holds answers no more
    try:
        found = admin.describe_consumer_groups([group])[group].result(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return 0
        raise ShopstreamError(f"The group {group} could not be asked: {error.args[0].str()}.") from error
    return len(found.members)


def await_readers(properties: Mapping[str, Any], run: str, role: str, grave: Tombstone, timeout_s: float) -> bool:
    """Waits until a role has committed an offset behind the tombstone; whether it has, or has no workers (any more).

    A worker that was stopped belongs to its group until its session ends, some seconds later.
    """
    admin = open_admin(properties)
    where = [TopicPartition(topic_name(run, "customers"), number) for number in grave.offsets]
    wanted = ConsumerGroupTopicPartitions(group_name(run, role), where)
    end_s = time.monotonic() + timeout_s
    while members(properties, run, role):
        with _asking(f"The group {wanted.group_id}"):
            answer = next(iter(admin.list_consumer_group_offsets([wanted]).values())).result(timeout=REQUEST_TIMEOUT_S)
        if all(found.offset > grave.offsets[found.partition] for found in answer.topic_partitions):
            return True
        if time.monotonic() > end_s:
            return False
        time.sleep(0.5)
    return True


# --- the index --------------------------------------------------------------------------------------------------------


def forget_in_index(client: Elasticsearch, run: str, customer_id: str) -> bool:
    """Takes the profile out of the customer's document; whether there was one.

    A consumer may write a newer document at any time; then it is looked at again.

    Raises:
        ShopstreamError: the server does not answer or refuses, or the profile comes back again and again.
    """
    index, key = write_index(run, "customers"), document_id(customer_id)
    changed = False
    try:
        for _ in range(TRIES):
            answer = client.options(ignore_status=404).get(index=index, id=key)
            body = answer.get("_source") or {}
            left = {name: value for name, value in body.items() if name not in PROFILE_FIELDS}
            if len(left) == len(body):
                return changed
            changed = True
            try:
                client.index(
                    index=index, id=key, document=left, version=answer["_version"], version_type="external_gte"
                )
            except elasticsearch.ConflictError:
                time.sleep(0.2)
    except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
        raise told(error, f"The index {index}") from error
    raise ShopstreamError(f"The profile came back into {index} {TRIES} times.", "Do it again in a minute.")


# --- the letters ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoundLetters:
    """Letters about a customer.

    Attributes:
        personal: that hold, or may hold, his profile.
        others: that hold no more than his id.
        retention_ms: how long the topic keeps a letter; -1 for ever.
    """

    personal: tuple[StoredLetter, ...]
    others: tuple[StoredLetter, ...]
    retention_ms: int

    @property
    def gone_by_ms(self) -> int:
        """When the newest of the personal ones may go, epoch ms; the broker deletes whole files, soon after it."""
        return max(letter.written_ms for letter in self.personal) + self.retention_ms


def letters_of(properties: Mapping[str, Any], run: str, customer_id: str, contact: frozenset[str]) -> FoundLetters:
    """Every dead letter that holds the customer's id, name or address."""
    topic = topic_name(run, DEAD_LETTER_TOPIC)
    spelt = {text.encode() for text in contact} | {json.dumps(text)[1:-1].encode() for text in contact}
    personal: list[StoredLetter] = []
    others: list[StoredLetter] = []
    for letter in map(stored_letter, read_topic(properties, topic)):
        value = letter.value or b""
        is_his = letter.key == customer_id.encode() or json.dumps(customer_id).encode() in value
        if any(text in value for text in spelt) or (is_his and _may_be_profile(letter, run)):
            personal.append(letter)
        elif is_his:
            others.append(letter)
    kept = -1
    if personal:
        admin = open_admin(properties)
        resource = ConfigResource(ResourceType.TOPIC, topic)
        with _asking(f"The settings of {topic}"):
            entries = admin.describe_configs([resource])[resource].result(timeout=REQUEST_TIMEOUT_S)
        kept = int(entries["retention.ms"].value or -1)
    return FoundLetters(tuple(personal), tuple(others), kept)


def _may_be_profile(letter: StoredLetter, run: str) -> bool:
    return letter.topic in (topic_name(run, "customers"), write_index(run, "customers"))


def delete_letters(properties: Mapping[str, Any], run: str, numbers: frozenset[int]) -> int:
    """Copies every other letter to the end of the topic and deletes all that stood before; returns the copies.

    Dying in between leaves letters twice, which readers know how to take.
    """
    topic = topic_name(run, DEAD_LETTER_TOPIC)
    messages = list(read_topic(properties, topic))
    end = max(message.offset() or 0 for message in messages) + 1
    kept = [m for m in messages if (m.offset() or 0) not in numbers]
    _send(properties, [(topic, m.key(), m.value(), cast("list[tuple[str, Any]]", m.headers() or [])) for m in kept])
    admin = open_admin(properties)
    try:
        for future in admin.delete_records([TopicPartition(topic, 0, end)]).values():
            future.result(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        raise ShopstreamError(
            f"The letters of {topic} could not be deleted: {error.args[0].str()}.", "Ask for Delete on the topic."
        ) from error
    return len(kept)


def _send(
    properties: Mapping[str, Any],
    messages: Sequence[tuple[str, bytes | None, bytes | None, list[tuple[str, Any]]]],
    partition: int = PARTITION_UA,
) -> list[Message]:
    producer = open_producer({**producer_config(properties, "forget"), "message.max.bytes": DEAD_LETTER_BYTES_MAX})
    placed: list[Message] = []
    failed: list[str] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is None:
            placed.append(message)
        else:
            failed.append(error.str())

    for topic, key, value, headers in messages:
        while True:
            try:
                producer.produce(topic, value, key, partition, headers=headers, on_delivery=on_delivery)
            except BufferError:
                producer.poll(0.1)
            else:
                producer.poll(0)
                break
    if producer.flush(REQUEST_TIMEOUT_S) or failed:
        raise ShopstreamError(f"Kafka did not take a record: {failed[0] if failed else 'no answer'}.")
    return placed
