"""Deletes orders of the synthetic shop: their last record is `void`, as in shops that remove orders for good.

Events stay. A change of an order after its deletion has no record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from features.schema import DAY_MS, HOUR_MS, VOID_STATUS
from producers.shop.tables import ORDERS_SCHEMA

_DELAY_MIN_MS: Final = HOUR_MS
_DELAY_MEAN_MS: Final = 4 * DAY_MS
_DELAY_MAX_MS: Final = 30 * DAY_MS
_PLACED: Final = "placed"


@dataclass(slots=True)
class _Deleted:
    """Order that is deleted, with its last record before that."""

    due_ms: int
    record: dict[str, Any]
    revenue_cents: int
    """Revenue with all drawn changes, also those after the deletion."""
    done: bool = False


class Deletions:
    """Adds the deletions of some orders to the order records of a history.

    Args:
        share: share of the orders that are deleted, hours to weeks after they were placed.
        rng: random generator. Its state advances.

    Attributes:
        orders: orders deleted so far.
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self._share = share
        self._rng = rng
        self._deleted: dict[str, _Deleted] = {}
        self.orders = 0

    @property
    def revenue_cents(self) -> int:
        """Revenue of the deleted orders, had they not been deleted."""
        return sum(one.revenue_cents for one in self._deleted.values() if one.done)

    def among(self, records: pa.Table, end_ms: int) -> pa.Table:
        """Return the records of a batch with deletions, ascending by updated_ts.

        Args:
            records: order records, ascending by updated_ts. Each batch is later than those before.
            end_ms: end of the batch, exclusive.
        """
        frame = pl.from_arrow(records.select(["order_id", "ts", "updated_ts"]))
        assert isinstance(frame, pl.DataFrame)
        first = (frame["ts"] == frame["updated_ts"]).to_numpy()
        drawn = self._rng.random(len(first)) < self._share
        delays_ms = np.clip(self._rng.exponential(_DELAY_MEAN_MS, len(first)), _DELAY_MIN_MS, _DELAY_MAX_MS)
        times_ms = frame["updated_ts"].to_physical().to_list()
        dropped = np.zeros(len(first), np.bool_)
        for row, order_id in enumerate(frame["order_id"].to_list()):
            if first[row]:
                if drawn[row]:
                    due_ms = times_ms[row] + int(delays_ms[row])
                    record = _record(records, row)
                    self._deleted[order_id] = _Deleted(due_ms, record, _revenue_cents(record))
            elif (deleted := self._deleted.get(order_id)) is not None:
                record = _record(records, row)
                deleted.revenue_cents = _revenue_cents(record)
                dropped[row] = times_ms[row] >= deleted.due_ms
                if not dropped[row]:
                    deleted.record = record
        remaining = records.filter(pa.array(~dropped)) if dropped.any() else records
        return self._with_due(remaining, end_ms)

    def _with_due(self, records: pa.Table, end_ms: int) -> pa.Table:
        due = [one for one in self._deleted.values() if not one.done and one.due_ms < end_ms]
        if not due:
            return records
        for one in due:
            one.done = True
            self.orders += 1
        rows = [one.record | {"updated_ts": one.due_ms, "status": VOID_STATUS} for one in due]
        both = pa.concat_tables([records, pa.Table.from_pylist(rows, schema=ORDERS_SCHEMA)])
        return both.take(pa.array(np.argsort(both["updated_ts"].cast(pa.int64()).to_numpy(), kind="stable")))


def _record(records: pa.Table, row: int) -> dict[str, Any]:
    record: dict[str, Any] = records.slice(row, 1).to_pylist()[0]
    return record


def _revenue_cents(record: dict[str, Any]) -> int:
    return round(record["total"] * 100) if record["status"] == _PLACED else 0
