"""Customers' rows to the compacted topic, and alerts to theirs: keyed by customer, acknowledged by the brokers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import KafkaError, Message, Producer

from consumers.emission import CustomerRows
from features.errors import ShopstreamError
from features.schema import FEATURE_TOPIC, topic_name

log = structlog.get_logger("feature-topic")

WAITING_MAX: Final = 20_000


class FeatureTopic:
    """Writes rows; readers keep the highest `version` of a customer.

    Args:
        producer: an idempotent one, murmur2 like all others.
        run: the run's name.
        topic: without the run's name.
    """

    def __init__(self, producer: Producer, run: str, topic: str = FEATURE_TOPIC) -> None:
        self._producer = producer
        self._topic = topic_name(run, topic)
        self._failed: str | None = None
        self.written = 0

    def free(self) -> int:
        """Rows that are taken without waiting."""
        return max(0, WAITING_MAX - len(self._producer))

    def send(self, rows: CustomerRows, on_done: Callable[[], None]) -> None:
        """Takes rows; `on_done` is called from `poll` when the brokers have them all."""
        left = len(rows.lines)

        def delivered(error: KafkaError | None, _: Message) -> None:
            nonlocal left
            if error is not None:
                self._failed = f"{error.name()}: {error.str()}"
                return
            left -= 1
            self.written += 1
            if left == 0:
                on_done()

        for customer_id, line in zip(rows.customer_ids, rows.lines, strict=True):
            while True:
                try:
                    self._producer.produce(self._topic, value=line, key=customer_id, on_delivery=delivered)
                except BufferError:
                    self._producer.poll(0.05)
                else:
                    break

    def poll(self) -> None:
        """Runs the callbacks of what was acknowledged.

        Raises:
            ShopstreamError: a row could not be delivered.
        """
        self._producer.poll(0)
        if self._failed is not None:
            raise ShopstreamError(
                f"Rows could not be written to {self._topic}: {self._failed}.",
                "Check that Kafka is up and the topic exists; what was not committed is done again.",
            )

    def close(self) -> None:
        """Flushes as far as it goes."""
        self._producer.flush(10.0)
