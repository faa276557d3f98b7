"""Finds and deletes one customer's profile data in dead letters and alerts.

Both topics keep their messages until their retention ends. Kafka deletes a message only with all earlier ones, so the
other dead letters are copied to the end first. The order of work, and what is left after a crash during each step:

1. The other dead letters are copied and acknowledged. After a crash the topic holds them twice; readers deduplicate.
2. All messages before the copies are deleted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import KafkaException, Message, TopicPartition

from connectors.elasticsearch.mappings import write_index
from connectors.kafka.client import Record, open_admin, produce_all
from connectors.kafka.offsets import REQUEST_TIMEOUT_S
from consumers.dead_letters.review import StoredDeadLetter
from consumers.dead_letters.store import read_topic, stored_dead_letter
from consumers.erasure.indices import PROFILE_FIELDS
from consumers.erasure.person import Person
from consumers.erasure.profile_topic import retention_settings
from features.errors import ShopstreamError
from features.schema import ALERT_TOPIC, DEAD_LETTER_TOPIC, topic_name


@dataclass(frozen=True, slots=True)
class PersonalMessages:
    """Messages of a topic that hold data of a person's profile.

    Attributes:
        numbers: offsets of the messages.
        newest_ms: time the newest of them was written, epoch ms; 0 if there is none.
        retention_ms: retention of the topic; -1 for ever.
        others: offsets of messages that hold only the id.
    """

    numbers: tuple[int, ...]
    newest_ms: int
    retention_ms: int
    others: tuple[int, ...] = ()

    @property
    def gone_by_ms(self) -> int:
        """Time at which the newest expires, epoch ms; the broker deletes whole files soon after."""
        return self.newest_ms + self.retention_ms


def dead_letters_of(properties: Mapping[str, Any], run: str, person: Person) -> tuple[PersonalMessages, Person]:
    """Find the dead letters with the customer's id, name or address; also return the person with data found in them."""
    topic = topic_name(run, DEAD_LETTER_TOPIC)
    known = person.known_from(
        dead_letter.value or b""
        for dead_letter in map(stored_dead_letter, read_topic(properties, topic))
        if _may_be_profile(dead_letter, run) and _is_about(dead_letter, person)
    )
    personal: list[StoredDeadLetter] = []
    others: list[int] = []
    for dead_letter in map(stored_dead_letter, read_topic(properties, topic)):
        if is_personal(dead_letter, run, known):
            personal.append(dead_letter)
        elif _is_about(dead_letter, known):
            others.append(dead_letter.number)
    retention_ms = retention_settings(properties, topic)["retention.ms"] if personal else None
    newest_ms = max((dead_letter.written_ms for dead_letter in personal), default=0)
    return PersonalMessages(
        tuple(dead_letter.number for dead_letter in personal), newest_ms, int(retention_ms or -1), tuple(others)
    ), known


def is_personal(dead_letter: StoredDeadLetter, run: str, person: Person) -> bool:
    """Return whether a dead letter holds, or may hold, data of the person's profile."""
    if any(person.is_named_in(text) for text in (dead_letter.key, dead_letter.value, dead_letter.error.encode())):
        return True
    return _may_be_profile(dead_letter, run) and _is_about(dead_letter, person)


def _is_about(dead_letter: StoredDeadLetter, person: Person) -> bool:
    return (
        dead_letter.key == person.key
        or person.is_identified_in(dead_letter.value)
        or person.is_identified_in(dead_letter.key)
    )


def _may_be_profile(dead_letter: StoredDeadLetter, run: str) -> bool:
    return dead_letter.topic in (
        topic_name(run, "customers"),
        write_index(run, "customers"),
        write_index(run, "alerts"),
    )


def delete_dead_letters(
    properties: Mapping[str, Any], run: str, person: Person, check: Callable[[], None]
) -> tuple[int, int]:
    """Copy every other dead letter to the end of the topic and delete all earlier messages.

    Args:
        properties: librdkafka properties.
        run: name of the run.
        person: person whose dead letters are deleted.
        check: function that raises when the lock is lost.

    Returns:
        The number of deleted and the number of copied dead letters.
    """
    topic = topic_name(run, DEAD_LETTER_TOPIC)
    ends: dict[int, int] = {}
    counts = {True: 0, False: 0}

    def others() -> Iterator[Record]:
        for message in read_topic(properties, topic):
            ends[message.partition() or 0] = (message.offset() or 0) + 1
            personal = is_personal(stored_dead_letter(message), run, person)
            counts[personal] += 1
            if not personal:
                yield topic, message.key(), message.value(), cast("list[tuple[str, Any]]", message.headers() or [])

    check()
    produce_all(properties, "forget", others())
    # if this erasure was suspended, its copies may hold dead letters that another erasure has deleted since
    check()
    admin = open_admin(properties)
    try:
        for future in admin.delete_records(
            [TopicPartition(topic, number, end) for number, end in ends.items()]
        ).values():
            future.result(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        raise ShopstreamError(
            f"The dead letters of {topic} could not be deleted: {error.args[0].str()}.",
            "Grant the user the permission Delete on the topic.",
        ) from error
    return counts[True], counts[False]


def alerts_of(properties: Mapping[str, Any], run: str, person: Person) -> PersonalMessages:
    """Return the customer's alerts of format 1, which have a field of the profile."""
    topic = topic_name(run, ALERT_TOPIC)
    alerts = [
        message for message in read_topic(properties, topic) if message.key() == person.key and _has_profile(message)
    ]
    retention_ms = retention_settings(properties, topic)["retention.ms"] if alerts else None
    newest_ms = max((message.timestamp()[1] for message in alerts), default=0)
    return PersonalMessages(tuple(message.offset() or 0 for message in alerts), newest_ms, int(retention_ms or -1))


def _has_profile(message: Message) -> bool:
    try:
        fields = json.loads(message.value() or b"")
    except ValueError:
        return False
    return isinstance(fields, dict) and any(fields.get(name) is not None for name in PROFILE_FIELDS)
