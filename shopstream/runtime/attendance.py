"""Track the partitions assigned to a source by its consumer group, so that the worker can report them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.kafka.source import AssignmentListener, CommittedOffset, Partition, Source


class AttendedSource(Source):
    """A `Source` that remembers its assignment."""

    _attendance: _Attendance | None = None

    def open(self, owner: AssignmentListener) -> None:
        """Open the source; see `Source.open`."""
        self._attendance = _Attendance(owner)
        super().open(self._attendance)

    def owned(self) -> tuple[int, ...] | None:
        """Return the assigned partition numbers; None before the first assignment."""
        return None if self._attendance is None else self._attendance.numbers()


class _Attendance:
    """Forwards the calls of the source to the owner and records the assigned partitions."""

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
