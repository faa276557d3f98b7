"""Runs the role `features`: exact state per partition, rows and documents to the sinks, dead letters, checkpoints.

One turn of the loop, in numbered steps; `consumers.checkpoints.recovery` documents what a crash repeats:

1. Read and decode messages of the owned partitions into records, dead letters and positions.
2. Apply records in step, as far as the topics' times allow.
3. Pause a topic whose buffer is full, resume one that has drained to half.
4. Send the dead letters of the applied messages; check for a new bundle.
5. Give free sinks dirty rows; process acknowledgements.
6. Begin a checkpoint in the background when one is due; commit the one that is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal

import structlog

from connectors.clock import wall_clock_ms
from connectors.kafka.offsets import FencedError
from connectors.kafka.source import Batch, CommittedOffset, Source
from connectors.kafka.source import Partition as SourcePartition
from connectors.kafka.stop_offsets import StopOffsets, Until, check_final
from connectors.kafka.topic_buffer import BUFFER_BYTES_MAX, BUFFER_RECORDS_MAX
from consumers.checkpoints.coordinator import CheckpointCoordinator
from consumers.dead_letters.producer import DeadLetter, DeadLetters
from consumers.features.scoring import LiveScoring
from consumers.features.sinks import EmitTimer, Sinks
from consumers.metrics.definitions import FeaturesProgress
from consumers.state.partition import Counts, PartitionState
from consumers.state.placement import set_placement
from features.errors import ShopstreamError
from features.placement import Placement
from features.schema import DAY_MS, SOURCE_TOPICS, topic_name
from features.state.state import day_of

log = structlog.get_logger("features")

TURN_MAX: Final = 20_000
"""Maximum number of messages read before they are applied."""
TURN_BYTES_MAX: Final = 32 * 1024 * 1024
"""Maximum memory of these messages, bytes, approximately."""
RESUME_SHARE: Final = 0.5
"""Share of its limits to which a paused topic's buffer drains before the topic is resumed."""
READ_MAX: Final = 2_000
READ_WAIT_S: Final = 0.05
REPORT_EVERY_S: Final = 0.5

Clock = Literal["stream", "wall"]


