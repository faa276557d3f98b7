"""A world without servers for the features consumer: topics, a group, Elasticsearch and disasters out of one seed.

The consumer, its state, dirty sets, checkpoints and recovery are the real ones; only the clients are played. What a
crash leaves behind is what a real one leaves: commits and files that were made, documents of which only some were
written, letters that were not flushed lost.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from stream.feeding import FAR_MS
from stream.sinks import PlayedAlerts, PlayedDeadLetters, PlayedScoring, PlayedTopic

from connectors.elasticsearch.documents import Doc, Outcome, SinkStats
from connectors.kafka.offsets import CommitError, FencedError
from connectors.kafka.source import AssignmentListener, Batch, CommittedOffset, Partition
from consumers.checkpoints.coordinator import CheckpointCoordinator
from consumers.checkpoints.store import Arrays, CheckpointStore, Manifest
from consumers.dead_letters.producer import DeadLetter
from consumers.features.consumer import FeaturesConsumer
from consumers.features.sinks import ELASTIC, TOPIC, EmitTimer, Sinks
from consumers.metrics.definitions import FeaturesProgress
from features.schema import SOURCE_TOPICS
from features.scores.score import Scoring

Messages = Sequence[tuple[bytes | None, bytes | None]]


class Killed(BaseException):
    """The process ended in the middle of something."""


@dataclass(frozen=True)
class Odds:
    """How likely each disaster is at each chance it has."""

    kill: float = 0.0
    revoke: float = 0.0
    lose: float = 0.0
    fence: float = 0.0
    commit_fails: float = 0.0
    write_fails: float = 0.0
    lose_at_the_end: bool = False
    """The partitions go and come back while the final rows are being written."""
    end_with_messages: float = 0.5
    """That a partition's end is told together with its last messages, not in the call after them."""


@dataclass
class World:
    """What outlives a worker.

    Args:
        seed: of everything that happens by chance.
        logs: messages of each partition of each source topic; all topics have the same partitions.
        state: folder of the checkpoints.
        run: the run's name.
        scorings: the bundles that come one after the other, at any time.
    """

    rng: np.random.Generator
    logs: Mapping[Partition, Messages]
    state: str
    run: str = "w"
    scorings: Sequence[Scoring] = ()
    committed: dict[Partition, tuple[int, str]] = field(default_factory=dict)
    documents: dict[tuple[str, str], tuple[int, dict[str, Any]]] = field(default_factory=dict)
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(list))
    letters: list[DeadLetter] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    scorings_seen: int = 0
    kills: int = 0
    checkpoints: int = 0

    @property
    def partitions(self) -> int:
        return len({where.number for where in self.logs})

    def until(self) -> dict[tuple[str, int], int]:
        return {(f"{self.run}.{where.topic}", where.number): len(log) for where, log in self.logs.items()}

    def write(self, doc: Doc) -> bool:
        """As Elasticsearch with external versions: only over a lower one."""
        assert len(doc.id.encode()) <= 512
        held = self.documents.get((doc.index, doc.id))
        if doc.create:
            self.documents.setdefault((doc.index, doc.id), (0, json.loads(doc.body)))
            return held is None
        assert doc.version is not None
        if held is not None and held[0] >= doc.version:
            return False
        self.documents[doc.index, doc.id] = (doc.version, json.loads(doc.body))
        return True

    def index(self, name: str) -> list[dict[str, Any]]:
        """The documents of an index, months together, without their versions."""
        prefix = f"{self.run}-{name}"
        entries = {
            key: body
            for key, (_, body) in self.documents.items()
            if key[0] == prefix or (key[0].startswith(f"{prefix}-") and key[0][len(prefix) + 1].isdigit())
        }
        return [{name: value for name, value in body.items() if name != "version"} for body in entries.values()]

    def newest_rows(self) -> dict[str, dict[str, Any]]:
        """The row of highest version of each customer on the compacted topic."""
        return {customer: max(rows, key=lambda row: row[0])[1] for customer, rows in self.rows.items()}

    # --- one worker after the other ---

    def work(self, odds: Odds, final_as_of: Callable[[int], int], lives_max: int = 200) -> FeaturesProgress:
        """Worker after worker until one comes to the end."""
        for _ in range(lives_max):
            worker = Worker(self, odds)
            try:
                progress = worker.run(final_as_of)
            except Killed:
                self.kills += 1
            else:
                self.checkpoints += progress.checkpoints
                return progress
        raise AssertionError("no worker ever came to the end")


