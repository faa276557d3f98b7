"""A run on the real servers: records in, workers of the features role, and everything they leave."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from elasticsearch.helpers import scan
from oracle.loops import in_log
from oracle.rows import FEATURE_DTYPES, Row, feature_frame, same_value

from connectors.elasticsearch import aliases
from connectors.elasticsearch import client as elastic
from connectors.elasticsearch.client import ElasticConnection
from connectors.kafka import client as kafka
from connectors.kafka import offsets as kafka_offsets
from consumers.features.build import FeaturesOptions, open_features
from consumers.features.consumer import FeaturesProgress
from consumers.index_definitions import index_definitions
from features.schema import FEATURE_TOPIC, SOURCE_TOPICS, Field
from features.scores.score import SCORED_ROW_FIELDS

INDICES = ("customers", "sessions", "orders", "order-items")
Until = Mapping[tuple[str, int], int]


class Bench:
    """Topics and indices of a run; everything is read back by plain clients."""

    def __init__(self, servers: Any, run: str, state: Path, partitions: int = 3) -> None:
        where = servers.elasticsearch
        self.run, self.state, self.partitions = run, state, partitions
        self.properties = servers.kafka.client_properties()
        self.connection = ElasticConnection(where.url, where.username, where.password, options=where.options)
        self.client = elastic.open_client(self.connection)
        kafka.ensure_topics(self.properties, run, partitions)
        aliases.install(self.client, run, index_definitions((*SCORED_ROW_FIELDS, Field("version", "int"))))

    # --- in ---

    def publish(self, messages: Iterable[tuple[str, bytes | None, bytes | None]]) -> dict[tuple[str, int, int], Any]:
        """(topic without the run, key, value) each; returns key and value by (topic, partition, offset)."""
        placed: dict[tuple[str, int, int], Any] = {}
        producer = kafka.open_producer(kafka.producer_config(self.properties))

        def delivered(error: Any, message: Any) -> None:
            assert error is None, error
            placed[message.topic(), message.partition(), message.offset()] = (message.key(), message.value())

        for topic, key, value in messages:
            while True:
                try:
                    producer.produce(f"{self.run}.{topic}", value, key, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        assert producer.flush(60) == 0
        return placed

    def ends(self) -> dict[tuple[str, int], int]:
        consumer = kafka.open_consumer(kafka.consumer_config(self.properties, f"{self.run}-ends"))
        try:
            return kafka_offsets.end_offsets(consumer, [f"{self.run}.{topic}" for topic in SOURCE_TOPICS])
        finally:
            consumer.close()

    # --- workers ---

    def options(self, worker: int = 0, **more: Any) -> FeaturesOptions:
        return FeaturesOptions(
            self.run, self.properties, self.connection, str(self.state), instance_id=f"{self.run}-{worker}", **more
        )

    def consume(
        self,
        as_of: int | None = None,
        until: Until | None = None,
        workers: int = 1,
        paced: Callable[[FeaturesProgress], None] = lambda _: None,
        **more: Any,
    ) -> list[FeaturesProgress]:
        """Workers in threads, up to `until` (default: the ends), with final rows at `as_of` (default: the highest)."""
        ends = until if until is not None else self.ends()
        agreement = Agreement(workers, self.partitions, as_of)
        result: dict[int, FeaturesProgress] = {}
        failed: list[BaseException] = []

        def work(number: int) -> None:
            consumer = open_features(self.options(number, **more))
            try:
                result[number] = consumer.run(
                    lambda: bool(failed),
                    ends,
                    lambda stream_time: agreement.ask(number, stream_time, consumer.owned()),
                    paced,
                )
            except Exception as error:  # noqa: BLE001 - raised again in the test's thread
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive()
        if failed:
            raise failed[0]
        return [result[number] for number in range(workers)]

    # --- out ---

    def documents(self, index: str) -> list[dict[str, Any]]:
        """Of all months, without their versions."""
        name = f"{self.run}-{index}"
        self.client.indices.refresh(index=f"{name}*", ignore_unavailable=True, allow_no_indices=True)
        if not self.client.indices.exists(index=name):
            return []
        hits = scan(self.client, index=name, size=2_000)
        return [{k: v for k, v in hit["_source"].items() if k != "version"} for hit in hits]

    def by_id(self, index: str) -> dict[tuple[str, str], dict[str, Any]]:
        """(month or nothing, id) -> document without its version."""
        name = f"{self.run}-{index}"
        self.client.indices.refresh(index=f"{name}*", ignore_unavailable=True)
        hits = scan(self.client, index=name, size=5_000)
        return {
            (hit["_index"].removeprefix(name), hit["_id"]): {k: v for k, v in hit["_source"].items() if k != "version"}
            for hit in hits
        }

    def feature_frame(self) -> Any:
        """The rows of features in the index of customers."""
        return feature_frame([{name: doc.get(name) for name in FEATURE_DTYPES} for doc in self.documents("customers")])

    def topic_frame(self) -> Any:
        """The row of the highest version of each customer on the compacted topic."""
        newest: dict[str, dict[str, Any]] = {}
        for message in self.messages(FEATURE_TOPIC):
            row = json.loads(message.value())
            assert message.key().decode() == row["customer_id"]
            if row["version"] > newest.get(row["customer_id"], {"version": -1})["version"]:
                newest[row["customer_id"]] = row
        return feature_frame([{name: row[name] for name in FEATURE_DTYPES} for row in newest.values()])

    def messages(self, topic: str) -> list[Any]:
        """Everything on a topic of the run, partition by partition."""
        full = f"{self.run}.{topic}"
        consumer = kafka.open_consumer(kafka.consumer_config(self.properties, f"{self.run}-reader"))
        try:
            ends = kafka_offsets.end_offsets(consumer, [full])
            left = {partition for (_, partition), end in ends.items() if end}
            consumer.assign([TopicPartition(full, partition, OFFSET_BEGINNING) for partition in sorted(left)])
            result, stop_s = [], time.monotonic() + 30
            while left:
                assert time.monotonic() < stop_s
                for message in consumer.consume(5_000, 0.5):
                    if message.error() is None:
                        result.append(message)
                    else:
                        left.discard(message.partition())
            return result
        finally:
            consumer.close()


@dataclass
class Agreement:
    """The parent of the workers, in small: T when every partition is read, and every worker owns one that can."""

    workers: int
    partitions: int
    as_of: int | None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._reached: dict[int, tuple[int, tuple[int, ...]]] = {}

    def ask(self, worker: int, stream_time: int, owned: tuple[int, ...] | None) -> int | None:
        with self._lock:
            if owned is None:
                return None
            self._reached[worker] = (stream_time, owned)
            partitions = [number for _, numbers in self._reached.values() for number in numbers]
            owners = sum(bool(numbers) for _, numbers in self._reached.values())
            if owners < min(self.workers, self.partitions) or sorted(partitions) != list(range(self.partitions)):
                return None
            return self.as_of if self.as_of is not None else max(at for at, _ in self._reached.values())


def counting_events(placed: Mapping[tuple[str, int, int], Any], arrived: Iterable[Row]) -> list[Row]:
    """The events that count: of those with one id the first in the log of their partition.

    Args:
        placed: what `publish` returned.
        arrived: the events in the order of publishing; none is late.
    """
    partition_of = {key: partition for (_, partition, _), (key, _) in placed.items()}
    logs: dict[int, list[Row]] = defaultdict(list)
    for event in arrived:
        logs[partition_of[event["customer_id"].encode()]].append(event)
    return [dict(event) for log in logs.values() for event in in_log(log)]


def same_documents(
    found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]], key: Sequence[str]
) -> None:
    """Documents against the oracle's rows, told apart by `key`; a missing field is a null one."""
    by_key: dict[tuple[Any, ...], Mapping[str, Any]] = {tuple(row[name] for name in key): row for row in found}
    assert len(by_key) == len(found)
    requested = {tuple(row[name] for name in key) for row in expected}
    assert by_key.keys() == requested, (sorted(by_key.keys() ^ requested, key=repr)[:5], len(by_key), len(requested))
    wrong = defaultdict(list)
    for row in expected:
        got = by_key[tuple(row[name] for name in key)]
        for name, value in row.items():
            own = got.get(name)
            # JSON has one kind of number
            own = float(own) if isinstance(value, float) and type(own) is int else own
            if not same_value(own, value):
                wrong[name].append((row, own, value))
    assert not wrong, {name: (len(cases), cases[0]) for name, cases in wrong.items()}
