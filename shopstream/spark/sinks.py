"""Writes a batch to Elasticsearch and Kafka in Spark's tasks; a batch is done when all writes are acknowledged.

Spark may repeat a batch: a repeated write has the same id and a version that is no lower.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.client import ElasticConnection, open_sink
from connectors.elasticsearch.documents import Doc, Outcome, Rejected
from connectors.kafka.client import open_producer, producer_config
from consumers.dead_letters.producer import DeadLetter, DeadLetters, open_dead_letters
from consumers.features.documents import CustomerRows
from consumers.features.topic_sink import TopicSink
from features.errors import ShopstreamError
from features.schema import ALERT_TOPIC, FEATURE_TOPIC, topic_name
from shopstream.spark.state_processor import RESULT

ACKNOWLEDGE_MAX_S: Final = 600.0
"""Maximum wait of a task for acknowledgements; then the task fails and Spark repeats the batch."""
POLL_S: Final = 0.01
REPORT_DDL: Final = "bucket int, kind string, count bigint, result binary"
"""Report of a task: the number of acknowledged writes by kind, and the result of each bucket."""
REPORT: Final = pa.schema(
    [("bucket", pa.int32()), ("kind", pa.string()), ("count", pa.int64()), ("result", pa.binary())]
)


@dataclass(frozen=True, slots=True)
class Destination:
    """Targets of the writes.

    Attributes:
        run: name of the run.
        kafka: properties of librdkafka, for dead letters, rows and alerts.
        elastic: connection to Elasticsearch; None writes no documents.
        topic: write rows and alerts to their topics.
    """

    run: str
    kafka: Mapping[str, Any] = field(repr=False)
    elastic: ElasticConnection | None
    topic: bool = True


def write(destination: Destination, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Write the pending writes of some buckets (rows of `state_processor.WRITES_DDL`), and report.

    Args:
        destination: targets of the writes.
        batches: batches of one task.

    Yields:
        One batch of REPORT.

    Raises:
        ShopstreamError: a sink refuses permanently, or does not answer.
    """
    with ExitStack() as connections:
        outgoing = TaskSinks(destination, connections)
        for batch in batches:
            outgoing.write(batch.to_pylist())
        outgoing.finish()
        yield pa.RecordBatch.from_pylist(outgoing.report(), schema=REPORT)


class TaskSinks:
    """The sinks of one task.

    Args:
        destination: targets of the writes.
        connections: exit stack that closes the connections opened here.
    """

    def __init__(self, destination: Destination, connections: ExitStack) -> None:
        self._destination, self._connections = destination, connections
        self._elastic: BulkSink | None = None
        self._dead_letters: DeadLetters | None = None
        self._topics: dict[str, TopicSink] = {}
        self._pending = 0
        self._written: Counter[tuple[int, str]] = Counter()
        self._results: list[tuple[int, bytes]] = []

    def write(self, writes: list[dict[str, Any]]) -> None:
        """Send writes; some may not be acknowledged before `finish`."""
        kinds: dict[tuple[int, str], list[dict[str, Any]]] = {}
        for write in writes:
            kinds.setdefault((write["bucket"], write["kind"]), []).append(write)
        for (bucket, kind), group in kinds.items():
            if kind == RESULT:
                self._results += [(bucket, write["body"]) for write in group]
            elif kind == "letter":
                for write in group:
                    self._send_dead_letter(
                        DeadLetter(write["target"], bucket, write["at"], write["key"], write["body"], write["error"])
                    )
                self._written[bucket, kind] += len(group)
            elif kind == "document":
                self._index(bucket, group)
            else:
                self._send_rows(bucket, group, {"row": FEATURE_TOPIC, "alert": ALERT_TOPIC}[kind])

    def finish(self) -> None:
        """Wait until everything is acknowledged."""
        deadline_s = time.monotonic() + ACKNOWLEDGE_MAX_S
        while self._pending:
            self._poll()
            if time.monotonic() > deadline_s:
                last_error = self._elastic.last_error if self._elastic is not None else None
                raise ShopstreamError(
                    f"{self._pending} requests were not acknowledged within {ACKNOWLEDGE_MAX_S:.0f} s"
                    + (f": {last_error}." if last_error else "."),
                    "Check whether Elasticsearch and Kafka are running; Spark repeats the batch.",
                )
            time.sleep(POLL_S)
        if self._dead_letters is not None:
            self._dead_letters.flush()

    def report(self) -> list[dict[str, Any]]:
        """Return the rows of REPORT."""
        counts = [
            {"bucket": bucket, "kind": kind, "count": count, "result": None}
            for (bucket, kind), count in self._written.items()
        ]
        return [*counts, *({"bucket": n, "kind": RESULT, "count": 1, "result": result} for n, result in self._results)]

    def _poll(self) -> None:
        if self._elastic is not None:
            self._elastic.poll()
        for topic in self._topics.values():
            topic.poll()

    def _index(self, bucket: int, writes: list[dict[str, Any]]) -> None:
        if self._destination.elastic is None:
            return
        if self._elastic is None:
            self._elastic = self._connections.enter_context(open_sink(self._destination.elastic))
        docs = [
            Doc(one["target"], one["id"], one["body"], one["version"], create=one["version"] is None) for one in writes
        ]

        def done(outcome: Outcome) -> None:
            self._pending -= 1
            self._written[bucket, "document"] += len(outcome.docs) - len(outcome.rejected)
            self._written[bucket, "refused"] += len(outcome.rejected)
            for refusal in outcome.rejected:
                doc = outcome.docs[refusal.position]
                self._send_dead_letter(DeadLetter(doc.index, bucket, -1, doc.id.encode(), doc.body, refusal.reason))

        self._pending += 1
        self._elastic.submit(docs, done)

    def _send_rows(self, bucket: int, writes: list[dict[str, Any]], name: str) -> None:
        if not self._destination.topic:
            return
        topic = self._topic(name)

        def done(rejected: list[Rejected]) -> None:
            self._pending -= 1
            self._written[bucket, name] += len(writes) - len(rejected)
            self._written[bucket, "refused"] += len(rejected)
            for one in rejected:
                key, line = writes[one.position]["id"].encode(), writes[one.position]["body"]
                full_name = topic_name(self._destination.run, name)
                self._send_dead_letter(DeadLetter(full_name, bucket, -1, key, line, one.reason))

        self._pending += 1
        topic.send(CustomerRows([one["id"] for one in writes], [one["body"] for one in writes], 0), done)

    def _topic(self, name: str) -> TopicSink:
        if name not in self._topics:
            producer = open_producer(producer_config(self._destination.kafka, "spark"))
            self._topics[name] = TopicSink(producer, self._destination.run, name)
            self._connections.callback(self._topics[name].close)
        return self._topics[name]

    def _send_dead_letter(self, dead_letter: DeadLetter) -> None:
        if self._dead_letters is None:
            self._dead_letters = open_dead_letters(self._destination.kafka, self._destination.run)
            self._connections.callback(self._dead_letters.close)
        self._dead_letters.send(dead_letter)