class Worker:
    """One life of a features consumer."""

    def __init__(self, world: World, odds: Odds) -> None:
        self.world = world
        self.source = PlayedSource(world, odds)
        self.elastic = PlayedElastic(world, odds, self.source)
        self.topic = PlayedTopic(world)
        self.letters = PlayedDeadLetters(world)
        self.store = store = PlayedStore(world, odds)
        self.checkpoints = CheckpointCoordinator(
            store, self.source, self.letters, run=world.run, partitions=world.partitions,  # type: ignore[arg-type]
            sinks=[ELASTIC, TOPIC], interval_s=0.0,
        )  # fmt: skip
        self.checkpoints._pool.shutdown()
        self.checkpoints._pool = PlayedPool(world.rng)  # type: ignore[assignment]
        alerts = PlayedAlerts(world)
        sinks = Sinks(world.run, self.elastic, self.topic, self.letters, alerts=alerts)  # type: ignore[arg-type]
        self.consumer = FeaturesConsumer(
            world.run, self.source, self.checkpoints, sinks, self.letters,  # type: ignore[arg-type]
            emit_timer=EmitTimer(idle_s=0.0, behind_s=0.0, share=math.inf), stale_after_s=60,
            scoring=PlayedScoring(world) if world.scorings else None,  # type: ignore[arg-type]
        )  # fmt: skip

    def run(self, final_as_of: Callable[[int], int]) -> FeaturesProgress:
        """To the end, or to its death."""

        def agreed(stream_time: int) -> int | None:
            if not self.consumer.owned():
                return None
            if self.source.odds.lose_at_the_end:
                # when all is written and kept, so that nothing but the final rows is left to do
                if self.consumer.progress().dirty or turns < 100:
                    return None
                self.source.evicted = True
            return final_as_of(stream_time)

        turns = 0

        def stop() -> bool:
            nonlocal turns
            turns += 1
            assert turns < 20_000, f"no end in sight: {self.consumer.progress()}"
            return False

        return self.consumer.run(stop, self.world.until(), agreed, lambda _: None)


