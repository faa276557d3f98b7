"""Reads the tables of a mapping, from which `lookup` takes values: the customers or payments of an order.

A table is read once per import, mapping and folder. Its rows whose key no row of the log has are counted at the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from connectors.formats.ids import plain_ids
from connectors.formats.numbers import read_decimals
from connectors.tables.batches import LINE
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files
from connectors.tables.reader import header, read_batches
from features.errors import ShopstreamError, UsageError
from producers.importing.mapping import ClickMapping, OrderLines, OrderMapping
from producers.importing.money import amounts, sums, texts
from producers.importing.refusals import REFUSAL_SCHEMA, FileReport
from producers.importing.sources import Lookup, Selection, alternatives

Lookups = Mapping[str, Mapping[Lookup, Mapping[str, str]]]
"""Table -> lookup -> key -> text."""
TABLE_POSITION: Final = "\0table position"
"""Column of joined lines with file and line of the line in its table; null for an order without lines."""
UNUSED: Final = "row of a table whose key no row of the log has"
NO_KEY: Final = "row of a table without a key"
_BATCH_ROWS: Final = 200_000
_KEY: Final = "\0key"
_FILE: Final = "\0file"
_ROW_STATES: Final = {"file": pl.String, "line": pl.Int64, "reason": pl.String, "rank": pl.Int8}
_USED, _REFUSED, _LEFT_OUT = 2, 1, 0
"""Ranks of what became of a row: of several uses of a table the highest counts."""


@dataclass(slots=True)
class _Table:
    """Rows of one table.

    Attributes:
        name: name in the mapping.
        how: format of the table.
        column: column of the key.
        rows: _KEY, _FILE, LINE, and columns as trimmed text. Each row has a key.
        others: rows that are not read: columns of _ROW_STATES.
        unused: keys that no row of the log had so far.
    """

    name: str
    how: FileFormat
    column: str
    rows: pl.DataFrame
    others: pl.DataFrame
    unused: pl.Series

    def use(self, keys: pl.Series) -> None:
        """Remember that the log has these keys."""
        if len(self.unused):
            self.unused = self.unused.filter(~self.unused.is_in(keys.drop_nulls().unique().implode()))

    def row_states(self) -> pl.DataFrame:
        """Return what became of each row: columns of _ROW_STATES."""
        unused = pl.col(_KEY).is_in(self.unused.implode())
        read = self.rows.select(
            pl.col(_FILE).alias("file"),
            pl.col(LINE).alias("line"),
            pl.when(unused).then(pl.lit(UNUSED)).alias("reason"),
            pl.when(unused).then(_LEFT_OUT).otherwise(_USED).cast(pl.Int8).alias("rank"),
        )
        return pl.concat([read, self.others])


@dataclass(slots=True)
class MappingTables:
    """Tables of a mapping, in the folder of a log.

    Attributes:
        lookups: table -> lookup -> key -> text.
        formats: table -> its format.
        keys: table of lookups -> its keys.
        lines: columns that the mapping reads of the lines' table, whose names begin with a point; None without one.
        lines_table: name of the lines' table.
        log_column: column of the log that holds the key of the lines.
        tables: name, and whether the table is that of the lines -> table.
    """

    lookups: Lookups = field(default_factory=dict)
    formats: Mapping[str, FileFormat] = field(default_factory=dict)
    keys: dict[str, pl.Series] = field(default_factory=dict)
    lines: pl.DataFrame | None = None
    lines_table: str | None = None
    tables: dict[tuple[str, bool], _Table] = field(default_factory=dict)
    log_column: str = ""

    def use(self, name: str, keys: pl.Series) -> None:
        """Remember that rows of the log look these keys up in a table."""
        self.tables[name, False].use(keys)

    def with_lines(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return a row of the log per line of its order, and one for an order without lines."""
        if self.lines is None:
            return rows
        rows = rows.with_columns(plain_ids(pl.col(self.log_column)).alias(_KEY))
        self.tables[self.lines_table or "", True].use(rows[_KEY])
        return rows.join(self.lines, on=_KEY, how="left", maintain_order="left_right").drop(_KEY)


