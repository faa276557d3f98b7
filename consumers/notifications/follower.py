"""Follows the topic of alerts and delivers each to every target, at least once.

Each target has a thread and its own position in a partition, so a target that does not answer delays no other. The
committed offset is the position of the slowest target, and its metadata names the positions of the others. What a crash
after each step leaves:

1. A target has answered. Crash: it gets this alert again, with the same id.
2. The alert is delivered, or noted as set aside (on disk). Crash: as above; a second note is recognised.
3. The offset is committed. The alert is not sent again.

An offset is never committed before every target has come that far. The first start of a run's group begins at the end
of the topic, and commits it at once: alerts of that moment on are not lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

import msgspec

from connectors.clock import iso, wall_clock_ms
from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.offsets import FencedError, commit_with_retry, committed, partitions_of, try_commit, watermarks
from connectors.kafka.offsets import commit as commit_offsets
from connectors.kafka.source import CommittedOffset, GapError, Partition, Source
from consumers.notifications.delivery import Courier, Target
from consumers.notifications.message import Notification
from consumers.notifications.set_aside import SetAside, SetAsideEntry
from features.errors import ShopstreamError
from features.schema import ALERT_TOPIC, group_name, topic_name
from features.scores.alerts import Alert, decode_alert

GROUP: Final = "notify"
READ_MAX: Final = 500
READ_WAIT_S: Final = 0.5
COMMIT_EVERY_S: Final = 1.0
WAITING_MAX: Final = 10_000
"""Alerts that a target may be behind before reading pauses."""
METADATA_CHARS_MAX: Final = 4_000
"""Brokers accept 4,096 bytes. Without positions, targets that are ahead get some alerts again."""
LEAVE_S: Final = 15
"""Seconds after which a former process is no member of the group: longer than its session (8 s)."""
JOIN_S: Final = 25.0
"""Longest wait for running attempts at the end; longer than the time-outs of one attempt."""

NOT_AN_ALERT: Final = "the message is not an alert"
"""Reason of a message that no target can get."""

Compose = Callable[[Alert], Notification]


@dataclass(slots=True)
class _Assignment:
    """A partition from its assignment to its revocation: the next offset of each target."""

    next_offsets: dict[str, int]
    committed: tuple[int, str]
    active: bool = True

    def position(self) -> tuple[int, str]:
        """Return the offset to commit, and the positions of the targets that are ahead of it."""
        lowest = min(self.next_offsets.values())
        ahead = {name: offset for name, offset in self.next_offsets.items() if offset > lowest}
        metadata = msgspec.json.encode(ahead).decode()
        return lowest, metadata if len(metadata) <= METADATA_CHARS_MAX else "{}"


@dataclass(frozen=True, slots=True)
class _Work:
    """An alert for one target."""

    assignment: _Assignment
    partition: Partition
    offset: int
    value: bytes | None


@dataclass(slots=True)
class Follower:
    """Reads alerts as a member of the group `notify`, and delivers them. Use `follow`.

    Attributes:
        properties: librdkafka properties.
        run: name of the run.
        instance_id: id of this member of the group, the same after a restart, which then gets its partitions at once.
        targets: targets of alerts, at least one.
        give_up_after_s: time of unsuccessful attempts after which an alert is set aside, seconds.
        compose: function that makes a notification of an alert.
        set_aside: notes of alerts that could not be delivered.
        on_message: callback with a sentence for people; called from several threads.
    """

    properties: Mapping[str, Any]
    run: str
    instance_id: str
    targets: Sequence[Target]
    give_up_after_s: float
    compose: Compose
    set_aside: SetAside
    on_message: Callable[[str], None]
    couriers: list[Courier] = field(default_factory=list)
    _assignments: dict[Partition, _Assignment] = field(default_factory=dict)
    _queues: dict[str, SimpleQueue[_Work | None]] = field(default_factory=dict)
    _done: SimpleQueue[tuple[str, _Work] | Exception] = field(default_factory=SimpleQueue)
    _source: Source | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    def follow(self, stopped: Callable[[], bool], clock_s: Callable[[], float], sleep: Callable[[float], None]) -> None:
        """Deliver alerts until the process ends.

        Args:
            stopped: whether to end.
            clock_s: monotonic seconds.
            sleep: function that waits for seconds.

        Raises:
            ShopstreamError: Kafka refuses or does not answer, or a note cannot be written.
        """
        group = group_name(self.run, GROUP)
        # apart from the member: the commit of a static member that has not joined is a fatal error of its client
        with closing(open_consumer(consumer_config(self.properties, group))) as outside:
            begin(outside, self.run, self.on_message, sleep)
        consumer = open_consumer(consumer_config(self.properties, group, self.instance_id))
        names = ", ".join(target.name for target in self.targets)
        self.on_message(f"following the alerts of {self.run}: {names}")
        self._source = source = Source(consumer, self.run, [ALERT_TOPIC])
        self._queues = {target.name: SimpleQueue() for target in self.targets}

        def ending() -> bool:
            return stopped() or self._ended.is_set()

        self.couriers = [
            Courier(target, self.give_up_after_s, ending, clock_s, sleep, self.on_message) for target in self.targets
        ]
        threads = [
            threading.Thread(target=self._work, args=(courier,), name=courier.target.name, daemon=True)
            for courier in self.couriers
        ]
        for thread in threads:
            thread.start()
        try:
            source.open(self)
            committed_s = clock_s()
            while not stopped():
                if max(queue.qsize() for queue in self._queues.values()) < WAITING_MAX:
                    source.resume()
                else:
                    source.pause()
                for batch in source.read(READ_MAX, READ_WAIT_S):
                    self._enqueue(batch.partition, batch.offsets, batch.values)
                self._collect()
                if clock_s() - committed_s >= COMMIT_EVERY_S:
                    self._commit()
                    committed_s = clock_s()
        finally:
            self._ended.set()
            for queue in self._queues.values():
                queue.put(None)
            end_s = clock_s() + JOIN_S
            for thread in threads:
                thread.join(max(0.0, end_s - clock_s()))
            # calls `revoked`, which commits
            source.close()

    # --- callbacks of the source ---

    def assigned(self, starts: Mapping[Partition, CommittedOffset]) -> Mapping[Partition, int] | None:
        """Take over partitions, with the positions of the targets that were ahead."""
        for partition, start in starts.items():
            ahead = _positions(start.metadata)
            positions = {name: max(start.offset, ahead.get(name, start.offset)) for name in self._queues}
            self._assignments[partition] = _Assignment(positions, (start.offset, start.metadata))
        return None

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Commit what is delivered; what waits is delivered by the next owner."""
        self._collect()
        self._commit()
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Drop what waits."""
        for partition in partitions:
            assignment = self._assignments.pop(partition, None)
            if assignment is not None:
                assignment.active = False

    # --- between the threads ---

    def _enqueue(self, partition: Partition, offsets: Sequence[int], values: Sequence[bytes | None]) -> None:
        assignment = self._assignments[partition]
        for offset, value in zip(offsets, values, strict=True):
            for name, queue in self._queues.items():
                if offset >= assignment.next_offsets[name]:
                    queue.put(_Work(assignment, partition, offset, value))

    def _collect(self) -> None:
        """Note what the threads have finished. Raises the error of a thread."""
        while True:
            try:
                finished = self._done.get_nowait()
            except Empty:
                return
            if isinstance(finished, Exception):
                raise finished
            name, work = finished
            work.assignment.next_offsets[name] = work.offset + 1

    def _commit(self) -> None:
        assert self._source is not None
        source = self._source
        positions = {partition: one.position() for partition, one in self._assignments.items()}
        due = {
            partition: position
            for partition, position in positions.items()
            if position != self._assignments[partition].committed
        }
        if due and try_commit(lambda: source.commit(due)):
            for partition, position in due.items():
                self._assignments[partition].committed = position

    def _work(self, courier: Courier) -> None:
        """Deliver the alerts of one target, in a thread of its own."""
        name = courier.target.name
        try:
            while (work := self._queues[name].get()) is not None:
                if not work.assignment.active:
                    continue
                if not self._deliver(courier, work):
                    return
                self._done.put((name, work))
        except Exception as error:  # noqa: BLE001 - the main thread raises it
            self._done.put(error)

    def _deliver(self, courier: Courier, work: _Work) -> bool:
        """Deliver or set aside one alert. Return whether it is finished."""
        if work.value is None:
            return True
        alert = decode_alert(work.value)
        if alert is None:
            courier.counts.set_aside += 1
            self._note(courier, work, NOT_AN_ALERT)
            return True
        if alert.churn_risk not in courier.target.risks:
            return True
        outcome = courier.deliver(self.compose(alert))
        if outcome is None:
            return False
        if outcome.kind == "refused":
            self._note(courier, work, outcome.reason)
        return True

    def _note(self, courier: Courier, work: _Work, reason: str) -> None:
        name = courier.target.name
        at = iso(wall_clock_ms())
        self.set_aside.add(SetAsideEntry(at, name, work.partition.number, work.offset, reason))
        self.on_message(f"{name}: an alert is set aside: {reason}")


def begin(consumer: Any, run: str, on_message: Callable[[str], None], sleep: Callable[[float], None]) -> None:
    """Commit the position at which the group begins, of each partition without a usable one.

    A new group begins at the end. A group whose next alerts are deleted begins at the first retained one.

    Raises:
        ShopstreamError: the topic does not exist, Kafka does not answer, or another process is a member of a new group.
    """
    partitions = partitions_of(consumer, [topic_name(run, ALERT_TOPIC)])
    positions = committed(consumer, partitions)
    starts = {}
    for partition, (low, high) in watermarks(consumer, partitions).items():
        position = positions.get(partition)
        if position is None:
            starts[partition] = (high, "{}")
        elif not low <= position[0] <= high:
            starts[partition] = (low, "{}")
            lost = low - position[0] if position[0] < low else 0
            text = f"{lost:,} alerts were deleted before they were read" if lost else "the topic was created again"
            on_message(f"{partition.topic}[{partition.partition}]: {text}; reading begins at its first alert")
    for left in reversed(range(LEAVE_S)):
        try:
            commit_with_retry(lambda: commit_offsets(consumer, starts))
        except FencedError:
            # the group accepts it when it has no member; a former process is one until its session ends
            if not left:
                raise
            sleep(1.0)
        else:
            return


def _positions(metadata: str) -> dict[str, int]:
    """Return the positions in the metadata of a commit; none if it has another form."""
    try:
        return msgspec.json.decode(metadata or "{}", type=dict[str, int])
    except msgspec.MsgspecError:
        return {}


def read_alert(properties: Mapping[str, Any], run: str, partition: int, offset: int) -> bytes | None:
    """Return the value of one alert; None if it is deleted.

    Raises:
        ShopstreamError: Kafka does not answer or refuses.
    """
    consumer = open_consumer(consumer_config(properties, group_name(run, GROUP)))
    source = Source(consumer, run, [ALERT_TOPIC])
    try:
        try:
            source.open_at({Partition(ALERT_TOPIC, partition): offset})
        except GapError:
            return None
        for _ in range(20):
            for batch in source.read(1, READ_WAIT_S):
                return batch.values[0] if batch.offsets[0] == offset else None
    finally:
        source.close()
    # a slow cluster is no deletion: the note of the alert stays
    raise ShopstreamError(f"Kafka has not returned the alert at {partition}:{offset} in time.", "Try again later.")