class PlayedSource:
    """Stands for connectors.kafka.source.Source over the world's logs."""

    def __init__(self, world: World, odds: Odds) -> None:
        self._world, self.odds = world, odds
        self._rng = world.rng
        self._positions: dict[Partition, int] = {}
        self._ended: set[Partition] = set()
        self._held: set[Partition] = set()
        self._owner: AssignmentListener | None = None
        self.evicted = False
        self._dead = False

    def open(self, owner: AssignmentListener) -> None:
        self._owner = owner

    def read(self, records_max: int, timeout_s: float) -> list[Batch]:
        if self._rng.random() < self.odds.kill:
            self.die()
        if self._positions and not self.evicted and self._rng.random() < self.odds.revoke:
            self._owner.revoked(list(self._positions))
            self._positions.clear()
        if self._positions and (self.evicted or self._rng.random() < self.odds.lose):
            self._owner.lost(list(self._positions))
            self._positions.clear()
        if not self._positions:
            self._assign()
            return []
        return [batch for where in self._positions if (batch := self._next(where)) is not None]

    def _assign(self) -> None:
        done = self._world.committed
        starts = {where: CommittedOffset(*done.get(where, (0, ""))) for where in self._world.logs}
        self._ended.clear()
        self._held.clear()
        self.evicted = False
        chosen = self._owner.assigned(starts) or {}
        self._positions = {where: chosen.get(where, start.offset) for where, start in starts.items()}

    def _next(self, where: Partition) -> Batch | None:
        log, start = self._world.logs[where], self._positions[where]
        if where in self._held:
            return None
        if start == len(log):
            self._ended.add(where)
            return None
        size = int(self._rng.choice((0, 1, 3, 40, 500)))
        stop = min(len(log), start + size)
        if stop == start:
            return None
        self._positions[where] = stop
        if stop == len(log) and self._rng.random() < self.odds.end_with_messages:
            self._ended.add(where)
        part = log[start:stop]
        keys, values = [key for key, _ in part], [value for _, value in part]
        return Batch(where, list(range(start, stop)), values, keys, [FAR_MS] * len(part))

    def position(self, where: Partition) -> int:
        return self._positions[where]

    def at_end(self, where: Partition) -> bool:
        return where in self._ended

    def pause_partition(self, where: Partition) -> None:
        self._held.add(where)

    def resume_partition(self, where: Partition) -> None:
        self._held.discard(where)

    def commit(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        assert len(offsets) == len(SOURCE_TOPICS)
        if self.evicted or (self._positions and self._rng.random() < self.odds.fence):
            self.evicted = True
            raise FencedError("played")
        if self._positions and self._rng.random() < self.odds.commit_fails:
            raise CommitError("played")
        self._world.committed |= offsets

    def lag(self) -> int:
        return sum(len(self._world.logs[where]) - at for where, at in self._positions.items())

    def die(self) -> None:
        """The process is gone: nobody is told anything any more."""
        self._dead = True
        raise Killed

    def close(self) -> None:
        if self._positions and not self._dead:
            self._owner.revoked(list(self._positions))
            self._positions.clear()


class PlayedStore(CheckpointStore):
    """A store whose disk is full from time to time."""

    def __init__(self, world: World, odds: Odds) -> None:
        super().__init__(world.state, world.run)
        self._rng, self.fails = world.rng, odds.write_fails

    def _write_arrays(self, path: str, manifest: Manifest, arrays: Arrays) -> int:
        if self._rng.random() < self.fails:
            raise OSError("played")
        return super()._write_arrays(path, manifest, arrays)


class PlayedPool:
    """Stands for the thread that writes checkpoints: what it is given is done immediately, later, or never."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._tasks: list[PlayedTask] = []

    def submit(self, work: Callable[..., Any], *args: Any) -> PlayedTask:
        self._tasks.append(PlayedTask(self._rng, lambda: work(*args)))
        return self._tasks[-1]

    def shutdown(self, wait: bool = True) -> None:
        for task in self._tasks:
            task.done()


class PlayedTask:
    """Stands for a Future."""

    def __init__(self, rng: np.random.Generator, work: Callable[[], Any]) -> None:
        self._rng, self._work = rng, work
        self._outcome: list[Any] = []

    def done(self) -> bool:
        if not self._outcome and self._rng.random() < 0.5:
            self.exception()
        return bool(self._outcome)

    def exception(self) -> BaseException | None:
        if not self._outcome:
            try:
                self._outcome.append((self._work(), None))
            except Exception as error:  # noqa: BLE001 - as a Future does
                self._outcome.append((None, error))
        return self._outcome[0][1]

    def result(self) -> Any:
        if (error := self.exception()) is not None:
            raise error
        return self._outcome[0][0]


class PlayedElastic:
    """Stands for `BulkSink`: writes in any order, acknowledges late, and is cut off by a death."""

    last_error = None

    def __init__(self, world: World, odds: Odds, source: PlayedSource) -> None:
        self._world, self._rng, self._odds, self._source = world, world.rng, odds, source
        self._waiting: list[tuple[Sequence[Doc], Callable[[Outcome], None]]] = []

    @property
    def in_flight(self) -> int:
        return sum(len(docs) for docs, _ in self._waiting)

    def free(self) -> int:
        return int(self._rng.choice((0, 5, 1_000, 30_000)))

    def submit(self, docs: Sequence[Doc], on_done: Callable[[Outcome], None]) -> None:
        self._waiting.append((docs, on_done))

    def poll(self) -> int:
        if self._rng.random() < self._odds.kill:
            self._source.die()
        ran = 0
        while self._waiting and self._rng.random() < 0.6:
            docs, on_done = self._waiting.pop(int(self._rng.integers(len(self._waiting))))
            written = [self._world.write(doc) for doc in docs]
            conflicts = tuple(n for n, done in enumerate(written) if not done)
            on_done(Outcome(docs, sum(written), conflicts, (), 0.0))
            ran += 1
        return ran

    def _write_some(self) -> None:
        for docs, _ in self._waiting:
            for doc in docs:
                if self._rng.random() < 0.5:
                    self._world.write(doc)

    def stats(self) -> SinkStats:
        return SinkStats(0, 0, 0, 0, 0, 0, 0.0, 0.0, None)

    def close(self) -> None:
        self._write_some()
