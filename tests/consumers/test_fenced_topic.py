"""Rows on the compacted topic: fenced by the group, refused for their size, and what a dead process leaves open."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from connectors.kafka import client as kafka
from connectors.kafka.client import ensure_topics, open_consumer, open_producer
from connectors.kafka.offsets import commit
from connectors.kafka.source import FENCE_OFFSET
from consumers.features.documents import CustomerRows
from consumers.features.transactional_topic import TransactionalTopic, transactional_config
from features.schema import FEATURE_TOPIC, topic_name

WAIT_S = 30.0


def rows(*lines: str, version: int = 1) -> CustomerRows:
    return CustomerRows([line.split()[0] for line in lines], [line.encode() for line in lines], version)


class Member:
    """A member of the group of features, with a topic of its own."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench = bench
        self.consumer = open_consumer(kafka.consumer_config(bench.properties, f"{bench.run}-features", name))
        self.topic = TransactionalTopic(
            lambda: open_producer(transactional_config(bench.properties, name)),
            lambda topic: commit(self.consumer, {TopicPartition(topic, 0): (FENCE_OFFSET, "")}),
            bench.run,
        )
        self.owns = False
        self.consumer.subscribe([f"{bench.run}.events"], on_assign=self._assigned)
        self.wait(lambda: self.owns)

    def _assigned(self, consumer: Consumer, partitions) -> None:
        consumer.assign([TopicPartition(p.topic, p.partition, 0) for p in partitions])
        self.owns = True
        self.topic.renew()

    def wait(self, until: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + WAIT_S
        while not until():
            assert time.monotonic() < deadline_s
            self.consumer.poll(0.05)
            self.topic.poll()

    def write(self, these: CustomerRows) -> list:
        done: list = []
        self.topic.send(these, done.append)
        self.wait(lambda: bool(done))
        return done[0]


class Bench:
    def __init__(self, servers, run: str) -> None:
        self.run, self.properties = run, servers.kafka.client_properties()
        self.name = topic_name(run, FEATURE_TOPIC)
        ensure_topics(self.properties, run, 1)
        self.members: list[Member] = []

    def member(self, name: str) -> Member:
        self.members.append(Member(self, f"{self.run}-features-{name}"))
        return self.members[-1]

    def committed(self) -> list[str]:
        """The rows in the order of the log, as a reader of committed records finds them."""
        consumer = open_consumer(kafka.consumer_config(self.properties, f"{self.run}-position"))
        consumer.assign([TopicPartition(self.name, 0, OFFSET_BEGINNING)])
        result: list[Message] = []
        while not result or result[-1].error() is None:
            result += consumer.consume(100, 0.5)
        consumer.close()
        return [message.value().decode() for message in result if message.error() is None]


@pytest.fixture
def bench(servers, run_name):
    bench = Bench(servers, run_name)
    yield bench
    for member in bench.members:
        member.topic.close()
        member.consumer.close()


def test_acknowledged_rows_are_readable(bench):
    member = bench.member("a")
    assert member.write(rows("c 1", "d 1")) == []
    assert member.write(rows("c 2")) == []
    assert bench.committed() == ["c 1", "d 1", "c 2"]
    assert member.topic.free() == 20_000


def test_rows_of_a_former_owner_are_never_the_last_ones(bench):
    """Compaction keeps the last record of a key: once it was the row of an owner that had slept."""
    former = bench.member("former")
    former.write(rows("c 0"))
    done: list = []
    former.topic.send(rows("c old"), done.append)
    # it leaves the group, and its topic does not hear of it: as if it had slept meanwhile
    former.consumer.unsubscribe()
    former.consumer.poll(1.0)
    bench.member("new").write(rows("c new", version=2))
    for _ in range(20):
        former.topic.poll()
        time.sleep(0.1)
    former.topic.close()
    assert done == []
    assert bench.committed() == ["c 0", "c new"]


def test_pending_rows_are_not_written_after_revocation(bench):
    member = bench.member("a")
    done: list = []
    member.topic.send(rows("c 1"), done.append)
    member.topic.drop()
    member.topic.renew()
    member.write(rows("c 2"))
    assert done == []
    assert bench.committed() == ["c 2"]


def test_row_too_large_for_the_client_is_rejected_and_the_others_are_written(bench):
    member = bench.member("a")
    (refused,) = member.write(rows("c 1", "large " + "x" * 1_100_000, "d 1"))
    assert (refused.position, "large" in refused.reason.lower()) == (1, True)
    assert bench.committed() == ["c 1", "d 1"]


def test_row_too_large_for_the_topic_is_rejected_and_the_others_are_written(bench):
    entry = ConfigEntry("max.message.bytes", "2000", incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient(bench.properties)
    resource = ConfigResource(ResourceType.TOPIC, bench.name, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result()
    member = bench.member("a")
    # noise, which no compression makes small; small rows beside it share its batch
    noise = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(200))
    (refused,) = member.write(rows("c 1", f"large {noise}", "d 1"))
    assert (refused.position, "large" in refused.reason.lower()) == (1, True)
    assert sorted(bench.committed()) == ["c 1", "d 1"]


def test_transaction_of_a_crashed_process_is_aborted_by_its_successor(bench):
    """An open transaction hides everything behind it from readers of committed records."""
    dead: Producer = open_producer(transactional_config(bench.properties, f"{bench.run}-features-a"))
    dead.init_transactions(10)
    dead.begin_transaction()
    dead.produce(bench.name, value=b"c dead", key="c")
    dead.flush(10)
    member = bench.member("a")
    member.write(rows("c alive"))
    assert bench.committed() == ["c alive"]


def test_open_transaction_is_aborted_when_the_worker_exits(bench):
    """An open transaction hides the rows of the next owner, which has an id of its own, from readers."""
    leaving = bench.member("leaving")
    leaving.topic.send(rows("c old"), lambda _: None)
    leaving.topic.poll()
    assert leaving.topic._future is not None
    leaving.topic._future.result(WAIT_S)
    leaving.topic.close()
    leaving.consumer.close()
    bench.member("next").write(rows("c new", version=2))
    assert bench.committed() == ["c new"]


def test_a_producer_that_cannot_be_registered_is_replaced_by_a_new_one():
    """The refusal is no reason to end the worker: the coordinator may be moving."""
    opened: list[object] = []

    class Unregistered:
        def init_transactions(self, timeout: float) -> None:
            raise KafkaException(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "not now"))

    def open_one() -> Producer:
        opened.append(Unregistered())
        return opened[-1]  # type: ignore[return-value]

    topic = TransactionalTopic(open_one, lambda _: None, "r")
    topic.renew()
    topic.send(rows("c 1"), lambda _: None)
    deadline_s = time.monotonic() + WAIT_S
    while len(opened) < 2:
        assert time.monotonic() < deadline_s
        topic.poll()
        time.sleep(0.01)
    topic.close()
