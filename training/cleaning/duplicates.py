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

from training.cleaning.change_log import ChangeLog

UInt64 = npt.NDArray[np.uint64]
KEY_COLUMNS: Final = {"events": ("event_id",), "orders": ("order_id", "updated_ts")}
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


def first_records(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the customer and time of each order's earliest record.

    Args:
        parts: order_id, customer_id, ts, updated_ts of valid records.

    Returns:
        order_id, customer_id and ts of the orders whose records disagree on them.
    """
    empty = pl.DataFrame(
        schema={"order_id": pl.String, "customer_id": pl.String, "ts": pl.Int64, "updated_ts": pl.Int64}
    )
    records = pl.concat([empty, *(part.select(empty.columns) for part in parts)])
    mixed = (
        records.group_by("order_id")
        .agg(col("customer_id").n_unique().alias("customers"), col("ts").n_unique().alias("times"))
        .filter((col("customers") > 1) | (col("times") > 1))
        .select("order_id")
    )
    return (
        records.join(mixed, on="order_id", how="semi")
        .sort("updated_ts", "ts", "customer_id")
        .unique("order_id", keep="first", maintain_order=True)
        .drop("updated_ts")
    )


def of_one_order(rows: pl.DataFrame, mixed: pl.DataFrame, log: ChangeLog) -> pl.DataFrame:
    """Return the order records that agree with the earliest record of their order; see `first_records`."""
    if mixed.is_empty():
        return rows
    truth = mixed.rename({"customer_id": "_customer", "ts": "_ts"})
    joined = rows.join(truth, on="order_id", how="left", maintain_order="left")
    wrong = joined.select(
        ((col("_customer") != col("customer_id")) | (col("_ts") != col("ts"))).fill_null(value=False)
    ).to_series()
    log.drop("orders", "order id used twice", "an order has one customer and one time: those of its earliest record",
                "key", rows.filter(wrong))  # fmt: skip
    return rows.filter(~wrong)
