"""A source that knows which partitions its group has given it, so that the parent can be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.kafka.source import AssignmentListener, CommittedOffset, Partition, Source


class AttendedSource(Source):
    """As `Source`, and it remembers the assignment."""

    _attendance: _Attendance | None = None

    def open(self, owner: AssignmentListener) -> None:
        """As `Source.open`."""
        self._attendance = _Attendance(owner)
        super().open(self._attendance)

    def owned(self) -> tuple[int, ...] | None:
        """Partition numbers; None while the group has given no answer yet."""
        return None if self._attendance is None else self._attendance.numbers()


class _Attendance:
    """Stands between the source and the owner, and keeps a list."""

    def __init__(self, owner: AssignmentListener) -> None:
        self._owner = owner
        self._partitions: set[Partition] | None = None

    def numbers(self) -> tuple[int, ...] | None:
        if self._partitions is None:
            return None
        return tuple(sorted({partition.number for partition in self._partitions}))

    def assigned(self, starts: Mapping[Partition, CommittedOffset]) -> Mapping[Partition, int] | None:
        chosen = self._owner.assigned(starts)
        self._partitions = (self._partitions or set()) | set(starts)
        return chosen

    def revoked(self, partitions: Sequence[Partition]) -> None:
        self._owner.revoked(partitions)
        self._forget(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        self._owner.lost(partitions)
        self._forget(partitions)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        self._partitions = (self._partitions or set()) - set(partitions)
