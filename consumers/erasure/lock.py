"""The edge that lets one erasure of a run work at a time, whatever machine it runs on.

Erasures read and write whole files and topics again, so two at once would bring back what the other one erased. The
lock is the membership of a consumer group that reads nothing: who is given partition 0 of the topic of profiles holds
it. The holder never polls again, so the coordinator gives the partition to nobody else until the holder leaves, or its
process has been silent for a session time-out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.kafka.client import consumer_config, open_admin, open_consumer
from connectors.kafka.offsets import REQUEST_TIMEOUT_S
from features.errors import ShopstreamError
from features.schema import group_name, topic_name

ROLE: Final = "forget"
"""Names the group; no worker ever joins it."""
HOLD_MS_MAX: Final = 3_600_000
"""After this long the next one in the queue is let in."""
WAIT_S: Final = 600.0
JOIN_S: Final = 15.0
"""Longer than a session time-out: to be let in, or to leave."""
ASK_EVERY_S: Final = 0.5
_FINAL: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)
BUSY_REMEDY: Final = "Do it again when that one has ended."


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock, held.

    Attributes:
        properties: librdkafka's.
        group: its name.
        member: how the coordinator knows the holder.
    """

    properties: Mapping[str, Any]
    group: str
    member: str

    def check(self) -> None:
        """Returns while the lock is still ours.

        Raises:
            ShopstreamError: this process was silent for too long, and another erasure may be at work.
        """
        if self.member not in _members(self.properties, self.group):
            raise ShopstreamError("Another erasure has begun, since this one stood still.", BUSY_REMEDY)


def _members(properties: Mapping[str, Any], group: str) -> set[str]:
    admin = open_admin(properties)
    try:
        found = admin.describe_consumer_groups([group])[group].result(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return set()
        raise ShopstreamError(f"The group {group} could not be asked: {error.args[0].str()}.") from error
    return {member.member_id for member in found.members}


@contextmanager
def alone(
    properties: Mapping[str, Any], run: str, *, wait_s: float = WAIT_S, on_wait: Callable[[], None] = lambda: None
) -> Iterator[Lock]:
    """While it lasts, no other erasure of the run works.

    Args:
        properties: librdkafka's.
        run: whose.
        wait_s: for another one to end.
        on_wait: called again and again while there is one.

    Raises:
        ShopstreamError: another one did not end in time, or Kafka does not answer.
    """
    group = group_name(run, ROLE)
    begin_s = time.monotonic()
    # whoever waits as a member cannot leave before the holder does, so we join a group that looks empty
    while _members(properties, group):
        if time.monotonic() - begin_s > wait_s:
            raise ShopstreamError(f"Another erasure of run {run} is at work.", BUSY_REMEDY)
        on_wait()
        time.sleep(ASK_EVERY_S)
    held: list[bool] = []

    def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # nothing is to be read
        consumer.assign([])
        held.extend(part.partition == 0 for part in partitions if part.partition == 0)

    consumer = open_consumer({**consumer_config(properties, group), "max.poll.interval.ms": HOLD_MS_MAX})
    try:
        consumer.subscribe([topic_name(run, "customers")], on_assign=assigned)
        while not held:
            message = consumer.poll(0.2)
            error = None if message is None else message.error()
            if error is not None and (error.fatal() or error.code() in _FINAL):
                raise ShopstreamError(f"The erasure of run {run} could not begin: {error.str()}.")
            if time.monotonic() - begin_s > wait_s + JOIN_S:
                raise ShopstreamError(f"Another erasure of run {run} is at work.", BUSY_REMEDY)
        yield Lock(properties, group, consumer.memberid())
    finally:
        # one that waits to be let in cannot be closed before it is
        leaving = threading.Thread(target=consumer.close, daemon=True)
        leaving.start()
        leaving.join(JOIN_S)
