"""A simulated world: workers of a real role over logs, a disk and an index in memory, and their faults.

Everything that happens is drawn from one generator. Workers are threads of which exactly one runs at a time: each hands
on at boundaries, when the generator says so, so that a seed is one interleaving and gives it again bit for bit.

Roles share nothing but the topics, so each is played in a world of its own.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import numpy as np
import xxhash
from simulation.archive_role import FilesRole
from simulation.boundary import Odds
from simulation.broker import RUN, Coordinator
from simulation.clock import Clock, installed
from simulation.disk import Store
from simulation.features_role import FeaturesRole
from simulation.index import Index
from simulation.index_role import EventsRole
from simulation.map_role import TopicsRole
from simulation.role import Role
from simulation.worker import Worker
from stream.scene import Scene

STEPS_MAX = 400_000
CALM_AFTER = 4_000
"""Boundaries crossed before all faults cease, so that every history has an end."""
DAYS_AWAY = 8
"""How long nobody comes until the group's offsets have expired."""
CLOCK_STEPS_MS = (1_000, 3_600_000, 86_400_000)
ROLES: dict[str, type[Role]] = {role.name: role for role in (FeaturesRole, EventsRole, FilesRole, TopicsRole)}


class World:
    """What outlives a worker.

    Args:
        seed: of everything.
        role: by its name.
        scene: the records.
        odds: of the faults, until CALM_AFTER boundaries were crossed.
        slots: workers at a time.
        as_of: of the final rows.
    """

    def __init__(self, seed: int, role: str, scene: Scene, odds: Odds, slots: int, as_of: int) -> None:
        self.rng = np.random.default_rng([seed, 77])
        self.scene, self.stormy, self.as_of, self.calm_after = scene, odds, as_of, CALM_AFTER
        self.odds = odds
        topics = ROLES[role].topics
        self.logs = {where: log for where, log in scene.logs.items() if where.topic in topics}
        self.partitions = len({where.number for where in self.logs})
        self.clock = Clock(1_700_000_000_000)
        self.disk = Store()
        self.wire: list[bytes] = []
        self.role = ROLES[role](self)
        self.index_store = Index(self.role.poison())
        self.group = Coordinator(self.partitions, self.role.on_commit)
        self.workers: dict[int, Worker] = {}
        self.slots = [f"worker-{n}" for n in range(slots)]
        self.finished: set[int] = set()
        self.departed: set[str] = set()
        self.happened: Counter[str] = Counter()
        self.trace = xxhash.xxh3_64()
        self.steps = 0
        self.failure: BaseException | None = None
        self.baton = threading.Semaphore(0)

    def documents(self, name: str) -> list[dict[str, Any]]:
        """The documents of an index, months together."""
        prefix = f"{RUN}-{name}"
        return [
            json.loads(body)
            for (index, _), (_, body) in self.index_store.documents.items()
            if index == prefix or (index.startswith(f"{prefix}-") and index[len(prefix) + 1].isdigit())
        ]

    def digest(self) -> str:
        """Of everything that happened and everything that is left; equal for equal worlds."""
        self.trace.update(repr(sorted(self.index_store.documents.items())).encode())
        self.trace.update(repr(list(self.disk)).encode())
        self.trace.update(repr(self.role.letters).encode())
        return self.trace.hexdigest()

    # --- running ---

    def run(self) -> None:
        """Until everything is read, written and kept, and what was kept outlives a loss of power.

        Raises:
            AssertionError: an invariant does not hold.
        """
        with installed(self.clock, self.rng):
            self._finish()
            if self.stormy.power or self.stormy.index_gone:
                # what was lost at the very end is found by the next ones, if they have peace
                self._lose_power()
                self.calm_after = -1
                self._finish()
            for body in self.wire:
                self.index_store.apply(body)

    def run_again(self) -> None:
        """Once more, by new workers that find what was left.

        Raises:
            AssertionError: an invariant does not hold.
        """
        self._forget_ends()
        self.run()

    def check(self) -> None:
        """What is left is what the oracle counts.

        Raises:
            AssertionError: it is not.
        """
        self.role.check()

    @property
    def is_finished(self) -> bool:
        return len(self.finished) == self.partitions

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.thread.is_alive()]

    def _finish(self) -> None:
        while not (self.is_finished and not self.alive):
            self._turn()
            runnable = [worker for worker in self.alive if worker.stalled_until <= self.steps]
            if runnable:
                self._hand_to(runnable[int(self.rng.integers(len(runnable)))])
            else:
                self.steps += 5
                self.clock.pass_s(0.05)
            if self.failure is not None:
                self._end_all()
                raise self.failure
            assert self.steps < STEPS_MAX, f"no end in sight after {self.steps} steps: {self.happened}"

    def _forget_ends(self) -> None:
        self.finished.clear()
        self.departed.clear()

    def _hand_to(self, worker: Worker) -> None:
        worker.baton.release()
        self.baton.acquire()
        if worker.has_ended:
            worker.thread.join()

    def _end_all(self) -> None:
        for worker in self.alive:
            worker.die()
            self._hand_to(worker)

    # --- what happens outside of the workers ---

    def _turn(self) -> None:
        if self.steps > self.calm_after:
            self.odds = Odds(expire=0.3)
            for worker in self.alive:
                worker.stalled_until = min(worker.stalled_until, self.steps)
        if self.wire and self.rng.random() < 0.2:
            self.index_store.apply(self.wire.pop(int(self.rng.integers(len(self.wire)))))
            self.happened["late request arrived"] += 1
        if self.rng.random() < self.odds.wall_jump:
            step_ms = CLOCK_STEPS_MS[int(self.rng.integers(len(CLOCK_STEPS_MS)))]
            self.clock.wall_ms += int(self.rng.choice((-1, 1))) * step_ms
            self.happened["wall clock jumped"] += 1
        if self.rng.random() < self.odds.power:
            self._lose_power()
        if self.rng.random() < self.odds.offsets_gone:
            self._stay_away()
        self.role.turn()
        self._end_sessions()
        self._start_workers()

    def _end_sessions(self) -> None:
        speaking = {worker.instance: worker for worker in self.alive}
        for instance in list(self.group.members):
            worker = speaking.get(instance)
            idle = worker is None or worker.stalled_until > self.steps
            left = instance in self.departed and idle
            if self.rng.random() < (0.002 if left else self.odds.expire if idle else self.odds.evict):
                self.group.evict(instance)
                self.happened["session ended" if idle else "living member evicted"] += 1

    def _start_workers(self) -> None:
        speaking = {worker.instance: worker for worker in self.alive}
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

    def _lose_power(self) -> None:
        """Of the machine that all workers and their disk are on; brokers and Elasticsearch are on others."""
        self._end_all()
        self.happened["files and names lost with the power"] += self.disk.lose_power(self.rng)
        self.clock.pass_s(30.0)
        self._forget_ends()
        self.happened["power lost"] += 1

    def _stay_away(self) -> None:
        """Nobody comes until the group is forgotten."""
        if not self.group.committed:
            return
        self._end_all()
        self.group.expire()
        self.clock.pass_s(DAYS_AWAY * 86_400.0)
        self._forget_ends()
        self.happened["offsets expired"] += 1
