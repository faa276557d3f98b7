"""Writes rows keyed by customer to a topic without a fence: alerts, and the rows of Spark; acknowledged by brokers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.elasticsearch.documents import Rejected
from connectors.kafka.client import enqueue
from consumers.dead_letters.producer import TOO_LARGE
from consumers.features.documents import CustomerRows
from features.errors import ShopstreamError
from features.schema import FEATURE_TOPIC, topic_name

log = structlog.get_logger("feature-topic")

WAITING_MAX: Final = 20_000


class TopicSink:
    """Writes rows; readers deduplicate repeated ones.

    Args:
        producer: idempotent producer of `producer_config`, with the run's partitioner.
        run: name of the run.
        topic: topic without the run's name.
    """

    def __init__(self, producer: Producer, run: str, topic: str = FEATURE_TOPIC) -> None:
        self._producer = producer
        self._topic = topic_name(run, topic)
        self._failed: str | None = None
        self.written = 0

    def free(self) -> int:
        """Return the number of rows that can be accepted without waiting."""
        return max(0, WAITING_MAX - len(self._producer))

    def send(self, rows: CustomerRows, on_done: Callable[[list[Rejected]], None]) -> None:
        """Enqueue rows; `poll` calls `on_done` with the refused rows once the brokers have acknowledged the others."""
        rejected: list[Rejected] = []
        open_rows = len(rows.lines)

        def finish(position: int, error: KafkaError | None, _: Message | None) -> None:
            nonlocal open_rows
            if error is not None and error.code() not in TOO_LARGE:
                self._failed = f"{error.name()}: {error.str()}"
                return
            if error is None:
                self.written += 1
            else:
                rejected.append(Rejected(position, error.str()))
            open_rows -= 1
            if open_rows == 0:
                on_done(rejected)

        if not open_rows:
            on_done(rejected)
        for position, (customer_id, line) in enumerate(zip(rows.customer_ids, rows.lines, strict=True)):
            self._produce(customer_id, line, partial(finish, position))

    def _produce(self, key: str, line: bytes, delivered: Callable[[KafkaError | None, Message | None], None]) -> None:
        try:
            enqueue(self._producer, self._topic, line, key, on_delivery=delivered)
        except KafkaException as error:
            if error.args[0].code() not in TOO_LARGE:
                raise
            delivered(error.args[0], None)

    def poll(self) -> None:
        """Run the callbacks of acknowledged rows.

        Raises:
            ShopstreamError: a row could not be delivered.
        """
        self._producer.poll(0)
        if self._failed is not None:
            raise ShopstreamError(
                f"Rows could not be written to {self._topic}: {self._failed}.",
                "Check that Kafka is up and the topic exists; uncommitted records are read again.",
            )

    def close(self) -> None:
        """Flush what can be flushed."""
        self._producer.flush(10.0)
