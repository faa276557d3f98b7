"""The index consumer: every valid event becomes one document of `RUN-events-YYYY.MM`.

The order of work, and what is done again if we die right there:

1. Read a batch. Nothing is lost or kept: the batch is read again.
2. Decode and judge it, lateness included (H of the partition, from the commit's metadata). The verdict hangs on the
   records alone: read again, it is the same.
3. Submit the valid ones to the bulk sink, and go on to read: several batches are on their way at once. The id of a
   document is that of its event and it is written with `create`: what is written again is refused as a duplicate.
4. A batch is acknowledged when each of its documents is written, was there, or is refused for good (a dead letter,
   flushed before step 5; after a crash it may stand twice).
5. Commit each partition up to its first batch that is not acknowledged, with H at that point: the batches behind it
   are read again and refused as duplicates.

Messages that are not valid or too late are the features consumer's to write to the dead letters; here they are counted.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import structlog

from consumers.bulk import BulkSink
from consumers.dead_letter import DeadLetter, DeadLetters
from consumers.documents import Doc, Outcome
from consumers.elastic import document_id
from consumers.mappings import month_indices
from consumers.offsets import CommitError, FencedError
from consumers.progress import Progress, Totals
from consumers.source import Batch, Partition, Source, Start
from features.columns import Int64
from features.decode import decode
from features.lateness import NO_HIGH, split_late
from features.schema import EVENT_LATENESS_MS, topic_name

log = structlog.get_logger("index")

ROLE: Final = "index"
TOPICS: Final = ("events",)


class Mark(msgspec.Struct, frozen=True):
    """What is committed beside an offset: the partition's H before it."""

    high: int = NO_HIGH


def read_mark(metadata: str) -> Mark:
    """The mark of a commit; a fresh one where there is none of ours."""
    try:
        return msgspec.json.decode(metadata, type=Mark)
    except msgspec.DecodeError:
        return Mark()


def write_mark(mark: Mark) -> str:
    """As it is committed."""
    return msgspec.json.encode(mark).decode()


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """Bounds of the index consumer.

    Attributes:
        batch_records: read at a time; about one bulk request.
        read_timeout_s: how long a batch may take to fill.
        commit_every_s: between commits.
        report_every_s: between reports.
        stalled_s: the sink has had no room for so long: the flow from Kafka is stopped.
        revoke_timeout_s: how long a rebalance may wait for what is on its way.
    """

    batch_records: int = 5_000
    read_timeout_s: float = 0.1
    commit_every_s: float = 1.0
    report_every_s: float = 1.0
    stalled_s: float = 10.0
    revoke_timeout_s: float = 5.0


@dataclass(slots=True)
class _Step:
    """A batch of one partition on its way."""

    next_offset: int
    high: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the documents of a submission from position `first` on come from: their messages' places in a batch."""

    first: int
    batch: Batch
    places: Int64


@dataclass(slots=True)
class _Track:
    """A partition that is ours: what is committed, and the steps behind it in order."""

    committed: int | None
    acknowledged: int
    acknowledged_high: int
    high: int
    steps: deque[_Step] = field(default_factory=deque)

    def advance(self) -> None:
        while self.steps and self.steps[0].done:
            step = self.steps.popleft()
            self.acknowledged, self.acknowledged_high = step.next_offset, step.high


