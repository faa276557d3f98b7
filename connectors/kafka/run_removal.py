"""Deletes the topics and consumer groups of a run, and nothing of a run with a similar name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.client import open_admin
from connectors.kafka.offsets import REQUEST_TIMEOUT_S
from connectors.kafka.topic_settings import run_topics
from features.errors import ShopstreamError
from features.schema import GROUPS, check_run, group_name

DELETE_TIMEOUT_S: Final = 30.0
_ABSENT: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND})


def drop_topics_and_groups(properties: Mapping[str, Any], run: str) -> tuple[str, ...]:
    """Delete the topics and groups of `run`. Return the topics once the cluster no longer lists them.

    Nothing is deleted if the topics named after the run are not a run's: see `topic_settings.run_topics`. One request
    deletes all topics, so that a crash does not leave sources without the topics that show the run.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the cluster does not respond or refuses, or a group still has members.
    """
    check_run(run)
    admin = open_admin(properties)
    known = admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
    topics = run_topics(known).get(run, [])
    if not topics:
        return ()
    groups = [group_name(run, role) for role in GROUPS]
    _await(admin.delete_consumer_groups(groups).items(), "The consumer group")
    _await(admin.delete_topics(topics, operation_timeout=REQUEST_TIMEOUT_S).items(), "The topic")
    deadline_s = time.monotonic() + DELETE_TIMEOUT_S
    while set(topics) & set(admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics):
        if time.monotonic() > deadline_s:
            raise ShopstreamError(f"The topics of run {run} still exist.", "Try again in a minute.")
        time.sleep(0.2)
    return tuple(topics)


def _await(responses: Iterable[tuple[str, Any]], what: str) -> None:
    for name, future in responses:
        try:
            future.result()
        except KafkaException as error:
            code = error.args[0].code()
            if code in _ABSENT:
                continue
            remedy = "Stop its workers first." if code == KafkaError.NON_EMPTY_GROUP else ""
            raise ShopstreamError(f"{what} {name} could not be deleted: {error.args[0].str()}.", remedy) from error
