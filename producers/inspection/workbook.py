"""Lists the sheets of Excel workbooks with their sizes and first rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from connectors.tables.excel import opened_workbook, sheet_names
from connectors.tables.log_files import LogFile
from producers.inspection.findings import counted

FIRST_ROWS: Final = 50


@dataclass(frozen=True, slots=True)
class Sheet:
    """Sheet of a workbook: name, rows, columns, and the first rows as text."""

    name: str
    rows: int
    columns: int
    first: tuple[tuple[str, ...], ...]


def sheets(log: LogFile) -> list[Sheet]:
    """Return the sheets of a workbook, in its order.

    Raises:
        ShopstreamError: the extra for Excel is not installed, or the file is no readable workbook.
    """
    with opened_workbook(log) as (workbook, _):
        return [_sheet(name, workbook.get_sheet_by_name(name)) for name in sheet_names(workbook)]


def size_text(sheet: Sheet) -> str:
    """Return the size of a sheet for messages."""
    return f"{counted(sheet.rows, 'row')}, {counted(sheet.columns, 'column')}"


def _sheet(name: str, sheet: Any) -> Sheet:
    rows = sheet.to_python(skip_empty_area=False, nrows=FIRST_ROWS)
    first = tuple(tuple(str(value) for value in row) for row in rows)
    end = sheet.end  # row and column, from 0, of the last cell; None in an empty sheet
    rows, columns = (0, 0) if end is None else (end[0] + 1, end[1] + 1)
    return Sheet(name, rows, columns, first)
