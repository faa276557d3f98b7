"""Limits each run to one erasure at a time, on any machine.

Erasures rewrite whole files and topics, so each of two concurrent ones could restore data that the other erased. The
lock is membership in a consumer group that reads nothing: the member with partition 0 of the topic of profiles holds
it. The holder never polls again. The coordinator therefore reassigns the partition only when the holder leaves, or
sends no heartbeat for a session time-out.
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
"""Name of the group; no worker ever joins it."""
HOLD_MS_MAX: Final = 3_600_000
"""Maximum time to hold the lock; then the next member is admitted."""
WAIT_S: Final = 600.0
JOIN_S: Final = 15.0
"""Maximum time to be admitted or to leave; longer than a session time-out."""
ASK_EVERY_S: Final = 0.5
_FINAL: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)
BUSY_REMEDY: Final = "Try again when the other erasure has ended."


@dataclass(frozen=True, slots=True)
class Lock:
    """A held lock.

    Attributes:
        properties: librdkafka properties.
        group: name of the group.
        member: id of the holder at the coordinator.
    """

    properties: Mapping[str, Any]
    group: str
    member: str

    def check(self) -> None:
        """Return if this process still holds the lock.

        Raises:
            ShopstreamError: this process was suspended for too long, and another erasure may be running.
        """
        if self.member not in _members(self.properties, self.group):
            raise ShopstreamError(
                "This erasure was suspended and lost its lock; another one may be running.", BUSY_REMEDY
            )


def _members(properties: Mapping[str, Any], group: str) -> set[str]:
    admin = open_admin(properties)
    try:
        description = admin.describe_consumer_groups([group])[group].result(timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return set()
        raise ShopstreamError(f"The group {group} could not be described: {error.args[0].str()}.") from error
    return {member.member_id for member in description.members}


@contextmanager
def erasure_lock(
    properties: Mapping[str, Any], run: str, *, wait_s: float = WAIT_S, on_wait: Callable[[], None] = lambda: None
) -> Iterator[Lock]:
    """Hold the erasure lock of a run: no other erasure of the run works meanwhile.

    Args:
        properties: librdkafka properties.
        run: name of the run.
        wait_s: maximum time to wait for another erasure.
        on_wait: callback, called repeatedly while waiting.

    Raises:
        ShopstreamError: another erasure did not end in time, or Kafka does not answer.
    """
    group = group_name(run, ROLE)
    begin_s = time.monotonic()
    # a waiting member cannot leave before the holder does, so join only a group that looks empty
    while _members(properties, group):
        if time.monotonic() - begin_s > wait_s:
            raise ShopstreamError(f"Another erasure of run {run} is running.", BUSY_REMEDY)
        on_wait()
        time.sleep(ASK_EVERY_S)
    held: list[bool] = []

    def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # no records are read
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
                raise ShopstreamError(f"Another erasure of run {run} is running.", BUSY_REMEDY)
        yield Lock(properties, group, consumer.memberid())
    finally:
        # a consumer that waits for admission cannot be closed before it is admitted
        leaving = threading.Thread(target=consumer.close, daemon=True)
        leaving.start()
        leaving.join(JOIN_S)
