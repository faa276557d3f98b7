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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # its __init__ re-exports without saying so

from connectors.kafka.client import (
    DEAD_LETTER_BYTES_MAX,
    consumer_config,
    end_offsets,
    open_admin,
    open_consumer,
    open_producer,
    producer_config,
    topic_configs,
)
from consumers.dead_letters.review import Place, StoredDeadLetter
from features.errors import ShopstreamError
from features.schema import DEAD_LETTER_TOPIC, REPLAYED_TOPIC, topic_name

READER: Final = "letters"
"""Group name required by the client; the group is never joined."""
BATCH: Final = 1_000
SILENCE_S: Final = 30.0
FLUSH_TIMEOUT_S: Final = 60.0
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
"""Pattern of a partition or an offset; headers of foreign messages may hold anything."""
REPLAYED_HEADER: Final = "replayed"
"""Header of a replayed record: the dead letter it comes from."""


def read_topic(properties: Mapping[str, Any], topic: str) -> Iterator[Message]:
    """Yield every message of a topic up to its current end; none if the topic does not exist.

    Raises:
        ShopstreamError: the cluster does not answer or refuses.
    """
    admin = open_admin(properties)
    if topic not in admin.list_topics(timeout=SILENCE_S).topics:
        return
    consumer = open_consumer(consumer_config(properties, f"{topic}-{READER}"))
    try:
        left = {number: end for (_, number), end in end_offsets(consumer, [topic]).items() if end > 0}
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
        while left:
            for message in consumer.consume(BATCH, 0.5):
                error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
                if error is None:
                    yield message
                    if offset + 1 >= left.get(number, 0):
                        left.pop(number, None)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own code
                    left.pop(number, None)
                elif error.fatal() or not error.retriable():
                    raise ShopstreamError(f"Topic {topic} cannot be read: {error.str()}.")
    finally:
        consumer.close()


def read_letters(properties: Mapping[str, Any], run: str) -> Iterator[StoredDeadLetter]:
    """Yield every dead letter of a run, oldest first; errors as `read_topic`."""
    for message in read_topic(properties, topic_name(run, DEAD_LETTER_TOPIC)):
        yield stored_letter(message)


def stored_letter(message: Message) -> StoredDeadLetter:
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


def read_replayed(properties: Mapping[str, Any], run: str) -> set[Place]:
    """Return the message positions of the replayed dead letters; errors as `read_topic`."""
    found: set[Place] = set()
    for message in read_topic(properties, topic_name(run, REPLAYED_TOPIC)):
        try:
            found.add(msgspec.json.decode(message.key() or b"", type=Place))
        except msgspec.DecodeError:
            continue
    return found


def remember(properties: Mapping[str, Any], run: str, letters: Sequence[StoredDeadLetter], where: str) -> None:
    """Record dead letters as replayed.

    Args:
        properties: librdkafka properties.
        run: name of the run.
        letters: replayed dead letters.
        where: destination of the replay, for display.
    """
    topic = topic_name(run, REPLAYED_TOPIC)
    _ensure(properties, topic, topic_configs(run)[topic])
    note = msgspec.json.encode({"to": where})
    produce(properties, [(topic, msgspec.json.encode(letter.place), note, []) for letter in letters])


def send_back(properties: Mapping[str, Any], run: str, letters: Sequence[StoredDeadLetter]) -> None:
    """Send dead letters to their original topics with their keys, ordered by position, and record them as replayed.

    Raises:
        ShopstreamError: a record was not acknowledged; the others may be sent again, which changes nothing.
    """
    ordered = sorted(letters, key=lambda letter: letter.place)
    produce(
        properties,
        [
            (
                one.topic,
                one.key,
                one.value,
                [(REPLAYED_HEADER, f"{topic_name(run, DEAD_LETTER_TOPIC)}[0] {one.number}")],
            )
            for one in ordered
        ],
    )
    remember(properties, run, ordered, "the topic")


def _ensure(properties: Mapping[str, Any], topic: str, config: dict[str, str]) -> None:
    """Create the topic for a run that an earlier version created without it."""
    admin = open_admin(properties)
    if topic in admin.list_topics(timeout=SILENCE_S).topics:
        return
    new = NewTopic(topic, num_partitions=1, replication_factor=-1, config=config)
    for future in admin.create_topics([new], operation_timeout=SILENCE_S).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ShopstreamError(f"Topic {topic} could not be created: {error.args[0].str()}.") from error


def produce(
    properties: Mapping[str, Any], messages: Iterable[tuple[str, bytes | None, bytes | None, list[tuple[str, Any]]]]
) -> None:
    """Send (topic, key, value, headers) tuples in order; wait until all are acknowledged.

    Raises:
        ShopstreamError: a record was not acknowledged.
    """
    producer = open_producer({**producer_config(properties, READER), "message.max.bytes": DEAD_LETTER_BYTES_MAX})
    failed: list[str] = []

    def on_delivery(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    for topic, key, value, headers in messages:
        while True:
            try:
                producer.produce(topic, value, key, headers=headers, on_delivery=on_delivery)
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                raise ShopstreamError(f"A record was refused: {error.args[0].str()}.") from error
            else:
                producer.poll(0)
                break
    left = producer.flush(FLUSH_TIMEOUT_S)
    if left or failed:
        raise ShopstreamError(
            f"{left or len(failed)} records were not taken: {failed[0] if failed else 'no answer'}.",
            "Do it again: a record that stands there twice changes nothing.",
        )
