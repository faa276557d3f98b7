"""The role `map` in a simulated world: each message gives its records or a dead letter, in step, whatever happens."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from oracle.rows import Row
from simulation.broker import RUN, Offsets
from simulation.producer import QueueProducer
from simulation.role import Role, Until
from stream.scene import home

from connectors.kafka.record_writer import RecordWriter
from connectors.kafka.source import Partition
from connectors.messages.mapped import Mapped, MappedRecord, Message
from consumers.dead_letters.producer import DeadLetters
from consumers.mapping.consumer import MapOptions, MapRole
from consumers.mapping.held_messages import STEP_MS
from features.schema import topic_name
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper
from shopstream.runtime.coordinator import Coordinator
from shopstream.runtime.coordinator_types import Send, WorkerName, WorkerPlan
from shopstream.runtime.protocol import Ready, StepLimit, StepTime

if TYPE_CHECKING:
    from simulation.worker import Worker
    from simulation.world import World

OPTIONS = MapOptions(
    batch_messages=25, held_messages_max=60, commit_every_s=0.01, report_every_s=1e9, flush_timeout_s=0.05
)
CLICKS = """\
kind: clicks
from: {topic: events}
time: {path: ts, format: epoch_ms}
left_out: [{reason: searched, path: event_type, equals: search}]
click:
  id: event_id
  customer: customer_id
  session: session_id
  type: event_type
  types: {page_view: page_view, product_view: product_view, add_to_cart: add_to_cart, checkout: checkout,
          remove_from_cart: remove_from_cart, purchase: purchase}
  device: device
  product: product_id
"""
ORDERS = """\
kind: orders
from: {topic: orders}
time: {path: ts, format: epoch_ms}
order:
  rows: order
  id: order_id
  customer: customer_id
  updated: {path: updated_ts, format: epoch_ms}
  status: {path: status, words: {placed: placed, cancelled: cancelled, refunded: refunded, void: void}}
  total: total
