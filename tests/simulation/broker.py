"""Kafka in memory: logs and a consumer group with static members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from simulation.boundary import Boundary
from simulation.clock import BUFFER_BYTES_MAX
from stream.feeding import FAR_MS

from connectors.kafka.offsets import CommitError, FencedError
from connectors.kafka.source import AssignmentListener, Batch, CommittedOffset, Partition
from features.errors import ShopstreamError

Messages = Sequence[tuple[bytes | None, bytes | None]]
Offsets = Mapping[Partition, tuple[int, str]]
RUN = "w"
READ_BYTES_MAX = BUFFER_BYTES_MAX // 2
"""Of a read, but for a single message."""


@dataclass
class Coordinator:
    """The group: eager rebalances, static members, a fence.

    Attributes:
        members: instance id -> the process that speaks for it now.
        shares: instance id -> partition numbers, of this generation.
        committed: what the group knows.
    """

    partitions: int
    on_commit: Callable[[int, Offsets], None]
    members: dict[str, int] = field(default_factory=dict)
    shares: dict[str, tuple[int, ...]] = field(default_factory=dict)
    committed: dict[Partition, tuple[int, str]] = field(default_factory=dict)
    generation: int = 0
    is_stable: bool = True
    joined: set[str] = field(default_factory=set)
    refused: int = 0

    def join(self, instance: str, process: int) -> None:
        """A process joins. One that takes over a known instance id gets its partitions immediately."""
        known = instance in self.members
        self.members[instance] = process
        if not known:
            self.rebalance()

    def evict(self, instance: str) -> None:
        """A session has ended."""
        del self.members[instance]
        self.rebalance()

    def sync(self, instance: str) -> None:
        """A member has given its partitions back and waits for new ones."""
        self.joined.add(instance)
        if self.joined == set(self.members):
            self.is_stable, self.generation = True, self.generation + 1
            names = sorted(self.members)
            cuts = np.array_split(np.arange(self.partitions), len(names))
            self.shares = {name: tuple(cut.tolist()) for name, cut in zip(names, cuts, strict=True)}

    def check(self, instance: str, process: int, generation: int) -> None:
        """Passes a member of this generation; between the bell and its own joining of the last one, too."""
        if instance not in self.members:
            self.refused += 1
            raise FencedError("UNKNOWN_MEMBER_ID (simulated)")
        if self.members[instance] != process:
            self.refused += 1
            raise FencedError("FENCED_INSTANCE_ID (simulated)", permanent=True)
        if generation != self.generation or (instance in self.joined and not self.is_stable):
            self.refused += 1
            raise FencedError("ILLEGAL_GENERATION or REBALANCE_IN_PROGRESS (simulated)")

    def commit(self, instance: str, process: int, generation: int, offsets: Offsets) -> None:
        """Takes a commit of a member that `check` passes."""
        self.check(instance, process, generation)
        numbers = {where.number for where in offsets}
        assert numbers <= set(self.shares[instance]), "a member commits for its own partitions alone"
        for number in sorted(numbers):
            self.on_commit(number, {where: message for where, message in offsets.items() if where.number == number})
        self.committed |= offsets

    def expire(self) -> None:
        """Nobody came for so long that the group and its offsets are forgotten."""
        self.members.clear()
        self.shares.clear()
        self.committed.clear()
        self.rebalance()

    def rebalance(self) -> None:
        """All are asked to give their partitions back."""
        self.is_stable = False
        self.joined.clear()


class GroupSource:
    """Stands for connectors.kafka.source.Source: one member's view of the logs.

    Args:
        coordinator: of the group.
        logs: of all partitions of the role's topics.
        instance: static member id.
        process: number of this life.
        boundary: of the worker.
        rng: decides what comes together.
        on_assigned: told the numbers of partitions that were given.
        full_name: of a topic in Kafka.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        logs: Mapping[Partition, Messages],
        instance: str,
        process: int,
        boundary: Boundary,
        rng: np.random.Generator,
        on_assigned: Callable[[Sequence[int]], None],
        full_name: Callable[[str], str] = lambda topic: f"{RUN}.{topic}",
    ) -> None:
        self._group, self._logs, self._instance, self._process = coordinator, logs, instance, process
        self._boundary, self._rng, self._on_assigned = boundary, rng, on_assigned
        self._full_name = full_name
        self.generation = -1
        self._owner: AssignmentListener
        self._ended: set[Partition] = set()
        self._held: set[Partition] = set()
        self.positions: dict[Partition, int] = {}
        self._paused = False

    def open(self, owner: AssignmentListener) -> None:
        self._owner = owner
        self._boundary.cross("join")
        self._group.join(self._instance, self._process)

    @property
    def owns(self) -> bool:
        """Whether the group takes this process for the owner of what it reads."""
        group = self._group
        ours = group.members.get(self._instance) == self._process and self.generation == group.generation
        return ours and group.is_stable

    def read(self, records_max: int, timeout_s: float) -> list[Batch]:
        self._boundary.cross("read")
        group = self._group
        speaker = group.members.get(self._instance)
        if speaker is not None and speaker != self._process:
            raise ShopstreamError("Kafka refuses the reader: FENCED_INSTANCE_ID (simulated).")
        if speaker is None:
            self._drop(self._owner.lost)
            group.join(self._instance, self._process)
            return []
        if not group.is_stable:
            if self._instance not in group.joined:
                self._drop(self._owner.revoked)
                # the checkpoint took its time: the session may have ended meanwhile
                if group.members.get(self._instance) == self._process and not group.is_stable:
                    group.sync(self._instance)
            return []
        if self.generation != group.generation:
            self._drop(self._owner.revoked)
            self._assign()
            return []
        batches: list[Batch] = []
        if self._paused:
            return batches
        for n in self._rng.permutation(len(self.positions)).tolist():
            batch = self._next(list(self.positions)[n], records_max)
            if batch is not None:
                batches.append(batch)
                records_max -= len(batch.values)
        return batches

    def _drop(self, tell: Callable[[Sequence[Partition]], None]) -> None:
        if self.positions:
            tell(list(self.positions))
        self.positions.clear()

    def _assign(self) -> None:
        group = self._group
        self.generation = group.generation
        own = group.shares.get(self._instance, ())
        self._on_assigned(own)
        starts = {
            where: CommittedOffset(*group.committed.get(where, (0, "")))
            for number in own
            for where in self._logs
            if where.number == number
        }
        self._ended.clear()
        self._held.clear()
        # as with librdkafka, an error of the owner is told by the call that ran it
        chosen = self._owner.assigned(starts) or {}
        self.positions = {where: chosen.get(where, start.offset) for where, start in starts.items()}

    def _next(self, where: Partition, records_max: int) -> Batch | None:
        log, start = self._logs[where], self.positions[where]
        if where in self._held:
            return None
        if start == len(log):
            self._ended.add(where)
            return None
        size = min(int(self._rng.choice((0, 1, 3, 40, 200))), records_max)
        stop = min(len(log), start + size)
        if stop <= start:
            return None
        # as the real one: bytes are bounded too
        sizes = np.cumsum([len(value or b"") for _, value in log[start:stop]])
        stop = start + max(1, int(np.searchsorted(sizes, READ_BYTES_MAX, side="right")))
        self.positions[where] = stop
        if stop == len(log) and self._rng.random() < 0.5:
            self._ended.add(where)
        part = log[start:stop]
        keys, values = [key for key, _ in part], [value for _, value in part]
        offsets = range(start, stop) if self._rng.random() < 0.5 else list(range(start, stop))
        return Batch(where, offsets, values, keys, [FAR_MS] * len(part), [()] * len(part))

    def position(self, where: Partition) -> int:
        return self.positions[where]

    def at_end(self, where: Partition) -> bool:
        return where in self._ended

    def pause_partition(self, where: Partition) -> None:
        self._held.add(where)

    def resume_partition(self, where: Partition) -> None:
        self._held.discard(where)

    def commit(self, offsets: Offsets) -> None:
        self._boundary.cross("commit")
        if self._boundary.befalls("commit_lost"):
            raise CommitError("timed out (simulated)")
        self._group.commit(self._instance, self._process, self.generation, offsets)
        self._boundary.cross("commit answer")
        if self._boundary.befalls("commit_answer_lost"):
            raise CommitError("timed out, but made (simulated)")

    def group_has_reached(self, until: Mapping[tuple[str, int], int]) -> bool:
        """Whether the whole group has committed up to `until`."""
        self._boundary.cross("ask group")
        done = {(self._full_name(where.topic), where.number): at for where, (at, _) in self._group.committed.items()}
        return all(done.get(key, -1) >= end for key, end in until.items())

    def rewind(self, where: Partition) -> int:
        self.positions[where] = 0
        self._ended.discard(where)
        return 0

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def fence(self, topic: str) -> None:
        self._boundary.cross("fence rows")
        if self._boundary.befalls("commit_lost"):
            raise CommitError("timed out (simulated)")
        self._group.check(self._instance, self._process, self.generation)
        self._boundary.cross("rows fenced")

    def lag(self) -> int:
        return sum(len(self._logs[where]) - at for where, at in self.positions.items())

    def close(self) -> None:
        """Leaves; a static member stays in the group until its session ends."""
        if not self._boundary.is_dead:
            self._drop(self._owner.revoked)
