"""A simulated world: workers of the real features consumer over logs, a disk and an index in memory, and their faults.

Everything that happens is drawn from one generator. Workers are threads of which exactly one runs at a time: each hands
on at boundaries, when the generator says so, so that a seed is one interleaving and gives it again bit for bit.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import xxhash
from pyarrow import fs
from simulation.boundary import Bystander, Odds
from simulation.broker import Coordinator, Offsets
from simulation.checks import check_prefix
from simulation.clock import Clock, installed
from simulation.disk import Disk, Files
from simulation.index import Index
from simulation.worker import BUFFER_MAX, RUN, Worker
from stream.scene import Scene

from consumers.checkpoint import CheckpointStore, DamagedError
from consumers.dead_letter import DeadLetter
from consumers.elastic import document_id
from consumers.mappings import write_index
from consumers.source import Partition

STEPS_MAX = 400_000


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
        if not names or any(self._has(worker, number) for worker in self.alive):
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
        blocks = sorted(own)
        victim = blocks[int(self.rng.integers(len(blocks)))] if blocks and self.rng.random() < 0.6 else names[-1]
        path = f"{folder}/{victim}"
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

    def _has(self, worker: Worker, number: int) -> bool:
        """Whether a worker owns a partition, or is about to: it may have read the files already, and builds on them."""
        given = worker.source.generation == self.group.generation and number in self.group.shares.get(
            worker.instance, ()
        )
        return given or number in worker.consumer._partitions

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
            if self.rng.random() < 0.1:
                check_prefix(self.files, RUN, number, name, places, self.scene, self.index_store)
                self.happened["prefixes checked"] += 1
