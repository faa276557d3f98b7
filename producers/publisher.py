"""Sends the producers' messages to Kafka, counts them and reports those that were not acknowledged.

Invariant: after `finish`, sent = delivered + failed for every topic, whatever happened.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message

from connectors.kafka.client import consumer_config, open_consumer, open_producer, producer_config
from connectors.kafka.offsets import partitions_of, watermarks
from connectors.kafka.reader import read_ranges
from features.schema import FUTURE_MS_MAX, SOURCE_TOPICS, group_name, topic_name
from producers.messages import Messages

TUNED: Final[Mapping[str, Any]] = {
    # full batches cost the broker and the network less than many small ones
    "linger.ms": 50,
    "batch.num.messages": 50_000,
    "batch.size": 1_000_000,
    # bounds the memory of messages in flight
    "queue.buffering.max.kbytes": 131_072,
    # a broker that is away longer than this is reported as a failure
    "message.timeout.ms": 60_000,
    "topic.metadata.propagation.max.ms": 10_000,
}
"""Defaults for many messages, as measured by benchmarks/produce.py. User properties may override them."""
FAILURES_MAX: Final = 10_000
"""Number of failures above which continuing is useless."""
_BLOCK: Final = 2_000
_REASONS: Final = 3
_LOOK_BACK: Final = 20

FailureHandler = Callable[[str, bytes | None], None]
"""Receives the label of the topic (`events`) and the value of each message that was not acknowledged."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Results of sending, by label of the topic: `events`."""

    sent: Mapping[str, int]
    failed: Mapping[str, int]
    reasons: tuple[str, ...]
    """First failure reasons as text, with their numbers."""

    @property
    def delivered(self) -> dict[str, int]:
        """Messages that all in-sync replicas have acknowledged."""
        return {topic: sent - self.failed.get(topic, 0) for topic, sent in self.sent.items()}

    @property
    def failed_total(self) -> int:
        """Messages without an acknowledgement."""
        return sum(self.failed.values())


