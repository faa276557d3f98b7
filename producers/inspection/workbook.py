"""Lists the sheets of Excel workbooks with their sizes and first rows."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Final

from connectors.tables.log_files import LogFile
from features.errors import ShopstreamError
from producers.inspection.findings import counted

FIRST_ROWS: Final = 50
_LIBRARY: Final = "python_calamine"


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
    if importlib.util.find_spec(_LIBRARY) is None:
        raise ShopstreamError(
            f"{log.name} is an Excel workbook.", 'Install the reader: pip install "shopstream[excel]".'
        )
    library = importlib.import_module(_LIBRARY)
    with log.open_seekable() as stream:
        try:
            workbook = library.load_workbook(stream)
            tables = [one.name for one in workbook.sheets_metadata if "WorkSheet" in str(one.typ)]
            return [_sheet(name, workbook.get_sheet_by_name(name)) for name in tables]
        except (library.CalamineError, ValueError, OSError) as error:
            raise ShopstreamError(
                f"{log.name} cannot be read as a workbook: {error}.", "Save it again as .xlsx."
            ) from None


def size_text(sheet: Sheet) -> str:
    """Return the size of a sheet for messages."""
    return f"{counted(sheet.rows, 'row')}, {counted(sheet.columns, 'column')}"


def _sheet(name: str, sheet: Any) -> Sheet:
    rows = sheet.to_python(skip_empty_area=False, nrows=FIRST_ROWS)
    first = tuple(tuple(str(value) for value in row) for row in rows)
    end = sheet.end  # row and column, from 0, of the last cell; None in an empty sheet
    rows, columns = (0, 0) if end is None else (end[0] + 1, end[1] + 1)
    return Sheet(name, rows, columns, first)
