"""Reads Excel workbooks (.xlsx). Dates are dates, whole numbers are integers, and a cell with an error has no value."""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
_REFERENCE: Final = re.compile(r"([A-Z]+)(\d+)")
_CHUNK_BYTES: Final = 1 << 20
_OVERLAP_BYTES: Final = 1 << 14
_DATES: Final = frozenset({dt.date})
_TIMES: Final = frozenset({dt.date, dt.datetime})

Cell = Any
"""Value of a cell: str, float, int, bool, date, datetime, time or timedelta; "" without a value."""


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Rows of a sheet from its first row on, and its cells with an error by row and column, from 0."""

    rows: list[list[Cell]]
    errors: dict[tuple[int, int], str]
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
    error_rows = {row for row, _ in sheet.errors}
    data = [
        (at, row)
        for at, row in enumerate(sheet.rows[sheet.header_at + 1 :], start=sheet.header_at + 1)
        if at in error_rows or any(cell != "" for cell in row)
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
        error = sheet.errors.get((at, position)) if sheet.errors else None
        if error is not None:
            faults.setdefault(
                at + 1, Refusal(at + 1, name, error, "the cell has an error or a formula instead of a value")
            )
    cells = [row[position] for _, row in part]
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
    if isinstance(cell, dt.timedelta):
        raise UnreadableValueError("the cell is a duration, not a value", str(cell))
    text = text_of(cell)
    return text.replace(".", decimal) if text is not None and type(cell) is float else text


@contextmanager
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
        errors = _error_cells(opened, sheet.name)
    header_at = next(
        (at for at, row in enumerate(rows) if at >= how.skip_lines and any(cell != "" for cell in row)), None
    )
    if header_at is None:
        raise ShopstreamError(f"{log.name} has no header in the sheet {sheet.name}.", "Correct `file.sheet`.")
    return _Sheet(rows, errors, header_at)


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


def _error_cells(opened: BinaryIO, name: str) -> dict[tuple[int, int], str]:
    """Return row and column, from 0, of the cells whose formula failed. A formula without a stored value counts, too.

    The library reads these cells as empty.
    """
    with zipfile.ZipFile(opened) as packed:
        part = _part(packed, name)
        with packed.open(part) as xml:
            if not _has_error(xml):
                return {}
        with packed.open(part) as xml:
            return _errors_in(xml)


def _part(packed: zipfile.ZipFile, name: str) -> str:
    """Return the member of a workbook that holds a sheet."""
    sheets = ET.fromstring(packed.read(_WORKBOOK)).iter()  # noqa: S314 - see the import
    named = (one for one in sheets if _local(one.tag) == "sheet" and one.get("name") == name)
    relation = next((value for one in named for key, value in one.attrib.items() if key.endswith("}id")), None)
    relations = ET.fromstring(packed.read(_RELATIONS))  # noqa: S314 - see the import
    target = next((str(one.get("Target")) for one in relations if one.get("Id") == relation), "")
    return target.lstrip("/") if target.startswith("/") else posixpath.normpath(posixpath.join("xl", target))


def _has_error(xml: IO[bytes]) -> bool:
    before = b""
    while chunk := xml.read(_CHUNK_BYTES):
        if _ERROR.search(before + chunk) or _UNCALCULATED.search(before + chunk):
            return True
        before = chunk[-_OVERLAP_BYTES:]
    return False


def _errors_in(xml: IO[bytes]) -> dict[tuple[int, int], str]:
    errors: dict[tuple[int, int], str] = {}
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
            uncalculated = "f" in parts and not parts.get("v") and element.get("t") not in ("str", "inlineStr")
            if element.get("t") == "e" or uncalculated:
                errors[row, column] = parts.get("v") or (f"={parts['f']}" if uncalculated else "error")
        elif event == "end" and tag == "row":
            element.clear()
    return errors


def _column_number(name: str) -> int:
    number = 0
    for one in name:
        number = number * 26 + ord(one) - ord("A") + 1
    return number - 1


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
