"""Counts the records of a run's topics independently, from the beginning and outside any group.

The audit shares only the client with the consumers. It counts distinct ids by their hashes, to verify the sum of
documents, dead letters and duplicate records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash
from confluent_kafka import Message

from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.offsets import partitions_of, watermarks
from connectors.kafka.reader import read_ranges
from features.errors import ShopstreamError
from features.schema import DEAD_LETTER_TOPIC, FEATURE_TOPIC, SOURCE_TOPICS, group_name, topic_name

COMPACTED: Final = ".customers"
"""Suffix of the source topic on which a message without a value is a tombstone."""

Hashes = npt.NDArray[np.uint64]
MessagePositions = set[tuple[str, int, int]]
"""Topic, partition and offset of each rejected message."""


@dataclass(frozen=True, slots=True)
class TopicAudit:
    """Counts of a source topic.

    Attributes:
        messages: records ever appended and not deleted. A tombstone in the log is not a record. Every message that
            compaction removed counts as a record, tombstones included.
        dead_letters: messages that are dead letters.
        distinct: distinct valid records by event_id, by order_id of a customer, or by customer_id; without profiles
            erased by a tombstone.
        compacted: messages removed by compaction.
    """

    messages: int
    dead_letters: int
    distinct: int
    compacted: int = 0

    @property
    def repeated(self) -> int:
        """Number of messages that repeat or change an earlier record, and of erased profiles."""
        return self.messages - self.dead_letters - self.distinct


@dataclass(frozen=True, slots=True)
class AuditResult:
    """Counts of a run's topics.

    Attributes:
        topics: counts by source topic, without the run's name.
        customers: customers seen in events or orders.
        profiles_unseen: profiles of customers without any event or order.
        sessions: distinct (customer, session) pairs of events.
        feature_rows: customers in the topic of feature rows.
    """

    topics: Mapping[str, TopicAudit]
    customers: int
    profiles_unseen: int
    sessions: int
    feature_rows: int


class _Event(msgspec.Struct, gc=False):
    event_id: str
    customer_id: str
    session_id: str


class _Order(msgspec.Struct, gc=False):
    order_id: str
    customer_id: str


class _Profile(msgspec.Struct, gc=False):
    customer_id: str


def audit_topics(properties: Mapping[str, Any], run: str) -> AuditResult:
    """Count every source topic of a run from its beginning to its end.

    Args:
        properties: librdkafka properties.
        run: name of the run.

    Raises:
        ShopstreamError: a topic is missing or unreadable, or a message is neither a record nor a dead letter.
    """
    dead_letters = _dead_letters(properties, run)
    topics: dict[str, TopicAudit] = {}
    customers: dict[str, Hashes] = {}
    sessions = np.zeros(0, np.uint64)
    for topic in SOURCE_TOPICS:
        counter = _TopicCounter(topic, topic_name(run, topic), dead_letters)
        appended = _read(properties, run, topic, counter.add)
        ids, customers[topic], session_ids = counter.distinct()
        records = appended - counter.tombstones
        topics[topic] = TopicAudit(records, counter.dead_letters, len(ids), compacted=appended - counter.read)
        sessions = session_ids if topic == "events" else sessions
    seen = np.union1d(customers["events"], customers["orders"])
    rows = _Keys()
    _read(properties, run, FEATURE_TOPIC, rows.add)
    return AuditResult(
        topics,
        customers=len(seen),
        profiles_unseen=len(np.setdiff1d(customers["customers"], seen)),
        sessions=len(sessions),
        feature_rows=len(rows.keys),
    )


class _TopicCounter:
    def __init__(self, topic: str, full_name: str, dead_letters: MessagePositions) -> None:
        self._full_name = full_name
        self._dead_letters = dead_letters
        self.dead_letters = self.tombstones = self.read = 0
        self._erased: dict[int, int] = {}
        """Customer -> number of records read before the tombstone."""
        self._ids: list[int] = []
        self._customers: list[int] = []
        self._sessions: list[int] = []
        self._add_record = {"events": self._event, "orders": self._order, "customers": self._profile}[topic]

    def add(self, message: Message) -> None:
        value = message.value()
        self.read += 1
        if (self._full_name, message.partition(), message.offset()) in self._dead_letters:
            self.dead_letters += 1
            return
        if value is None:
            if self._full_name.endswith(COMPACTED):
                self.tombstones += 1
                self._erased[_hash_bytes(message.key() or b"")] = len(self._ids)
            return
        try:
            self._add_record(value)
        except msgspec.MsgspecError as error:
            raise ShopstreamError(
                f"{self._full_name}[{message.partition()}] {message.offset()} is not a record and has no dead letter: "
                f"{error}."
            ) from error

    def distinct(self) -> tuple[Hashes, Hashes, Hashes]:
        """Return the distinct ids, customers and sessions."""
        if self._erased:
            # the log keeps the order per key: a profile before its tombstone is erased
            self._ids = [
                record_id for position, record_id in enumerate(self._ids) if position >= self._erased.get(record_id, 0)
            ]
            self._customers = self._ids
        ids, customers, sessions = (
            np.unique(np.array(hashes, np.uint64)) for hashes in (self._ids, self._customers, self._sessions)
        )
        return ids, customers, sessions

    def _event(self, value: bytes) -> None:
        record = _EVENT.decode(value)
        self._ids.append(_hash(record.event_id))
        self._customers.append(_hash(record.customer_id))
        # the customer is the seed: joining the ids as text could make two pairs equal
        self._sessions.append(_hash(record.session_id, self._customers[-1]))

    def _order(self, value: bytes) -> None:
        record = _ORDER.decode(value)
        self._customers.append(_hash(record.customer_id))
        self._ids.append(_hash(record.order_id, self._customers[-1]))

    def _profile(self, value: bytes) -> None:
        self._ids.append(_hash(_PROFILE.decode(value).customer_id))
        self._customers.append(self._ids[-1])


class _Keys:
    def __init__(self) -> None:
        self.keys: set[bytes | None] = set()

    def add(self, message: Message) -> None:
        if message.value() is not None:
            self.keys.add(message.key())


_EVENT: Final = msgspec.json.Decoder(_Event)
_ORDER: Final = msgspec.json.Decoder(_Order)
_PROFILE: Final = msgspec.json.Decoder(_Profile)


def _hash(text: str, seed: int = 0) -> int:
    return _hash_bytes(text.encode(), seed)


def _hash_bytes(text: bytes, seed: int = 0) -> int:
    return xxhash.xxh3_64_intdigest(text, seed)


def _dead_letters(properties: Mapping[str, Any], run: str) -> MessagePositions:
    positions: MessagePositions = set()

    def add(message: Message) -> None:
        headers: dict[str, bytes] = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
        positions.add((headers["topic"].decode(), int(headers["partition"]), int(headers["offset"])))

    _read(properties, run, DEAD_LETTER_TOPIC, add)
    return positions


def _read(properties: Mapping[str, Any], run: str, topic: str, add: Callable[[Message], None]) -> int:
    """Pass every message to `add`; return the number of messages ever appended and not deleted."""
    with closing(open_consumer(consumer_config(properties, group_name(run, "recount")))) as consumer:
        marks = watermarks(consumer, partitions_of(consumer, [topic_name(run, topic)]))
        for message in read_ranges(consumer, marks):
            add(message)
    return sum(high - low for low, high in marks.values())
