"""Records as an archive of Parquet files, in every layout the contract allows.

A day's rows are spread over several files; each file has its own order of rows and columns, string and number types,
compression and missing columns.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from oracle.adversarial import Records
from oracle.rows import Row
from oracle.shop import DAY

from features.schema import ITEM_ARROW, Customer, Event, Order, arrow_schema

EVENTS = pa.schema([field.with_nullable(True) for field in arrow_schema(Event)])
ORDERS = pa.schema([field.with_nullable(True) for field in arrow_schema(Order)])
REQUIRED = frozenset(
    {*("event_id", "event_type", "customer_id", "session_id", "ts", "device"), *("order_id", "updated_ts", "status")}
    | {"total"}
)


def write_archive(directory: Path, records: Records, *, broken: bool = True) -> Path:
    """Writes the records below a directory and returns it.

    Args:
        directory: made if missing.
        records: what to write; the same records give the same files.
        broken: whether the rows that are no records are written among the others.
    """
    rng = np.random.default_rng(records.seed)
    events = [*records.events, *(records.broken_events if broken else ())]
    orders = [*records.orders, *(records.broken_orders if broken else ())]
    write_table(directory / "events", events, EVENTS, lambda row: row["ts"], records.as_of, rng)
    write_table(directory / "orders", orders, ORDERS, lambda row: row["updated_ts"] or row["ts"], records.as_of, rng)
    (directory / "_SUCCESS").touch()
    return directory


def write_plain(directory: Path, events: Sequence[Row], orders: Sequence[Row]) -> Path:
    """Writes lists of valid records as the plainest archive: one file a day, the contract's columns and types."""
    for table, rows, schema, time in (("events", events, EVENTS, "ts"), ("orders", orders, ORDERS, "updated_ts")):
        for day, one in _by_day(rows, operator.itemgetter(time), 0).items():
            path = directory / table / f"date={day}" / "part-0.parquet"
            path.parent.mkdir(parents=True)
            pq.write_table(pa.Table.from_pylist(one, schema=schema), path)
    return directory


def write_customers(directory: Path, customers: Sequence[Row]) -> None:
    """Writes the profiles of an archive."""
    pq.write_table(
        pa.Table.from_pylist(list(customers), schema=arrow_schema(Customer)), directory / "customers.parquet"
    )


def write_table(
    directory: Path,
    rows: Sequence[Row],
    schema: pa.Schema,
    time_of: Callable[[Row], int | None],
    default_ts: int,
    rng: np.random.Generator,
) -> None:
    """Writes one table's rows, each into the folder of its own day (of `default_ts` when it has no time)."""
    for day, one in _by_day(rows, time_of, default_ts).items():
        folder = directory / f"date={day}"
        folder.mkdir(parents=True)
        shuffled = [one[i] for i in rng.permutation(len(one))]
        files = (1, 1, 1, 2, 3)[int(rng.integers(5))]
        for number in range(files + int(rng.random() < 0.1)):  # one more is a file without rows
            own = shuffled[number::files] if number < files else []
            table = _disguise(_table(own, schema, rng), rng)
            codec = ("none", "snappy", "zstd")[int(rng.integers(3))]
            pq.write_table(table, folder / f"{number:02}.parquet", compression=codec, row_group_size=7)


def _by_day(rows: Sequence[Row], time_of: Callable[[Row], int | None], default_ts: int) -> dict[Any, list[Row]]:
    days = defaultdict(list)
    for row in rows:
        ts = time_of(row)
        days[np.datetime64((default_ts if ts is None else ts) // DAY, "D")].append(row)
    return days


def _table(rows: Sequence[Row], schema: pa.Schema, rng: np.random.Generator) -> pa.Table:
    """A table of the contract's types, but for quantities that no integer column can hold."""
    for name in ("price", "quantity"):
        if name not in schema.names:
            continue
        values = [row.get(name) for row in rows]
        floats = name == "price" or any(isinstance(v, float) for v in values) or rng.random() < 0.3
        if not floats:
            continue
        schema = schema.set(schema.get_field_index(name), pa.field(name, pa.float64()))
        if rng.random() < 0.5:  # as pandas writes nulls
            rows = [row | {name: math.nan if row.get(name) is None else row[name]} for row in rows]
    return pa.Table.from_pylist(list(rows), schema=schema)


def _disguise(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """The same rows in other columns: shuffled, some of the empty ones gone, other encodings of strings, a stranger."""
    for name in table.column_names:
        column = table[name]
        position = table.schema.get_field_index(name)
        if name not in REQUIRED and column.null_count == len(column) and rng.random() < 0.7:
            table = table.remove_column(position)
        elif column.type == pa.string():
            other = (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()))[int(rng.integers(3))]
            table = table.set_column(position, name, column.cast(other))
        elif name == "items":
            table = table.set_column(position, name, _disguise_items(column, rng))
    if rng.random() < 0.3:
        table = table.append_column("utm_source", pa.array(["?"] * table.num_rows))
    return table.select([table.column_names[i] for i in rng.permutation(table.num_columns)])


def _disguise_items(items: pa.ChunkedArray, rng: np.random.Generator) -> pa.Array:
    """The same lines with their fields in another order, without those that no line of this file has."""
    rows = items.to_pylist()
    lines = [line or {} for row in rows for line in row or ()]
    fields = [ITEM_ARROW.field(int(i)) for i in rng.permutation(ITEM_ARROW.num_fields)]
    stored = [f for f in fields if any(line.get(f.name) is not None for line in lines)] or fields
    kind = (pa.list_, pa.large_list)[int(rng.integers(2))]
    return pa.array(rows, type=kind(pa.struct(stored)))