class FeaturesConsumer:
    """Keeps the features of the partitions it owns.

    Args:
        run: name of the run.
        source: source of the three source topics, not opened yet.
        checkpoints: checkpoint coordinator.
        sinks: sinks of rows and documents.
        dead_letters: dead letters of rejected records; None only counts them.
        clock: `wall` makes as_of follow the wall clock while everything is read.
        stale_after_s: maximum age of the last poll for emission: later, another worker may own the partitions.
        scoring: source of the current bundle; None: rows have no scores.
        placement: where keys belong; None: any key is right in any partition.
    """

    def __init__(
        self,
        run: str,
        source: Source,
        checkpoints: CheckpointCoordinator,
        sinks: Sinks,
        dead_letters: DeadLetters | None,
        *,
        clock: Clock = "stream",
        stale_after_s: float = 4.0,
        emit_timer: EmitTimer | None = None,
        scoring: LiveScoring | None = None,
        placement: Placement | None = None,
    ) -> None:
        self._run = run
        self._source = source
        self._checkpoints = checkpoints
        self._sinks = sinks
        self._dead_letters = dead_letters
        self._clock = clock
        self._stale_after_s = stale_after_s
        self._emit_timer = emit_timer or EmitTimer()
        self._scoring = scoring
        self._placement = placement
        self._partitions: dict[int, PartitionState] = {}
        self._dropped_counts = Counts()
        self._ends = StopOffsets(run)
        self._polled_s = time.monotonic()
        self._behind = False
        self._turn = 0
        self._final_as_of: int | None = None
        self._final: set[int] = set()  # partitions read to their ends: their rows have the final as_of
        self._was_assigned = False
        self._reassigning = False  # partitions were taken away, and the group has not assigned others yet
        self._fenced = False

    # --- the loop ---

    def run(
        self,
        stop: Callable[[], bool],
        until: Until | None,
        final_as_of: Callable[[int], int | None],
        report: Callable[[FeaturesProgress], None],
    ) -> FeaturesProgress:
        """Consume until `stop`, or up to `until` and a final row of every customer.

        Args:
            stop: stop condition, checked between turns; a checkpoint is made before returning.
            until: (full topic name, partition) -> offset to stop at.
            final_as_of: function from this worker's max event time, once all is read, to the time of the final rows;
                None while other workers are still reading.
            report: callback for the progress, called about twice a second.

        Raises:
            ShopstreamError: an error that a retry would not resolve.
        """
        self._ends = StopOffsets(self._run, until)
        self._source.open(self)
        reported_s = 0.0
        try:
            while not stop():
                self._turn_once()
                if until is not None and self._was_assigned and self._all_read():
                    if self._final_as_of is None:
                        self._final_as_of = final_as_of(self.max_event_time)
                    self._finalise()
                    if self._final_as_of is not None and self._all_read() and self._all_written():
                        break
                if time.monotonic() - reported_s >= REPORT_EVERY_S:
                    reported_s = time.monotonic()
                    report(self.progress())
            self._sinks.poll()
            self._hand_over(list(self._partitions.values()))
        finally:
            # no checkpoint after this point: after an error the state may hold half of a batch
            self._forget(list(self._partitions.values()))
            self._checkpoints.close()
            self._source.close()
            self._sinks.close()
            if self._scoring is not None:
                self._scoring.close()
            if self._dead_letters is not None:
                self._dead_letters.close()
        report(final := self.progress())
        return final

    @property
    def max_event_time(self) -> int:
        """Max event time of the owned partitions, epoch ms; 0 if nothing was read."""
        return max((partition.state.max_event_time for partition in self._partitions.values()), default=0)

    def owned(self) -> tuple[int, ...] | None:
        """Return the numbers of the owned partitions; None before the first assignment."""
        return tuple(sorted(self._partitions)) if self._was_assigned else None

    def progress(self) -> FeaturesProgress:
        """Return the progress so far."""
        counts = Counts()
        counts.add(self._dropped_counts)
        for partition in self._partitions.values():
            counts.add(partition.counts)
        return FeaturesProgress(
            role="features",
            consumed=counts.consumed,
            valid=counts.valid,
            rejected=counts.rejected,
            late=counts.late,
            duplicates=counts.duplicates,
            applied=counts.applied,
            customers=sum(partition.state.customer_count for partition in self._partitions.values()),
            stream_ts=self.max_event_time,
            lag_records=self._source.lag() if self._partitions else 0,
            dirty=sum(self._dirty(partition) for partition in self._partitions.values()),
            **self._checkpoints.figures(),
            **self._sinks.figures(),
        )

    def _turn_once(self) -> None:
        # 1. read: in small batches, so that messages are decoded while they are in the processor's cache
        received, held_bytes, wait_s = 0, 0, READ_WAIT_S
        while received < TURN_MAX and held_bytes < TURN_BYTES_MAX and (batches := self._source.read(READ_MAX, wait_s)):
            for batch in batches:
                received += len(batch.values)
                held_bytes += self._receive(batch)
            wait_s = 0.0
        self._polled_s = time.monotonic()
        # 2. apply
        for partition in self._partitions.values():
            self._update_ends(partition)
            partition.advance()
        self._behind = received >= TURN_MAX // 2 or held_bytes >= TURN_BYTES_MAX
        # 3. pause or resume topics
        for partition in self._partitions.values():
            self._pause_or_resume(partition)
        # 4. dead letters and the bundle
        for partition in self._partitions.values():
            self._send_dead_letters(partition)
        self._follow_bundle()
        # 5. emit
        if self._emit_timer.due(behind=self._behind and self._final_as_of is None):
            self._emit()
        self._sinks.poll()
        # 6. checkpoint
        self._step_checkpoints()

    def _receive(self, batch: Batch) -> int:
        partition, counting = self._partitions.get(batch.partition.number), self._ends.cut(batch)
        return partition.receive(counting) if partition is not None and counting is not None else 0

    def _update_ends(self, partition: PartitionState) -> None:
        for topic in SOURCE_TOPICS:
            topic_partition = SourcePartition(topic, partition.number)
            if self._source.at_end(topic_partition) or self._past_until(topic_partition):
                partition.reached_end(topic)

    def _past_until(self, topic_partition: SourcePartition) -> bool:
        end = self._ends.of(topic_partition)
        return end is not None and self._source.position(topic_partition) >= end

    def _pause_or_resume(self, partition: PartitionState) -> None:
        for topic, buffer in partition.buffers.items():
            topic_partition = SourcePartition(topic, partition.number)
            share = max(buffer.waiting / BUFFER_RECORDS_MAX, buffer.waiting_bytes / BUFFER_BYTES_MAX)
            if not buffer.paused and share >= 1:
                buffer.paused = True
                self._source.pause_partition(topic_partition)
            elif buffer.paused and share <= RESUME_SHARE:
                buffer.paused = False
                self._source.resume_partition(topic_partition)

    def _send_dead_letters(self, partition: PartitionState) -> None:
        rejected, partition.rejected = partition.rejected, []
        if self._dead_letters is None:
            return
        for record in rejected:
            topic = topic_name(self._run, record.topic)
            self._dead_letters.send(
                DeadLetter(topic, partition.number, record.offset, record.key, record.value, record.error)
            )

    # --- emission ---

    def _follow_bundle(self) -> None:
        replaced = self._scoring is not None and self._scoring.poll()
        self._sinks.scoring = None if self._scoring is None else self._scoring.current
        name = "" if self._sinks.scoring is None else self._sinks.scoring.name
        for partition in self._partitions.values():
            partition.follow_bundle(name, replaced=replaced)

    def _emit(self) -> None:
        if self._fenced or time.monotonic() - self._polled_s > self._stale_after_s:
            return
        started_s = time.monotonic()
        taken = 0
        numbers = sorted(number for number in self._partitions if self._checkpoints.may_write(number))
        # a different partition starts each time, so that none starves when a sink has little room
        self._turn += 1
        for i in range(len(numbers)):
            partition = self._partitions[numbers[(i + self._turn) % len(numbers)]]
            taken += self._sinks.emit(partition, self._as_of(partition))
        if taken:
            self._emit_timer.emitted(0.0 if self._final_as_of is not None else time.monotonic() - started_s)

    def _as_of(self, partition: PartitionState) -> int:
        if self._final_as_of is not None and partition.number in self._final:
            return self._final_as_of
        max_event_time = partition.state.max_event_time
        if self._clock == "stream" or not max_event_time or not self._is_caught_up(partition):
            return max_event_time
        now = max(max_event_time, wall_clock_ms())
        partition.advance_clock(partition.last_as_of // DAY_MS if partition.last_as_of else day_of(max_event_time), now)
        partition.last_as_of = now
        return now

    def _is_caught_up(self, partition: PartitionState) -> bool:
        return partition.dry and all(buffer.at_end for buffer in partition.buffers.values())

    def _finalise(self) -> None:
        """Mark all rows of fully read partitions; a partition assigned later is marked once it is fully read."""
        if (as_of := self._final_as_of) is None:
            return
        check_final(as_of, self.max_event_time)
        for number, partition in self._partitions.items():
            if number not in self._final and self._is_read(partition):
                self._final.add(number)
                partition.advance_clock(day_of(as_of), as_of)
                partition.mark_all()

    # --- stop offsets ---

    def _all_read(self) -> bool:
        # a fenced worker, or one between two assignments, does not know yet which partitions it must read
        unknown = self._fenced or self._reassigning
        return not unknown and all(map(self._is_read, self._partitions.values()))

    def _is_read(self, partition: PartitionState) -> bool:
        return partition.dry and all(self._past_until(SourcePartition(t, partition.number)) for t in SOURCE_TOPICS)

    def _all_written(self) -> bool:
        return self._final == self._partitions.keys() and not any(
            self._dirty(partition) or len(partition.alerts) for partition in self._partitions.values()
        )

    @staticmethod
    def _dirty(partition: PartitionState) -> int:
        sets = (*partition.customers_dirty.values(), partition.sessions_dirty, partition.orders_dirty)
        return sum(len(dirty) + dirty.in_flight for dirty in sets)

    # --- checkpoints ---

    def _step_checkpoints(self) -> None:
        if self._fenced:
            return
        waiting = [partition for partition in self._partitions.values() if partition.alerts.uncommitted]
        if waiting and self._final_as_of is not None and not any(map(self._dirty, self._partitions.values())):
            # only alerts are left to send, and they wait for a commit
            self._checkpoint_now(waiting)
        else:
            with self._unless_fenced():
                self._checkpoints.step(self._partitions)

    def _checkpoint_now(self, partitions: Sequence[PartitionState]) -> None:
        if not self._fenced:
            with self._unless_fenced():
                self._checkpoints.checkpoint_now(partitions)

    @contextmanager
    def _unless_fenced(self) -> Iterator[None]:
        try:
            yield
        except FencedError as error:
            if error.permanent:
                raise
            # one of the next polls reports the assignment; until then this worker must not write
            log.warning("a commit was refused; waiting for the group", error=str(error))
            self._fenced = True

    # --- rebalance callbacks ---

    def assigned(self, starts: Mapping[SourcePartition, CommittedOffset]) -> Mapping[SourcePartition, int]:
        """Load the state of new partitions, fence former owners, and return the offsets to resume from."""
        self._was_assigned = True
        self._fenced = self._reassigning = False
        self._sinks.begin_assignment()
        offsets: dict[SourcePartition, int] = {}
        for number in sorted({started.number for started in starts}):
            own = {started.topic: start for started, start in starts.items() if started.number == number}
            missing = [topic for topic in SOURCE_TOPICS if topic not in own]
            if missing:
                raise ShopstreamError(
                    f"Partition {number} of {', '.join(missing)} is assigned to another worker: no worker reads all "
                    "records of its customers.",
                    "Use the same number of partitions for the three topics, and the range assignor for all workers.",
                )
            with self._unless_fenced():
                partition = self._partitions[number] = self._checkpoints.recover(number, own)
            if self._fenced:
                break
            if self._placement is not None:
                set_placement(partition, self._placement)
            for topic, buffer in partition.buffers.items():
                offsets[SourcePartition(topic, number)] = buffer.position
        return offsets

    def revoked(self, partitions: Sequence[SourcePartition]) -> None:
        """Write and commit checkpoints, then release the partitions."""
        self._reassigning = True
        self._hand_over(self._among(partitions))
        self._sinks.end_assignment()

    def lost(self, partitions: Sequence[SourcePartition]) -> None:
        """Drop partitions that another worker already owns; nothing of them is written any more."""
        self._reassigning = True
        self._forget(self._among(partitions))
        self._sinks.end_assignment()

    def _among(self, partitions: Sequence[SourcePartition]) -> list[PartitionState]:
        numbers = {partition.number for partition in partitions}
        return [partition for partition in self._partitions.values() if partition.number in numbers]

    def _hand_over(self, going: Sequence[PartitionState]) -> None:
        for partition in going:
            self._send_dead_letters(partition)
        self._checkpoint_now(going)
        self._forget(going)

    def _forget(self, partitions: Sequence[PartitionState]) -> None:
        for partition in partitions:
            self._dropped_counts.add(partition.counts)
            self._checkpoints.forget(partition.number)
            self._final.discard(partition.number)
            del self._partitions[partition.number]
