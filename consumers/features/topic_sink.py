"""Rows keyed by customer to a topic without a fence: alerts, and what Spark writes; acknowledged by the brokers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.elasticsearch.documents import Rejected
from consumers.dead_letters.producer import TOO_LARGE
from consumers.features.documents import CustomerRows
from features.errors import ShopstreamError
from features.schema import FEATURE_TOPIC, topic_name

log = structlog.get_logger("feature-topic")

WAITING_MAX: Final = 20_000


class TopicSink:
    """Writes rows; a reader tells repeated ones apart.

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

    def send(self, rows: CustomerRows, on_done: Callable[[list[Rejected]], None]) -> None:
        """Takes rows; `on_done` is called from `poll` when the brokers have them, with those that the topic refuses."""
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

        for position, (customer_id, line) in enumerate(zip(rows.customer_ids, rows.lines, strict=True)):
            self._produce(customer_id, line, partial(finish, position))

    def _produce(self, key: str, line: bytes, delivered: Callable[[KafkaError | None, Message | None], None]) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value=line, key=key, on_delivery=delivered)
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                if error.args[0].code() not in TOO_LARGE:
                    raise
                delivered(error.args[0], None)
                return
            else:
                return

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
