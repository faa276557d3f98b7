"""Reads and commits offsets of a consumer group (fenced, with metadata) and finds the ends of topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, TypeVar

import structlog
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from features.errors import ShopstreamError

log = structlog.get_logger("offsets")

REQUEST_TIMEOUT_S: Final = 30.0
TAKEOVER_TRIES: Final = 30
"""Attempts of a new owner to publish its epoch while commits fail temporarily. Not a duration, which may pass while the
process is suspended.
"""
TAKEOVER_PAUSE_S: Final = 1.0
_LEADER_PAUSE_S: Final = 0.2


class FencedError(ShopstreamError):
    """The group coordinator refused a commit: another worker owns the partitions now, or this one must rejoin.

    Args:
        message: text of the error.
        permanent: whether a second process uses the same instance id, so that rejoining cannot help.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        remedy = "Stop the other worker that runs with the same state folder and number." if permanent else ""
        super().__init__(message, remedy)
        self.permanent = permanent


class CommitError(ShopstreamError):
    """A commit failed for a temporary reason (coordinator moving, network). Nothing is lost, commit again later."""


FENCING_CODES: Final = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001 - librdkafka's own codes are spelt with an underscore
        KafkaError._FENCED,  # noqa: SLF001 - as above
    }
)
# the client reports the last one for an existing partition without a leader, while its broker is fenced
_LEADER_CODES: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - as above
    }
)
_COORDINATOR_CODES: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
"""Error codes of a group whose coordinator is about to start: on a new cluster it has none yet."""
_PERMANENT_CODES: Final = frozenset({KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED})  # noqa: SLF001 - as above


T = TypeVar("T")
Offsets = Mapping[TopicPartition, tuple[int, str]]


def commit(consumer: Consumer, offsets: Offsets) -> None:
    """Commit (next offset, metadata) of each partition and wait for the coordinator's response.

    Raises:
        FencedError: another worker owns a partition now, or the group is rebalancing. Nothing may be written any more.
        CommitError: the commit failed for a temporary reason.
    """
    if not offsets:
        return
    requests = [
        TopicPartition(p.topic, p.partition, offset, metadata=metadata) for p, (offset, metadata) in offsets.items()
    ]
    try:
        responses = consumer.commit(offsets=requests, asynchronous=False)
    except KafkaException as error:
        raise _commit_error(error.args[0]) from error
    for response in responses or ():
        if response.error is not None:
            raise _commit_error(response.error)


def try_commit(commit: Callable[[], None]) -> bool:
    """Commit once, and return whether the commit was made. The caller tries again, or loses its partitions.

    Raises:
        FencedError: another worker has this member's id for good.
    """
    try:
        commit()
    except CommitError as error:
        log.warning("commit failed; retrying", error=str(error))
    except FencedError as error:
        if error.permanent:
            raise
        log.warning("commit refused", error=str(error))
    else:
        return True
    return False


def commit_with_retry(commit: Callable[[], None]) -> None:
    """Commit with retries, for a new owner that cannot continue without the coordinator's confirmation.

    Raises:
        FencedError: another worker owns the partition.
        CommitError: all TAKEOVER_TRIES attempts failed.
    """
    for left in reversed(range(TAKEOVER_TRIES)):
        try:
            commit()
        except CommitError as error:
            if not left:
                raise
            log.warning("the commit of a new owner failed; retrying", error=str(error))
            time.sleep(TAKEOVER_PAUSE_S)
        else:
            return


def _commit_error(error: KafkaError) -> ShopstreamError:
    if error.code() in FENCING_CODES:
        return FencedError(
            f"The commit was refused ({error.name()}): another worker owns these partitions now.",
            permanent=error.code() in _PERMANENT_CODES,
        )
    return CommitError(f"The commit failed: {error.name()}: {error.str()}.")


def committed(
    consumer: Consumer, partitions: Sequence[TopicPartition], timeout_s: float = REQUEST_TIMEOUT_S
) -> dict[TopicPartition, tuple[int, str]]:
    """Return the group's committed (next offset, metadata) of those of `partitions` that have one.

    Raises:
        ShopstreamError: the coordinator did not respond in time, or refuses.
    """
    if not partitions:
        return {}
    try:
        responses = query_leader(
            lambda left_s: consumer.committed(list(partitions), timeout=left_s),
            time.monotonic() + timeout_s,
            _COORDINATOR_CODES,
        )
    except KafkaException as error:
        raise ShopstreamError(f"The committed offsets could not be read: {error.args[0].str()}.") from error
    for response in responses:
        if response.error is not None:
            raise ShopstreamError(
                f"The committed offset of {response.topic}[{response.partition}] could not be read: "
                f"{response.error.str()}."
            )
    return {TopicPartition(a.topic, a.partition): (a.offset, a.metadata or "") for a in responses if a.offset >= 0}


def committed_metadata(admin: AdminClient, group: str) -> dict[tuple[str, int], str]:
    """Return (topic, partition) -> metadata of every offset that a group has committed; none for an unknown group.

    Raises:
        ShopstreamError: the coordinator did not respond in time, or refuses.
    """

    def listed(left_s: float) -> list[TopicPartition]:
        request = [ConsumerGroupTopicPartitions(group)]
        answers = admin.list_consumer_group_offsets(request, request_timeout=left_s)
        return list(answers[group].result().topic_partitions)

    try:
        parts = query_leader(listed, time.monotonic() + REQUEST_TIMEOUT_S, _COORDINATOR_CODES)
    except KafkaException as error:
        raise ShopstreamError(f"The committed offsets could not be read: {error.args[0].str()}.") from error
    return {(one.topic, one.partition): one.metadata or "" for one in parts if one.offset >= 0}


