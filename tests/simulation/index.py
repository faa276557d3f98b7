"""Elasticsearch in memory, the connection to it with its faults, and the real bulk sink without its threads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from simulation.boundary import Boundary

from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.documents import Doc, ItemResult, Outcome, SendError, SinkOptions, Verdict, encode_bulk
from connectors.elasticsearch.verdicts import item_verdict, request_verdict
from features.errors import ShopstreamError

Answer = tuple[int, dict[str, Any] | None]
OVERLOAD = {"type": "es_rejected_execution_exception", "reason": "queue is full (simulated)"}
NO_SHARD = {"type": "unavailable_shards_exception", "reason": "primary shard is not active (simulated)"}
BLOCK = {"type": "cluster_block_exception", "reason": "disk usage exceeded flood-stage watermark (simulated)"}
POISON = {"type": "document_parsing_exception", "reason": "failed to parse (simulated)"}


class Index:
    """Documents with external versions, and documents that are created once."""

    def __init__(self, poison: Sequence[tuple[str, str]] = ()) -> None:
        self.documents: dict[tuple[str, str], tuple[int, bytes]] = {}
        self.poison = frozenset(poison)
        self.conflicts = 0
        self.identities: dict[str, str] = {}
        self.made = 0

    def write(self, action: bytes, body: bytes) -> Answer:
        ((verb, head),) = json.loads(action).items()
        position = head["_index"], head["_id"]
        # what is created once is refused by whatever stands there
        version = 0 if verb == "create" else head["version"]
        assert verb == "create" or head["version_type"] == "external"
        assert len(head["_id"].encode()) <= 512
        if position in self.poison:
            return 400, POISON
        if position[0] not in self.identities:
            self._make(position[0])
        held = self.documents.get(position)
        if held is not None and held[0] >= version:
            self.conflicts += 1
            return 409, {"type": "version_conflict_engine_exception", "reason": f"{held[0]} is not lower"}
        self.documents[position] = (version, body)
        return 200 if held else 201, None

    def lose(self, name: str, rng: np.random.Generator) -> None:
        """An index is made anew or restored: some of its documents, or none, under another identity."""
        stored = float(rng.choice((0.0, 0.5)))
        for position in [position for position in self.documents if position[0] == name]:
            if rng.random() >= stored:
                del self.documents[position]
        self._make(name)

    def _make(self, name: str) -> None:
        self.made += 1
        self.identities[name] = f"identity-{self.made}"

    def apply(self, body: bytes) -> list[Answer]:
        """A whole bulk body."""
        lines = body.split(b"\n")
        return [self.write(lines[n], lines[n + 1]) for n in range(0, len(lines) - 1, 2)]


class Seen:
    """Stands for `Identities`: what was there at the last look, which was some time ago.

    Args:
        index: that is looked at.
        prefix: of the names of interest.
        rng: decides when there is another look.
    """

    def __init__(self, index: Index, prefix: str, rng: np.random.Generator) -> None:
        self._index, self._prefix, self._rng = index, prefix, rng
        self._current = self._look()

    @property
    def current(self) -> Mapping[str, str]:
        if self._rng.random() < 0.3:
            self._current = self._look()
        return self._current

    def refresh(self) -> None:
        self._current = self._look()

    def _look(self) -> dict[str, str]:
        return {name: message for name, message in self._index.identities.items() if name.startswith(self._prefix)}

    def close(self) -> None:
        """Nothing is open."""


class Connection:
    """Posts bulk bodies as the real transport does, when nothing befalls them."""

    def __init__(self, index: Index, boundary: Boundary, rng: np.random.Generator) -> None:
        self._index, self._boundary, self._rng = index, boundary, rng

    def __call__(self, body: bytes) -> list[ItemResult] | None:
        befalls = self._boundary.befalls
        self._boundary.cross("bulk request")
        if befalls("request_refused"):
            status = int(self._rng.choice((429, 429, 502, 503, 504)))
            raise request_verdict(status, {"error": OVERLOAD, "status": status})
        if befalls("request_lost"):
            raise SendError(Verdict.RETRY, "connection refused (simulated)")
        lines = body.split(b"\n")
        if len(lines) > 3 and befalls("split"):
            raise request_verdict(413, "too large (simulated)")
        if befalls("answer_lost"):
            applied = int(self._rng.integers(len(lines) // 2 + 1))
            self._index.apply(b"\n".join(lines[: 2 * applied]) + b"\n" if applied else b"")
            raise SendError(Verdict.RETRY, "connection reset (simulated)")
        answers = [self._item(lines[n], lines[n + 1]) for n in range(0, len(lines) - 1, 2)]
        self._boundary.cross("bulk answer")
        if all(error is None for _, error in answers):
            return None
        return [item_verdict(status, error) for status, error in answers]

    def _item(self, action: bytes, body: bytes) -> Answer:
        if not self._boundary.befalls("item_refused"):
            return self._index.write(action, body)
        refusals: tuple[Answer, ...] = ((429, OVERLOAD), (503, NO_SHARD), (403, BLOCK))
        return refusals[int(self._rng.integers(len(refusals)))]


class Sink(BulkSink):
    """The real sink, whose requests are carried in `poll`, in any order, instead of by threads.

    Args:
        connection: to the index.
        boundary: of the worker.
        rng: decides which request goes when.
        wire: takes what is under way when the worker ends: it may still arrive.
    """

    def __init__(self, connection: Connection, boundary: Boundary, rng: np.random.Generator, wire: list[bytes]) -> None:
        options = SinkOptions(connections=0, docs_max=40, queue_docs_max=300)
        super().__init__(connection, options, seed=0)
        self._boundary, self._rng, self._wire = boundary, rng, wire
        self._waiting: list[Any] = []

    def submit(self, docs: Sequence[Doc], on_done: Callable[[Outcome], None]) -> None:
        self._boundary.cross("submit")
        while not self._fits(len(docs)):
            self._carry_one()
        super().submit(docs, on_done)
        assert self.in_flight <= max(300, len(docs)), "documents under way are bounded"

    def wait(self, timeout_s: float) -> int:
        self._boundary.cross("wait")
        self._boundary.wait(timeout_s)
        return self.poll()

    def poll(self) -> int:
        while (self._waiting or not self._requests.empty()) and self._rng.random() < 0.6:
            self._carry_one()
        return super().poll()

    def close(self, timeout_s: float = 5.0) -> None:
        self.give_up()

    def give_up(self) -> None:
        """What is under way is out of the worker's hands."""
        self._take()
        self._wire += [encode_bulk(request.submission.docs, request.positions) for request in self._waiting]
        self._waiting.clear()

    def _take(self) -> None:
        while not self._requests.empty():
            self._waiting.append(self._requests.get())

    def _carry_one(self) -> None:
        self._take()
        request = self._waiting[int(self._rng.integers(len(self._waiting)))]
        try:
            self._deliver(request, self._rng)
        except ShopstreamError as error:
            self._end(error)
        self._waiting.remove(request)
        self._finish(request, 0.0)

    def _pause(self, verdict: Verdict, reason: str, docs: int, tries: int, rng: np.random.Generator) -> None:
        self._retries += docs
        self._trouble = reason
        self._boundary.cross("bulk pause")
