"""Builds the state from an archive, range by range in time order, and evaluates it at each cut-off."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from features.definitions import evaluate
from features.errors import UsageError
from features.records.archive_columns import millis_column, one_array
from features.records.archive_rows import event_rows, order_rows
from features.records.columns import EventColumns, OrderColumns, where
from features.schema import ABANDONED_AFTER_MS, DAY_COLUMN, DAY_MS
from features.state.repetitions import earliest_first
from features.state.state import State

CUSTOMERS_PER_BATCH = 50_000

ReadDay = Callable[[str, int], Iterable[pa.Table]]
"""Tables of a topic (`events`, `orders`) for a UTC day, given as days since 1970-01-01."""


def known_at(read_day: ReadDay, as_of: int) -> ReadDay:
    """Return a reader of the data known at a time: no later day, and of that day only the rows up to the time.

    Args:
        read_day: reader of the whole archive.
        as_of: time, epoch ms.
    """

    def read(topic: str, day: int) -> Iterable[pa.Table]:
        if day > as_of // DAY_MS:
            return ()
        tables = read_day(topic, day)
        return tables if day < as_of // DAY_MS else (_up_to(table, DAY_COLUMN[topic], as_of) for table in tables)

    return read


def _up_to(table: pa.Table, time: str, as_of: int) -> pa.Table:
    if time not in table.column_names:
        return table
    at = millis_column(one_array(table.column(time)))
    # rows without a time stay, so that validation counts them
    return table.filter(pa.array(at.null | at.wrong | (at.values <= as_of)))


@dataclass(slots=True)
class ArchiveCounts:
    """Counts of the rows of an archive."""

    read: Counter[str] = field(default_factory=Counter)
    """Rows read, by topic."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Invalid rows, by reason."""
    duplicates: int = 0


def rows_at(
    days: Sequence[int],
    read_day: ReadDay,
    cutoffs: Sequence[int],
    counts: ArchiveCounts | None = None,
    on_day: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the feature rows of every customer at each cut-off, in one pass over the archive.

    Args:
        days: UTC days of the archive, of either topic, as days since 1970-01-01, ascending.
        read_day: reader of the rows of one topic and day.
        cutoffs: cut-offs, epoch ms, ascending.
        counts: counts that are updated while reading.
        on_day: callback before each day is read.

    Yields:
        Cut-off and rows (definitions.ROW_SCHEMA), customers in the order of their first appearance.

    Raises:
        UsageError: the cut-offs are not ascending.
    """
    if list(cutoffs) != sorted(set(cutoffs)):
        raise UsageError("The cut-offs must be different times in ascending order.")
    totals = counts if counts is not None else ArchiveCounts()

    def ranges() -> Iterator[TimeRange]:
        for day in days:
            yield TimeRange(day * DAY_MS, (day + 1) * DAY_MS - 1, functools.partial(read, day))

    def read(day: int) -> tuple[list[EventColumns], list[OrderColumns]]:
        on_day(day)
        return _read(read_day, day, totals)

    yield from rows_of(ranges(), cutoffs, totals)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Records of a time range, read on demand.

    Attributes:
        first: epoch ms; all records with an earlier ts (orders: updated_ts) are in earlier ranges.
        last: epoch ms; no record of the range is later.
        read: function that returns the valid records, in any order. Of events with one id the earliest counts.
    """

    first: int
    last: int
    read: Callable[[], tuple[list[EventColumns], list[OrderColumns]]]


def rows_of(
    ranges: Iterable[TimeRange], cutoffs: Sequence[int], counts: ArchiveCounts
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the feature rows of every customer at each cut-off, in one pass over time ranges.

    Args:
        ranges: time ranges in ascending time order; two may share a millisecond.
        cutoffs: cut-offs, epoch ms, ascending, each once.
        counts: counts to which duplicates are added.

    Yields:
        Cut-off and rows, as in `rows_at`.
    """
    state = State()
    left = list(cutoffs)
    for time_range in ranges:
        while left and left[0] < time_range.first:
            yield left[0], evaluate_all(state, left.pop(0))
        if not left:
            return
        events, orders = time_range.read()
        first, again = earliest_first(events)
        batches = first if again is None else [*first, again]
        applied_to = -1
        # a cut-off within the range splits it: records are applied only up to that cut-off
        while left and left[0] < time_range.last:
            _apply(state, batches, orders, applied_to, left[0], time_range.first, counts)
            applied_to = left[0]
            yield left[0], evaluate_all(state, left.pop(0))
        _apply(state, batches, orders, applied_to, time_range.last, time_range.first, counts)
        # batch runs write no session documents, so abandoned carts need neither a list entry nor their strings
        state.abandoned(time_range.last, ABANDONED_AFTER_MS)
        no_rows = np.zeros(0, np.int32)
        # archives hold sessions of any length and rows may reopen them: only strings and ids expire
        state.expire(no_rows, no_rows, keep_sessions=True)
    for cutoff in left:
        yield cutoff, evaluate_all(state, cutoff)


def evaluate_all(state: State, as_of: int) -> pl.DataFrame:
    """Return the rows of every customer of a state, evaluated in batches of bounded size."""
    everyone = np.arange(state.customer_count, dtype=np.int32)
    starts = range(0, max(len(everyone), 1), CUSTOMERS_PER_BATCH)
    return pl.concat([evaluate(state, everyone[start : start + CUSTOMERS_PER_BATCH], as_of) for start in starts])


def _read(read_day: ReadDay, day: int, counts: ArchiveCounts) -> tuple[list[EventColumns], list[OrderColumns]]:
    events: list[EventColumns] = []
    for table in read_day("events", day):
        counts.read["events"] += table.num_rows
        batch = event_rows(table)
        counts.rejected += batch.rejected
        events.append(batch.columns)
    orders: list[OrderColumns] = []
    for table in read_day("orders", day):
        counts.read["orders"] += table.num_rows
        changes = order_rows(table)
        counts.rejected += changes.rejected
        orders.append(changes.columns)
    return events, orders


def _apply(
    state: State,
    events: Sequence[EventColumns],
    orders: Sequence[OrderColumns],
    after: int,
    up_to: int,
    first: int,
    counts: ArchiveCounts,
) -> None:
    """Apply the records of a range that begins at `first`, of those the ones known after one time, up to another.

    Of events with one id, the earliest is first.
    """
    for batch in events:
        part = where(batch, (batch.ts > after) & (batch.ts <= up_to))
        counts.duplicates += len(part) - state.apply_events(part, since=max(first, after + 1)).applied
    for changes in orders:
        state.apply_orders(where(changes, (changes.updated_ts > after) & (changes.updated_ts <= up_to)))
