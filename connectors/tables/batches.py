"""Defines what the readers yield: batches of rows with their line numbers, and the rows that cannot be read."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import polars as pl

LINE: Final = "\0line"
"""Column with the line of a row in its file, from 1: the row of Parquet and Excel, the element of a JSON array."""

POSITION: Final = "\0position"
"""Column of a list's rows with the position of the element, from 0; null for a record without elements."""

UNNAMED: Final = "\0column {}"
"""Name of a column, by its position from 1, that has no name or shares its name with another column."""

SHOWN_CHARACTERS_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class Refusal:
    """Row that is not read.

    Attributes:
        line: line, row or element where the row begins, from 1.
        column: column of the unreadable value, if it is one value.
        value: the value or the row, shortened for messages.
        reason: why the row is not read.
        left_out: whether a rule leaves the row out: it is no row of data, and nothing is lost.
    """

    line: int
    column: str | None
    value: str | None
    reason: str
    left_out: bool = False


@dataclass(slots=True)
class Batch:
    """Consecutive rows of a file.

    Attributes:
        rows: LINE (Int64) and the columns: String, or Date and Datetime where the format itself has times.
        refused: rows that are not read, in the order of the file.
        readings: returns rows with LINE and the columns, for refused rows of which values are known. A line with one
            row has these values; of a line with several rows, each is possible. None: no value is known.
    """

    rows: pl.DataFrame
    refused: list[Refusal] = field(default_factory=list)
    readings: Callable[[], pl.DataFrame] | None = None


def without_faults(rows: pl.DataFrame, faults: Collection[int], refused: list[Refusal]) -> Batch:
    """Return rows as a batch without those that have an unreadable value.

    Args:
        rows: LINE and columns; null where a value is unreadable.
        faults: lines of rows with an unreadable value.
        refused: refused rows, in the order of the file.
    """
    if not faults:
        return Batch(rows, refused)
    unreadable = pl.col(LINE).is_in(list(faults))
    return Batch(rows.filter(~unreadable), refused, lambda: rows.filter(unreadable))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the search for reference cycles. It would inspect the lists of a batch many times; they have no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def frame(lines: Sequence[int], columns: Sequence[tuple[str, Sequence[str | None]]]) -> pl.DataFrame:
    """Return rows as a data frame of LINE and text columns.

    Args:
        lines: line of each row.
        columns: name and values of each column.
    """
    if isinstance(lines, range):
        numbers = pl.int_range(lines.start, lines.stop, dtype=pl.Int64, eager=True).alias(LINE)
    else:
        numbers = pl.Series(LINE, lines, dtype=pl.Int64)
    return pl.DataFrame([numbers, *(pl.Series(name, values, dtype=pl.String) for name, values in columns)])


def shown(value: str) -> str:
    """Return a value as messages show it: on one line, at most SHOWN_CHARACTERS_MAX characters."""
    line = value if value.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in value[:200])
    return line if len(line) <= SHOWN_CHARACTERS_MAX else line[: SHOWN_CHARACTERS_MAX - 1] + "…"


def is_name_pattern(name: str) -> bool:
    """Return whether polars takes a column's name as a pattern of names: `*`, and those from `^` to `$`."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))
