"""Reads the tables of a mapping, from which `lookup` takes values: the customers or payments of an order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from connectors.formats.numbers import read_decimals
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import LogFile, log_files
from connectors.tables.reader import header, read_batches
from features.errors import ShopstreamError, UsageError
from producers.importing.mapping import ClickMapping, OrderLines, OrderMapping, Table
from producers.importing.money import amounts, sums, texts
from producers.importing.sources import Lookup, Selection, alternatives

Lookups = Mapping[str, Mapping[Lookup, Mapping[str, str]]]
"""Table -> lookup -> key -> text."""
_BATCH_ROWS: Final = 200_000


def read_lookups(mapping: OrderMapping | ClickMapping, log: LogFile) -> Lookups:
    """Return the tables that a mapping names.

    Args:
        mapping: mapping with `tables`.
        log: file of the log; the tables are in its folder.

    Raises:
        UsageError: a table is missing, or lacks a column.
        ShopstreamError: a key has several rows, and the lookup is no sum.
    """
    lookups_of: dict[str, set[Lookup]] = defaultdict(set)
    for source in mapping.sources():
        for one in alternatives(source):
            if isinstance(one, Selection) and one.lookup is not None:
                lookups_of[one.lookup.table].add(one.lookup)
    return {
        name: _read(name, mapping.tables[name], lookups, mapping, log.path.parent)
        for name, lookups in lookups_of.items()
    }


@dataclass(frozen=True, slots=True)
class TableLines:
    """Lines of orders in a table of their own.

    Attributes:
        rows: `key`, and the columns that the mapping reads, whose names begin with a point.
        log_column: column of the log that holds the key.
    """

    rows: pl.DataFrame
    log_column: str


def read_lines(mapping: OrderMapping | ClickMapping, log: LogFile) -> TableLines | None:
    """Return the table of an order log's lines; None if its lines are not in a table.

    Raises:
        UsageError: the table is missing, or lacks a column.
    """
    lines = mapping.fields.lines
    if not isinstance(mapping, OrderMapping) or not isinstance(lines, OrderLines) or lines.table is None:
        return None
    table = mapping.tables[lines.table]
    columns = sorted(path[1:] for path in mapping.paths() if path.startswith("."))
    rows = _table(lines.table, table, {table.key, *columns}, mapping, log.path.parent)
    assert isinstance(mapping.order.id, str)
    return TableLines(
        rows.select(pl.col(table.key).alias(_KEY), **{f".{name}": name for name in columns}), mapping.order.id
    )


def with_lines(rows: pl.DataFrame, lines: TableLines) -> pl.DataFrame:
    """Return a row of the log per line of its order, and one for an order without lines."""
    key = pl.col(lines.log_column).str.strip_chars().alias(_KEY)
    return rows.with_columns(key).join(lines.rows, on=_KEY, how="left", maintain_order="left_right").drop(_KEY)


_KEY: Final = "\0key"


def _read(
    name: str, table: Table, lookups: set[Lookup], mapping: OrderMapping | ClickMapping, folder: Path
) -> dict[Lookup, dict[str, str]]:
    rows = _table(name, table, {table.key, *(lookup.column for lookup in lookups)}, mapping, folder)
    how = table.format or mapping.file
    return {
        lookup: _sums_by_key(rows, table.key, lookup.column, name, how, mapping.file.decimal)
        if lookup.sum
        else _values_by_key(rows, table.key, lookup, name)
        for lookup in lookups
    }


def _table(
    name: str, table: Table, names: set[str], mapping: OrderMapping | ClickMapping, folder: Path
) -> pl.DataFrame:
    """Return columns of a table as trimmed text. Rows without a key are left out."""
    how = table.format or mapping.file
    columns = sorted(names)
    frames = []
    for file in log_files([folder / table.file]):
        if how.format != "json" and (absent := set(columns) - set(header(file, how))):
            raise UsageError(f"{file.name} has no column {min(absent)}.", f"Correct tables.{name} in the mapping.")
        for batch in read_batches(file, how, columns, rows_max=_BATCH_ROWS):
            if batch.refused:
                first = batch.refused[0]
                raise ShopstreamError(f"{file.name}, line {first.line}: {first.reason}.", "Correct the file.")
            frames.append(batch.rows.select(pl.col(columns).cast(pl.String).str.strip_chars()))
    if not frames:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    return pl.concat(frames).filter(pl.col(table.key).is_not_null())


def _sums_by_key(rows: pl.DataFrame, key: str, column: str, name: str, how: FileFormat, decimal: str) -> dict[str, str]:
    """Return the exact sum of a column per key, with the decimal sign of the log.

    Raises:
        ShopstreamError: a value is no number in the format of the table.
    """
    number = read_decimals(pl.col(column), how.decimal, how.grouping)
    values = rows.select(pl.col(key).alias("key"), number.alias("number")).unnest("number")
    unread = values.drop_nulls("reason")
    if len(unread):
        raise ShopstreamError(
            f"tables.{name}: {key} {unread['key'].sort()[0]!r}: {column}: {unread.sort('key')['reason'][0]}.",
            f"Write decimal and thousands in tables.{name}.format as the table has them.",
        )
    values = values.drop_nulls("value")
    keys = values["key"].unique(maintain_order=True)
    groups = values.join(pl.DataFrame({"key": keys}).with_row_index("group"), on="key", maintain_order="left")
    groups_with_sum, added = sums(groups["group"], amounts(groups["value"]))
    plain = texts(added).str.replace(".", decimal, literal=True)
    return dict(zip(keys.gather(groups_with_sum), plain, strict=True))


def _values_by_key(rows: pl.DataFrame, key: str, lookup: Lookup, name: str) -> dict[str, str]:
    values = rows.select(pl.col(key).alias("key"), pl.col(lookup.column).alias("value")).drop_nulls("value")
    values = values.unique()
    twice = values.filter(pl.col("key").is_duplicated())
    if len(twice):
        raise ShopstreamError(
            f"tables.{name}: {key} {twice['key'].sort()[0]!r} has several values of {lookup.column}.",
            "A lookup needs one row per key, or `sum: true`.",
        )
    return dict(zip(values["key"], values["value"], strict=True))
