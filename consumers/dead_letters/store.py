"""Reads the topic of dead letters, replays dead letters and records which were replayed.

Replays are recorded in a separate topic, `RUN.dead-letter-replays`, with the same retention as the dead letters. It
holds one message per dead letter, keyed by the position of the original message. A duplicated or copied dead letter is
therefore recognised. The order of work, and what is repeated after a crash during each step:

1. The records are sent and acknowledged. After a crash they are not recorded as replayed, and a second replay sends
   them again. The duplicates change nothing: events are deduplicated by id, orders and profiles by which record wins.
2. They are recorded as replayed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its __init__ re-exports without saying so

from connectors.kafka.client import Record, open_admin, produce_all
from connectors.kafka.offsets import REQUEST_TIMEOUT_S
from connectors.kafka.reader import read_to_end
from connectors.kafka.topic_settings import topic_configs
from consumers.dead_letters.review import MessagePosition, StoredDeadLetter
from features.errors import ShopstreamError
from features.schema import DEAD_LETTER_TOPIC, REPLAYED_TOPIC, topic_name

CLIENT: Final = "letters"
"""Client name in the log, and end of the group name."""
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
"""Pattern of a partition or an offset; headers of foreign messages may hold anything."""
REPLAYED_HEADER: Final = "replayed"
"""Header of a replayed record: the dead letter it comes from."""


def read_topic(properties: Mapping[str, Any], topic: str) -> Iterator[Message]:
    """Yield every message of a topic up to its current end; none if the topic does not exist.

    Raises:
        ShopstreamError: the cluster does not answer or refuses.
    """
    if topic in open_admin(properties).list_topics(timeout=REQUEST_TIMEOUT_S).topics:
        yield from read_to_end(properties, topic, f"{topic}-{CLIENT}")


def read_dead_letters(properties: Mapping[str, Any], run: str) -> Iterator[StoredDeadLetter]:
    """Yield every dead letter of a run, oldest first; errors as `read_topic`."""
    for message in read_topic(properties, topic_name(run, DEAD_LETTER_TOPIC)):
        yield stored_dead_letter(message)


def stored_dead_letter(message: Message) -> StoredDeadLetter:
    """Convert a message of the topic to a dead letter; a foreign message has no position."""
    headers: dict[str, Any] = dict(message.headers() or ())

    def text(name: str) -> str:
        return bytes(headers.get(name) or b"").decode("utf-8", "replace")

    def number(name: str) -> int:
        return int(text(name)) if _NUMBER.fullmatch(text(name)) else -1

    return StoredDeadLetter(
        message.offset() or 0,
        message.timestamp()[1],
        text("topic"),
        number("partition"),
        number("offset"),
        message.key(),
        message.value(),
        text("error"),
        text("cut"),
    )


def read_replayed(properties: Mapping[str, Any], run: str) -> set[MessagePosition]:
    """Return the message positions of the replayed dead letters; errors as `read_topic`."""
    replayed: set[MessagePosition] = set()
    for message in read_topic(properties, topic_name(run, REPLAYED_TOPIC)):
        try:
            replayed.add(msgspec.json.decode(message.key() or b"", type=MessagePosition))
        except msgspec.DecodeError:
            continue
    return replayed


def record_replayed(
    properties: Mapping[str, Any], run: str, dead_letters: Sequence[StoredDeadLetter], destination: str
) -> None:
    """Record dead letters as replayed.

    Args:
        properties: librdkafka properties.
        run: name of the run.
        dead_letters: replayed dead letters.
        destination: destination of the replay, for display.
    """
    topic = topic_name(run, REPLAYED_TOPIC)
    _ensure(properties, topic, topic_configs(run)[topic])
    note = msgspec.json.encode({"to": destination})
    produce_all(
        properties,
        CLIENT,
        [(topic, msgspec.json.encode(dead_letter.position), note, []) for dead_letter in dead_letters],
    )


def send_back(properties: Mapping[str, Any], run: str, dead_letters: Sequence[StoredDeadLetter]) -> None:
    """Send dead letters to their original topics with their keys, ordered by position, and record them as replayed.

    Raises:
        ShopstreamError: a record was not acknowledged; the others may be sent again, which changes nothing.
    """
    ordered = sorted(dead_letters, key=lambda dead_letter: dead_letter.position)
    topic = topic_name(run, DEAD_LETTER_TOPIC)
    records: list[Record] = [
        (dead_letter.topic, dead_letter.key, dead_letter.value, [(REPLAYED_HEADER, f"{topic}[0] {dead_letter.number}")])
        for dead_letter in ordered
    ]
    produce_all(properties, CLIENT, records)
    record_replayed(properties, run, ordered, "the topic")


def _ensure(properties: Mapping[str, Any], topic: str, config: dict[str, str]) -> None:
    """Create the topic of a run if it is missing."""
    admin = open_admin(properties)
    if topic in admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics:
        return
    new = NewTopic(topic, num_partitions=1, replication_factor=-1, config=config)
    for future in admin.create_topics([new], operation_timeout=REQUEST_TIMEOUT_S).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ShopstreamError(f"Topic {topic} could not be created: {error.args[0].str()}.") from error
