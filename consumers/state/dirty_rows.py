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
        self._waiting = np.zeros(0, np.bool_)
        self._changed: list[Int32] = []
        self._aged: list[Int32] = []
        self._flights: dict[int, Int32] = {}
        self._next_flight = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def in_flight(self) -> int:
        """Number of rows taken and not yet acknowledged."""
        return sum(len(rows) for rows in self._flights.values())

    def add(self, rows: Int32, *, aged: bool = False) -> None:
        """Mark rows as dirty; `aged` ones come after those that changed."""
        if len(rows) == 0:
            return
        needed = int(rows.max()) + 1
        if needed > len(self._waiting):
            grown = np.zeros(max(needed, len(self._waiting) * 2), np.bool_)
            grown[: len(self._waiting)] = self._waiting
            self._waiting = grown
        new = rows[~self._waiting[rows]]
        if len(new) == 0:
            return
        self._waiting[new] = True
        self._count += len(new)
        (self._aged if aged else self._changed).append(new)

    def take(self, rows_max: int) -> tuple[int, Int32]:
        """Return a batch id and up to `rows_max` distinct rows."""
        taken: list[Int32] = []
        room = rows_max
        for queue in (self._changed, self._aged):
            while queue and room > 0:
                rows = queue.pop(0)
                if len(rows) > room:
                    queue.insert(0, rows[room:])
                    rows = rows[:room]
                taken.append(rows)
                room -= len(rows)
        rows = np.concatenate(taken) if taken else np.zeros(0, np.int32)
        self._waiting[rows] = False
        self._count -= len(rows)
        flight = self._next_flight
        if len(rows):
            self._next_flight += 1
            self._flights[flight] = rows
        return flight, rows

    def landed(self, flight: int) -> Int32:
        """Acknowledge a batch; return its rows that are done: neither dirty nor in a later batch."""
        rows = self._flights.pop(flight)
        done: Int32 = rows[~self._waiting[rows]]
        for other in self._flights.values():
            done = done[~np.isin(done, other)]
        return done

    def unwritten(self) -> Int32:
        """Return the dirty rows and those in flight: a checkpoint holds them, and the table must keep them."""
        return np.unique(np.concatenate([np.flatnonzero(self._waiting).astype(np.int32), *self._flights.values()]))

    def renumber(self, new_number: Int32 | None) -> None:
        """Follow the rows of a compacted table, which still has all rows of this set."""
        if new_number is None:
            return
        waiting: npt.NDArray[np.bool_] = np.zeros(len(self._waiting), np.bool_)
        self._changed = [new_number[rows] for rows in self._changed]
        self._aged = [new_number[rows] for rows in self._aged]
        self._flights = {flight: new_number[rows] for flight, rows in self._flights.items()}
        for rows in (*self._changed, *self._aged):
            waiting[rows] = True
        self._waiting = waiting
