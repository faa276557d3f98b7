"""Measures the floor: one process that only consumes and decodes records, with the same client settings.

Started by benchmarks/stream.py. No Python program that reads the fields of records can be faster.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from benchmarks.client import Client
from connectors.kafka.client import consumer_config, open_consumer
from consumers.collector import tune_collector
from features.schema import Event, topic_name

BATCH = 10_000
decode = msgspec.json.Decoder(Event).decode


def main() -> None:
    client = Client()
    task = client.task
    tune_collector()
    consumer = open_consumer(consumer_config(task["kafka"], task["group"]))
    expected: int = task["messages"]
    assigned: list[TopicPartition] = []

    def on_assign(_: Consumer, partitions: list[TopicPartition]) -> None:
        from_beginning = [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        consumer.assign(from_beginning)
        consumer.pause(from_beginning)
        assigned.extend(from_beginning)

    consumer.subscribe([topic_name(task["run"], "events")], on_assign=on_assign)
    while len(assigned) < task["partitions"]:
        consumer.poll(0.1)
    client.ready()
    while not client.go.wait(0.05):
        consumer.poll(0)
    consumer.resume(assigned)
    valid, seen = consume(consumer, expected, client.start)
    client.read()
    client.done(valid=valid, consumed=seen)
    consumer.close()


def consume(consumer: Consumer, expected: int, begin: Callable[[], None]) -> tuple[int, int]:
    """Return the numbers of valid records and of messages after `expected` messages; calls `begin` before the first."""
    valid = seen = 0
    while seen < expected:
        if not seen:
            begin()
        messages = consumer.consume(BATCH, 0.05)
        if any(map(Message.error, messages)):
            messages = [message for message in messages if message.error() is None]
        values = list(map(Message.value, messages))
        seen += len(values)
        valid += len(records(values))
    return valid, seen


def records(values: list[bytes | None]) -> list[Event]:
    """Decode a batch without its invalid messages."""
    valid: list[Event] = []
    stream = map(decode, values)  # type: ignore[arg-type]
    while True:
        try:
            valid.extend(stream)
        except (msgspec.MsgspecError, TypeError):
            continue
        return valid


if __name__ == "__main__":
    main()
