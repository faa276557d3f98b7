"""Measures the role `map`, or the bare loop that it is compared with. Started by benchmarks/map_kafka.py.

The bare loop consumes, decodes the needed fields with msgspec, encodes the records and produces them, with the client
settings of the role. It checks nothing, holds nothing back and commits once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Message, TopicPartition

from benchmarks.client import Client
from benchmarks.held_start import HeldStart
from benchmarks.map import SHAPES
from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.record_writer import open_record_writer
from connectors.kafka.source import Source
from connectors.messages.mapped import MappedRecord
from connectors.messages.mapped import Message as ForeignMessage
from consumers.collector import tune_collector
from consumers.dead_letters.producer import open_dead_letters
from consumers.mapping.consumer import MapRole
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper

BATCH = 5_000


def main() -> None:
    """Run the system that the task names."""
    client = Client()
    tune_collector()
    {"map": run_role, "floor": run_floor}[client.task["system"]](client)


def run_role(client: Client) -> None:
    """Map the topic up to its end; the clock starts with the first messages."""
    task = client.task
    shape = SHAPES[task["shape"]]
    mapper = TopicMapper(
        "bench", parse_mapping(shape.mapping.replace(task["named"], task["topic"]), "bench"), b"salt",
        shows_values=False,
    )  # fmt: skip
    _warm(task, mapper)
    config = consumer_config(task["kafka"], task["group"], "worker-0", assignment="roundrobin")
    source = Source(open_consumer(config), task["run"], [task["topic"]], foreign=True)
    writer = open_record_writer(task["kafka"], task["run"], "bench")
    letters = open_dead_letters(task["kafka"], task["run"])
    role = MapRole(source, [mapper], writer, letters)
    held = HeldStart(client, source, task["partitions"])

    def has_read() -> bool:
        progress = role.progress()
        return progress.consumed + progress.waiting_records > 0

    def stop() -> bool:
        held.check(len(role.partitions() or ()), has_read)
        return False

    until = {(task["topic"], number): offset for number, offset in enumerate(task["ends"])}
    progress = role.run(stop, until)
    client.read()
    client.done(mapped=progress.valid, records=progress.written, refused=progress.rejected)
    writer.close()
    letters.close()


def _warm(task: dict[str, Any], mapper: TopicMapper) -> None:
    """Load compiled code into this process, as in the first seconds of a worker."""
    random = np.random.default_rng(1)
    mapper.map(
        [ForeignMessage(SHAPES[task["shape"]].message(random, number), f"w-0-{number}") for number in range(1, 200)]
    )


def run_floor(client: Client) -> None:
    """Consume, decode, encode and produce up to the end of the topic."""
    task = client.task
    floor = SHAPES[task["shape"]].floor
    topic = "orders" if "orders" in SHAPES[task["shape"]].mapping.splitlines()[0] else "events"
    consumer = open_consumer(consumer_config(task["kafka"], task["group"]))
    starts = [TopicPartition(task["topic"], number, OFFSET_BEGINNING) for number in range(task["partitions"])]
    consumer.assign(starts)
    consumer.pause(starts)
    writer = open_record_writer(task["kafka"], task["run"], "floor")
    client.ready()
    while not client.go.wait(0.05):
        consumer.poll(0)
    consumer.resume(starts)
    left, records = sum(task["ends"]), 0
    first: Callable[[], None] | None = client.start
    while left:
        if first is not None:
            first()
        messages = [one for one in consumer.consume(BATCH, 0.05) if one.error() is None]
        first = None if messages else first
        left -= len(messages)
        for key, value in floor(list(map(Message.value, messages))):  # type: ignore[arg-type]
            writer.write(MappedRecord(topic, key, value, 0, 0), lambda: False)
            records += 1
        writer.poll()
    if not writer.flush(60):
        raise SystemExit("the records were not acknowledged")
    ends = [TopicPartition(task["topic"], number, end) for number, end in enumerate(task["ends"])]
    consumer.commit(offsets=ends, asynchronous=False)
    client.read()
    client.done(records=records)
    writer.close()
    consumer.close()


if __name__ == "__main__":
    main()
