"""Sends dirty rows to the sinks: each at its own pace, always with the newest state of a row."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.documents import Doc, Handover, Outcome, Rejected, SinkStats
from connectors.elasticsearch.index_identity import Identities
from consumers.dead_letters.producer import DeadLetter, DeadLetters
from consumers.features.documents import (
    CustomerRows,
    alert_docs,
    alert_rows,
    customer_docs,
    customer_rows,
    order_docs,
    session_docs,
)
from consumers.features.freshness import Followed, Freshness
from consumers.features.scoring import DriftWatch
from consumers.features.topic_sink import TopicSink
from consumers.features.transactional_topic import TransactionalTopic
from consumers.state.lost_indices import LostIndices
from consumers.state.partition import PartitionState
from features.schema import ALERT_TOPIC, FEATURE_TOPIC, topic_name
from features.scores.score import Scoring
from features.state.tables import Int32

ELASTIC: Final = "elastic"
TOPIC: Final = "topic"
ROWS_MAX: Final = 10_000
"""Maximum rows of one emission: bounds the batch evaluated and the time the loop is away from its consumer."""
SLICES_MAX: Final = 16
"""Maximum slices of order documents in one emission."""
ALERTS_MAX: Final = 1_000
"""Maximum alerts of a partition per emission."""
DOCS_MAX: Final = 20_000
"""Maximum documents in flight to any sink, however fast."""
DOCS_MIN: Final = 200
"""Minimum for any sink, however slow: fewer would not fill a request."""
LATENCY_S: Final = 2.0
"""Target time from submission to acknowledgement; a slower sink receives less."""


class InflightLimit:
    """Limits the documents in flight to what the sink writes in LATENCY_S; other rows wait as dirty marks.

    A row in flight grows old; a dirty row is evaluated when it is taken. A fast sink is not limited at all.

    Args:
        clock: monotonic clock, seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._docs = DOCS_MAX
        self._open: dict[int, tuple[float, int]] = {}
        """Submission -> its start and the number of documents then in flight; oldest first."""
        self._next = 0

    @property
    def docs(self) -> int:
        """Current limit of documents in flight."""
        began_s, _ = next(iter(self._open.values()), (self._clock(), 0))
        return DOCS_MIN if self._clock() - began_s > LATENCY_S else self._docs

    def room(self, in_flight: int) -> int:
        """Return the number of documents that may be submitted in addition to those in flight."""
        return max(0, self.docs - in_flight)

    def submitted(self, in_flight: int) -> int:
        """Record a submission and return its number; `in_flight` includes its documents."""
        self._next += 1
        self._open[self._next] = (self._clock(), in_flight)
        return self._next

    def acknowledged(self, number: int) -> None:
        """Record that a submission was acknowledged."""
        began_s, in_flight = self._open.pop(number)
        took_s = self._clock() - began_s
        if took_s <= LATENCY_S:
            self._docs = min(DOCS_MAX, self._docs * 2)
        else:
            # the documents in flight took this long: limit = the sink's rate times the target time
            self._docs = min(DOCS_MAX, max(DOCS_MIN, int(in_flight / took_s * LATENCY_S)))


@dataclass(slots=True)
class Written:
    """Counts of what the sinks have written since the start."""

    customers: int = 0
    sessions: int = 0
    orders: int = 0
    topic_rows: int = 0
    alerts: int = 0
    refused: int = 0


