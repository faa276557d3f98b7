"""A partition without a leader for a moment: asked again, as long as there is time."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.kafka.offsets import committed, query_leader


def refusing(code, times):
    requests = []

    def ask(left_s):
        requests.append(left_s)
        if len(requests) <= times:
            raise KafkaException(KafkaError(code))
        return "answer"

    return ask, requests


@pytest.mark.parametrize("code", [KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION])
def test_unavailable_leader_is_retried_with_the_remaining_time(code):
    ask, requested = refusing(code, times=2)
    assert query_leader(ask, time.monotonic() + 10) == "answer"
    assert len(requested) == 3
    assert 9 < requested[2] < requested[1] < requested[0] <= 10


def test_unavailable_leader_raises_after_the_deadline():
    ask, requested = refusing(KafkaError.LEADER_NOT_AVAILABLE, times=99)
    with pytest.raises(KafkaException):
        query_leader(ask, time.monotonic() + 0.5)
    assert 1 < len(requested) < 5


def test_other_broker_error_is_not_retried():
    ask, requested = refusing(KafkaError.TOPIC_AUTHORIZATION_FAILED, times=1)
    with pytest.raises(KafkaException):
        query_leader(ask, time.monotonic() + 10)
    assert len(requested) == 1


def test_committed_offsets_are_requested_again_while_the_coordinator_starts():
    class Client:
        def __init__(self):
            self.ask, self.requested = refusing(KafkaError.NOT_COORDINATOR, times=2)

        def committed(self, partitions, timeout):
            self.ask(timeout)
            return [TopicPartition("t", 0, 7, metadata="m")]

    client = Client()
    assert committed(client, [TopicPartition("t", 0)]) == {TopicPartition("t", 0): (7, "m")}
    assert len(client.requested) == 3
