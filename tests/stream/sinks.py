"""The topics that a played features consumer writes to, and where its bundles come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from connectors.elasticsearch.documents import Rejected
from consumers.dead_letters.producer import DeadLetter
from consumers.features.documents import CustomerRows
from features.scores.score import Scoring

if TYPE_CHECKING:
    from stream.world import World


class PlayedTopic:
    """Stands for consumers.features.transactional_topic.FencedTopic."""

    last_error = None

    def __init__(self, world: World) -> None:
        self._world, self._rng = world, world.rng
        self._waiting: list[Callable[[list[Rejected]], None]] = []

    def free(self) -> int:
        return int(self._rng.choice((0, 7, 20_000)))

    def send(self, rows: CustomerRows, on_done: Callable[[list[Rejected]], None]) -> None:
        for customer, line in zip(rows.customer_ids, rows.lines, strict=True):
            self._world.rows[customer].append((rows.version, json.loads(line)))
        self._waiting.append(on_done)

    def poll(self) -> None:
        while self._waiting and self._rng.random() < 0.6:
            self._waiting.pop(0)([])

    def renew(self) -> None:
        """One owner, one generation."""

    def drop(self) -> None:
        """As `renew`."""

    def close(self) -> None:
        """Nothing of it is missed."""


class PlayedAlerts:
    """Stands for the topic of alerts: of what is sent, a death may leave some."""

    def __init__(self, world: World) -> None:
        self._world, self._rng = world, world.rng
        self._waiting: list[tuple[list[bytes], Callable[[list[Rejected]], None]]] = []

    def free(self) -> int:
        return int(self._rng.choice((0, 1, 100)))

    def send(self, rows: CustomerRows, on_done: Callable[[list[Rejected]], None]) -> None:
        self._waiting.append((rows.lines, on_done))

    def poll(self) -> None:
        while self._waiting and self._rng.random() < 0.6:
            lines, on_done = self._waiting.pop(0)
            self._world.alerts += map(json.loads, lines)
            on_done([])

    def close(self) -> None:
        for lines, _ in self._waiting:
            self._world.alerts += [json.loads(line) for line in lines if self._rng.random() < 0.5]


class PlayedScoring:
    """Stands for consumers.features.scoring.LiveScoring: the next bundle comes at any time."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def current(self) -> Scoring:
        return self._world.scorings[self._world.scorings_seen]

    def poll(self) -> bool:
        more = self._world.scorings_seen < len(self._world.scorings) - 1 and self._world.rng.random() < 0.02
        self._world.scorings_seen += more
        return more

    def close(self) -> None:
        """Nothing is open."""


class PlayedDeadLetters:
    """Stands for consumers.dead_letters.producer.DeadLetters: what is not flushed dies with the worker."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._unsafe: list[DeadLetter] = []

    def send(self, dead_letter: DeadLetter) -> None:
        self._unsafe.append(dead_letter)

    def flush(self, timeout_s: float = 0.0) -> None:
        taken, self._unsafe[:] = list(self._unsafe), []
        self._world.letters += taken

    def close(self) -> None:
        """A death does not flush, so neither does the end: a checkpoint came before it."""
