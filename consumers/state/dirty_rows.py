"""Tracks which rows are pending for a sink: each once, with its newest state, however often it changed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.state.tables import Int32


class DirtyRows:
    """Row numbers pending for a sink: first changed rows, then rows that only grew older.

    A row taken is in flight until it is acknowledged; if it changes meanwhile, it is pending again. The number of rows
    of the table is the limit: a slow sink makes rows newer, never the queue longer.
    """

    def __init__(self) -> None:
        self._pending = np.zeros(0, np.bool_)
        self._changed: list[Int32] = []
        self._low_priority: list[Int32] = []
        self._batches: dict[int, Int32] = {}
        self._next_batch = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def in_flight(self) -> int:
        """Number of rows taken and not yet acknowledged."""
        return sum(len(rows) for rows in self._batches.values())

    def add(self, rows: Int32, *, low_priority: bool = False) -> None:
        """Mark rows as dirty; `low_priority` ones come after those that changed."""
        if len(rows) == 0:
            return
        needed = int(rows.max()) + 1
        if needed > len(self._pending):
            grown = np.zeros(max(needed, len(self._pending) * 2), np.bool_)
            grown[: len(self._pending)] = self._pending
            self._pending = grown
        new = rows[~self._pending[rows]]
        if len(new) == 0:
            return
        self._pending[new] = True
        self._count += len(new)
        (self._low_priority if low_priority else self._changed).append(new)

    def take_batch(self, rows_max: int) -> tuple[int, Int32]:
        """Return a batch id and up to `rows_max` distinct rows."""
        taken: list[Int32] = []
        room = rows_max
        for queue in (self._changed, self._low_priority):
            while queue and room > 0:
                rows = queue.pop(0)
                if len(rows) > room:
                    queue.insert(0, rows[room:])
                    rows = rows[:room]
                taken.append(rows)
                room -= len(rows)
        rows = np.concatenate(taken) if taken else np.zeros(0, np.int32)
        self._pending[rows] = False
        self._count -= len(rows)
        batch_id = self._next_batch
        if len(rows):
            self._next_batch += 1
            self._batches[batch_id] = rows
        return batch_id, rows

    def acknowledge(self, batch_id: int) -> Int32:
        """Acknowledge a batch; return its rows that are done: neither dirty nor in a later batch."""
        rows = self._batches.pop(batch_id)
        done: Int32 = rows[~self._pending[rows]]
        for other in self._batches.values():
            done = done[~np.isin(done, other)]
        return done

    def unwritten(self) -> Int32:
        """Return the dirty rows and those in flight: a checkpoint holds them, and the table must keep them."""
        return np.unique(np.concatenate([np.flatnonzero(self._pending).astype(np.int32), *self._batches.values()]))

    def renumber(self, new_number: Int32 | None) -> None:
        """Follow the rows of a compacted table, which still has all rows of this set."""
        if new_number is None:
            return
        pending: npt.NDArray[np.bool_] = np.zeros(len(self._pending), np.bool_)
        self._changed = [new_number[rows] for rows in self._changed]
        self._low_priority = [new_number[rows] for rows in self._low_priority]
        self._batches = {batch_id: new_number[rows] for batch_id, rows in self._batches.items()}
        for rows in (*self._changed, *self._low_priority):
            pending[rows] = True
        self._pending = pending
