"""Reads foreign files as lazy columns of the record types. Unreadable values are null for callers to count."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from connectors.formats.timestamps import MILLIS, iso_times, utc
from features.errors import ShopstreamError, UsageError
from producers.importing.mapping import FileFormat, Source, Time, Value

ROW: Final = "_row"
"""Row number in the file, from 0."""
_LINE: Final = "_line"


def scan(file: Path, how: FileFormat) -> pl.LazyFrame:
    """Return the file's rows with `ROW`. All columns of text files are text.

    Raises:
        ShopstreamError: the file is missing or unreadable.
    """
    if not file.is_file():
        raise ShopstreamError(f"There is no file {file}.", "Name the log to import.")
    try:
        frame = _scan(file, how)
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise ShopstreamError(
            f"{file} cannot be read as {how.format}: {str(error).splitlines()[0]}.", "Correct `file` in the mapping."
        ) from error
    return frame


def _scan(file: Path, how: FileFormat) -> pl.LazyFrame:
    if how.format == "parquet":
        return pl.scan_parquet(file, row_index_name=ROW)
    if how.format == "whitespace":
        assert how.columns is not None
        lines = pl.scan_csv(
            file, has_header=False, new_columns=[_LINE], separator="\x1f", quote_char=None, infer_schema=False,
            encoding="utf8-lossy", row_index_name=ROW,
        )  # fmt: skip
        parts = pl.col(_LINE).str.extract_all(r"\S+")
        return lines.filter(pl.col(_LINE).str.contains(r"\S")).select(
            ROW, *(parts.list.get(at, null_on_oob=True).alias(name) for at, name in enumerate(how.columns))
        )
    return pl.scan_csv(
        file, has_header=how.columns is None, new_columns=None if how.columns is None else list(how.columns),
        separator=how.separator, infer_schema=False, encoding="utf8-lossy", row_index_name=ROW,
    )  # fmt: skip


def parts_of(file: Path, how: FileFormat, rows_max: int) -> int:
    """Return the number of parts for about `rows_max` rows per part."""
    if how.format == "parquet":
        rows = pl.scan_parquet(file).select(pl.len()).collect().item()
    else:
        rows = file.stat().st_size // _ROW_BYTES
    return int(max(1, -(-rows // rows_max)))


_ROW_BYTES: Final = 40
"""Bytes of a short row of text: too many parts are better than too few."""


@dataclass(slots=True)
class Columns:
    """Builds expressions over the columns of a file, by the names that the mapping uses."""

    file: str
    schema: pl.Schema
    decimal: str = "."
    absent: list[str] = field(default_factory=list)
    """Columns that the mapping names and the file lacks, if they are optional for the record."""

    def text(self, source: Source | None, *, required: bool = False) -> pl.Expr:
        """Return text without surrounding blanks. Empty text is null, and a whole float such as 17850.0 is 17850."""
        if source is None:
            return pl.lit(None, pl.String)
        if isinstance(source, Value):
            return pl.lit(source.value, pl.String)
        if not self._has(source, required):
            return pl.lit(None, pl.String)
        column = pl.col(source)
        if self.schema[source].is_float():
            whole = column.is_finite() & (column == column.floor()) & (column.abs() < 2**53)
            return (
                pl.when(whole)
                .then(column.cast(pl.Int64, strict=False).cast(pl.String))
                .otherwise(column.cast(pl.String))
            )
        trimmed = column.cast(pl.String).str.strip_chars()
        return pl.when(trimmed != "").then(trimmed)

    def number(self, source: str | None, *, required: bool = False) -> pl.Expr:
        """Return a float; NaN and invalid numbers are null."""
        if source is None or not self._has(source, required):
            return pl.lit(None, pl.Float64)
        column = pl.col(source)
        if self.schema[source] == pl.String:
            column = column.str.strip_chars()
            if self.decimal == ",":
                column = column.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        return column.cast(pl.Float64, strict=False).fill_nan(None)

    def time(self, source: Time | None, *, required: bool = False) -> pl.Expr:
        """Return a UTC time in milliseconds. Invalid times, and local times that do not exist in the zone, are null."""
        if source is None or not self._has(source.column, required):
            return pl.lit(None, MILLIS)
        kind = self.schema[source.column]
        column = pl.col(source.column)
        if isinstance(kind, pl.Datetime) or kind == pl.Date:
            moment = column.cast(pl.Datetime("us", getattr(kind, "time_zone", None)))
            return moment.dt.convert_time_zone("UTC").cast(MILLIS) if _zone(kind) else utc(moment, source.zone)
        if source.format in ("epoch_s", "epoch_ms"):
            factor = 1_000 if source.format == "epoch_s" else 1
            millis = (column.cast(pl.Float64, strict=False) * factor).floor()
            return millis.cast(pl.Int64, strict=False).cast(MILLIS)
        text = column.cast(pl.String).str.strip_chars()
        return iso_times(text, source.zone) if source.format == "iso" else _pattern(text, source.format, source.zone)

    def raw(self, column: str) -> pl.Expr:
        """Return the unchanged column. Raises UsageError if the file has no column of this name."""
        self._has(column, required=True)
        return pl.col(column)

    def is_text(self, column: str) -> bool:
        """Return whether the column holds text."""
        return self.schema.get(column) == pl.String

    def _has(self, column: str, required: bool) -> bool:
        if column in self.schema and column != ROW:
            return True
        if required:
            names = ", ".join(name for name in self.schema.names() if name != ROW)
            raise UsageError(
                f"{self.file} has no column {column}; it has {names}.",
                "Write a mapping with its columns: `shopstream import --show NAME` prints one to start from.",
            )
        if column not in self.absent:
            self.absent.append(column)
        return False


def _zone(kind: pl.DataType) -> str | None:
    return getattr(kind, "time_zone", None)


def _pattern(text: pl.Expr, pattern: str, zone: str) -> pl.Expr:
    if "%z" in pattern or "%:z" in pattern:
        return text.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=False).cast(MILLIS)
    if any(part in pattern for part in ("%H", "%I", "%T", "%R", "%s")):
        return utc(text.str.to_datetime(pattern, time_unit="us", strict=False), zone)
    return utc(text.str.to_date(pattern, strict=False).cast(pl.Datetime("us")), zone)
