"""The Kafka edge against librdkafka's own mock broker, and against none: the counts add up."""

import numpy as np
import pytest

from connectors.kafka.client import EXACTNESS_PRODUCER, TUNED_PRODUCER
from features.errors import UsageError
from producers.messages import Messages
from producers.publisher import TUNED, Publisher, publisher_config

MOCK = {"test.mock.num.brokers": "1", "log_level": "0"}
NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": "0", "socket.timeout.ms": "1000"}


def messages(number, topic=0, size=10):
    keys = [f"c{n % 50}".encode() for n in range(number)]
    return Messages(np.arange(number), np.full(number, topic, np.uint8), keys, [b"x" * size] * number)


def never():
    return False


def test_sent_messages_are_delivered_and_counted_by_topic():
    publisher = Publisher(MOCK, "t")
    assert publisher.send(messages(5_000), 0, 5_000, never) == 5_000
    assert publisher.send(messages(300, topic=1), 100, 300, never) == 300
    assert publisher.sent_total == 5_200
    delivery = publisher.finish()
    assert delivery.sent == delivery.delivered == {"events": 5_000, "orders": 200}
    assert (delivery.failed_total, delivery.reasons) == (0, ())


def test_without_a_broker_all_messages_fail_with_the_reason():
    told = []
    publisher = Publisher(NOBODY | {"message.timeout.ms": "300"}, "t", lambda *what: told.append(what))
    publisher.send(messages(70), 0, 70, never)
    delivery = publisher.finish()
    assert (delivery.sent, delivery.failed, delivery.delivered) == ({"events": 70}, {"events": 70}, {"events": 0})
    assert told == [("events", b"x" * 10)] * 70
    assert delivery.reasons == ("Local: Message timed out (70)",)
    assert publisher.last_error


def test_messages_in_flight_at_the_deadline_are_counted_as_failed():
    publisher = Publisher(NOBODY, "t")
    publisher.send(messages(70), 0, 70, never)
    delivery = publisher.finish(timeout_s=0.3)
    assert delivery.failed_total == 70
    assert "Purged" in delivery.reasons[0]


def test_message_that_is_too_large_fails_alone():
    publisher = Publisher(MOCK | {"message.max.bytes": "2000"}, "t")
    both = messages(2)
    both = Messages(both.times, both.topics, both.keys, [b"x" * 5_000, b"y"])
    assert publisher.send(both, 0, 2, never) == 2
    delivery = publisher.finish()
    assert (delivery.sent, delivery.delivered) == ({"events": 2}, {"events": 1})
    assert "too large" in delivery.reasons[0]


def test_stop_ends_the_wait_for_a_full_queue():
    publisher = Publisher(NOBODY | {"queue.buffering.max.messages": "10"}, "t")
    asked = iter(range(10_000))
    sent = publisher.send(messages(50), 0, 50, lambda: next(asked) > 5)
    assert sent == 10 == publisher.sent_total
    assert publisher.finish(timeout_s=0.1).failed_total == 10


def test_full_queue_delays_publishing():
    publisher = Publisher(MOCK | {"queue.buffering.max.messages": "100", "linger.ms": "1"}, "t")
    assert publisher.send(messages(5_000), 0, 5_000, never) == 5_000
    assert publisher.finish().delivered == {"events": 5_000}


def test_properties_that_would_break_the_counts_are_refused():
    for name, value in {"acks": "1", "partitioner": "random", "delivery.report.only.error": "false"}.items():
        with pytest.raises(UsageError, match=name):
            publisher_config({name: value})


def test_tuning_may_be_overridden():
    config = publisher_config({"linger.ms": "5"})
    assert config == {**TUNED_PRODUCER, **TUNED, **EXACTNESS_PRODUCER, **config, "linger.ms": "5"}
    assert config["delivery.report.only.error"] is True
    assert config["batch.num.messages"] == TUNED["batch.num.messages"]