def watermarks(
    consumer: Consumer, partitions: Sequence[TopicPartition], timeout_s: float = REQUEST_TIMEOUT_S
) -> dict[TopicPartition, tuple[int, int]]:
    """Query the brokers for (lowest retained offset, next offset to be written) of each partition.

    Raises:
        ShopstreamError: a partition does not exist or its broker did not respond in time.
    """
    deadline_s = time.monotonic() + timeout_s
    return {partition: _watermarks(consumer, partition, deadline_s) for partition in partitions}


def query_leader(query: Callable[[float], T], deadline_s: float, codes: AbstractSet[int] = _LEADER_CODES) -> T:
    """Return a leader's response. Retry while a partition has no known leader (just created, or its broker left).

    Args:
        query: request function that receives the remaining seconds.
        deadline_s: deadline on the clock of `time.monotonic`.
        codes: error codes to retry; `_COORDINATOR_CODES` for a request to the coordinator of a group.

    Raises:
        KafkaException: no response, or no leader in time.
    """
    while True:
        left_s = max(0.1, deadline_s - time.monotonic())
        try:
            return query(left_s)
        except KafkaException as error:
            if error.args[0].code() not in codes or left_s <= _LEADER_PAUSE_S:
                raise
        time.sleep(_LEADER_PAUSE_S)


def _watermarks(consumer: Consumer, partition: TopicPartition, deadline_s: float) -> tuple[int, int]:
    try:
        marks: tuple[int, int] = query_leader(
            lambda left_s: consumer.get_watermark_offsets(partition, timeout=left_s), deadline_s
        )
    except KafkaException as error:
        where = f"{partition.topic}[{partition.partition}]"
        raise ShopstreamError(f"The offsets of {where} could not be read: {error.args[0].str()}.") from error
    return marks


def partitions_of(
    consumer: Consumer, topics: Sequence[str], timeout_s: float = REQUEST_TIMEOUT_S
) -> list[TopicPartition]:
    """Query the cluster for every partition of the topics.

    Raises:
        ShopstreamError: a topic does not exist, or the cluster did not respond in time.
    """
    partitions: list[TopicPartition] = []
    for topic in topics:
        try:
            response = consumer.list_topics(topic, timeout=timeout_s).topics[topic]
        except KafkaException as error:
            raise ShopstreamError(f"The partitions of {topic} could not be read: {error.args[0].str()}.") from error
        if response.error is not None:
            raise ShopstreamError(
                f"Topic {topic} cannot be read: {response.error.str()}.", "Create the run's topics (`shopstream up`)."
            )
        partitions += [TopicPartition(topic, number) for number in sorted(response.partitions)]
    return partitions


def end_offsets(consumer: Consumer, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    """Return (full topic name, partition) -> offset of the next record. `--until-end` stops there."""
    marks = watermarks(consumer, partitions_of(consumer, topics))
    return {(p.topic, p.partition): high for p, (_, high) in marks.items()}


def offsets_at(
    consumer: Consumer, partitions: Sequence[TopicPartition], time_ms: int, timeout_s: float = REQUEST_TIMEOUT_S
) -> dict[TopicPartition, int]:
    """Return the offset of the first message at or after a time of each partition; its end if there is none.

    Args:
        consumer: any consumer of the cluster.
        partitions: partitions to query.
        time_ms: time of messages, epoch ms.
        timeout_s: longest wait.

    Raises:
        ShopstreamError: a partition does not exist or its broker did not respond in time.
    """
    requests = [TopicPartition(p.topic, p.partition, time_ms) for p in partitions]
    try:
        answers = consumer.offsets_for_times(requests, timeout=timeout_s)
    except KafkaException as error:
        raise ShopstreamError(f"The offsets at a time could not be read: {error.args[0].str()}.") from error
    ends = watermarks(consumer, partitions, timeout_s)
    return {p: p.offset if p.offset >= 0 else ends[p][1] for p in answers}


def topic_ids(admin: AdminClient, topics: Sequence[str]) -> dict[str, str]:
    """Return the topic ids of the cluster: a topic that is deleted and recreated has the same name and another id.

    Raises:
        ShopstreamError: a topic does not exist, or the cluster does not respond.
    """
    responses = admin.describe_topics(TopicCollection(list(topics)), request_timeout=REQUEST_TIMEOUT_S)
    try:
        return {topic: str(future.result().topic_id) for topic, future in responses.items()}
    except KafkaException as error:
        raise ShopstreamError(f"The topics could not be described: {error.args[0].str()}.") from error


def check_same_topic(topic: str, number: int, committed: str, current: str) -> None:
    """Refuse offsets of a deleted topic of the same name. A new topic that has outgrown them would have a silent gap.

    Args:
        topic: topic name without the run.
        number: partition number.
        committed: id of the topic that the offsets belong to; empty if unknown.
        current: id of the present topic; empty if unknown.

    Raises:
        ShopstreamError: the topic was deleted and created again.
    """
    if committed and current and committed != current:
        raise ShopstreamError(
            f"The topic of {topic}[{number}] was deleted and created again since its offsets were committed: they "
            "refer to other records now.",
            "Read the remaining records into a new run (`--run NAME`). The archive of a new run needs its own "
            "folder (`--archive`).",
        )
