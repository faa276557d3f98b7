"""Adds labelled dirt to an archive: duplicates and invalid rows.

Invariant: dirt changes no count and no feature. A duplicate equals its source in every column. An invalid row has an id
of its own, which exposes a reader that wrongly accepts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.schema import AMOUNT_MAX, DAY_COLUMN, DAY_MS, HOUR_MS, ITEM_ARROW, ORDER_CHANGE_MS_MAX
from producers.archive.archive import utc_day
from producers.archive.columns import reading_schema

Spoiler = Callable[[pa.Table], pa.Table]
DUPLICATE: Final = "duplicate"
DUPLICATE_SHARE: Final = 0.5
ID_COLUMN: Final = {"events": "event_id", "orders": "order_id", "customers": "customer_id"}
LABEL_SCHEMA: Final = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("date", pa.date32()),
        pa.field("id", pa.string()),
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("valid", pa.bool_(), nullable=False),
    ]
)
"""Schema of truth_dirt.parquet: the folder's day (null for customers), the planted id, the source row's id."""


def _set(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(column), table.schema.field(column), values)


def _constant(column: str, value: object) -> Spoiler:
    def spoil(table: pa.Table) -> pa.Table:
        kind = table.schema.field(column).type
        scalar = pa.scalar(value, pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else pa.scalar(value, kind)
        return _set(table, column, pa.repeat(scalar, table.num_rows))

    return spoil


def _ts_from_updated(offset_ms: int) -> Spoiler:
    """Move the order's time away from the change, which stays on its day."""

    def spoil(table: pa.Table) -> pa.Table:
        moved = pc.add(table["updated_ts"].cast(pa.int64()), offset_ms)
        return _set(table, "ts", moved.cast(table.schema.field("ts").type))

    return spoil


def _one_item(**fields: object) -> Spoiler:
    line = {"product_id": "p00000", "category": "books", "quantity": 1, "unit_price": 9.99} | fields

    def spoil(table: pa.Table) -> pa.Table:
        return _set(table, "items", pa.array([[line]] * table.num_rows, pa.list_(ITEM_ARROW)))

    return spoil


def _all_times(value_ms: int) -> Spoiler:
    def spoil(table: pa.Table) -> pa.Table:
        return _constant("updated_ts", value_ms)(_constant("ts", value_ms)(table))

    return spoil


_TOO_MUCH: Final = AMOUNT_MAX * 1.001
EVENT_KINDS: Final[dict[str, Spoiler]] = {
    **{f"{name} missing": _constant(name, None) for name in
       ("event_id", "event_type", "customer_id", "session_id", "ts", "device")},
    **{f"{name} empty": _constant(name, "") for name in ("event_id", "customer_id", "session_id")},
    "event_type unknown": _constant("event_type", "wishlist"),
    "device unknown": _constant("device", "fridge"),
    "ts zero": _constant("ts", 0),
    "ts negative": _constant("ts", -DAY_MS),
    "price negative": _constant("price", -0.01),
    "price too high": _constant("price", _TOO_MUCH),
    "price infinite": _constant("price", float("inf")),
    "quantity zero": _constant("quantity", 0),
    "quantity negative": _constant("quantity", -3),
}  # fmt: skip
ORDER_KINDS: Final[dict[str, Spoiler]] = {
    **{f"{name} missing": _constant(name, None) for name in
       ("order_id", "customer_id", "ts", "updated_ts", "status", "total")},
    **{f"{name} empty": _constant(name, "") for name in ("order_id", "customer_id")},
    "status unknown": _constant("status", "shipped"),
    "ts zero": _constant("ts", 0),
    "updated_ts zero": _all_times(0),
    "updated_ts before ts": _ts_from_updated(HOUR_MS),
    "updated_ts too late": _ts_from_updated(-ORDER_CHANGE_MS_MAX - 1),
    "total negative": _constant("total", -1.0),
    "total too high": _constant("total", _TOO_MUCH),
    "total not a number": _constant("total", float("nan")),
    "item quantity zero": _one_item(quantity=0),
    "item price negative": _one_item(unit_price=-5.0),
    "item price too high": _one_item(unit_price=_TOO_MUCH),
}  # fmt: skip
CUSTOMER_KINDS: Final[dict[str, Spoiler]] = {
    "customer_id missing": _constant("customer_id", None),
    "customer_id empty": _constant("customer_id", ""),
}
KINDS: Final = {"events": EVENT_KINDS, "orders": ORDER_KINDS, "customers": CUSTOMER_KINDS}
"""All kinds of invalid rows in an archive."""


