"""Lists the sheets of Excel workbooks with their sizes and first rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from connectors.tables.log_files import LogFile
from features.errors import ShopstreamError

try:
    import python_calamine
except ImportError:  # the extra [excel] is not installed
    python_calamine = None  # type: ignore[assignment,unused-ignore]

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
        ShopstreamError: the extra is not installed, or the file is no readable workbook.
    """
    if python_calamine is None:
        raise ShopstreamError(
            f"{log.name} is an Excel workbook, which needs an extra.", 'pip install "shopstream[excel]"'
        )
    with log.open_seekable() as stream:
        try:
            workbook = python_calamine.CalamineWorkbook.from_filelike(stream)
            return [_sheet(name, workbook.get_sheet_by_name(name)) for name in workbook.sheet_names]
        except (python_calamine.CalamineError, ValueError, OSError) as error:
            raise ShopstreamError(f"{log.name} cannot be read as Excel: {error}.", "Save the workbook again.") from None


def _sheet(name: str, sheet: Any) -> Sheet:
    rows = sheet.to_python(skip_empty_area=False, nrows=FIRST_ROWS)
    first = tuple(tuple(str(value) for value in row) for row in rows)
    return Sheet(name, sheet.total_height, sheet.total_width, first)
