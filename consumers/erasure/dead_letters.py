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
from consumers.dead_letters.store import read_topic, stored_letter
from consumers.erasure.indices import PROFILE_FIELDS
from consumers.erasure.person import Person
from consumers.erasure.profile_topic import kept_for
from features.errors import ShopstreamError
from features.schema import ALERT_TOPIC, DEAD_LETTER_TOPIC, topic_name


@dataclass(frozen=True, slots=True)
class Held:
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


def letters_of(properties: Mapping[str, Any], run: str, person: Person) -> tuple[Held, Person]:
    """Find the dead letters with the customer's id, name or address; also return the person with data found in them."""
    topic = topic_name(run, DEAD_LETTER_TOPIC)
    told = person.known_from(
        letter.value or b""
        for letter in map(stored_letter, read_topic(properties, topic))
        if _may_be_profile(letter, run) and _is_about(letter, person)
    )
    personal: list[StoredDeadLetter] = []
    others: list[int] = []
    for letter in map(stored_letter, read_topic(properties, topic)):
        if is_personal(letter, run, told):
            personal.append(letter)
        elif _is_about(letter, told):
            others.append(letter.number)
    kept = kept_for(properties, topic)["retention.ms"] if personal else None
    newest_ms = max((letter.written_ms for letter in personal), default=0)
    return Held(tuple(letter.number for letter in personal), newest_ms, int(kept or -1), tuple(others)), told


def is_personal(letter: StoredDeadLetter, run: str, person: Person) -> bool:
    """Return whether a dead letter holds, or may hold, data of the person's profile."""
    if any(person.is_named_in(said) for said in (letter.key, letter.value, letter.error.encode())):
        return True
    return _may_be_profile(letter, run) and _is_about(letter, person)


def _is_about(letter: StoredDeadLetter, person: Person) -> bool:
    return letter.key == person.key or person.is_told_by_id(letter.value) or person.is_told_by_id(letter.key)


def _may_be_profile(letter: StoredDeadLetter, run: str) -> bool:
    return letter.topic in (topic_name(run, "customers"), write_index(run, "customers"), write_index(run, "alerts"))


def delete_letters(
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
            mine = is_personal(stored_letter(message), run, person)
            counts[mine] += 1
            if not mine:
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
            f"The dead letters of {topic} could not be deleted: {error.args[0].str()}.", "Ask for Delete on the topic."
        ) from error
    return counts[True], counts[False]


def alerts_of(properties: Mapping[str, Any], run: str, person: Person) -> Held:
    """Return the customer's alerts with a field of the profile, which only earlier versions wrote."""
    topic = topic_name(run, ALERT_TOPIC)
    found = [
        message for message in read_topic(properties, topic) if message.key() == person.key and _has_profile(message)
    ]
    kept = kept_for(properties, topic)["retention.ms"] if found else None
    newest_ms = max((message.timestamp()[1] for message in found), default=0)
    return Held(tuple(message.offset() or 0 for message in found), newest_ms, int(kept or -1))


def _has_profile(message: Message) -> bool:
    try:
        fields = json.loads(message.value() or b"")
    except ValueError:
        return False
    return isinstance(fields, dict) and any(fields.get(name) is not None for name in PROFILE_FIELDS)
