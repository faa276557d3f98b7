"""The floor: one process that only consumes and decodes every field to a typed record, with the same client settings.

Started by benchmarks/stream.py. Nothing that has to know what a record says can be faster than this in Python.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from benchmarks.gate import Gate
from connectors.kafka.client import consumer_config, open_consumer
from consumers.features.build import tune_collector
from features.schema import Event, topic_name

BATCH = 10_000
decode = msgspec.json.Decoder(Event).decode


def main() -> None:
    gate = Gate()
    task = gate.task
    tune_collector()
    consumer = open_consumer(consumer_config(task["kafka"], task["group"]))
    wanted: int = task["messages"]
    assigned: list[TopicPartition] = []

    def on_assign(_: Consumer, partitions: list[TopicPartition]) -> None:
        placed = [TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions]
        consumer.assign(placed)
        consumer.pause(placed)
        assigned.extend(placed)

    consumer.subscribe([topic_name(task["run"], "events")], on_assign=on_assign)
    while len(assigned) < task["partitions"]:
        consumer.poll(0.1)
    gate.ready()
    while not gate.go.wait(0.05):
        consumer.poll(0)
    consumer.resume(assigned)
    valid, seen = consume(consumer, wanted, gate.start)
    gate.read()
    gate.done(valid=valid, consumed=seen)
    consumer.close()


def consume(consumer: Consumer, wanted: int, begin: Callable[[], None]) -> tuple[int, int]:
    """Valid records and messages read, once at least `wanted` messages were; `begin` is called before the first."""
    valid = seen = 0
    while seen < wanted:
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
    """The records of a batch; an invalid message costs the rest of its batch nothing."""
    found: list[Event] = []
    stream = map(decode, values)  # type: ignore[arg-type]
    while True:
        try:
            found.extend(stream)
        except (msgspec.MsgspecError, TypeError):
            continue
        return found


if __name__ == "__main__":
    main()