class TableReader:
    """Reads the tables of the mappings of one import."""

    def __init__(self) -> None:
        self._read: list[tuple[OrderMapping | ClickMapping, Path, str, MappingTables]] = []

    def tables(self, mapping: OrderMapping | ClickMapping, name: str, folder: Path) -> MappingTables:
        """Return the tables that a mapping names. They are read once per mapping and folder.

        Args:
            mapping: mapping with `tables`.
            name: its name, for the report.
            folder: folder of the log and its tables.

        Raises:
            UsageError: a table is missing, or lacks a column.
            ShopstreamError: a row is unreadable, or a key has several values and the lookup is no sum.
        """
        if not mapping.tables:
            return MappingTables()
        for former, in_folder, _, tables in self._read:
            if in_folder == folder and former == mapping:
                return tables
        tables = _tables(mapping, folder)
        self._read.append((mapping, folder, name, tables))
        return tables

    def reports(self) -> Iterator[tuple[FileReport, pl.DataFrame]]:
        """Yield the report of each file of a table with rows that no row of the log uses, and its refused rows.

        Rows that are used count with the rows of the log. A row is used if one of several mappings uses it.
        """
        every = [
            table.row_states().with_columns(mapping=pl.lit(name), orders=pl.lit(isinstance(mapping, OrderMapping)))
            for mapping, _, name, tables in self._read
            for table in tables.tables.values()
        ]
        if not every:
            return
        rows = pl.concat(every).sort("rank", descending=True, maintain_order=True).unique(
            ["file", "line"], keep="first", maintain_order=True
        )  # fmt: skip
        rows = rows.filter(pl.col("rank") < _USED).sort("file", "line")
        for (file,), part in rows.group_by("file", maintain_order=True):
            report = FileReport(str(file), part["mapping"][0], "orders" if part["orders"][0] else "events", len(part))
            for (reason,), left in part.filter(pl.col("rank") == _LEFT_OUT).group_by("reason", maintain_order=True):
                report.leave_out(str(reason), left["line"].to_list())
            refused = part.filter(pl.col("rank") == _REFUSED).select("line", "reason")
            yield report, pl.concat([pl.DataFrame(schema=REFUSAL_SCHEMA), refused], how="diagonal")


def _tables(mapping: OrderMapping | ClickMapping, folder: Path) -> MappingTables:
    lookups_of: dict[str, set[Lookup]] = defaultdict(set)
    for source in mapping.sources():
        for one in alternatives(source):
            if isinstance(one, Selection) and one.lookup is not None:
                lookups_of[one.lookup.table].add(one.lookup)
    made = MappingTables(formats={name: table.format or mapping.file for name, table in mapping.tables.items()})
    lookups: dict[str, Mapping[Lookup, Mapping[str, str]]] = {}
    for name, requested in lookups_of.items():
        table = _table(name, {lookup.column for lookup in requested}, mapping, folder)
        made.tables[name, False], made.keys[name] = table, table.unused
        lookups[name] = {
            lookup: _sums_by_key(table, lookup.column, mapping.file.decimal)
            if lookup.sum
            else _values_by_key(table, lookup.column)
            for lookup in requested
        }
    made.lookups = lookups
    lines = mapping.fields.lines
    if isinstance(lines, OrderLines) and isinstance(mapping, OrderMapping) and lines.table is not None:
        assert isinstance(mapping.order.id, str)
        columns = sorted(path[1:] for path in mapping.paths() if path.startswith("."))
        table = _table(lines.table, set(columns), mapping, folder)
        position = pl.format("{}, line {}", pl.col(_FILE).str.split("/").list.last(), LINE).alias(TABLE_POSITION)
        made.lines = table.rows.select(_KEY, position, **{f".{column}": column for column in columns})
        made.tables[lines.table, True] = table
        made.lines_table, made.log_column = lines.table, mapping.order.id
    return made


