"""The role `features` in a simulated world."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from pyarrow import fs
from scores.scorers import by_tenure
from simulation.boundary import Bystander
from simulation.broker import RUN, Offsets
from simulation.checks import check_alerts, check_prefix
from simulation.clock import BUFFER_BYTES_MAX, BUFFER_MAX
from simulation.disk import STATE, Disk
from simulation.index import Connection, Seen, Sink
from simulation.pool import Pool
from simulation.producer import QueueProducer
from simulation.role import Role, Until
from simulation.transactions import TransactionalProducer, TransactionLog

from connectors.elasticsearch.client import document_id
from connectors.elasticsearch.mappings import write_index
from connectors.kafka.source import Partition
from consumers.checkpoints.coordinator import CheckpointCoordinator
from consumers.checkpoints.store import CheckpointStore, DamagedError
from consumers.dead_letters.producer import DeadLetters
from consumers.features.consumer import FeaturesConsumer
from consumers.features.sinks import ELASTIC, TOPIC, EmitTimer, Sinks
from consumers.features.topic_sink import TopicSink
from consumers.features.transactional_topic import TransactionalTopic
from consumers.metrics.definitions import FeaturesProgress
from features.schema import ALERT_TOPIC, SOURCE_TOPICS, topic_name
from features.scores.score import SCORE_SCHEMA, Scoring

if TYPE_CHECKING:
    from simulation.worker import Worker
    from simulation.world import World

SCORED = 0.25
"""Share of the worlds in which rows have scores, and alerts are sent."""


class NextBundle:
    """Stands for consumers.features.scoring.LiveScoring: the next bundle comes at any time."""

    def __init__(self, role: FeaturesRole) -> None:
        self._role = role

    @property
    def current(self) -> Scoring:
        return self._role.scorings[self._role.scorings_seen]

    def poll(self) -> bool:
        more = self._role.scorings_seen < len(self._role.scorings) - 1 and self._role.rng.random() < 0.02
        self._role.scorings_seen += more
        return more

    def close(self) -> None:
        """Nothing is open."""


class FeaturesLife:
    """A features consumer in one process."""

    def __init__(self, role: FeaturesRole, worker: Worker) -> None:
        world, rng = role.world, role.rng
        self._role, self._worker = role, worker
        self.producers = [QueueProducer(role.deliver, worker, rng) for _ in range(2)]
        self._rows: list[TransactionalProducer] = []
        dead_letters = DeadLetters(self.producers[0], RUN)  # type: ignore[arg-type]
        self.sink = Sink(Connection(world.index_store, worker, rng), worker, rng, world.wire)
        topic = TransactionalTopic(self._open_rows, worker.source.fence, RUN, pool=Pool(worker, rng))
        alerts = TopicSink(self.producers[1], RUN, ALERT_TOPIC)  # type: ignore[arg-type]
        seen = Seen(world.index_store, write_index(RUN, "customers"), rng)
        sinks = Sinks(RUN, self.sink, topic, dead_letters, alerts=alerts, identities=seen)  # type: ignore[arg-type]
        store = CheckpointStore(STATE, RUN, files=fs.PyFileSystem(Disk(world.disk, worker)))
        checkpoints = CheckpointCoordinator(
            store, worker.source, dead_letters,  # type: ignore[arg-type]
            run=RUN, partitions=world.partitions, sinks=[ELASTIC, TOPIC], interval_s=0.0, pool=Pool(worker, rng),
        )  # fmt: skip
        emit_timer = EmitTimer(idle_s=0.0, behind_s=0.01, share=1.0, clock=world.clock.monotonic)
        self.consumer = FeaturesConsumer(
            RUN, worker.source, checkpoints, sinks, dead_letters, emit_timer=emit_timer, stale_after_s=4.0,  # type: ignore[arg-type]
            scoring=NextBundle(role) if role.scorings else None,  # type: ignore[arg-type]
        )  # fmt: skip

    def _open_rows(self) -> TransactionalProducer:
        role, worker = self._role, self._worker
        producer = TransactionalProducer(role.rows, worker.instance, worker, role.rng)
        self._rows.append(producer)
        return producer

    def run(self, stop: Callable[[], bool], until: Until) -> None:
        def agreed(_: int) -> int | None:
            return self._role.final_as_of(self) if self.consumer.owned() else None

        self._role.progress = self.consumer.run(stop, until, agreed, lambda _: None)

    def has(self, number: int) -> bool:
        return number in self.consumer._partitions

    def die(self) -> None:
        for producer in (*self.producers, *self._rows):
            producer.die()
        self.sink.give_up()

    def check_bounds(self) -> None:
        for partition in self.consumer._partitions.values():
            state = partition.state
            for buffer in partition.buffers.values():
                assert buffer.waiting <= 3 * BUFFER_MAX, "messages that wait are bounded"
                # a message is read whole, however large it is
                assert buffer.waiting_bytes <= 3 * BUFFER_BYTES_MAX + 2 * self._role.largest, "their bytes are bounded"
                assert buffer.waiting == sum(chunk.waiting for chunk in buffer.chunks)
                assert buffer.waiting_bytes == sum(chunk.held_bytes for chunk in buffer.chunks)
            for dirty in partition.customers_dirty.values():
                assert len(dirty) <= state.customer_count
            assert len(partition.sessions_dirty) <= state.session_count
            assert len(partition.orders_dirty) <= state.order_count
            assert len(partition.order_records) <= state.order_count
            assert len(partition.rejected) <= 4 * BUFFER_MAX
        counts = self.consumer.progress()
        assert counts.consumed == counts.valid + counts.rejected + counts.late


class FeaturesRole(Role):
    """Documents, rows, letters, alerts and checkpoints of the features consumer.

    Attributes:
        scorings: bundles that come one after the other, at any time; none in most worlds.
        final_as_of: a life that has read everything -> the time of its final rows, or None for not yet.
        progress: of the life that came to the end last.
        rows: the compacted topic.
        alerts: as they stand on their topic.
        largest: bytes of the largest message.
    """

    name = "features"
    topics = SOURCE_TOPICS

    def __init__(self, world: World) -> None:
        super().__init__(world)
        sessions = sorted({(e["customer_id"], e["session_id"]) for e in world.scene.events})
        self.refused = [sessions[int(self.rng.integers(len(sessions)))]]
        self.rows = TransactionLog()
        self.alerts: list[dict[str, Any]] = []
        self.epochs: dict[int, int] = {}
        self.history: dict[int, list[str]] = defaultdict(list)
        self.damaged: set[str] = set()
        self.fell_back: set[int] = set()
        # a checkpoint of before decides its alerts anew, on other days
        is_scored = self.rng.random() < SCORED and not world.stormy.damage
        self.scorings = [by_tenure("low", 1e9), by_tenure("rising", 300.0)] if is_scored else []
        self.scorings_seen = 0
        self.final_as_of: Callable[[FeaturesLife], int | None] = lambda _: world.as_of
        self.progress: FeaturesProgress
        self.largest = max(len(value or b"") for log in world.logs.values() for _, value in log)

    def live(self, worker: Worker) -> FeaturesLife:
        return FeaturesLife(self, worker)

    def poison(self) -> Collection[tuple[str, str]]:
        return [(write_index(RUN, "sessions"), document_id(*pair)) for pair in self.refused]

    # --- what a check wants to see ---

    def index(self, name: str) -> list[dict[str, Any]]:
        """The documents of an index, months together, without versions and scores."""
        hidden = {"version", *((*SCORE_SCHEMA, "bundle") if name == "customers" and self.scorings else ())}
        return [
            {field: value for field, value in body.items() if field not in hidden}
            for body in self.world.documents(name)
        ]

    def newest_rows(self) -> dict[str, dict[str, Any]]:
        """What compaction leaves of each customer, which is the row of the highest version that was committed."""
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for customer, line in self.rows.committed():
            rows[customer].append(json.loads(line))
        for customer, own in rows.items():
            assert own[-1]["version"] == max(row["version"] for row in own), f"an older row of {customer!r} is left"
        return {customer: own[-1] for customer, own in rows.items()}

    def check(self) -> None:
        world = self.world
        world.scene.check(self, world.as_of, self.refused)
        lost = {dead_letter.key for dead_letter in self.letters if dead_letter.offset < 0}
        assert lost == {document_id(*pair).encode() for pair in self.refused}, "what the index refuses is a letter"
        if self.scorings:
            risks = {doc["customer_id"]: doc["churn_risk"] for doc in world.documents("customers")}
            check_alerts(self.alerts, world.documents("alerts"), risks)
            world.happened["alerts"] += len(self.alerts)

    # --- what reaches the outside ---

    def deliver(self, topic: str, key: Any, value: bytes, headers: Any) -> None:
        if topic == topic_name(RUN, ALERT_TOPIC):
            self.alerts.append(json.loads(value))
        else:
            super().deliver(topic, key, value, headers)

    def on_commit(self, number: int, offsets: Offsets) -> None:
        world = self.world
        assert len(offsets) == len(SOURCE_TOPICS)
        message = json.loads(next(iter(offsets.values()))[1])
        epoch, name = message["epoch"], message.get("checkpoint", "")
        assert epoch >= self.epochs.get(number, 0), "epochs never go down"
        self.epochs[number] = epoch
        for where, (offset, _) in offsets.items():
            before = world.group.committed.get(where, (0, ""))[0]
            assert offset >= before or number in self.fell_back, f"{where} went back from {before} to {offset}"
        if name not in self.damaged:
            self.fell_back.discard(number)
        positions = {where: offset for where, (offset, _) in offsets.items()}
        sent = {(dead_letter.topic, dead_letter.partition, dead_letter.offset) for dead_letter in self.letters}
        for topic, partition, offset, _, _ in world.scene.letters:
            where = Partition(topic.removeprefix(f"{RUN}."), partition)
            assert offset >= positions.get(where, 0) or (topic, partition, offset) in sent, (
                "committed before its letter"
            )
        if name and (not self.history[number] or self.history[number][-1] != name):
            self.history[number].append(name)
            world.happened["checkpoints"] += 1
            if self.rng.random() < 0.1:
                # an index that is lost lacks what the checkpoint takes for written, until somebody looks
                index = None if world.stormy.index_gone else world.index_store
                check_prefix(world.disk, RUN, number, name, positions, world.scene, index)
                world.happened["prefixes checked"] += 1

    # --- damage ---

    def turn(self) -> None:
        for instance in list(self.rows.open):
            if self.rng.random() < self.world.odds.transaction_timeout:
                self.rows.time_out(instance)
                self.world.happened["transaction_timeout"] += 1
        if self.rng.random() < self.world.odds.damage:
            self._damage()
        customers = write_index(RUN, "customers")
        if customers in self.world.index_store.identities and self.rng.random() < self.world.odds.index_gone:
            # of sessions and orders the state does not hold everything
            self.world.index_store.lose(customers, self.rng)
            self.world.happened["index lost"] += 1

    def _damage(self) -> None:
        """Spoils the newest committed checkpoint of a partition without an owner that can fall back."""
        disk, number = self.world.disk, int(self.rng.integers(self.world.partitions))
        names = self.history[number]
        if not names or any(self._has(worker, number) for worker in self.world.alive):
            return
        folder = f"{STATE}/{RUN}/partition={number}"
        older = [n for n in names if n != names[-1] and n not in self.damaged and f"{folder}/{n}" in disk]
        if not older or names[-1] in self.damaged:
            return
        store = CheckpointStore(STATE, RUN, files=fs.PyFileSystem(Disk(disk, Bystander())))
        try:
            stored = {block.name for block in store.read(number, older[-1]).manifest.blocks}
            own = {block.name for block in store.read(number, names[-1]).manifest.blocks} - stored
        except DamagedError:
            return
        blocks = sorted(own)
        victim = blocks[int(self.rng.integers(len(blocks)))] if blocks and self.rng.random() < 0.6 else names[-1]
        path = f"{folder}/{victim}"
        data = disk.read(path)
        position = int(self.rng.integers(len(data)))
        match int(self.rng.integers(3)):
            case 0:
                disk.spoil(path, None)
            case 1:
                disk.spoil(path, data[:position])
            case _:
                flipped = data[position] ^ (1 << int(self.rng.integers(8)))
                disk.spoil(path, data[:position] + bytes([flipped]) + data[position + 1 :])
        self.damaged.add(names[-1])
        self.fell_back.add(number)
        self.world.happened["checkpoint damaged"] += 1

    def _has(self, worker: Worker, number: int) -> bool:
        """Whether a worker owns a partition, or is about to: it may have read the files already, and builds on them."""
        group = self.world.group
        given = worker.source.generation == group.generation and number in group.shares.get(worker.instance, ())
        return given or worker.life.has(number)
