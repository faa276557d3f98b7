"""Reads tables of other systems as batches of text columns. A row or a file that cannot be read is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from connectors.tables.batches import LINE, Batch, Refusal
from connectors.tables.columnar import parquet_header, read_parquet
from connectors.tables.delimited import csv_header, read_csv, read_whitespace
from connectors.tables.excel import excel_header, read_excel
from connectors.tables.file_format import TEXT_FORMATS, FileFormat
from connectors.tables.json_records import read_json
from connectors.tables.log_files import LogFile
from features.errors import ShopstreamError, UsageError

__all__ = ["LINE", "Batch", "Refusal", "header", "read_batches"]

ROWS_MAX: Final = 50_000
_BINARY: Final = ((b"PAR1", "parquet"), (b"PK\x03\x04", "excel"))


def header(log: LogFile, how: FileFormat) -> list[str]:
    """Return the column names of a file, in its order.

    Args:
        log: file to read.
        how: format of the file.

    Returns:
        The names without surrounding blanks, as often as the file has them; "" for a column without a name. Parquet:
        columns and the values of nested structs by their paths. JSON: no names, because records differ in their keys.

    Raises:
        ShopstreamError: the file cannot be read, or has no header.
    """
    _refuse_other_format(log, how)
    if how.format == "csv":
        return csv_header(log, how)
    if how.format == "whitespace":
        return list(how.columns or ())
    if how.format == "parquet":
        return parquet_header(log)
    if how.format == "excel":
        return excel_header(log, how)
    return []


def read_batches(
    log: LogFile,
    how: FileFormat,
    columns: Sequence[str] | None,
    *,
    each: str | None = None,
    rows_max: int = ROWS_MAX,
) -> Iterator[Batch]:
    """Yield the rows of a file as columns of text. Missing values are null.

    Args:
        log: file to read.
        how: format of the file.
        columns: columns to read: names, for JSON and nested values of Parquet paths. None: all.
        each: path of a list within a record of JSON or Parquet. It gives a row per element, with the columns that
            begin with a point; an empty or missing list gives one row without values there.
        rows_max: records of a batch.

    Raises:
        UsageError: a column is missing or named twice, or a path is invalid.
        ShopstreamError: the file cannot be read to its end. Batches that were yielded before belong to a refused file.
    """
    _refuse_other_format(log, how)
    if each is not None and how.format not in ("json", "parquet"):
        raise UsageError(f"A {how.format} file has no lists within its rows.", "Remove the list from the mapping.")
    if how.format == "csv":
        yield from read_csv(log, how, columns, rows_max)
    elif how.format == "whitespace":
        yield from read_whitespace(log, how, columns, rows_max)
    elif how.format == "json":
        yield from read_json(log, how, columns, each, rows_max)
    elif how.format == "parquet":
        yield from read_parquet(log, how, columns, each, rows_max)
    else:
        yield from read_excel(log, how, columns, rows_max)


def _refuse_other_format(log: LogFile, how: FileFormat) -> None:
    """Refuse a binary file that is declared as text, and text that is declared as a binary format."""
    start = log.start(4)
    other = next((name for magic, name in _BINARY if start.startswith(magic)), "text")
    if other == "text":
        if how.format not in TEXT_FORMATS and start:
            raise ShopstreamError(f"{log.name} is no {how.format} file.", "Correct `file.format` in the mapping.")
    elif other != how.format:
        raise ShopstreamError(f"{log.name} is a file of {other}.", f"Write `file.format: {other}` in the mapping.")
