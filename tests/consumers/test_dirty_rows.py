"""Laws of the dirty set: a row waits, flies or is done; no row that changed is ever lost."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumers.state.dirty_rows import DirtyRows

ROWS = 12
some_rows = st.lists(st.integers(0, ROWS - 1), unique=True, max_size=ROWS)


def rows(numbers) -> np.ndarray:
    return np.array(numbers, np.int32)


class DirtyRowsMachine(RuleBasedStateMachine):
    """Against sets of Python: rows are named by what they are, so that a renumbering must keep their names."""

    def __init__(self) -> None:
        super().__init__()
        self.dirty = DirtyRows()
        self.names = list(range(ROWS))
        """Name of each row of the table."""
        self.pending: set[int] = set()
        self.flying: dict[int, set[int]] = {}
        self.next_name = ROWS

    def named(self, numbers) -> set[int]:
        return {self.names[number] for number in numbers}

    @rule(numbers=some_rows, low_priority=st.booleans())
    def change(self, numbers, low_priority):
        numbers = [number for number in numbers if number < len(self.names)]
        self.dirty.add(rows(numbers), low_priority=low_priority)
        self.pending |= self.named(numbers)

    @rule(rows_max=st.integers(0, ROWS + 1))
    def take(self, rows_max):
        batch_id, taken = self.dirty.take_batch(rows_max)
        names = self.named(taken.tolist())
        assert len(names) == len(taken) == min(rows_max, len(self.pending))
        assert names <= self.pending
        self.pending -= names
        if names:
            assert batch_id not in self.flying
            self.flying[batch_id] = names

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def land(self, data):
        batch_id = data.draw(st.sampled_from(sorted(self.flying)))
        names = self.flying.pop(batch_id)
        elsewhere = self.pending.union(*self.flying.values())
        assert self.named(self.dirty.acknowledge(batch_id).tolist()) == names - elsewhere

    @rule(gone=some_rows)
    def compact(self, gone):
        """Rows that are done leave the table, and new ones come."""
        busy = self.pending.union(*self.flying.values())
        keep = [n not in gone or name in busy for n, name in enumerate(self.names)]
        moved = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
        self.dirty.renumber(moved)
        self.names = [name for name, stored in zip(self.names, keep, strict=True) if stored]
        while len(self.names) < ROWS:
            self.names.append(self.next_name)
            self.next_name += 1

    @rule()
    def nothing_moved(self):
        self.dirty.renumber(None)

    @invariant()
    def every_row_is_where_it_belongs(self):
        unwritten = self.dirty.unwritten().tolist()
        assert unwritten == sorted(set(unwritten))
        assert self.named(unwritten) == self.pending.union(*self.flying.values())
        assert len(self.dirty) == len(self.pending)
        assert self.dirty.in_flight == sum(map(len, self.flying.values()))


TestDirtyRows = DirtyRowsMachine.TestCase
TestDirtyRows.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_changed_rows_are_taken_before_low_priority_rows():
    dirty = DirtyRows()
    dirty.add(rows([3, 1]), low_priority=True)
    dirty.add(rows([7]))
    assert dirty.take_batch(2)[1].tolist() == [7, 3]


def test_row_in_two_batches_is_done_with_the_later_batch():
    """An order placed and cancelled while Elasticsearch is slow; its record is needed until the second is written."""
    dirty = DirtyRows()
    dirty.add(rows([5]))
    first, _ = dirty.take_batch(1)
    dirty.add(rows([5]))
    second, _ = dirty.take_batch(1)
    assert dirty.acknowledge(first).tolist() == []
    assert dirty.unwritten().tolist() == [5]
    assert dirty.acknowledge(second).tolist() == [5]
    assert dirty.unwritten().tolist() == []


def test_memory_is_bounded_by_the_table():
    dirty = DirtyRows()
    for _ in range(1_000):
        dirty.add(rows(range(ROWS)))
    assert len(dirty) == ROWS
    assert sum(map(len, dirty._changed)) == ROWS
    assert len(dirty._changed) < 10, "an empty list for each call is a queue that grows"
