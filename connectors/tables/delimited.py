"""Reads CSV and other separated text, and columns between blanks. Lines are numbered as editors count them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, islice
from typing import Final

import polars as pl

from connectors.tables.batches import LINE, UNNAMED, Batch, Refusal, collector_paused, frame, is_name_pattern, shown
from connectors.tables.encodings import detect, encoding_fault, open_text
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import LogFile
from features.errors import ShopstreamError, UsageError

VALUE_CHARACTERS_MAX: Final = 1 << 24
"""Characters of the longest value. A quote that never closes ends there."""

HEADER_REPEATED: Final = "header repeated"
MARK: Final = "\ufeff"
"""Byte-order mark. Files that are joined by their bytes have it at the beginning of each part."""

_NAMES_SHOWN_MAX: Final = 60


def csv_header(log: LogFile, how: FileFormat) -> list[str]:
    """Return the column names of a CSV file, trimmed; "" for a column without a name.

    Raises:
        ShopstreamError: the file is empty or its header cannot be read.
    """
    if how.columns is not None:
        return list(how.columns)
    with _opened(log, how) as text:
        return trimmed(_Records(log, how, text).header())


def trimmed(header: Sequence[str]) -> list[str]:
    """Return the column names of a header: without surrounding blanks."""
    return [name.strip() for name in header]


def read_csv(log: LogFile, how: FileFormat, columns: Sequence[str] | None, rows_max: int) -> Iterator[Batch]:
    """Yield the rows of a CSV file.

    Args:
        log: file to read.
        how: format of the file.
        columns: columns to read. None: all, where a column without a unique name is called by `UNNAMED`.
        rows_max: rows of a batch.

    Raises:
        UsageError: the file lacks a column, or has it twice.
        ShopstreamError: the file cannot be read to its end. Rows that were yielded before belong to a refused file.
    """
    with _opened(log, how) as text:
        records = _Records(log, how, text)
        header = records.header() if how.columns is None else None
        names = list(how.columns or ()) if header is None else trimmed(header)
        positions = column_positions(log, names, columns)
        while batch := _next_batch(records, len(names), positions, header, how, rows_max):
            yield batch


def read_whitespace(log: LogFile, how: FileFormat, columns: Sequence[str] | None, rows_max: int) -> Iterator[Batch]:
    """Yield the rows of a file whose columns are separated by runs of blanks. Args and errors as for `read_csv`."""
    assert how.columns is not None
    names = list(how.columns)
    positions = column_positions(log, names, columns)
    with _opened(log, how) as text:
        _skip(text, how)
        line = how.skip_lines + 1
        while chunk := list(islice(text, rows_max)):
            rows = [part.split() for part in chunk]
            yield _batch(rows, range(line, line + len(rows)), len(names), positions, None, how)
            line += len(rows)


def column_positions(log: LogFile, names: Sequence[str], columns: Sequence[str] | None) -> list[tuple[str, int]]:
    """Return name and position, from 0, of the requested columns.

    Args:
        log: file, for messages.
        names: header of the file.
        columns: requested columns. None: all.

    Raises:
        UsageError: a column is missing or not unique, or its name is a pattern.
    """
    by_name: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        by_name.setdefault(name, []).append(position)
    unnamed = {
        UNNAMED.format(p + 1): p
        for name, at in by_name.items()
        if not name or len(at) > 1 or is_name_pattern(name)
        for p in at
    }
    if columns is None:
        other = {position: name for name, position in unnamed.items()}
        return [(other.get(position, name), position) for position, name in enumerate(names)]
    positions = []
    for name in dict.fromkeys(columns):
        at = [unnamed[name]] if name in unnamed else by_name.get(name, []) if name else []
        if not at:
            raise UsageError(f"{log.name} has no column {name!r}; it has {_listed(names)}.", "Correct the mapping.")
        if len(at) > 1:
            where = " and ".join(str(position + 1) for position in at)
            raise UsageError(
                f"{log.name} has the column {name!r} {len(at)} times, at positions {where}.",
                "Rename one of them, or name the columns in `file.columns` and skip the header by `file.skip_lines`.",
            )
        if is_name_pattern(name):
            raise UsageError(
                f"{log.name} has the column {name!r}, whose name would stand for several columns.",
                "Rename it, or name the columns in `file.columns` and skip the header by `file.skip_lines`.",
            )
        positions.append((name, at[0]))
    return positions


def _listed(names: Sequence[str]) -> str:
    listed = [name for name in names if name]
    return ", ".join(listed[:_NAMES_SHOWN_MAX]) + (", …" if len(listed) > _NAMES_SHOWN_MAX else "")


@contextmanager
def _opened(log: LogFile, how: FileFormat) -> Iterator[io.TextIOWrapper]:
    with open_text(log, how) as text:
        try:
            yield text
        except UnicodeDecodeError:
            raise encoding_fault(log, how) from None


def _skip(text: io.TextIOWrapper, how: FileFormat) -> None:
    for _ in range(how.skip_lines):
        text.readline()


class _Records:
    """Records of a CSV file with the lines where they begin."""

    def __init__(self, log: LogFile, how: FileFormat, text: io.TextIOWrapper) -> None:
        csv.field_size_limit(VALUE_CHARACTERS_MAX)
        self._log = log
        self._how = how
        _skip(text, how)
        self._reader = csv.reader(
            text,
            strict=True,
            doublequote=True,
            delimiter=how.separator,
            quotechar=how.quote,
            quoting=csv.QUOTE_NONE if how.quote is None else csv.QUOTE_MINIMAL,
        )

    @property
    def next_line(self) -> int:
        """Line, from 1, where the next record begins."""
        return self._how.skip_lines + self._reader.line_num + 1

    def header(self) -> list[str]:
        """Read the header, the first record that is not blank, and return its values as they are."""
        while rows := self.take(1):
            if not _is_blank(rows[0]):
                self._refuse_binary(rows[0])
                return rows[0]
        raise ShopstreamError(f"{self._log.name} is empty; it has no header.", "Give a file with a header.")

    def take(self, count: int) -> list[list[str]]:
        """Read up to `count` records, blank ones included. Raises ShopstreamError if one is not a record."""
        rows: list[list[str]] = []
        first = self.next_line
        try:
            rows.extend(islice(self._reader, count))
        except csv.Error as error:  # `rows` has the records that precede the fault
            line = first + sum(map(_line_count, rows))
            raise ShopstreamError(
                f"{self._log.name}, line {line}: {self._reason(error)}.",
                "Correct the line, or write `file.quote: null` in the mapping if quotes are plain characters.",
            ) from None
        return rows

    def lines_of(self, rows: Sequence[Sequence[str]], first: int) -> Sequence[int]:
        """Return the line where each of the records that were read last begins."""
        if self.next_line - first == len(rows):
            return range(first, first + len(rows))
        return list(accumulate(map(_line_count, rows), initial=first))[:-1]

    def _reason(self, error: csv.Error) -> str:
        message = str(error)
        if "field larger" in message:
            return f"a value has more than {VALUE_CHARACTERS_MAX:,} characters; a quote may not be closed"
        if "unexpected end" in message:
            return "a quote is opened and never closed"
        if "expected after" in message:
            return "text follows the closing quote of a value"
        return message

    def _refuse_binary(self, header: Sequence[str]) -> None:
        if any("\0" in name for name in header):
            likely = detect(self._log.start(4096))
            remedy = f"Write `file.encoding: {likely[0]}` in the mapping." if likely[:1] != ["utf-8"] else ""
            raise ShopstreamError(f"{self._log.name} is no text: its header has NUL characters.", remedy)


def _next_batch(
    records: _Records,
    width: int,
    positions: Sequence[tuple[str, int]],
    header: list[str] | None,
    how: FileFormat,
    rows_max: int,
) -> Batch | None:
    with collector_paused():
        first = records.next_line
        rows = records.take(rows_max)
        if not rows:
            return None
        batch = _batch(rows, records.lines_of(rows, first), width, positions, header, how)
        del rows  # before the collector runs again
        return batch


def _batch(
    rows: Sequence[list[str]],
    lines: Sequence[int],
    width: int,
    positions: Sequence[tuple[str, int]],
    header: list[str] | None,
    how: FileFormat,
) -> Batch:
    """Return rows as a batch.

    Args:
        rows: values of each record.
        lines: line of each record.
        width: number of columns.
        positions: name and position of the columns of the batch.
        header: values of the header's record, if the file has a header.
        how: format of the file.
    """
    refused: list[Refusal] = []
    ragged: list[tuple[int, list[str]]] = []
    if set(map(len, rows)) != {width}:
        expected = f"the mapping names {width}" if header is None else f"the header has {width}"
        rows, lines = _regular(rows, lines, width, expected, refused, ragged)
    if header is not None:
        rows, lines = _without_headers(rows, lines, header, refused)
    values = list(zip(*rows, strict=True)) if rows else [()] * width
    table = frame(lines, [(name, values[position]) for name, position in positions])
    if MARK in "".join(values[0]):
        table = _without_marks(table, values[0], refused)
    refused.sort(key=lambda one: one.line)
    readings = partial(_readings, ragged, width, positions, how) if ragged else None
    return Batch(without_missing(table, how), refused, readings)


def _readings(
    ragged: Sequence[tuple[int, list[str]]], width: int, positions: Sequence[tuple[str, int]], how: FileFormat
) -> pl.DataFrame:
    """Return the rows that ragged rows may be: with the surplus or the gap at any place, or at several places."""
    lines: list[int] = []
    rows: list[tuple[str, ...]] = []
    for line, row in ragged:
        shift = len(row) - width
        one_fault = ([at + (shift if at >= fault else 0) for _, at in positions] for fault in range(width + 1))
        shifted = ([at + one for _, at in positions] for one in range(min(shift, 0), max(shift, 0) + 1))
        possible = {
            tuple(row[at] if 0 <= at < len(row) else "" for at in reading) for reading in (*one_fault, *shifted)
        }
        rows += sorted(possible)
        lines += [line] * len(possible)
    values = zip(*rows, strict=True)
    table = frame(lines, [(name, column) for (name, _), column in zip(positions, values, strict=True)])
    return without_missing(table, how)


def without_missing(table: pl.DataFrame, how: FileFormat) -> pl.DataFrame:
    """Replace text that means "no value" by null. Other text stays as it is, with its blanks."""
    text = [name for name, kind in table.schema.items() if kind == pl.String]
    if not text:
        return table
    trimmed = pl.col(text).str.strip_chars()
    missing = how.missing_texts
    absent = trimmed.is_in(missing) if len(missing) > 1 else trimmed == ""
    return table.with_columns(pl.when(~absent).then(pl.col(text)))


def _regular(
    rows: Sequence[list[str]],
    lines: Sequence[int],
    width: int,
    expected: str,
    refused: list[Refusal],
    ragged: list[tuple[int, list[str]]],
) -> tuple[list[list[str]], list[int]]:
    """Return the rows with `width` values and their lines. Others are refused; blank lines are no rows."""
    regular, regular_lines = [], []
    for row, line in zip(rows, lines, strict=True):
        if len(row) == width:
            regular.append(row)
            regular_lines.append(line)
        elif not _is_blank(row):
            plural = "column" if len(row) == 1 else "columns"
            reason = f"{len(row)} {plural} where {expected}"
            refused.append(Refusal(line, None, shown(" | ".join(row)), reason))
            ragged.append((line, row))
    return regular, regular_lines


def _without_headers(
    rows: Sequence[list[str]], lines: Sequence[int], header: list[str], refused: list[Refusal]
) -> tuple[Sequence[list[str]], Sequence[int]]:
    """Return the rows that do not repeat the header, and their lines."""
    repeats = (header, [MARK + header[0], *header[1:]])
    if not any(one in rows for one in repeats):
        return rows, lines
    refused += [
        Refusal(line, None, shown(" | ".join(row)), HEADER_REPEATED, left_out=True)
        for row, line in zip(rows, lines, strict=True)
        if row in repeats
    ]
    pairs = [(row, line) for row, line in zip(rows, lines, strict=True) if row not in repeats]
    return [row for row, _ in pairs], [line for _, line in pairs]


def _without_marks(table: pl.DataFrame, first: Sequence[str], refused: list[Refusal]) -> pl.DataFrame:
    """Return the rows that do not begin with a byte-order mark, which is no part of a value."""
    marked = pl.Series([value.startswith(MARK) for value in first])
    for line, value in zip(
        table[LINE].filter(marked), (value for value in first if value.startswith(MARK)), strict=True
    ):
        refused.append(Refusal(line, None, shown(value), "byte-order mark within the file"))
    return table.filter(~marked)


def _is_blank(row: Sequence[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _line_count(row: Sequence[str]) -> int:
    """Return the number of lines of a record: one, and one more for each line end within quotes."""
    return 1 + sum(v.count("\n") + v.count("\r") - v.count("\r\n") for v in row if "\n" in v or "\r" in v)
