"""Writes mapped records to the source topics of a run, and waits for their acknowledgement before a commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka.client import open_producer, producer_config
from connectors.messages.mapped import MappedRecord
from features.errors import ShopstreamError
from features.schema import SOURCE_TOPICS, topic_name

TUNED: Final[Mapping[str, Any]] = {
    # workers in step wait for each other's acknowledgements
    "linger.ms": 1,
    "batch.num.messages": 10_000,
    # Kafka away is waited for: nothing is committed meanwhile
    "message.timeout.ms": 0,
}
BYTES_MAX: Final = 1_000_000
"""Default of `message.max.bytes`."""
POLL_S: Final = 0.001
"""Interval of the checks for acknowledgements, which do not wake a producer that reports failures alone."""
ACKNOWLEDGED_S: Final = 0.02
"""Time in which the brokers usually acknowledge records."""
WAIT_S: Final = 0.1
"""Longest wait between two checks for a request to stop."""


class RecordWriter:
    """Writes records of a run, partitioned by their keys as all producers of the run do.

    Args:
        producer: idempotent producer (from `open_record_writer`).
        run: name of the run.
        bytes_max: most bytes of key and value of a record that the producer sends.
    """

    def __init__(self, producer: Producer, run: str, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._producer = producer
        self._names = {topic: topic_name(run, topic) for topic in SOURCE_TOPICS}
        self._failed: list[str] = []

    def write(self, record: MappedRecord, stop: Callable[[], bool]) -> bool:
        """Enqueue a record, waiting while the queue is full. Return whether it is queued, unless `stop` came first.

        Raises:
            ShopstreamError: the client refuses the record.
        """
        while True:
            try:
                self._producer.produce(
                    self._names[record.topic], record.value, record.key, on_delivery=self._on_delivery
                )
            except BufferError:
                if stop():
                    return False
                self._producer.poll(WAIT_S)
            except KafkaException as error:
                raise ShopstreamError(f"A record was refused: {error.args[0].str()}.") from error
            else:
                return True

    @property
    def idle(self) -> bool:
        """Whether every record is acknowledged."""
        return len(self._producer) == 0

    def poll(self) -> None:
        """Serve acknowledgements."""
        self._producer.poll(0)

    def await_idle(self, timeout_s: float = ACKNOWLEDGED_S) -> None:
        """Wait until every record is acknowledged, up to a time. librdkafka's flush would notice it 10 ms later."""
        until_s = time.monotonic() + timeout_s
        while not self.idle and time.monotonic() < until_s:
            self._producer.poll(POLL_S)

    def flush(self, timeout_s: float, stop: Callable[[], bool] = lambda: False) -> bool:
        """Wait until every record is acknowledged; return whether all are.

        Args:
            timeout_s: longest wait.
            stop: ends the wait, checked several times a second.

        Raises:
            ShopstreamError: the brokers refused a record; no later offset may be committed.
        """
        until_s = time.monotonic() + timeout_s
        self.await_idle(min(timeout_s, ACKNOWLEDGED_S))
        while self._producer.flush(WAIT_S) and not self._failed:
            if stop() or time.monotonic() >= until_s:
                return False
        if self._failed:
            raise ShopstreamError(
                f"{len(self._failed)} records were refused by Kafka: {self._failed[0]}.",
                "Correct the cause. Messages without a committed offset are mapped again.",
            )
        return True

    def close(self) -> None:
        """Drop what is not acknowledged: its messages are mapped again."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() != KafkaError._PURGE_QUEUE:  # noqa: SLF001 - librdkafka's own code
            self._failed.append(f"{message.topic()}: {error.str()}")


def open_record_writer(properties: Mapping[str, Any], run: str, name: str) -> RecordWriter:
    """Return a writer with its own producer.

    Args:
        properties: librdkafka properties of the cluster.
        run: name of the run.
        name: client name in the log.

    Raises:
        UsageError: a Kafka property is wrong.
    """
    config = producer_config(properties, name, tuned=TUNED, failures_only=True)
    return RecordWriter(open_producer(config), run, int(config.get("message.max.bytes", BYTES_MAX)))
