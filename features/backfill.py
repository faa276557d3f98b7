"""State from an archive: span after span in the order of time, up to each cut-off, then queried there."""

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
from features.state.state import State

CUSTOMERS_PER_BATCH = 50_000

ReadDay = Callable[[str, int], Iterable[pa.Table]]
"""Tables of a topic (`events`, `orders`) for a UTC day, by its number since 1970-01-01."""


def known_at(read_day: ReadDay, as_of: int) -> ReadDay:
    """Reads what is known at a time: of the day in which it lies, the rows up to it, and of later days none.

    Args:
        read_day: of the whole archive.
        as_of: epoch ms.
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
    # a row without a time stays: whoever judges rows counts it
    return table.filter(pa.array(at.null | at.wrong | (at.values <= as_of)))


@dataclass(slots=True)
class ArchiveCounts:
    """What became of an archive's rows."""

    read: Counter[str] = field(default_factory=Counter)
    """Rows by topic."""
    rejected: Counter[str] = field(default_factory=Counter)
    """Invalid rows by reason."""
    duplicates: int = 0


def rows_at(
    days: Sequence[int],
    read_day: ReadDay,
    cutoffs: Sequence[int],
    counts: ArchiveCounts | None = None,
    on_day: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Feature rows of every customer at each cut-off, in one pass over the archive.

    Args:
        days: numbers of the UTC days that the archive has, of either topic, ascending.
        read_day: reads the rows of one topic and day.
        cutoffs: epoch ms, ascending.
        counts: filled while reading.
        on_day: called before each day is read.

    Yields:
        Cut-off and rows (definitions.ROW_SCHEMA), customers in the order of their first appearance.

    Raises:
        UsageError: the cut-offs are not ascending.
    """
    if list(cutoffs) != sorted(set(cutoffs)):
        raise UsageError("The cut-offs must be different times in ascending order.")
    found = counts if counts is not None else ArchiveCounts()

    def spans() -> Iterator[Span]:
        for day in days:
            yield Span(day * DAY_MS, (day + 1) * DAY_MS - 1, functools.partial(read, day))

    def read(day: int) -> tuple[list[EventColumns], list[OrderColumns]]:
        on_day(day)
        return _read(read_day, day, found)

    yield from rows_of(spans(), cutoffs, found)


@dataclass(frozen=True, slots=True)
class Span:
    """Records of a span of time, read when their turn comes.

    Attributes:
        first: all records whose ts (orders: updated_ts) is before it are in earlier spans, epoch ms.
        last: no record of the span is later, epoch ms.
        read: gives the valid records, in any order.
    """

    first: int
    last: int
    read: Callable[[], tuple[list[EventColumns], list[OrderColumns]]]


def rows_of(spans: Iterable[Span], cutoffs: Sequence[int], counts: ArchiveCounts) -> Iterator[tuple[int, pl.DataFrame]]:
    """Feature rows of every customer of some spans of records at each cut-off, in one pass.

    Args:
        spans: ascending in time; two may meet within a millisecond.
        cutoffs: epoch ms, ascending, each once.
        counts: gets the duplicates.

    Yields:
        Cut-off and rows, as `rows_at`.
    """
    state = State()
    left = list(cutoffs)
    for span in spans:
        while left and left[0] < span.first:
            yield left[0], evaluate_all(state, left.pop(0))
        if not left:
            return
        events, orders = span.read()
        applied_to = -1
        # cut-offs within the span split it; its records are applied up to each
        while left and left[0] < span.last:
            _apply(state, events, orders, applied_to, left[0], counts)
            applied_to = left[0]
            yield left[0], evaluate_all(state, left.pop(0))
        _apply(state, events, orders, applied_to, span.last, counts)
        # nobody waits for documents here: a cart that is over need not be listed, nor its strings kept
        state.abandoned(span.last, ABANDONED_AFTER_MS)
        no_rows = np.zeros(0, np.int32)
        # an archive holds sessions of any length and a row may come back to one: only strings and ids are let go
        state.expire(no_rows, no_rows, keep_sessions=True)
    for cutoff in left:
        yield cutoff, evaluate_all(state, cutoff)


def evaluate_all(state: State, as_of: int) -> pl.DataFrame:
    """Rows of every customer of a state, evaluated in batches of bounded size."""
    everyone = np.arange(state.customer_count, dtype=np.int32)
    starts = range(0, max(len(everyone), 1), CUSTOMERS_PER_BATCH)
    return pl.concat([evaluate(state, everyone[start : start + CUSTOMERS_PER_BATCH], as_of) for start in starts])


def _read(read_day: ReadDay, day: int, counts: ArchiveCounts) -> tuple[list[EventColumns], list[OrderColumns]]:
    events: list[EventColumns] = []
    for table in read_day("events", day):
        counts.read["events"] += table.num_rows
        found = event_rows(table)
        counts.rejected += found.rejected
        events.append(found.columns)
    orders: list[OrderColumns] = []
    for table in read_day("orders", day):
        counts.read["orders"] += table.num_rows
        changes = order_rows(table)
        counts.rejected += changes.rejected
        orders.append(changes.columns)
    return events, orders


def _apply(
    state: State,
    events: list[EventColumns],
    orders: list[OrderColumns],
    after: int,
    up_to: int,
    counts: ArchiveCounts,
) -> None:
    for batch in events:
        part = where(batch, (batch.ts > after) & (batch.ts <= up_to))
        counts.duplicates += len(part) - state.apply_events(part).applied
    for changes in orders:
        state.apply_orders(where(changes, (changes.updated_ts > after) & (changes.updated_ts <= up_to)))