def _table(name: str, names: set[str], mapping: OrderMapping | ClickMapping, folder: Path) -> _Table:
    """Return columns of a table as trimmed text, with the key of each row."""
    table = mapping.tables[name]
    how = table.format or mapping.file
    columns = sorted({table.key, *names})
    frames = [pl.DataFrame(schema={_FILE: pl.String, LINE: pl.Int64, **dict.fromkeys(columns, pl.String)})]
    repeated = [pl.DataFrame(schema=_ROW_STATES)]
    for file in log_files([folder / table.file]):
        if how.format != "json" and (absent := set(columns) - set(header(file, how))):
            raise UsageError(f"{file.name} has no column {min(absent)}.", f"Correct tables.{name} in the mapping.")
        for batch in read_batches(file, how, columns, rows_max=_BATCH_ROWS):
            for one in batch.refused:
                if not one.left_out:
                    raise ShopstreamError(f"{file.name}, line {one.line}: {one.reason}.", "Correct the file.")
            left_out = [(file.name, one.line, one.reason, _LEFT_OUT) for one in batch.refused]
            repeated.append(pl.DataFrame(left_out, _ROW_STATES, orient="row"))
            text = pl.col(columns).cast(pl.String).str.strip_chars()
            frames.append(batch.rows.select(pl.lit(file.name).alias(_FILE), LINE, text))
    rows = pl.concat(frames).with_columns(plain_ids(pl.col(table.key)).alias(_KEY))
    without = rows.filter(pl.col(_KEY).is_null()).select(
        pl.col(_FILE).alias("file"), pl.col(LINE).alias("line"), reason=pl.lit(NO_KEY),
        rank=pl.lit(_REFUSED, pl.Int8),
    )  # fmt: skip
    rows = rows.filter(pl.col(_KEY).is_not_null())
    return _Table(name, how, table.key, rows, pl.concat([*repeated, without]), rows[_KEY].unique())


def _sums_by_key(table: _Table, column: str, decimal: str) -> dict[str, str]:
    """Return the exact sum of a column per key, with the decimal sign of the log.

    Raises:
        ShopstreamError: a value is no number in the format of the table.
    """
    number = read_decimals(pl.col(column), table.how.decimal, table.how.grouping)
    values = table.rows.select(_FILE, LINE, pl.col(_KEY).alias("key"), number.alias("number")).unnest("number")
    unread = values.filter(pl.col("reason").is_not_null()).sort(_FILE, LINE)
    if len(unread):
        first = unread.row(0, named=True)
        raise ShopstreamError(
            f"{first[_FILE]}, line {first[LINE]}, {column}: {first['reason']}.",
            f"Write decimal and thousands in tables.{table.name}.format as the table has them.",
        )
    values = values.drop_nulls("value")
    keys = values["key"].unique(maintain_order=True)
    groups = values.join(pl.DataFrame({"key": keys}).with_row_index("group"), on="key", maintain_order="left")
    groups_with_sum, added = sums(groups["group"], amounts(groups["value"]))
    plain = texts(added).str.replace(".", decimal, literal=True)
    return dict(zip(keys.gather(groups_with_sum), plain, strict=True))


def _values_by_key(table: _Table, column: str) -> dict[str, str]:
    """Return the value of a column per key.

    Raises:
        ShopstreamError: a key has two values.
    """
    values = table.rows.select(_FILE, LINE, pl.col(_KEY).alias("key"), pl.col(column).alias("value"))
    values = values.drop_nulls("value").sort(_FILE, LINE).unique(["key", "value"], keep="first", maintain_order=True)
    twice = values.filter(pl.col("key").is_duplicated()).head(1)
    if len(twice):
        first, second, *_ = values.filter(pl.col("key") == twice["key"][0]).iter_rows(named=True)
        raise ShopstreamError(
            f"{second[_FILE]}, line {second[LINE]}: {column} of {table.column} {second['key']!r} is "
            f"{second['value']!r}, but {first['value']!r} in line {first[LINE]} of {first[_FILE]}.",
            f"A lookup needs one value per key: correct tables.{table.name}, or write `sum: true` for amounts.",
        )
    return dict(zip(values["key"], values["value"], strict=True))