def publisher_config(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return `producer_config` for many messages whose failures are counted; errors as there."""
    # successes are sent minus failed messages; a Python call for each success would cost more than sending it
    return producer_config(properties, "publisher", tuned=TUNED, failures_only=True)


class Publisher:
    """Sends messages to the source topics of a run, or to others.

    Args:
        properties: librdkafka properties of the cluster.
        run: name of the run, prefix of the existing topics.
        topics: label -> full name of an existing topic, in the order of `Messages.topics`; default: the source topics
            of the run.
        on_failure: callback for every failed message, called within `send`, `poll` and `finish`.
    """

    def __init__(
        self,
        properties: Mapping[str, Any],
        run: str,
        on_failure: FailureHandler | None = None,
        topics: Mapping[str, str] | None = None,
    ) -> None:
        names = {topic: topic_name(run, topic) for topic in SOURCE_TOPICS} if topics is None else topics
        self._labels, self._topics = list(names), list(names.values())
        self._source = dict(zip(self._topics, self._labels, strict=True))
        self._on_failure = on_failure
        self._sent: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._fatal: str | None = None
        self._last_error: str | None = None
        config = {**publisher_config(properties), "on_delivery": self._delivered, "error_cb": self._client_error}
        self._producer = open_producer(config)

    # --- while sending ------------------------------------------------------------------------------------------------
    def send(self, messages: Messages, start: int, stop: int, interrupted: Callable[[], bool]) -> int:
        """Queue messages start:stop, waiting while the queue is full. Acknowledgements come later.

        Returns:
            Position of the first message not queued: `stop`, or less if interrupted or hopeless.
        """
        for low in range(start, stop, _BLOCK):
            if interrupted() or self.hopeless:
                return low
            high = min(low + _BLOCK, stop)
            names = [self._topics[topic] for topic in messages.topics[low:high].tolist()]
            done = self._queue(names, messages.keys[low:high], messages.values[low:high], interrupted)
            for topic, number in enumerate(np.bincount(messages.topics[low : low + done]).tolist()):
                if number:
                    self._sent[self._labels[topic]] += number
            self._producer.poll(0)
            if done < high - low:
                return low + done
        return stop

    def _queue(
        self,
        names: list[str],
        keys: Iterable[bytes | None],
        values: Iterable[bytes | None],
        interrupted: Callable[[], bool],
    ) -> int:
        produce = self._producer.produce
        done = 0
        for name, key, value in zip(names, keys, values, strict=True):
            try:
                produce(name, value, key)
            except BufferError:
                if not self._queue_when_free(name, key, value, interrupted):
                    return done
            except KafkaException as error:
                self._failure(error.args[0], name, value)
            done += 1
        return done

    def _queue_when_free(
        self, name: str, key: bytes | None, value: bytes | None, interrupted: Callable[[], bool]
    ) -> bool:
        while not (interrupted() or self.hopeless):
            self._producer.poll(0.01)
            try:
                self._producer.produce(name, value, key)
            except BufferError:
                continue
            except KafkaException as error:
                self._failure(error.args[0], name, value)
            return True
        return False

    def poll(self) -> None:
        """Serve acknowledgements. Call it at least every second while there is nothing to send."""
        self._producer.poll(0)

    @property
    def hopeless(self) -> bool:
        """Whether the client is permanently broken or nearly every message fails."""
        return self._fatal is not None or self._failed.total() > FAILURES_MAX

    @property
    def sent_total(self) -> int:
        """Messages queued so far."""
        return self._sent.total()

    @property
    def last_error(self) -> str | None:
        """Last connection error as text."""
        return self._fatal or self._last_error

    # --- at the end ---------------------------------------------------------------------------------------------------
    def finish(self, timeout_s: float | None = None) -> Delivery:
        """Wait for the acknowledgements. After the time-out, unacknowledged messages are dropped and counted as failed.

        Args:
            timeout_s: longest wait; None waits until librdkafka itself gives up (`message.timeout.ms`).
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while self._producer.flush(0.2) and not self._fatal:
            if until is not None and time.monotonic() > until:
                break
        self._producer.purge()
        while self._producer.flush(1.0):
            pass
        reasons = tuple(f"{reason} ({number:,})" for reason, number in self._reasons.most_common(_REASONS))
        return Delivery(dict(self._sent), dict(self._failed), reasons)

    # --- callbacks of librdkafka --------------------------------------------------------------------------------------
    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failure(error, str(message.topic()), message.value())

    def _failure(self, error: KafkaError, name: str, value: bytes | None) -> None:
        topic = self._source[name]
        self._failed[topic] += 1
        self._reasons[error.str()] += 1
        if error.fatal():
            self._fatal = error.str()
        if self._on_failure is not None:
            self._on_failure(topic, value)

    def _client_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error.str()
        self._last_error = error.str()


class _Time(msgspec.Struct):
    ts: int


def newest_event_ms(properties: Mapping[str, Any], run: str, timeout_s: float = 10.0) -> int | None:
    """Return the highest ts among the last records of a run's event partitions, epoch ms; None if there are none.

    Raises:
        ShopstreamError: the topic does not exist, or the brokers do not deliver its last records in time.
    """
    with closing(open_consumer(consumer_config(properties, group_name(run, "position")))) as consumer:
        marks = watermarks(consumer, partitions_of(consumer, [topic_name(run, "events")], timeout_s), timeout_s)
        last = {partition: (max(low, high - _LOOK_BACK), high) for partition, (low, high) in marks.items()}
        times = [_time_ms(message) for message in read_ranges(consumer, last, timeout_s)]
    return max((time_ms for time_ms in times if time_ms is not None), default=None)


def _time_ms(message: Message) -> int | None:
    """Return the ts of an event; None for a malformed one, which must not move the shop into the future."""
    try:
        time_ms = msgspec.json.decode(message.value() or b"", type=_Time).ts
    except msgspec.MsgspecError:
        return None
    return time_ms if message.timestamp()[1] + FUTURE_MS_MAX >= time_ms else None
