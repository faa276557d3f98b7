"""Erases one customer's profile from the topic of profiles.

A log cannot be changed in the middle. Erasure writes a tombstone: readers apply it when they read it, and compaction
removes the older records from disk later, or immediately on demand.

A record of the customer may be under a key that is not the customer's. Such a record is not a valid profile, and the
customer's tombstone does not remove it. Therefore the key's last valid record is sent again after it, or a tombstone if
there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ re-exports without saying so
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    ResourceType,
)

from connectors.kafka.client import PARTITION_BY_KEY, open_admin, produce_all
from connectors.kafka.offsets import REQUEST_TIMEOUT_S
from connectors.kafka.topic_settings import TOMBSTONE_SETTING
from consumers.dead_letters.review import invalid_reason
from consumers.dead_letters.store import read_topic
from consumers.erasure.person import Person
from features.errors import ShopstreamError
from features.schema import group_name, topic_name

AGAIN_MS: Final = 3_600_000
"""Age below which a tombstone is not written again, so that a repeated command waits for the same one."""
FORCED: Final = {
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.0",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "200",
}
"""Topic settings that make the broker compact all but the newest segment at its next check."""

KeyPosition = tuple[int, bytes]
"""A partition and a key in it."""


@contextmanager
def request_errors(what: str) -> Iterator[None]:
    """Convert errors of the client to a ShopstreamError about the request."""
    try:
        yield
    except KafkaException as error:
        raise ShopstreamError(f"{what} could not be read: {error.args[0].str()}.", "Try again.") from error


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Records found and tombstones written for a customer.

    Attributes:
        person: the person, with the names and addresses of the records found.
        offsets: partition -> offset of the tombstone. Usually there is one. A producer with a different partitioner may
            have put records elsewhere, and a tombstone works only in its own partition.
        records: number of older records of the customer that the log still holds.
        misplaced: positions of records about the customer under other keys -> number of records.
        shared: other customers whose valid profiles hold the same name or address.
    """

    person: Person
    offsets: Mapping[int, int]
    records: int
    misplaced: Mapping[KeyPosition, int]
    shared: tuple[str, ...]


def write_tombstones(properties: Mapping[str, Any], run: str, customer_id: str, now_ms: int) -> Tombstones:
    """Write tombstones for the customer's profile; errors as ShopstreamError."""
    topic = topic_name(run, "customers")
    person = Person(customer_id)
    newest: dict[int, Message] = {}
    older: list[Message] = []
    for message in read_topic(properties, topic):
        if message.key() == person.key:
            newest[message.partition() or 0] = message
        if message.value() is not None and (message.key() == person.key or person.is_identified_in(message.value())):
            older.append(message)
    person = person.known_from(m.value() or b"" for m in older if m.key() == person.key or not _is_valid(m))
    offsets = {
        number: message.offset() or 0
        for number, message in newest.items()
        if message.value() is None and now_ms - message.timestamp()[1] < AGAIN_MS
    }
    if not offsets:
        offsets |= _send(properties, topic, person.key, None)
    for number in sorted(newest.keys() - offsets):
        offsets |= _send(properties, topic, person.key, None, number)
    records = sum(m.key() == person.key for m in older)
    misplaced, shared = _elsewhere(properties, run, person)
    return Tombstones(person, offsets, records, misplaced, shared)


def _elsewhere(
    properties: Mapping[str, Any], run: str, person: Person
) -> tuple[dict[KeyPosition, int], tuple[str, ...]]:
    """Find records about the person under other keys, and cover those that are the last of their key.

    Returns:
        The positions with their numbers of records, and the other customers whose valid profiles share a name or an
        address.
    """
    topic = topic_name(run, "customers")
    misplaced: dict[KeyPosition, int] = {}
    uncovered: set[KeyPosition] = set()
    shared: set[str] = set()
    for message in read_topic(properties, topic):
        position = _position(message)
        uncovered.discard(position)
        value = message.value()
        if message.key() == person.key or value is None:
            continue
        named = person.is_named_in(message.key()) or person.is_named_in(value)
        if not named and not person.is_identified_in(value):
            continue
        if not _is_valid(message):
            misplaced[position] = misplaced.get(position, 0) + 1
            uncovered.add(position)
        elif named:
            shared.add(position[1].decode("utf-8", "backslashreplace"))
    if uncovered:
        _cover(properties, topic, uncovered)
    return misplaced, tuple(sorted(shared))


def _cover(properties: Mapping[str, Any], topic: str, positions: set[KeyPosition]) -> None:
    """Send the last valid record of each position again, or a tombstone if the log holds none."""
    valid: dict[KeyPosition, bytes | None] = dict.fromkeys(positions)
    for message in read_topic(properties, topic):
        if (position := _position(message)) in positions and (message.value() is None or _is_valid(message)):
            valid[position] = message.value()
    for (number, key), value in valid.items():
        _send(properties, topic, key, value, number)


def _send(
    properties: Mapping[str, Any], topic: str, key: bytes, value: bytes | None, partition: int = PARTITION_BY_KEY
) -> dict[int, int]:
    """Send a record, or a tombstone if `value` is None; return its partition and offset."""
    (placed,) = produce_all(properties, "forget", [(topic, key, value, [])], partition)
    return {placed.partition: placed.offset}


