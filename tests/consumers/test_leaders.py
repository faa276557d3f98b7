"""A partition without a leader for a moment: asked again, as long as there is time."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.offsets import query_leader


def refusing(code, times):
    asked = []

    def ask(left_s):
        asked.append(left_s)
        if len(asked) <= times:
            raise KafkaException(KafkaError(code))
        return "answer"

    return ask, asked


@pytest.mark.parametrize("code", [KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION])
def test_unavailable_leader_is_retried_with_the_remaining_time(code):
    ask, asked = refusing(code, times=2)
    assert query_leader(ask, time.monotonic() + 10) == "answer"
    assert len(asked) == 3
    assert 9 < asked[2] < asked[1] < asked[0] <= 10


def test_unavailable_leader_raises_after_the_deadline():
    ask, asked = refusing(KafkaError.LEADER_NOT_AVAILABLE, times=99)
    with pytest.raises(KafkaException):
        query_leader(ask, time.monotonic() + 0.5)
    assert 1 < len(asked) < 5


def test_other_broker_error_is_not_retried():
    ask, asked = refusing(KafkaError.TOPIC_AUTHORIZATION_FAILED, times=1)
    with pytest.raises(KafkaException):
        query_leader(ask, time.monotonic() + 10)
    assert len(asked) == 1