"""
MAPPERS = [TopicMapper(name, parse_mapping(text, name)) for name, text in (("clicks", CLICKS), ("orders", ORDERS))]
TOPICS = ("events", "orders")
Content = tuple[str, bytes, bytes]


class KnownResults:
    """A mapper that has mapped every message of a topic before: a message that is read again is not mapped again."""

    last_error = None

    def __init__(self, mapper: TopicMapper, messages: Sequence[Message]) -> None:
        self.name, self.topic = mapper.name, mapper.topic
        mapped = mapper.map(messages)
        self._results = {
            message.position: Mapped([], _of(mapped.left_out, n), _of(mapped.refused, n))
            for n, message in enumerate(messages)
        }
        for record in mapped.records:
            self._results[messages[record.message].position].records.append(record)

    def map(self, messages: Sequence[Message]) -> Mapped:
        joined = Mapped()
        for n, message in enumerate(messages):
            result = self._results[message.position]
            joined.records += [record._replace(message=n) for record in result.records]
            joined.left_out |= dict.fromkeys([n], result.left_out[0]) if result.left_out else {}
            joined.refused |= dict.fromkeys([n], result.refused[0]) if result.refused else {}
        return joined


class Waiting:
    """A mapper whose registry is away now and then."""

    def __init__(self, mapper: KnownResults, life: MapLife) -> None:
        self.name, self.topic, self.last_error = mapper.name, mapper.topic, None
        self._mapper, self._life = mapper, life

    def map(self, messages: Sequence[Message]) -> Mapped:
        while self._life.worker.befalls("registry_away"):
            self._life.consumer.wait(0.5)
        return self._mapper.map(messages)


def _of(reasons: Mapping[int, str], number: int) -> dict[int, str]:
    return {0: reasons[number]} if number in reasons else {}


class MapLife:
    """A map role in one process, with the limits that a real parent sends it."""

    def __init__(self, role: TopicsRole, worker: Worker) -> None:
        self._role, self.worker = role, worker
        self._records = QueueProducer(role.deliver, worker, role.rng)
        self._letters = QueueProducer(role.deliver, worker, role.rng)
        self.consumer = MapRole(
            worker.source,  # type: ignore[arg-type]
            [Waiting(mapper, self) for mapper in role.mappers],
            RecordWriter(self._records, RUN, 1_000_000),  # type: ignore[arg-type]
            DeadLetters(self._letters, RUN),  # type: ignore[arg-type]
            options=OPTIONS,
        )

    def run(self, stop: Callable[[], bool], until: Until) -> None:
        self.consumer.run(stop, until, others_ms=lambda time_ms: self._role.others_ms(self.worker, time_ms))

    def has(self, number: int) -> bool:
        return False

    def die(self) -> None:
        self._records.die()
        self._letters.die()

    def check_bounds(self) -> None:
        totals = self.consumer.progress()
        assert totals.consumed == totals.valid + totals.left_out + totals.rejected
        # a partition is paused after the read that exceeds the bound
        most = len(self._role.numbers) * (OPTIONS.held_messages_max + OPTIONS.batch_messages + 200)
        assert totals.waiting_records <= most, "messages on hold are bounded"


class TopicsRole(Role):
    """Records on the topics of the run, and letters of refused messages."""

    name = "map"
    topics = TOPICS

    def __init__(self, world: World) -> None:
        super().__init__(world)
        messages = {
            where: [Message(value, f"{where.topic}-{where.number}-{n}") for n, (_, value) in enumerate(log)]
            for where, log in world.logs.items()
        }
        self.mappers = [
            KnownResults(mapper, [one for where in messages if where.topic == mapper.topic for one in messages[where]])
            for mapper in MAPPERS
        ]
        self.expected: dict[Partition, list[list[Content] | str | None]] = {
            where: self._results(where, log) for where, log in messages.items()
        }
        """For each message its records, the reason of a refusal, or None if it is left out."""
        self.numbers = {where: number for number, where in enumerate(sorted(world.logs))}
        self.delivered: dict[Content, None] = {}
        """Records on the topics of the run, in the order of their first delivery."""
        self.sent: set[tuple[str, int, int]] = set()
        self.parent: Coordinator | None = None
        self.limits: dict[str, int] = defaultdict(int)

    def full_name(self, topic: str) -> str:
        return topic

    def live(self, worker: Worker) -> MapLife:
        name = self._worker_name(worker.instance)
        if self.parent is None:
            self.parent = Coordinator(
                WorkerPlan({"map": len(self.world.slots)}, in_step=frozenset(self.numbers.values()))
            )
            self.parent.start()
        self.parent.exited(name, "killed", 0.0)
        self.parent.receive(name, Ready(), 0.0)
        self.limits[worker.instance] = 0
        return MapLife(self, worker)

    def _results(self, where: Partition, messages: Sequence[Message]) -> list[list[Content] | str | None]:
        mapped = self.mappers[TOPICS.index(where.topic)].map(messages)
        results: list[list[Content] | str | None] = [
            mapped.refused.get(n, None if n in mapped.left_out else []) for n in range(len(messages))
        ]
        for record in mapped.records:
            result = results[record.message]
            assert isinstance(result, list)
            result.append(_content(record))
        return results

    @staticmethod
    def _worker_name(instance: str) -> WorkerName:
        return WorkerName("map", int(instance.rpartition("-")[2]))

    def others_ms(self, worker: Worker, time_ms: int) -> int:
        """The real parent's answer, at a time at which it never gives a worker up."""
        assert self.parent is not None
        owned = tuple(sorted(self.numbers[where] for where in worker.life.consumer._owned))  # type: ignore[attr-defined]
        for action in self.parent.receive(self._worker_name(worker.instance), StepTime(time_ms, owned), 0.0):
            assert isinstance(action, Send)
            assert isinstance(action.message, StepLimit)
            self.limits[f"worker-{action.name.number}"] = action.message.time_ms
        return self.limits[worker.instance]

    def deliver(self, topic: str, key: Any, value: bytes, headers: Any) -> None:
        """A record or a dead letter is on its topic."""
        if topic == topic_name(RUN, "dead-letter"):
            super().deliver(topic, key, value, headers)
            self.sent.add((self.letters[-1].topic, self.letters[-1].partition, self.letters[-1].offset))
        else:
            self.delivered.setdefault((topic, key, value))

    def on_commit(self, number: int, offsets: Offsets) -> None:
        """What lies before a committed offset is on its topic, or a letter, or left out."""
        for where, (offset, _) in offsets.items():
            before = self.world.group.committed.get(where, (0, ""))[0]
            assert offset >= before, f"{where} went back from {before} to {offset}"
            for position, result in enumerate(self.expected[where][before:offset], before):
                if isinstance(result, str):
                    assert (*where, position) in self.sent, "committed before its letter"
                else:
                    assert all(content in self.delivered for content in result or ()), "committed before it was written"
        self.world.happened["commits"] += 1

    def check(self) -> None:
        everything = [result for results in self.expected.values() for result in results]
        records = {content for result in everything if isinstance(result, list) for content in result}
        assert self.delivered.keys() == records
        refused = {(*where, n) for where, results in self.expected.items() for n, one in enumerate(results)
                   if isinstance(one, str)}  # fmt: skip
        assert self.sent == refused
        assert all(self.expected[Partition(at.topic, at.partition)][at.offset] == at.error for at in self.letters)
        self._check_step()

    def _check_step(self) -> None:
        """No record comes long after a later one of its partition, but by the disorder of the logs themselves."""
        disorder = 0
        for results in self.expected.values():
            high = 0
            for time_ms in (_time(c) for result in results if isinstance(result, list) for c in result):
                high = max(high, time_ms)
                disorder = max(disorder, high - time_ms)
        highs: dict[tuple[str, int], int] = defaultdict(int)
        for content in self.delivered:
            where = content[0], home(content[1].decode())
            highs[where] = max(highs[where], _time(content))
            assert highs[where] - _time(content) <= STEP_MS + disorder, "not in step"


def _time(content: Content) -> int:
    row: Row = json.loads(content[2])
    return int(row.get("updated_ts", row["ts"]))


def _content(record: MappedRecord) -> Content:
    return topic_name(RUN, record.topic), record.key, record.value