class Sinks:
    """Sends dirty rows of partitions to Elasticsearch and to the compacted topic.

    Args:
        run: name of the run.
        elastic: bulk sink of documents; None writes no documents.
        topic: topic of rows; None writes no rows to Kafka.
        dead_letters: dead letters of documents that Elasticsearch refuses permanently.
        freshness: measurement of search freshness.
        null: whether to evaluate rows and discard them, for benchmarks without sinks.
        alerts: topic of alerts; None writes no alerts to Kafka.
        identities: identities of the indices; documents that an index has lost are written again.

    Attributes:
        scoring: source of the rows' scores; None: rows have no scores.
        drift: drift of the scored rows.
    """

    def __init__(
        self,
        run: str,
        elastic: BulkSink | None,
        topic: TransactionalTopic | None,
        dead_letters: DeadLetters | None,
        *,
        freshness: Freshness | None = None,
        null: bool = False,
        alerts: TopicSink | None = None,
        identities: Identities | None = None,
    ) -> None:
        self._run = run
        self._elastic = elastic
        self._topic = topic
        self._dead_letters = dead_letters
        self._null = null
        self._alerts = alerts
        self._identities = identities
        self._lost_indices = LostIndices(run, ELASTIC)
        self.scoring: Scoring | None = None
        self.drift = DriftWatch()
        self.freshness = freshness
        self.written = Written()
        self._limit = InflightLimit()

    @property
    def names(self) -> list[str]:
        """Names of the sinks of customers' rows."""
        present = ((ELASTIC, self._elastic), (TOPIC, self._topic))
        return [name for name, sink in present if sink is not None] or [ELASTIC]

    def emit(self, partition: PartitionState, as_of: int, rows_max: int = ROWS_MAX) -> int:
        """Give free sinks up to `rows_max` rows of each kind; return the number of rows, or documents of orders."""
        if not partition.profiles_read or as_of == 0:
            return 0
        if self._identities is not None:
            self._lost_indices.mark_lost(partition, self._identities.current)
        taken = self._emit_customers(partition, as_of, rows_max) + self._emit_alerts(partition)
        if self._elastic is not None:
            taken += self._emit_orders(partition, rows_max)
            taken += self._emit_sessions(partition, as_of, min(rows_max, self._room()))
        elif self._null or self._topic is not None:
            taken += self._drop(partition, rows_max)
        return taken

    def begin_assignment(self) -> None:
        """Prepare for new partitions: fence rows by the group's current generation."""
        if self._topic is not None:
            self._topic.renew()

    def end_assignment(self) -> None:
        """Drop the queued rows of partitions that another worker owns now."""
        if self._topic is not None:
            self._topic.drop()

    def poll(self) -> None:
        """Run the callbacks of acknowledged documents and rows."""
        if self._elastic is not None:
            self._elastic.poll()
        if self._topic is not None:
            self._topic.poll()
        if self._alerts is not None:
            self._alerts.poll()

    def last_error(self) -> str | None:
        """Return the reason why documents or rows are not accepted at the moment."""
        elastic = self._elastic.last_error if self._elastic is not None else None
        return elastic or (self._topic.last_error if self._topic is not None else None)

    def sink_stats(self) -> SinkStats | None:
        """Return statistics of the requests to Elasticsearch; None without it."""
        return self._elastic.stats() if self._elastic is not None else None

    def figures(self) -> dict[str, Any]:
        """Return the output fields of FeaturesProgress."""
        written, freshness, stats = self.written, self.freshness, self.sink_stats()
        return {
            "rows_written": written.customers,
            "sessions_written": written.sessions,
            "orders_written": written.orders,
            "topic_rows_written": written.topic_rows,
            "alerts_written": written.alerts,
            "refused": written.refused,
            "last_error": self.last_error(),
            "bundle": None if self.scoring is None else self.scoring.name,
            "drift": self.drift.figures(),
            "freshness_p50_ms": 0.0 if freshness is None else freshness.percentile(50),
            "freshness_p99_ms": 0.0 if freshness is None else freshness.percentile(99),
            "retries": 0 if stats is None else stats.retries,
            "latency_p50_ms": 0.0 if stats is None else stats.latency_p50_ms,
            "latency_p99_ms": 0.0 if stats is None else stats.latency_p99_ms,
        }

    def close(self) -> None:
        """Close the sinks; documents in flight may or may not be written, and are written again."""
        if self._elastic is not None:
            self._elastic.close()
        if self._topic is not None:
            self._topic.close()
        if self._alerts is not None:
            self._alerts.close()
        if self.freshness is not None:
            self.freshness.close()
        if self._identities is not None:
            self._identities.close()

    def _room(self) -> int:
        assert self._elastic is not None
        return min(self._elastic.free(), self._limit.room(self._elastic.in_flight))

    def _emit_customers(self, partition: PartitionState, as_of: int, rows_max: int) -> int:
        done: tuple[Int32, CustomerRows] | None = None
        taken = 0
        for name, dirty in partition.customers_dirty.items():
            room = self._customer_room(name, partition)
            if not len(dirty) or room == 0:
                continue
            batch_id, codes = dirty.take_batch(min(rows_max, room))
            if done is None or not np.array_equal(done[0], codes):
                done = codes, customer_rows(partition, codes, as_of, self.scoring, self.drift)
            taken += len(codes)
            self._send(name, partition, batch_id, done[1])
        return taken

    def _customer_room(self, name: str, partition: PartitionState) -> int:
        if name == TOPIC and self._topic is not None:
            return self._topic.free()
        if self._elastic is None:
            return ROWS_MAX
        # customers that always change would leave no room for sessions and orders when the sink is slow
        others_wait = len(partition.sessions_dirty) or len(partition.orders_dirty) or partition.orders_handover
        return -(-self._room() // 2) if others_wait else self._room()

    def _send(self, name: str, partition: PartitionState, batch_id: int, rows: CustomerRows) -> None:
        dirty = partition.customers_dirty[name]
        if name == TOPIC and self._topic is not None:

            def topic_done(rejected: list[Rejected]) -> None:
                dirty.acknowledge(batch_id)
                partition.changed = True
                self.written.topic_rows += len(rows.lines) - len(rejected)
                self._rows_refused(FEATURE_TOPIC, rows, rejected, partition)

            self._topic.send(rows, topic_done)
        elif self._elastic is None:
            dirty.acknowledge(batch_id)
            self.written.customers += len(rows.lines)
        else:
            appended = partition.oldest_append_ms
            partition.oldest_append_ms = 0

            def elastic_done(outcome: Outcome) -> None:
                dirty.acknowledge(batch_id)
                partition.changed = True
                self.written.customers += outcome.written
                if appended and self.freshness is not None and self.freshness.is_free:
                    self.freshness.follow(Followed(outcome.docs[0].id, rows.version, appended))
                self._refused(outcome, partition)

            self._submit(customer_docs(partition, rows, self._run), elastic_done)

    def _emit_alerts(self, partition: PartitionState) -> int:
        if not partition.alerts.ready:
            return 0
        rooms = [self._room()] if self._elastic is not None else []
        rooms += [self._alerts.free()] if self._alerts is not None else []
        taken = partition.alerts.take_batch(min((ALERTS_MAX, *rooms)), max(1, len(rooms)))
        if not taken:
            return 0
        numbers, alerts = list(taken), list(taken.values())

        def acknowledge() -> None:
            self.written.alerts += partition.alerts.acknowledge(numbers)
            partition.changed = True

        def indexed(outcome: Outcome) -> None:
            acknowledge()
            self._refused(outcome, partition)

        rows = alert_rows(alerts)

        def sent(rejected: list[Rejected]) -> None:
            acknowledge()
            self._rows_refused(ALERT_TOPIC, rows, rejected, partition)

        if self._alerts is not None:
            self._alerts.send(rows, sent)
        if self._elastic is not None:
            self._submit(alert_docs(alerts, self._run), indexed)
        if not rooms:
            acknowledge()
        return len(numbers)

    def _emit_sessions(self, partition: PartitionState, as_of: int, rows_max: int) -> int:
        if rows_max <= 0 or not len(partition.sessions_dirty):
            return 0
        batch_id, rows = partition.sessions_dirty.take_batch(rows_max)

        def done(outcome: Outcome) -> None:
            partition.sessions_dirty.acknowledge(batch_id)
            partition.changed = True
            self.written.sessions += outcome.written
            self._refused(outcome, partition)

        self._submit(session_docs(partition, rows, as_of, self._run), done)
        return len(rows)

    def _emit_orders(self, partition: PartitionState, rows_max: int) -> int:
        """Submit documents of orders as far as there is room; return their number.

        An order has as many documents as lines. They are made slice by slice; those without room follow when there is
        room.
        """
        handover, docs_max = partition.orders_handover, self._room()
        if len(partition.sessions_dirty):
            docs_max = -(-docs_max // 2)
        if handover is None:
            rows_max = min(rows_max, docs_max // 2)
            if rows_max <= 0 or not len(partition.orders_dirty):
                return 0
            batch_id, rows = partition.orders_dirty.take_batch(rows_max)
            handover = partition.orders_handover = Handover(order_docs(partition, rows, self._run), batch_id)
        current = handover

        def done(outcome: Outcome) -> None:
            current.unacknowledged -= 1
            self.written.orders += outcome.written
            self._refused(outcome, partition)
            if current.is_done:
                self._acknowledge_orders(partition, current)

        taken = slices = 0
        # documents stay in memory until the callbacks run, which is between two emissions
        while not current.is_built and slices < SLICES_MAX and (room := min(self._room(), docs_max - taken)) > 0:
            docs = current.next_slice(room)
            if docs:
                current.unacknowledged += 1
                self._submit(docs, done)
            taken, slices = taken + len(docs), slices + 1
        if current.is_built:
            partition.orders_handover = None
            if current.is_done:
                self._acknowledge_orders(partition, current)
        return taken

    @staticmethod
    def _acknowledge_orders(partition: PartitionState, handover: Handover) -> None:
        for row in partition.orders_dirty.acknowledge(handover.batch_id).tolist():
            partition.order_records.pop(row, None)
        partition.changed = True

    def _drop(self, partition: PartitionState, rows_max: int) -> int:
        """Discard dirty sessions and orders, which have no sink without Elasticsearch."""
        batch_id, rows = partition.sessions_dirty.take_batch(rows_max)
        if len(rows):
            partition.sessions_dirty.acknowledge(batch_id)
        batch_id, orders = partition.orders_dirty.take_batch(rows_max)
        if len(orders):
            for row in partition.orders_dirty.acknowledge(batch_id).tolist():
                partition.order_records.pop(row, None)
        return len(rows) + len(orders)

    def _submit(self, docs: list[Doc], done: Callable[[Outcome], None]) -> None:
        assert self._elastic is not None
        number = self._limit.submitted(self._elastic.in_flight + len(docs))

        def acknowledged(outcome: Outcome) -> None:
            self._limit.acknowledged(number)
            done(outcome)

        self._elastic.submit(docs, acknowledged)

    def _refused(self, outcome: Outcome, partition: PartitionState) -> None:
        self.written.refused += len(outcome.rejected)
        if self._dead_letters is None:
            return
        for refusal in outcome.rejected:
            doc = outcome.docs[refusal.position]
            self._dead_letters.send(
                DeadLetter(doc.index, partition.number, -1, doc.id.encode(), doc.body, refusal.reason)
            )

    def _rows_refused(
        self, topic: str, rows: CustomerRows, rejected: list[Rejected], partition: PartitionState
    ) -> None:
        self.written.refused += len(rejected)
        if self._dead_letters is None:
            return
        name = topic_name(self._run, topic)
        for refusal in rejected:
            key, line = rows.customer_ids[refusal.position].encode(), rows.lines[refusal.position]
            self._dead_letters.send(DeadLetter(name, partition.number, -1, key, line, refusal.reason))


class EmitTimer:
    """Decides when to emit: soon while caught up, in a bounded share of the time while behind."""

    def __init__(
        self,
        idle_s: float = 0.2,
        behind_s: float = 1.0,
        share: float = 0.15,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle_s, self._behind_s, self._share, self._clock = idle_s, behind_s, share, clock
        self._due_s = 0.0
        self._behind = False

    def due(self, *, behind: bool) -> bool:
        """Return whether it is time to emit."""
        if self._behind and not behind:
            self._due_s = min(self._due_s, self._clock())
        self._behind = behind
        return self._clock() >= self._due_s

    def emitted(self, took_s: float) -> None:
        """Record the end of an emission."""
        pause = max(self._behind_s, took_s / self._share) if self._behind else self._idle_s
        self._due_s = self._clock() + pause
