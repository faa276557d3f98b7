"""Reads Excel workbooks (.xlsx). Dates are dates, whole numbers are integers, and a cell with an error has no value.

A number is what the cell stores, whatever its form shows: 12.5 % is 0.125, and 0042 by a form with zeros is 42.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import importlib.util
import posixpath
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Final
from xml.etree import ElementTree as ET

import polars as pl

from connectors.tables.batches import LINE, Batch, Refusal, shown, without_faults
from connectors.tables.delimited import HEADER_REPEATED, column_positions, without_missing
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import LogFile
from connectors.tables.records import UnreadableValueError, text_of
from features.errors import ShopstreamError

_LIBRARY: Final = "python_calamine"
_WORKBOOK: Final = "xl/workbook.xml"
_RELATIONS: Final = "xl/_rels/workbook.xml.rels"
_ERROR: Final = re.compile(rb"""\st\s*=\s*["']e["']""")
_UNCALCULATED: Final = re.compile(
    rb"<(?:\w+:)?f(?:\s[^>]*)?(?:/>|>[^<]*</(?:\w+:)?f>)\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
"""Matches a formula without the value that a spreadsheet stores with it."""
_NEGATIVE: Final = re.compile(rb"<(?:\w+:)?v>\s*-")
_UNKNOWN_ERROR: Final = re.compile(r"error value '(#[^']+)'")
_REFERENCE: Final = re.compile(r"([A-Z]+)(\d+)")
_FIRST_DATE: Final = dt.date(1900, 3, 1)
"""Excel has a 29 February 1900, which did not exist: dates before this one are a day off, or two are one."""
_NO_VALUE: Final = "the cell has an error or a formula instead of a value"
_COVERED: Final = "a part of the merged cell"
_NO_TIME: Final = "a date or time below 0 does not exist"
_CHUNK_BYTES: Final = 1 << 20
_OVERLAP_BYTES: Final = 1 << 14
_DATES: Final = frozenset({dt.date})
_TIMES: Final = frozenset({dt.date, dt.datetime})

Cell = Any
"""Value of a cell: str, float, int, bool, date, datetime, time or timedelta; "" without a value."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Rows of a sheet from its first row on.

    Attributes:
        rows: cells of each row.
        faults: row and column, from 0, of a cell without a value -> what it holds, and the reason.
        header_at: row of the header, from 0.
    """

    rows: list[list[Cell]]
    faults: dict[tuple[int, int], tuple[str, str]]
    header_at: int

    @property
    def names(self) -> list[str]:
        """Column names without surrounding blanks."""
        return [(text_of(cell) or "").strip() for cell in self.rows[self.header_at]]


def excel_header(log: LogFile, how: FileFormat) -> list[str]:
    """Return the column names of a sheet, which are in its first row with values. Raises ShopstreamError."""
    return _opened(log, how).names


def read_excel(log: LogFile, how: FileFormat, columns: Sequence[str] | None, rows_max: int) -> Iterator[Batch]:
    """Yield the rows of a sheet. A row's line is its number in the sheet. Rows without values are no rows.

    Args:
        log: workbook.
        how: format of the file; `sheet` is required if several sheets have values.
        columns: columns to read. None: all.
        rows_max: rows of a batch.

    Returns:
        Columns with nothing but dates and times are Date or Datetime; others are text.

    Raises:
        UsageError: a column is missing or named twice.
        ShopstreamError: the workbook is damaged, the sheet is missing, or the extra for Excel is not installed.
    """
    sheet = _opened(log, how)
    positions = column_positions(log, sheet.names, columns)
    header = sheet.rows[sheet.header_at]
    faulty_rows = {row for (row, _), (_, reason) in sheet.faults.items() if not reason.startswith(_COVERED)}
    data = [
        (at, row)
        for at, row in enumerate(sheet.rows[sheet.header_at + 1 :], start=sheet.header_at + 1)
        if at in faulty_rows or any(map(_is_filled, row))
    ]
    kinds = {
        position: frozenset(type(row[position]) for _, row in data if row[position] != "" and row != header)
        for _, position in positions
    }
    for start in range(0, len(data), rows_max):
        part = data[start : start + rows_max]
        refused = [Refusal(at + 1, None, None, HEADER_REPEATED, left_out=True) for at, row in part if row == header]
        part = [(at, row) for at, row in part if row != header]
        faults: dict[int, Refusal] = {}
        table = [pl.Series(LINE, [at + 1 for at, _ in part], dtype=pl.Int64)]
        table += [_column(sheet, name, at, kinds[at], part, faults, how.decimal) for name, at in positions]
        rows = without_missing(pl.DataFrame(table), how)
        refused = sorted([*refused, *faults.values()], key=lambda one: one.line)
        yield without_faults(rows, faults, refused)


def _is_filled(cell: Cell) -> bool:
    return cell.strip() != "" if type(cell) is str else True


def _column(
    sheet: _Sheet,
    name: str,
    position: int,
    kinds: frozenset[type],
    part: Sequence[tuple[int, list[Cell]]],
    faults: dict[int, Refusal],
    decimal: str,
) -> pl.Series:
    """Return a column of rows. Rows whose cell is unreadable are in `faults` by their line, the first cell of each."""
    for at, _ in part:
        fault = sheet.faults.get((at, position)) if sheet.faults else None
        if fault is not None:
            faults.setdefault(at + 1, Refusal(at + 1, name, *fault))
    cells = [row[position] for _, row in part]
    if not _TIMES.isdisjoint(kinds):
        for (at, _), cell in zip(part, cells, strict=True):
            if type(cell) in _TIMES and (cell.date() if type(cell) is dt.datetime else cell) < _FIRST_DATE:
                reason = "a date before 1900-03-01, of which Excel counts one that did not exist"
                faults.setdefault(at + 1, Refusal(at + 1, name, str(cell), reason))
    if kinds and kinds <= _TIMES:
        kind = pl.Date() if kinds == _DATES else pl.Datetime("us")
        return pl.Series(name, [None if cell == "" else _moment(cell, kinds) for cell in cells], dtype=kind)
    texts: list[str | None] = []
    for (at, _), cell in zip(part, cells, strict=True):
        try:
            texts.append(cell if type(cell) is str else _text(cell, decimal))
        except UnreadableValueError as error:
            texts.append(None)
            reason, value = error.args
            faults.setdefault(at + 1, Refusal(at + 1, name, shown(value), reason))
    return pl.Series(name, texts, dtype=pl.String)


def _moment(cell: Cell, kinds: frozenset[type]) -> Cell:
    if type(cell) is dt.date and kinds != _DATES:
        return dt.datetime.combine(cell, dt.time())
    return cell


def _text(cell: Cell, decimal: str) -> str | None:
    """Return the text of a cell. A number has the decimal sign of the file's texts, so that 1.234 is no 1234."""
    text = text_of(cell)
    return text.replace(".", decimal) if text is not None and type(cell) is float else text


@contextlib.contextmanager
def opened_workbook(log: LogFile) -> Iterator[tuple[Any, BinaryIO]]:
    """Open a workbook: yield the library's workbook and the file. Faults of the file within the block are refusals.

    Raises:
        ShopstreamError: the extra for Excel is not installed, or the file is no readable workbook.
    """
    if importlib.util.find_spec(_LIBRARY) is None:
        raise ShopstreamError(
            f"{log.name} is an Excel workbook.", 'Install the reader: pip install "shopstream[excel]".'
        )
    library = importlib.import_module(_LIBRARY)
    with log.open_seekable() as opened:
        try:
            yield library.load_workbook(opened), opened
        except (
            library.CalamineError,
            ET.ParseError,
            zipfile.BadZipFile,
            zlib.error,
            LookupError,
            ValueError,
            OSError,
        ) as error:
            unknown = _UNKNOWN_ERROR.search(str(error))
            if unknown is not None:
                raise ShopstreamError(
                    f"{log.name}{_cell_of(opened, unknown[1])}: the cell has the error {unknown[1]}.",
                    "Correct its formula, or write a value, and save the workbook again.",
                ) from None
            raise ShopstreamError(
                f"{log.name} cannot be read as a workbook: {error}.", "Save it again as .xlsx."
            ) from None


def sheet_names(workbook: Any) -> list[str]:
    """Return the names of the sheets with cells, in their order. Charts and macros are no tables."""
    return [one.name for one in workbook.sheets_metadata if "WorkSheet" in str(one.typ)]


def _opened(log: LogFile, how: FileFormat) -> _Sheet:
    """Read the sheet of a workbook into memory."""
    with opened_workbook(log) as (workbook, opened):
        sheet = _sheet(log, how, workbook)
        rows = sheet.to_python(skip_empty_area=False)
        faults = _faulty_cells(opened, sheet.name, rows)
        merged = sheet.merged_cell_ranges or []
    header_at = next(
        (at for at, row in enumerate(rows) if at >= how.skip_lines and any(cell != "" for cell in row)), None
    )
    if header_at is None:
        raise ShopstreamError(f"{log.name} has no header in the sheet {sheet.name}.", "Correct `file.sheet`.")
    return _Sheet(rows, _covered_cells(rows, merged, header_at) | faults, header_at)


def _sheet(log: LogFile, how: FileFormat, workbook: Any) -> Any:
    """Return the sheet that the mapping names, or the only one with values."""
    if how.sheet is not None:
        if how.sheet not in workbook.sheet_names:
            listed = ", ".join(workbook.sheet_names)
            raise ShopstreamError(f"{log.name} has no sheet {how.sheet}; it has {listed}.", "Correct `file.sheet`.")
        return workbook.get_sheet_by_name(how.sheet)
    sheets = [workbook.get_sheet_by_name(name) for name in sheet_names(workbook)]
    filled = [sheet for sheet in sheets if sheet.height]
    if len(filled) > 1:
        listed = ", ".join(sheet.name for sheet in filled)
        raise ShopstreamError(f"{log.name} has several sheets: {listed}.", "Write `file.sheet: NAME` in the mapping.")
    if not filled:
        raise ShopstreamError(f"{log.name} has no sheet with values.", "Give a workbook with a table.")
    return filled[0]


def _covered_cells(
    rows: list[list[Cell]], merged: Sequence[tuple[tuple[int, int], tuple[int, int]]], header_at: int
) -> dict[tuple[int, int], tuple[str, str]]:
    """Return the cells below the header that are empty because another one covers them: its value, and the reason."""
    covered: dict[tuple[int, int], tuple[str, str]] = {}
    for (top, left), (bottom, right) in merged:
        if top <= header_at or top >= len(rows) or left >= len(rows[top]) or rows[top][left] == "":
            continue
        value = shown(str(rows[top][left]))
        reason = f"{_COVERED} {_column_name(left)}{top + 1}:{_column_name(right)}{bottom + 1}"
        for row in range(top, min(bottom + 1, len(rows))):
            for column in range(left, min(right + 1, len(rows[row]))):
                if (row, column) != (top, left):
                    covered[row, column] = value, reason
    return covered


def _faulty_cells(opened: BinaryIO, name: str, rows: list[list[Cell]]) -> dict[tuple[int, int], tuple[str, str]]:
    """Return row and column, from 0, of cells that the library reads as empty or wrong, what they hold, and the reason.

    The formula of such a cell failed or has no stored value, or the cell is a date or time below 0.
    """
    times = {(at, column) for at, row in enumerate(rows) for column, cell in enumerate(row) if type(cell) is dt.time}
    patterns = (_ERROR, _UNCALCULATED, _NEGATIVE) if times else (_ERROR, _UNCALCULATED)
    with zipfile.ZipFile(opened) as packed:
        part = _part(packed, name)
        with packed.open(part) as xml:
            if not _has_any(xml, patterns):
                return {}
        with packed.open(part) as xml:
            return dict(_faults_in(xml, times))


def _cell_of(opened: BinaryIO, value: str) -> str:
    """Return sheet and cell of the first error with a value, which the library does not know; "" if it is not found."""
    with contextlib.suppress(LookupError, ET.ParseError, zipfile.BadZipFile), zipfile.ZipFile(opened) as packed:
        for sheet in ET.fromstring(packed.read(_WORKBOOK)).iter():  # noqa: S314 - see the import
            name = sheet.get("name")
            if _local(sheet.tag) != "sheet" or name is None:
                continue
            with packed.open(_part(packed, name)) as xml:
                for (row, column), (text, _) in _faults_in(xml, frozenset()):
                    if text == value:
                        return f", sheet {name}, cell {_column_name(column)}{row + 1}"
    return ""


def _part(packed: zipfile.ZipFile, name: str) -> str:
    """Return the member of a workbook that holds a sheet."""
    sheets = ET.fromstring(packed.read(_WORKBOOK)).iter()  # noqa: S314 - see the import
    named = (one for one in sheets if _local(one.tag) == "sheet" and one.get("name") == name)
    relation = next((value for one in named for key, value in one.attrib.items() if key.endswith("}id")), None)
    relations = ET.fromstring(packed.read(_RELATIONS))  # noqa: S314 - see the import
    target = next((str(one.get("Target")) for one in relations if one.get("Id") == relation), "")
    return target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join("xl", target))


def _has_any(xml: IO[bytes], patterns: Sequence[re.Pattern[bytes]]) -> bool:
    before = b""
    while chunk := xml.read(_CHUNK_BYTES):
        if any(pattern.search(before + chunk) for pattern in patterns):
            return True
        before = chunk[-_OVERLAP_BYTES:]
    return False


def _faults_in(xml: IO[bytes], times: Collection[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], tuple[str, str]]]:
    """Yield place, content and reason of cells with an error, of formulas without a value and of `times` below 0."""
    row, column = -1, -1
    for event, element in ET.iterparse(xml, ("start", "end")):  # noqa: S314 - see the import
        tag = _local(element.tag)
        if event == "start" and tag == "row":
            row, column = int(element.get("r", row + 2)) - 1, -1
        elif event == "start" and tag == "c":
            cell = _REFERENCE.fullmatch(element.get("r", ""))
            column = column + 1 if cell is None else _column_number(cell[1])
        elif event == "end" and tag == "c":
            parts = {_local(part.tag): part.text or "" for part in element}
            value = parts.get("v", "")
            uncalculated = "f" in parts and not value and element.get("t") not in ("str", "inlineStr")
            if element.get("t") == "e" or uncalculated:
                yield (row, column), (value or (f"={parts['f']}" if uncalculated else "error"), _NO_VALUE)
            elif value.startswith("-") and (row, column) in times:
                yield (row, column), (value, _NO_TIME)
        elif event == "end" and tag == "row":
            element.clear()


def _column_name(number: int) -> str:
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _column_number(name: str) -> int:
    number = 0
    for one in name:
        number = number * 26 + ord(one) - ord("A") + 1
    return number - 1


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
