"""The role `index` in a simulated world: every valid event is one document."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np
from oracle.rows import Row
from simulation.broker import RUN, Offsets
from simulation.index import Connection, Seen, Sink
from simulation.producer import QueueProducer
from simulation.role import Role, Until
from stream.scene import same_documents

from connectors.elasticsearch.client import document_id
from connectors.elasticsearch.mappings import month_indices
from connectors.kafka.source import Partition
from consumers.dead_letters.producer import DeadLetters
from consumers.index.consumer import TOPICS, IndexOptions, IndexRole
from consumers.index.month_identities import digests, unpack
from consumers.index.partition_progress import PartitionProgress, read_metadata
from features.records.lateness import NO_HIGH
from features.schema import topic_name

if TYPE_CHECKING:
    from simulation.worker import Worker
    from simulation.world import World

OPTIONS = IndexOptions(batch_records=25, commit_every_s=0.01, report_every_s=1e9, stalled_s=0.5, revoke_timeout_s=1.0)


class IndexLife:
    """An index consumer in one process."""

    def __init__(self, role: EventsRole, worker: Worker) -> None:
        self._producer = QueueProducer(role.deliver, worker, role.rng)
        dead_letters = DeadLetters(self._producer, RUN)  # type: ignore[arg-type]
        world = role.world
        self._sink = Sink(Connection(world.index_store, worker, role.rng), worker, role.rng, world.wire)
        seen = Seen(world.index_store, f"{RUN}-events-", role.rng)
        self._consumer = IndexRole(
            worker.source, self._sink, RUN, dead_letters=dead_letters, options=OPTIONS, identities=seen,  # type: ignore[arg-type]
        )  # fmt: skip

    def run(self, stop: Callable[[], bool], until: Until) -> None:
        try:
            self._consumer.run(stop, until)
        finally:
            self._sink.close()

    @property
    def tracks(self) -> list[PartitionProgress]:
        """Of the partitions that it reads."""
        return list(self._consumer._owned.values())

    def has(self, number: int) -> bool:
        return False

    def die(self) -> None:
        self._producer.die()
        self._sink.give_up()

    def check_bounds(self) -> None:
        totals = self._consumer.progress()
        assert totals.consumed == totals.valid + totals.rejected + totals.late
        assert self._sink.in_flight <= 300, "documents under way are bounded"


class EventsRole(Role):
    """Documents of events, and letters of those that the index refuses."""

    name = "index"
    topics = TOPICS

    def __init__(self, world: World) -> None:
        super().__init__(world)
        logs = {where: rows for where, rows in world.scene.counting.items() if where.topic == "events"}
        events = [event for rows in logs.values() for event in rows if event is not None]
        self.places: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for event in events:
            self.places[self.place_of(event)].append(_typed(event))
        self.refused = events[int(self.rng.integers(len(events)))]["event_id"]

    def place_of(self, event: Row) -> tuple[str, str]:
        """Index and id of the document of an event; a repetition may have another month."""
        (month,) = month_indices(RUN, "events", np.array([event["ts"]], np.int64))
        return month, document_id(event["event_id"])

    def live(self, worker: Worker) -> IndexLife:
        return IndexLife(self, worker)

    def poison(self) -> Collection[tuple[str, str]]:
        return [place for place, events in self.places.items() if events[0]["event_id"] == self.refused]

    def turn(self) -> None:
        if self.rng.random() < self.world.odds.index_gone and (months := self._months_known()):
            month = months[int(self.rng.integers(len(months)))]
            self.world.index_store.lose(f"{RUN}-events-{month}", self.rng)
            self.world.happened["index lost"] += 1

    def _months_known(self) -> list[str]:
        """Whose index every worker and every commit knows: one that is lost before anybody looked is not noticed."""
        now = digests(RUN, self.world.index_store.identities)
        known = [unpack(read_metadata(message).months) for _, message in self.world.group.committed.values()]
        known += [track.months for worker in self.world.alive for track in worker.life.tracks]  # type: ignore[attr-defined]
        return [month for month, digest in sorted(now.items()) if all(has.get(month) == digest for has in known)]

    def on_commit(self, number: int, offsets: Offsets) -> None:
        """What lies before a committed offset is written, or a letter."""
        ((where, (offset, metadata)),) = offsets.items()
        before = self.world.group.committed.get(where, (0, ""))[0]
        if self.world.stormy.index_gone:
            # what was written may be gone again, until the log is read once more
            before = offset
        assert offset >= before, f"{where} went back from {before} to {offset}"
        counting = self.world.scene.counting[where]
        documents, sent = self.world.index_store.documents, {(at.partition, at.offset) for at in self.letters}
        for position in range(before, offset):
            event = counting[position]
            if event is None:
                continue
            if event["event_id"] == self.refused:
                assert (number, position) in sent, "committed before its letter"
            else:
                assert self.place_of(event) in documents, "committed before it was written"
        high = max((row["ts"] for row in counting[:offset] if row), default=NO_HIGH)
        assert read_metadata(metadata).max_event_time == high
        self.world.happened["commits"] += 1

    def check(self) -> None:
        held = self.world.index_store.documents
        assert {position for position in held if position[0].startswith(f"{RUN}-events-")} == set(self.places) - set(
            self.poison()
        )
        # repeated events in flight together come in any order: the document is one of them
        for place, events in self.places.items():
            if place in held:
                same_documents(
                    [json.loads(held[place][1])], [_found(json.loads(held[place][1]), events)], ("event_id",)
                )
        positions = {
            (topic_name(RUN, where.topic), where.number, offset)
            for where, rows in self.world.scene.counting.items()
            if where.topic == "events"
            for offset, row in enumerate(rows)
            if row is not None and row["event_id"] == self.refused
        }
        assert {(at.topic, at.partition, at.offset) for at in self.letters} == positions
        for dead_letter in self.letters:
            where = Partition("events", dead_letter.partition)
            assert (dead_letter.key, dead_letter.value) == self.world.logs[where][dead_letter.offset]


def _found(document: Row, events: list[Row]) -> Row:
    """The event of the document's ts, or the first."""
    return next((event for event in events if event["ts"] == document["ts"]), events[0])


def _typed(event: Row) -> Row:
    """As its document has it: an amount is a float."""
    return event | {name: float(event[name]) for name in ("price",) if event.get(name) is not None}