def _position(message: Message) -> KeyPosition:
    return message.partition() or 0, message.key() or b""


def _is_valid(message: Message) -> bool:
    return not invalid_reason("customers", message.key(), message.value(), message.timestamp()[1])


def compact(
    properties: Mapping[str, Any], run: str, tombstones: Tombstones, check: Callable[[], None], timeout_s: float
) -> bool:
    """Make the broker compact the topic of profiles now; return whether no older record of the customer is left.

    The topic's settings are changed meanwhile and then restored. A process that is killed meanwhile leaves them
    changed; `restore_settings` recognises them by their values.

    Args:
        properties: librdkafka properties.
        run: name of the run.
        tombstones: tombstones of the customer.
        check: function that raises when the lock is lost.
        timeout_s: maximum time to wait.
    """
    topic = topic_name(run, "customers")
    admin = open_admin(properties)
    before = _settings(admin, topic)
    try:
        # within: a signal may come right after the change
        _alter(admin, topic, FORCED)
        end_s = time.monotonic() + timeout_s
        while True:
            # the newest segment is never compacted: another tombstone starts a new one
            time.sleep(0.5)
            check()
            for number in {*tombstones.offsets, *(number for number, _ in tombstones.misplaced)}:
                _send(properties, topic, tombstones.person.key, None, number)
            if not _left(properties, topic, tombstones):
                return True
            if time.monotonic() > end_s:
                return False
            time.sleep(2.0)
    finally:
        _alter(admin, topic, {name: before.get(name) for name in FORCED})


def _left(properties: Mapping[str, Any], topic: str, tombstones: Tombstones) -> bool:
    person = tombstones.person
    return any(
        message.key() == person.key
        or (
            _position(message) in tombstones.misplaced
            and (person.is_named_in(message.value()) or person.is_identified_in(message.value()))
            and not _is_valid(message)
        )
        for message in read_topic(properties, topic)
        if message.value() is not None
    )


def restore_settings(properties: Mapping[str, Any], run: str) -> bool:
    """Restore the settings that a killed compaction left changed; return whether there were any."""
    topic = topic_name(run, "customers")
    admin = open_admin(properties)
    own = _settings(admin, topic, forced_too=True)
    if not _is_forced(own):
        return False
    _alter(admin, topic, {name: None for name in FORCED if own.get(name) == FORCED[name]})
    return True


def retention_settings(properties: Mapping[str, Any], topic: str) -> dict[str, str | None]:
    """Return the topic settings that control retention, including the broker's defaults."""
    admin = open_admin(properties)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    with request_errors(f"The settings of {topic}"):
        entries = admin.describe_configs([resource])[resource].result(timeout=REQUEST_TIMEOUT_S)
    return {name: entries[name].value for name in ("cleanup.policy", "retention.ms", TOMBSTONE_SETTING)}


def _settings(admin: AdminClient, topic: str, *, forced_too: bool = False) -> dict[str, str | None]:
    """Return the topic's own settings without the broker's defaults; forced ones only if requested."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    with request_errors(f"The settings of {topic}"):
        entries = admin.describe_configs([resource])[resource].result(timeout=REQUEST_TIMEOUT_S)
    own = {
        name: entry.value
        for name, entry in entries.items()
        if ConfigSource(entry.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG
    }
    if forced_too or not _is_forced(own):
        return own
    return {name: value for name, value in own.items() if FORCED.get(name) != value}


def _is_forced(own: Mapping[str, str | None]) -> bool:
    """Return whether the settings are forced: no other topic has segments of a fifth of a second."""
    return own.get("segment.ms") == FORCED["segment.ms"]


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
            "Grant the user the permission AlterConfigs on the topic.",
        ) from error


def members(properties: Mapping[str, Any], run: str, role: str) -> int:
    """Return the number of workers in a role's group now."""
    group = group_name(run, role)
    admin = open_admin(properties)  # a client without a reference stops answering
    try:
        description = admin.describe_consumer_groups([group])[group].result(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return 0
        raise ShopstreamError(f"The group {group} could not be described: {error.args[0].str()}.") from error
    return len(description.members)


def await_readers(properties: Mapping[str, Any], run: str, role: str, tombstones: Tombstones, timeout_s: float) -> bool:
    """Wait until a role has committed an offset after the tombstone; return whether it has, or has no workers (left).

    A stopped worker belongs to its group until its session ends, some seconds later.
    """
    admin = open_admin(properties)
    partitions = [TopicPartition(topic_name(run, "customers"), number) for number in tombstones.offsets]
    request = ConsumerGroupTopicPartitions(group_name(run, role), partitions)
    end_s = time.monotonic() + timeout_s
    while members(properties, run, role):
        with request_errors(f"The group {request.group_id}"):
            answer = next(iter(admin.list_consumer_group_offsets([request]).values())).result(timeout=REQUEST_TIMEOUT_S)
        if all(committed.offset > tombstones.offsets[committed.partition] for committed in answer.topic_partitions):
            return True
        if time.monotonic() > end_s:
            return False
        time.sleep(0.5)
    return True
