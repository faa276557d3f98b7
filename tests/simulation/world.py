"""A simulated world: workers of the real features consumer over logs, a disk and an index in memory, and their faults.

Everything that happens is drawn from one generator. Workers are threads of which exactly one runs at a time: each hands
on at boundaries, when the generator says so, so that a seed is one interleaving and gives it again bit for bit.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash
from pyarrow import fs
from simulation.boundary import BOUNDARIES, KILL_AT, STALL_AT, Killed, Odds
from simulation.broker import Coordinator, GroupSource, Offsets, QueueProducer
from simulation.checks import check_prefix
from simulation.clock import Clock, installed
from simulation.disk import Disk, Files
from simulation.index import Connection, Index, Sink
from stream.scene import Scene

from consumers.checkpoint import CheckpointStore, DamagedError
from consumers.dead_letter import DeadLetter, DeadLetters
from consumers.elastic import document_id
from consumers.feature_topic import FeatureTopic
from consumers.features import FeaturesConsumer
from consumers.keeper import Keeper
from consumers.mappings import write_index
from consumers.outlets import ELASTIC, TOPIC, Outlets, Pace
from consumers.source import Partition
from features.errors import ShopstreamError

RUN = "w"
BUFFER_MAX = 120
STEPS_MAX = 400_000
TURNS_MAX = 20_000
MAY_END = ("FENCED_INSTANCE_ID", "dead letters could not be written")
"""Errors that a worker may end with and that another start may heal; every other one is a failure."""


class World:
    """What outlives a worker.

    Args:
        seed: of everything.
        scene: the records.
        odds: of the faults, until `calm_after` boundaries were crossed.
        slots: workers at a time.
        as_of: of the final rows.
    """

    def __init__(self, seed: int, scene: Scene, odds: Odds, slots: int, as_of: int, calm_after: int) -> None:
        self.rng = np.random.default_rng([seed, 77])
        self.scene, self.stormy, self.as_of, self.calm_after = scene, odds, as_of, calm_after
        self.odds = odds
        self.logs = scene.logs
        self.partitions = len({where.number for where in self.logs})
        self.clock = Clock(1_700_000_000_000)
        self.files: Files = {}
        self.wire: list[bytes] = []
        sessions = sorted({(e["customer_id"], e["session_id"]) for e in scene.events})
        self.refused = [sessions[int(self.rng.integers(len(sessions)))]]
        self.index_store = Index([(write_index(RUN, "sessions"), document_id(*pair)) for pair in self.refused])
        self.group = Coordinator(self.partitions, self.on_commit)
        self.letters: list[DeadLetter] = []
        self.rows: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self.workers: dict[int, Worker] = {}
        self.slots = [f"worker-{n}" for n in range(slots)]
        self.finished: set[int] = set()
        self.departed: set[str] = set()
        self.epochs: dict[int, int] = {}
        self.history: dict[int, list[str]] = defaultdict(list)
        self.damaged: set[str] = set()
        self.fell_back: set[int] = set()
        self.happened: Counter[str] = Counter()
        self.trace = xxhash.xxh3_64()
        self.steps = 0
        self.failure: BaseException | None = None
        self.baton = threading.Semaphore(0)

    # --- what a check wants to see ---

    def index(self, name: str) -> list[dict[str, Any]]:
        """The documents of an index, months together, without their versions."""
        prefix = f"{RUN}-{name}"
        found = [
            json.loads(body)
            for (index, _), (_, body) in self.index_store.documents.items()
            if index == prefix or (index.startswith(f"{prefix}-") and index[len(prefix) + 1].isdigit())
        ]
        return [{name: value for name, value in body.items() if name != "version"} for body in found]

    def newest_rows(self) -> dict[str, dict[str, Any]]:
        """The row of highest version of each customer on the compacted topic."""
        return {c: json.loads(max(rows, key=lambda row: row[0])[1]) for c, rows in self.rows.items()}

    def digest(self) -> str:
        """Of everything that happened and everything that is left; equal for equal worlds."""
        self.trace.update(repr(sorted(self.index_store.documents.items())).encode())
        self.trace.update(repr(sorted(self.files)).encode())
        self.trace.update(repr(self.letters).encode())
        return self.trace.hexdigest()

    # --- running ---

    def run(self) -> None:
        """Until every partition's final rows are written and kept.

        Raises:
            AssertionError: an invariant does not hold.
        """
        with installed(self.clock, self.rng, BUFFER_MAX):
            while not (self.is_finished and not self.alive):
                self._world_turns()
                runnable = [w for w in self.alive if w.stalled_until <= self.steps]
                if runnable:
                    self._hand_to(runnable[int(self.rng.integers(len(runnable)))])
                else:
                    self.steps += 5
                    self.clock.pass_s(0.05)
                if self.failure is not None:
                    self._end_all()
                    raise self.failure
                assert self.steps < STEPS_MAX, f"no end in sight after {self.steps} steps: {self.happened}"
            for body in self.wire:
                self.index_store.apply(body)

    def check(self) -> None:
        """What is left is what the oracle counts.

        Raises:
            AssertionError: it is not.
        """
        self.scene.check(self, self.as_of, self.refused)
        lost = {letter.key for letter in self.letters if letter.offset < 0}
        assert lost == {document_id(*pair).encode() for pair in self.refused}, "what the index refuses is a letter"

    @property
    def is_finished(self) -> bool:
        return len(self.finished) == self.partitions

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.thread.is_alive()]

    def _hand_to(self, worker: Worker) -> None:
        worker.baton.release()
        self.baton.acquire()
        if worker.has_ended:
            worker.thread.join()

    def _end_all(self) -> None:
        for worker in self.alive:
            worker.is_dead = True
            self._hand_to(worker)

    def _world_turns(self) -> None:
        """What happens outside of the workers."""
        if self.steps > self.calm_after:
            self.odds = Odds(expire=0.3)
            for worker in self.alive:
                worker.stalled_until = min(worker.stalled_until, self.steps)
        if self.wire and self.rng.random() < 0.2:
            self.index_store.apply(self.wire.pop(int(self.rng.integers(len(self.wire)))))
            self.happened["late request arrived"] += 1
        if self.rng.random() < self.odds.wall_jump:
            self.clock.wall_ms += int(self.rng.integers(-86_400_000, 86_400_000))
            self.happened["wall clock jumped"] += 1
        speaking = {worker.instance: worker for worker in self.alive}
        for instance in list(self.group.members):
            worker = speaking.get(instance)
            idle = worker is None or worker.stalled_until > self.steps
            left = instance in self.departed and idle
            if self.rng.random() < (0.002 if left else self.odds.expire if idle else self.odds.evict):
                self.group.evict(instance)
                self.happened["session ended" if idle else "living member evicted"] += 1
        if self.rng.random() < self.odds.damage:
            self._damage()
        for slot in self.slots:
            worker = speaking.get(slot)
            if worker is None:
                waits = self.group.is_stable and slot in self.departed and slot in self.group.members
                if not (self.is_finished or waits) and self.rng.random() < 0.5:
                    self._start(slot)
            elif worker.stalled_until > self.steps and self.rng.random() < self.odds.usurp:
                self._start(slot)
                self.happened["second process of an instance"] += 1

    def _start(self, slot: str) -> None:
        number = len(self.workers)
        self.workers[number] = worker = Worker(self, slot, number)
        self.happened["lives"] += 1
        self.departed.discard(slot)
        worker.thread.start()

    def _damage(self) -> None:
        """Spoils the newest committed checkpoint of a partition without an owner that can fall back."""
        number = int(self.rng.integers(self.partitions))
        names = self.history[number]
        if not names or any(number in worker.consumer._partitions for worker in self.alive):
            return
        folder = f"state/{RUN}/partition={number}"
        older = [n for n in names if n != names[-1] and n not in self.damaged and f"{folder}/{n}" in self.files]
        if not older or names[-1] in self.damaged:
            return
        store = CheckpointStore("state", RUN)
        store._files = fs.PyFileSystem(Disk(self.files, Bystander()))
        try:
            kept = {block.name for block in store.read(number, older[-1]).manifest.blocks}
            own = {block.name for block in store.read(number, names[-1]).manifest.blocks} - kept
        except DamagedError:
            return
        victims = [names[-1], *sorted(own)]
        path = f"{folder}/{victims[int(self.rng.integers(len(victims)))]}"
        data, place = self.files[path], int(self.rng.integers(len(self.files[path])))
        match int(self.rng.integers(3)):
            case 0:
                del self.files[path]
            case 1:
                self.files[path] = data[:place]
            case _:
                flipped = data[place] ^ (1 << int(self.rng.integers(8)))
                self.files[path] = data[:place] + bytes([flipped]) + data[place + 1 :]
        self.damaged.add(names[-1])
        self.fell_back.add(number)
        self.happened["checkpoint damaged"] += 1

    # --- what reaches the outside ---

    def deliver(self, topic: str, key: Any, value: bytes, headers: Any) -> None:
        """A message is on its topic."""
        if headers is None:
            self.rows[key].append((json.loads(value)["version"], value))
            return
        said = dict(headers)
        where = said["topic"].decode(), int(said["partition"]), int(said["offset"])
        self.letters.append(DeadLetter(*where, key, value, said["error"].decode()))

    def on_commit(self, number: int, offsets: Offsets) -> None:
        """Holds of every commit that the group takes."""
        said = json.loads(next(iter(offsets.values()))[1])
        epoch, name = said["epoch"], said.get("checkpoint", "")
        assert epoch >= self.epochs.get(number, 0), "epochs never go down"
        self.epochs[number] = epoch
        for where, (offset, _) in offsets.items():
            before = self.group.committed.get(where, (0, ""))[0]
            assert offset >= before or number in self.fell_back, f"{where} went back from {before} to {offset}"
        if name not in self.damaged:
            self.fell_back.discard(number)
        places = {where: offset for where, (offset, _) in offsets.items()}
        sent = {(letter.topic, letter.partition, letter.offset) for letter in self.letters}
        for topic, partition, offset, _, _ in self.scene.letters:
            where = Partition(topic.removeprefix(f"{RUN}."), partition)
            assert offset >= places.get(where, 0) or (topic, partition, offset) in sent, "committed before its letter"
        if name and (not self.history[number] or self.history[number][-1] != name):
            self.history[number].append(name)
            self.happened["checkpoints"] += 1
            if self.rng.random() < 0.04:
                check_prefix(self.files, RUN, number, name, places, self.scene)
                self.happened["prefixes checked"] += 1


class Bystander:
    """Looks on and is hit by nothing."""

    is_dead = False

    def cross(self, what: str) -> None:
        """Nothing happens."""

    def befalls(self, fault: str) -> bool:
        return False


class Worker:
    """One life of a features consumer, in a thread that runs when it holds the baton.

    Args:
        world: it lives in.
        instance: static member id.
        number: of the life.
    """

    def __init__(self, world: World, instance: str, number: int) -> None:
        self.world, self.instance, self.number = world, instance, number
        self.is_dead = False
        self.has_ended = False
        self.stalled_until = 0
        self.turns = 0
        rng = world.rng
        self.source = GroupSource(world.group, world.logs, instance, number, self, rng, self._assigned)
        self.producers = [QueueProducer(world.deliver, self, rng) for _ in range(2)]
        letters = DeadLetters(self.producers[0], RUN)  # type: ignore[arg-type]
        self.sink = Sink(Connection(world.index_store, self, rng), self, rng, world.wire)
        topic = FeatureTopic(self.producers[1], RUN)  # type: ignore[arg-type]
        outlets = Outlets(RUN, self.sink, topic, letters)
        store = CheckpointStore("state", RUN)
        store._files = fs.PyFileSystem(Disk(world.files, self))
        keeper = Keeper(
            store, self.source, letters, run=RUN, partitions=world.partitions, sinks=[ELASTIC, TOPIC], interval_s=0.0
        )  # type: ignore[arg-type]
        keeper._pool.shutdown()
        keeper._pool = Pool(self, rng)  # type: ignore[assignment]
        pace = Pace(idle_s=0.0, behind_s=0.01, share=1.0, clock=world.clock.monotonic)
        self.consumer = FeaturesConsumer(
            RUN,
            self.source,
            keeper,
            outlets,
            letters,
            pace=pace,
            stale_after_s=4.0,  # type: ignore[arg-type]
        )
        self.baton = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._live, name=f"{instance}/{number}", daemon=True)

    # --- boundary ---

    def cross(self, what: str) -> None:
        world = self.world
        if self.is_dead:
            raise Killed
        assert what in BOUNDARIES
        world.steps += 1
        world.trace.update(f"{self.number} {what};".encode())
        world.clock.pass_s(0.001)
        odds, dice = world.odds, world.rng.random()
        kill = max(odds.kill, KILL_AT if what == odds.kill_at else 0.0)
        stall = max(odds.stall, STALL_AT if what == odds.stall_at else 0.0)
        if dice < kill:
            world.happened[f"killed at {what}"] += 1
            self._die()
        elif dice < kill + stall:
            world.happened["stalls"] += 1
            self.stalled_until = world.steps + int(world.rng.choice((20, 100, 400, 1_500)))
            # seen from within, a pause may be long or no time at all
            world.clock.pass_s(float(world.rng.choice((0.0, 0.0, 1.0, 30.0))))
            self._hand_on()
        elif dice < kill + stall + odds.switch:
            self._hand_on()

    def befalls(self, fault: str) -> bool:
        happens = bool(self.world.rng.random() < getattr(self.world.odds, fault))
        if happens:
            self.world.happened[fault] += 1
        return happens

    def _hand_on(self) -> None:
        self.world.baton.release()
        self.baton.acquire()
        if self.is_dead:
            raise Killed

    def _die(self) -> None:
        self.is_dead = True
        for producer in self.producers:
            producer.die()
        self.sink.give_up()
        raise Killed

    # --- life ---

    def _live(self) -> None:
        self.baton.acquire()
        try:
            self._consume()
        except Killed:
            pass
        except ShopstreamError as error:
            self.world.happened[f"ended: {str(error)[:60]}"] += 1
            if not any(word in str(error) for word in MAY_END):
                self.world.failure = error
        except BaseException as error:  # noqa: BLE001 - the world tells it
            self.world.failure = error
        finally:
            self.has_ended = True
            self.world.baton.release()

    def _consume(self) -> None:
        if self.is_dead:
            raise Killed
        owned: tuple[int, ...] = ()
        owns = False

        def agreed(_: int) -> int | None:
            return self.world.as_of if self.consumer.owned() else None

        def stop() -> bool:
            nonlocal owned, owns
            self.turns += 1
            assert self.turns < TURNS_MAX, f"no end in sight: {self.consumer.progress()}"
            self._check_bounds()
            return self.world.is_finished

        close = self.source.close

        def closed() -> None:
            nonlocal owned, owns
            owned = tuple(sorted({where.number for where in self.source.positions}))
            owns = self.source.owns
            close()

        self.source.close = closed  # type: ignore[method-assign]
        until = {(f"{RUN}.{where.topic}", where.number): len(log) for where, log in self.world.logs.items()}
        self.consumer.run(stop, until, agreed, lambda _: None)
        if owns:
            self.world.finished |= set(owned)
            self.world.departed.add(self.instance)

    def _assigned(self, numbers: Sequence[int]) -> None:
        self.world.finished -= set(numbers)

    def _check_bounds(self) -> None:
        for partition in self.consumer._partitions.values():
            state = partition.state
            for lane in partition.lanes.values():
                assert lane.waiting <= 3 * BUFFER_MAX, "records that wait are bounded"
            for dirty in partition.customers_dirty.values():
                assert len(dirty) <= state.customer_count
            assert len(partition.sessions_dirty) <= state.session_count
            assert len(partition.orders_dirty) <= state.order_count
            assert len(partition.order_records) <= state.order_count
            assert len(partition.letters) <= 4 * BUFFER_MAX
        counts = self.consumer.progress()
        assert counts.consumed == counts.valid + counts.rejected + counts.late


class Pool:
    """Stands for the thread that writes checkpoints, one after the other: at once, later, or never."""

    def __init__(self, worker: Worker, rng: np.random.Generator) -> None:
        self._worker, self._rng = worker, rng
        self._tasks: list[Task] = []

    def submit(self, work: Any, *args: Any) -> Task:
        self._tasks.append(Task(self, lambda: work(*args)))
        return self._tasks[-1]

    def shutdown(self, wait: bool = True) -> None:
        if not self._worker.is_dead and self._tasks:
            self.work_up_to(self._tasks[-1])

    def may_work(self) -> bool:
        """Whether the thread has had its turn."""
        return bool(self._rng.random() < 0.4)

    def work_up_to(self, last: Task) -> None:
        """Does what was submitted up to a task, those first that nobody waits for any more."""
        while last.found is None:
            self._tasks.pop(0).work()


class Task:
    """Stands for a Future."""

    def __init__(self, pool: Pool, work: Any) -> None:
        self._pool, self._work = pool, work
        self.found: tuple[Any, BaseException | None] | None = None

    def work(self) -> None:
        try:
            self.found = (self._work(), None)
        except Exception as error:  # noqa: BLE001 - as a Future does
            self.found = (None, error)

    def done(self) -> bool:
        if self.found is None and self._pool.may_work():
            self.exception()
        return self.found is not None

    def exception(self) -> BaseException | None:
        self._pool.work_up_to(self)
        assert self.found is not None
        return self.found[1]

    def result(self) -> Any:
        if (error := self.exception()) is not None:
            raise error
        assert self.found is not None
        return self.found[0]
