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
from shopstream.spark.state_processor import MARK

ANSWER_MAX_S: Final = 600.0
"""Maximum wait of a task for acknowledgements; then the task fails and Spark repeats the batch."""
POLL_S: Final = 0.01
REPORT_DDL: Final = "bucket int, kind string, count bigint, said binary"
"""Report of a task: the number of acknowledged writes by kind, and the mark of each bucket."""
REPORT: Final = pa.schema([("bucket", pa.int32()), ("kind", pa.string()), ("count", pa.int64()), ("said", pa.binary())])


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
    with ExitStack() as held:
        outgoing = Outgoing(destination, held)
        for batch in batches:
            outgoing.take(batch.to_pylist())
        outgoing.finish()
        yield pa.RecordBatch.from_pylist(outgoing.report(), schema=REPORT)


class Outgoing:
    """The sinks of one task.

    Args:
        destination: targets of the writes.
        held: exit stack that closes the connections opened here.
    """

    def __init__(self, destination: Destination, held: ExitStack) -> None:
        self._destination, self._held = destination, held
        self._elastic: BulkSink | None = None
        self._letters: DeadLetters | None = None
        self._topics: dict[str, TopicSink] = {}
        self._waiting = 0
        self._written: Counter[tuple[int, str]] = Counter()
        self._marks: list[tuple[int, bytes]] = []

    def take(self, writes: list[dict[str, Any]]) -> None:
        """Send writes; some may not be acknowledged before `finish`."""
        kinds: dict[tuple[int, str], list[dict[str, Any]]] = {}
        for one in writes:
            kinds.setdefault((one["bucket"], one["kind"]), []).append(one)
        for (bucket, kind), some in kinds.items():
            if kind == MARK:
                self._marks += [(bucket, one["body"]) for one in some]
            elif kind == "letter":
                for one in some:
                    self._send_letter(
                        DeadLetter(one["place"], bucket, one["at"], one["key"], one["body"], one["error"])
                    )
                self._written[bucket, kind] += len(some)
            elif kind == "document":
                self._index(bucket, some)
            else:
                self._send_rows(bucket, some, {"row": FEATURE_TOPIC, "alert": ALERT_TOPIC}[kind])

    def finish(self) -> None:
        """Wait until everything is acknowledged."""
        given_up_s = time.monotonic() + ANSWER_MAX_S
        while self._waiting:
            self._poll()
            if time.monotonic() > given_up_s:
                trouble = self._elastic.trouble if self._elastic is not None else None
                raise ShopstreamError(
                    f"{self._waiting} requests were not answered within {ANSWER_MAX_S:.0f} s"
                    + (f": {trouble}." if trouble else "."),
                    "Look whether Elasticsearch and Kafka are up; the batch is written again.",
                )
            time.sleep(POLL_S)
        if self._letters is not None:
            self._letters.flush()

    def report(self) -> list[dict[str, Any]]:
        """Return the rows of REPORT."""
        counts = [
            {"bucket": bucket, "kind": kind, "count": count, "said": None}
            for (bucket, kind), count in self._written.items()
        ]
        return [*counts, *({"bucket": n, "kind": MARK, "count": 1, "said": said} for n, said in self._marks)]

    def _poll(self) -> None:
        if self._elastic is not None:
            self._elastic.poll()
        for topic in self._topics.values():
            topic.poll()

    def _index(self, bucket: int, writes: list[dict[str, Any]]) -> None:
        if self._destination.elastic is None:
            return
        if self._elastic is None:
            self._elastic = self._held.enter_context(open_sink(self._destination.elastic))
        docs = [
            Doc(one["place"], one["id"], one["body"], one["version"], create=one["version"] is None) for one in writes
        ]

        def done(outcome: Outcome) -> None:
            self._waiting -= 1
            self._written[bucket, "document"] += len(outcome.docs) - len(outcome.rejected)
            self._written[bucket, "refused"] += len(outcome.rejected)
            for refusal in outcome.rejected:
                doc = outcome.docs[refusal.position]
                self._send_letter(DeadLetter(doc.index, bucket, -1, doc.id.encode(), doc.body, refusal.reason))

        self._waiting += 1
        self._elastic.submit(docs, done)

    def _send_rows(self, bucket: int, writes: list[dict[str, Any]], name: str) -> None:
        if not self._destination.topic:
            return
        topic = self._topic(name)

        def done(rejected: list[Rejected]) -> None:
            self._waiting -= 1
            self._written[bucket, name] += len(writes) - len(rejected)
            self._written[bucket, "refused"] += len(rejected)
            for one in rejected:
                key, line = writes[one.position]["id"].encode(), writes[one.position]["body"]
                full_name = topic_name(self._destination.run, name)
                self._send_letter(DeadLetter(full_name, bucket, -1, key, line, one.reason))

        self._waiting += 1
        topic.send(CustomerRows([one["id"] for one in writes], [one["body"] for one in writes], 0), done)

    def _topic(self, name: str) -> TopicSink:
        if name not in self._topics:
            producer = open_producer(producer_config(self._destination.kafka, "spark"))
            self._topics[name] = TopicSink(producer, self._destination.run, name)
            self._held.callback(self._topics[name].close)
        return self._topics[name]

    def _send_letter(self, letter: DeadLetter) -> None:
        if self._letters is None:
            self._letters = open_dead_letters(self._destination.kafka, self._destination.run)
            self._held.callback(self._letters.close)
        self._letters.send(letter)