class IndexRole:
    """Indexes the events of the partitions it is given.

    Args:
        source: over the topic of events (`TOPICS`), in the group of this role.
        sink: where documents go.
        run: the run's name.
        dead_letters: for documents that Elasticsearch refuses for good; without it they are told in the log alone.
        options: its bounds.
    """

    def __init__(
        self,
        source: Source,
        sink: BulkSink,
        run: str,
        *,
        dead_letters: DeadLetters | None = None,
        options: IndexOptions | None = None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._run = run
        self._dead_letters = dead_letters
        self._options = options or IndexOptions()
        self._encode = msgspec.json.Encoder().encode
        self._tracks: dict[Partition, _Track] = {}
        self._counts: Counter[str] = Counter()
        self._committed_s = self._reported_s = self._asked_s = 0.0

    def run(
        self,
        stop: Callable[[], bool],
        until: Mapping[tuple[str, int], int] | None = None,
        report: Callable[[Progress], None] = lambda _: None,
    ) -> Totals:
        """Reads, indexes and commits until told to stop, or until the whole group has committed up to `until`.

        Args:
            stop: asked about ten times a second.
            until: (full topic name, partition) -> offset, as `consumers.kafka.end_offsets` gives it.
            report: hears how it goes about once a second.

        Raises:
            ShopstreamError: credentials refused, records deleted before they were read, another worker with this id.
        """
        options = self._options
        self._source.open(self)
        try:
            while not stop():
                if self._has_room():
                    self._take(self._source.read(options.batch_records, options.read_timeout_s))
                self._sink.poll()
                now_s = time.monotonic()
                if now_s - self._committed_s >= options.commit_every_s:
                    self._commit()
                if now_s - self._reported_s >= options.report_every_s:
                    self._reported_s = now_s
                    report(self.progress())
                if until is not None and self._has_reached(until, now_s):
                    break
            self._settle(options.revoke_timeout_s)
        finally:
            # after an error closing tells of revoked partitions, but nothing of them may be committed any more
            self._tracks.clear()
            self._source.close()
        report(self.progress())
        return self.totals()

    def totals(self) -> Totals:
        """Counts since the start."""
        return Totals(**self._counts)

    def progress(self) -> Progress:
        """How it stands now."""
        stats = self._sink.stats()
        return Progress(
            ROLE,
            self.totals(),
            lag_records=self._source.lag(),
            waiting_records=self._sink.in_flight,
            retries=stats.retries,
            latency_p50_ms=stats.latency_p50_ms,
            latency_p99_ms=stats.latency_p99_ms,
            trouble=stats.trouble,
        )

    # --- what the source tells ---

    def assigned(self, starts: Mapping[Partition, Start]) -> None:
        """Begins with these partitions."""
        for partition, start in starts.items():
            high = read_mark(start.metadata).high
            committed = start.offset if start.metadata else None
            self._tracks[partition] = _Track(committed, start.offset, high, high)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Waits a little for what is on its way, commits what is acknowledged, and lets go."""
        if self._tracks:
            self._settle(self._options.revoke_timeout_s)
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Lets go."""
        for partition in partitions:
            self._tracks.pop(partition, None)

    # --- the steps ---

    def _has_room(self) -> bool:
        """Waits for room in the sink; while there is none for long, stays in the group with the flow stopped."""
        batch, options = self._options.batch_records, self._options
        waited_s = 0.0
        while self._sink.free() < batch:
            started_s = time.monotonic()
            self._sink.wait(options.read_timeout_s)
            waited_s += time.monotonic() - started_s
            if waited_s < options.stalled_s:
                continue
            self._source.pause()
            self._take(self._source.read(1, 0.0))
            return False
        self._source.resume()
        return True

    def _take(self, batches: Sequence[Batch]) -> None:
        docs: list[Doc] = []
        origins: list[_Origin] = []
        steps: list[_Step] = []
        for batch in batches:
            track = self._tracks[batch.partition]
            decoded = decode("events", batch.values, batch.keys, batch.append_ms)
            ts = np.array([r.ts for r in decoded.records], np.int64)
            late, track.high = split_late(ts, track.high, EVENT_LATENESS_MS)
            self._count(batch, len(decoded.rejected), int(late.sum()))
            origins.append(_Origin(len(docs), batch, decoded.positions[~late]))
            encode = self._encode
            docs += [
                Doc(index, document_id(record.event_id), encode(record), None, True)
                for index, record, is_late in zip(
                    month_indices(self._run, "events", ts), decoded.records, late.tolist(), strict=True
                )
                if not is_late
            ]
            step = _Step(batch.next_offset, track.high)
            track.steps.append(step)
            steps.append(step)
        if not steps:
            return

        def on_done(outcome: Outcome) -> None:
            self._take_outcome(outcome, origins)
            for step in steps:
                step.done = True

        self._sink.submit(docs, on_done)

    def _count(self, batch: Batch, rejected: int, late: int) -> None:
        consumed = len(batch.offsets)
        self._counts.update(consumed=consumed, rejected=rejected, late=late, valid=consumed - rejected - late)

    def _take_outcome(self, outcome: Outcome, origins: Sequence[_Origin]) -> None:
        self._counts.update(written=outcome.written, duplicates=len(outcome.conflicts), refused=len(outcome.rejected))
        for rejected in outcome.rejected:
            origin = next(o for o in reversed(origins) if o.first <= rejected.position)
            batch, place = origin.batch, int(origin.places[rejected.position - origin.first])
            topic, number = topic_name(self._run, batch.partition.topic), batch.partition.number
            log.warning("document refused", topic=topic, partition=number, offset=batch.offsets[place])
            if self._dead_letters is not None:
                error = f"Elasticsearch refuses the document: {rejected.reason}"
                self._dead_letters.send(
                    DeadLetter(topic, number, batch.offsets[place], batch.keys[place], batch.values[place], error)
                )

    def _settle(self, timeout_s: float) -> None:
        if not self._sink.flush(timeout_s):
            log.warning("documents still on their way; they will be read again", documents=self._sink.in_flight)
        self._commit()

    def _commit(self) -> None:
        self._committed_s = time.monotonic()
        offsets: dict[Partition, tuple[int, str]] = {}
        for partition, track in self._tracks.items():
            track.advance()
            if not track.steps:
                # the end of a compacted or empty partition lies behind its last record
                track.acknowledged = max(track.acknowledged, self._source.position(partition))
            if track.acknowledged != track.committed:
                offsets[partition] = (track.acknowledged, write_mark(Mark(track.acknowledged_high)))
        if not offsets:
            return
        if self._dead_letters is not None and self._dead_letters.waiting:
            self._dead_letters.flush()
        try:
            self._source.commit(offsets)
        except CommitError as error:
            log.warning("commit failed; trying again", said=str(error))
        except FencedError as error:
            if error.permanent:
                raise
            # the next read tells which partitions are gone; what was written stands, what was not is the new owner's
            log.warning("commit refused", said=str(error))
        else:
            for partition, (offset, _) in offsets.items():
                self._tracks[partition].committed = offset

    def _has_reached(self, until: Mapping[tuple[str, int], int], now_s: float) -> bool:
        mine = {(topic_name(self._run, p.topic), p.number): t for p, t in self._tracks.items()}
        if any((mine[key].acknowledged if key in mine else end) < end for key, end in until.items()):
            return False
        if any(track.committed is None or track.committed < track.acknowledged for track in mine.values()):
            self._commit()
        if now_s - self._asked_s < self._options.commit_every_s:
            return False
        self._asked_s = now_s
        return self._source.group_has_reached(until)
