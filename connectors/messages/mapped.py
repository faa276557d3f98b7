"""Defines what a mapping reads and returns: messages of foreign topics, and the records of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from connectors.messages.decoder import Headers


class Message(NamedTuple):
    """Message of a foreign topic.

    Attributes:
        value: value; None is a null value.
        position: where the message is, as one text, from which ids of events without one are made: `position_of`.
        headers: headers.
    """

    value: bytes | None
    position: str = ""
    headers: Headers = ()


def position_of(topic: str, partition: int, offset: int, topic_id: str) -> str:
    """Return the position of a message as one text, which no other message has.

    Args:
        topic: full name of the topic.
        partition: number of the partition.
        offset: offset of the message.
        topic_id: id of the topic in the cluster, which is another one after the topic was created again; empty if
            unknown.
    """
    return f"{topic}-{partition}-{offset}" + (f"-{topic_id}" if topic_id else "")


class MappedRecord(NamedTuple):
    """Record of a message.

    Attributes:
        topic: source topic of the run, without the run's name.
        key: key, the id of the customer.
        value: value as JSON.
        message: position of the message in its batch.
        time_ms: time that orders the record on its topic, epoch ms: `ts` of an event, `updated_ts` of an order.
    """

    topic: str
    key: bytes
    value: bytes
    message: int
    time_ms: int


@dataclass(slots=True)
class Mapped:
    """Result of a batch of messages. A message is the position in its batch.

    Attributes:
        records: records; those of events are in the order of their messages.
        left_out: message -> reason, for messages that are no records by a rule.
        refused: message -> reason, for messages that cannot be read right.
        dropped: message with records -> optional values that they cannot hold: path and reason of each.
        opened: number of messages whose fields were read: not those that are a tombstone or no JSON.
        present: path of the mapping -> number of opened messages that have it.
    """

    records: list[MappedRecord] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    dropped: dict[int, list[str]] = field(default_factory=dict)
    opened: int = 0
    present: dict[str, int] = field(default_factory=dict)


class Mapper(Protocol):
    """Maps the messages of one topic."""

    @property
    def name(self) -> str:
        """Name of the mapping."""

    @property
    def topic(self) -> str:
        """Full name of the topic."""

    @property
    def last_error(self) -> str | None:
        """Why messages wait; None if nothing waits."""

    def map(self, messages: Sequence[Message]) -> Mapped:
        """Return the records of messages. The result depends on the messages alone."""
