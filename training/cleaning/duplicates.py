"""Finds repeated rows: copies of a record, and other records under the same key.

The rule of this file: the choice of the kept row does not depend on the order of rows in a file. Only keys that occur
more than once, found by 64-bit hashes, are compared row by row. A hash collision costs time, never a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
from polars import col

from features.schema import STATUSES, VOID_STATUS
from training.cleaning.change_log import ChangeLog

UInt64 = npt.NDArray[np.uint64]
KEY_COLUMNS: Final = {"events": ("event_id",), "orders": ("order_id", "updated_ts")}
FOREIGN: Final = {"order_id": pl.String, "customer_id": pl.String, "ts": pl.Int64, "updated_ts": pl.Int64}
"""Columns that identify a record of an order."""
_RANK: Final = {status: rank for rank, status in enumerate(STATUSES)}
_ORDER: Final = {"events": ("ts",), "orders": ("updated_ts", "ts")}


def key_hashes(topic: str, rows: pl.DataFrame) -> UInt64:
    """Return a hash of each row's key."""
    return rows.select(pl.struct(KEY_COLUMNS[topic]).hash(seed=0)).to_series().to_numpy()


def repeated(hashes: Sequence[UInt64]) -> pl.Series:
    """Return the hashes that occur more than once."""
    if not hashes:
        return pl.Series(dtype=pl.UInt64)
    ordered = np.sort(np.concatenate(hashes))
    return pl.Series(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]), dtype=pl.UInt64)


@dataclass(slots=True)
class DuplicateFinder:
    """Finds the rows of a topic that repeat an earlier one.

    Attributes:
        topic: events or orders.
        suspects: hashes of the keys that occur more than once.
    """

    topic: str
    suspects: pl.Series
    _seen: dict[tuple[Any, ...], set[tuple[Any, ...]]] = field(default_factory=dict)

    def without(self, rows: pl.DataFrame, log: ChangeLog) -> pl.DataFrame:
        """Return the rows that repeat none from an earlier call or, within this call, from an earlier time."""
        if self.suspects.is_empty():
            return rows
        marked = rows.with_columns(
            pl.struct(KEY_COLUMNS[self.topic]).hash(seed=0).is_in(self.suspects.implode()).alias("_suspect"),
            pl.int_range(pl.len()).alias("_at"),
        )
        suspects = marked.filter("_suspect").sort(*_ORDER[self.topic], "_at")
        if suspects.is_empty():
            return rows
        same, other = self._classified(suspects)
        if same:
            log.drop(self.topic, "exact duplicate", "all columns equal those of a kept row", "duplicate",
                        rows[sorted(same)])  # fmt: skip
        if other:
            log.drop(self.topic, "event id used twice", "another event has this id; the earliest one is kept",
                        "key", rows[sorted(other)])  # fmt: skip
        return rows[sorted(set(range(len(rows))) - set(same) - set(other))]

    def _classified(self, suspects: pl.DataFrame) -> tuple[list[int], list[int]]:
        """Return positions of rows that repeat another one in full, and of those that only share its key."""
        columns = [name for name in suspects.columns if not name.startswith("_")]
        keys = suspects.select(KEY_COLUMNS[self.topic]).rows()
        texts = [repr(row) for row in suspects.select(columns).iter_rows()]
        same, other = [], []
        # for rows with equal key and time, the smallest text goes first, regardless of position
        times = suspects.select(_ORDER[self.topic]).rows()
        for at in sorted(range(len(suspects)), key=lambda at: (times[at], texts[at])):
            known = self._seen.setdefault(keys[at], set())
            if (texts[at],) in known:
                same.append(suspects["_at"][at])
            elif known and self.topic == "events":
                other.append(suspects["_at"][at])
                known.add((texts[at],))
            else:
                known.add((texts[at],))
        return same, other


def foreign_records(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the records that belong to another order of the same id.

    An order has the time of its earliest record. It has one customer at a time: another one may have it once the record
    of the former customer is void.

    Args:
        parts: FOREIGN and `status` of valid records.

    Returns:
        FOREIGN of the records to leave out.
    """
    schema = {**FOREIGN, "status": pl.String}
    records = pl.concat([pl.DataFrame(schema=schema), *(part.select(list(schema)) for part in parts)])
    mixed = (
        records.group_by("order_id")
        .agg(col("customer_id").n_unique().alias("customers"), col("ts").n_unique().alias("times"))
        .filter((col("customers") > 1) | (col("times") > 1))
        .select("order_id")
    )
    foreign: list[tuple[Any, ...]] = []
    suspects = records.join(mixed, on="order_id", how="semi")
    for _, order in suspects.sort("updated_ts", "ts", "customer_id").group_by("order_id", maintain_order=True):
        foreign += _foreign(order)
    return pl.DataFrame(foreign, schema=FOREIGN, orient="row").unique(maintain_order=True)


def _foreign(records: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Return FOREIGN of the records of one id that do not belong to its order; the earliest record comes first."""
    placed_ts, holder = records["ts"][0], records["customer_id"][0]
    # of a customer's records of one time the last status counts, and who gives an order away comes first
    changes = (
        records.with_columns(col("status").replace_strict(_RANK, return_dtype=pl.Int64).alias("_rank"))
        .group_by(list(FOREIGN))
        .agg(col("_rank").max())
        .sort((col("_rank") == _RANK[VOID_STATUS]).not_(), "customer_id")
        .sort("updated_ts", maintain_order=True)
    )
    foreign = []
    for order_id, customer_id, ts, updated_ts, rank in changes.select(*FOREIGN, "_rank").iter_rows():
        is_void = rank == _RANK[VOID_STATUS]
        if ts != placed_ts or (customer_id != holder and holder is not None and not is_void):
            foreign.append((order_id, customer_id, ts, updated_ts))
        elif not is_void:
            holder = customer_id
        elif customer_id == holder:
            holder = None
    return foreign


def of_one_order(rows: pl.DataFrame, foreign: pl.DataFrame, log: ChangeLog) -> pl.DataFrame:
    """Return the order records without those of `foreign_records`."""
    if foreign.is_empty():
        return rows
    keys = list(FOREIGN)
    marked = rows.join(foreign.with_columns(_foreign=True), on=keys, how="left", maintain_order="left")
    wrong = marked["_foreign"].fill_null(value=False)
    log.drop("orders", "order id used twice", "an order has one time, that of its earliest record, and one customer",
                "key", rows.filter(wrong))  # fmt: skip
    return rows.filter(~wrong)