@dataclass(frozen=True, slots=True)
class Planted:
    """Rows of one folder: dirty ones only, or clean and dirty ones mixed. The day is None for customers."""

    day: date | None
    rows: pa.Table


class ArchiveDirt:
    """Adds dirt to a sequence of tables: for each topic exactly `fraction` of the clean rows so far.

    Args:
        fraction: dirty rows per clean row, 0 to 1.
        rng: random generator. Its state advances.
    """

    def __init__(self, fraction: float, rng: np.random.Generator) -> None:
        self._fraction = fraction
        self._rng = rng
        self._clean = dict.fromkeys(KINDS, 0)
        self._labels: list[pa.Table] = []

    def among(self, topic: str, table: pa.Table) -> Iterator[Planted]:
        """Yield dirty rows of other days, then a table's rows, all of one UTC day, with dirt at random positions."""
        before = self._clean[topic]
        self._clean[topic] += table.num_rows
        count = int(self._fraction * self._clean[topic]) - int(self._fraction * before)
        day = None if topic == "customers" or table.num_rows == 0 else _day_of(table[DAY_COLUMN[topic]][0])
        table = table.cast(reading_schema(topic))
        here = [table]
        for kind, rows in self._dirty(topic, table, count):
            own_day = day
            if day is not None and (time := rows[DAY_COLUMN[topic]][0]).is_valid:
                own_day = _day_of(time)
            if own_day == day:
                here.append(rows)
            else:
                yield Planted(own_day, rows)
            self._label(topic, own_day, kind, rows)
        yield Planted(day, self._shuffled_in(here).select(table.schema.names))

    def labels(self) -> pa.Table:
        """Return the labels of all planted rows, with LABEL_SCHEMA."""
        return pa.concat_tables([LABEL_SCHEMA.empty_table(), *self._labels])

    def _dirty(self, topic: str, table: pa.Table, count: int) -> Iterator[tuple[str, pa.Table]]:
        """Yield dirty rows by kind, with their source's id as an extra column. `count` is 0 to the number of rows."""
        sources = table.take(pa.array(self._rng.choice(table.num_rows, count, replace=False)))
        sources = sources.append_column("source_id", sources[ID_COLUMN[topic]])
        names = [DUPLICATE, *KINDS[topic]]
        probabilities = [DUPLICATE_SHARE] + [(1 - DUPLICATE_SHARE) / len(KINDS[topic])] * len(KINDS[topic])
        drawn = self._rng.choice(len(names), count, p=probabilities)
        for index in np.unique(drawn):
            rows = sources.filter(pa.array(drawn == index))
            if names[index] != DUPLICATE:
                own_ids = pc.binary_join_element_wise("x", rows["source_id"].combine_chunks(), "-")
                rows = KINDS[topic][names[index]](_set(rows, ID_COLUMN[topic], own_ids))
            yield names[index], rows

    def _shuffled_in(self, tables: list[pa.Table]) -> pa.Table:
        clean = tables[0]
        if len(tables) == 1:
            return clean
        dirty = pa.concat_tables([table.select(clean.schema.names) for table in tables[1:]])
        sort_keys = np.concatenate([np.arange(clean.num_rows), self._rng.random(dirty.num_rows) * clean.num_rows])
        return pa.concat_tables([clean, dirty]).take(pa.array(np.argsort(sort_keys, kind="stable")))

    def _label(self, topic: str, day: date | None, kind: str, rows: pa.Table) -> None:
        n = rows.num_rows
        columns = [
            pa.repeat(pa.scalar(topic), n),
            pa.repeat(pa.scalar(day, pa.date32()), n),
            rows[ID_COLUMN[topic]],
            rows["source_id"],
            pa.repeat(pa.scalar(kind), n),
            pa.repeat(pa.scalar(kind == DUPLICATE), n),
        ]
        self._labels.append(pa.table(columns, schema=LABEL_SCHEMA))


def _day_of(time: pa.Scalar) -> date:
    return utc_day(time.cast(pa.int64()).as_py())
