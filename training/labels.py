"""Computes the labels of the next-purchase models: the customer's behaviour after a cut-off.

The rule of this file: an outcome is read from the features themselves, evaluated later. For example, `orders_30d`
thirty days after a cut-off counts the orders of those thirty days. A cut-off whose window has not ended has no outcome
at all. Keeping only its customers who have already bought would make the shop look faster than it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import polars as pl
from polars import col

from features.schema import DAY_MS

BOUGHT: Final = "next_bought_30d"
"""1 if an order placed within 30 days is still valid at their end, else 0; int8."""
DAYS: Final = "next_days"
"""Days to the first order, or DAYS_MAX if there is none within them; float64."""
REVENUE: Final = "next_revenue_90d"
"""Revenue of the next 90 days, in the shop's currency; float64."""

BOUGHT_DAYS: Final = 30
REVENUE_DAYS: Final = 90
DAYS_MAX: Final = 90
STEP_DAYS: Final = 5
"""Interval between checks for an order. Of two orders within one interval, the later one is seen."""
LATER_DAYS: Final = 15
"""Spacing of the cut-offs after the last one with a full horizon."""
WINDOWS: Final = {BOUGHT: BOUGHT_DAYS, DAYS: DAYS_MAX, REVENUE: REVENUE_DAYS}
"""Outcome -> days after the cut-off at which it is known; whole steps."""


def later_cutoffs(last: int, end_ms: int) -> range:
    """Return cut-offs after `last` whose shortest window has ended, epoch ms, descending."""
    return range(end_ms - min(WINDOWS.values()) * DAY_MS, last, -LATER_DAYS * DAY_MS)


def outcome_times(cutoffs: Iterable[int], end_ms: int) -> set[int]:
    """Return the times to evaluate the features for the outcomes of these cut-offs, epoch ms; none after `end_ms`."""
    steps = range(STEP_DAYS, max(WINDOWS.values()) + 1, STEP_DAYS)
    return {time for cutoff in cutoffs for step in steps if (time := cutoff + step * DAY_MS) <= end_ms}


@dataclass(slots=True)
class OutcomeCollector:
    """Collects the outcomes of the customers of one cut-off.

    Attributes:
        rows: rows of every customer at the cut-off.
        cutoff: cut-off, epoch ms.
    """

    rows: pl.DataFrame
    cutoff: int
    _outcomes: dict[str, pl.Series] = field(default_factory=dict)
    _first: pl.Series | None = None

    def observe(self, time: int, rows: pl.DataFrame) -> None:
        """Record every customer's row at a later time; call in ascending order of the times."""
        past = time - self.cutoff
        # times outside `outcome_times` would make an outcome depend on other requests to the archive
        if past <= 0 or past % (STEP_DAYS * DAY_MS) or past > max(WINDOWS.values()) * DAY_MS:
            return
        now = self.rows.select("customer_id").join(
            rows.select("customer_id", "last_order_ts", "orders_30d", "revenue_90d"),
            on="customer_id",
            how="left",
            maintain_order="left",
        )
        if past <= DAYS_MAX * DAY_MS:
            ordered = now.select(pl.when(col("last_order_ts") > self.cutoff).then(col("last_order_ts"))).to_series()
            before = ordered if self._first is None else self._first
            # drop an order that was cancelled since: only a valid order is a purchase
            self._first = before.zip_with(before.is_not_null() & ordered.is_not_null(), ordered)
        if past == BOUGHT_DAYS * DAY_MS:
            self._outcomes[BOUGHT] = (now["orders_30d"] > 0).cast(pl.Int8)
        if past == REVENUE_DAYS * DAY_MS:
            self._outcomes[REVENUE] = now["revenue_90d"]
        if past == DAYS_MAX * DAY_MS:
            assert self._first is not None
            self._outcomes[DAYS] = ((self._first - self.cutoff) / DAY_MS).fill_null(float(DAYS_MAX))

    def labelled(self) -> pl.DataFrame:
        """Return the rows with the outcomes; an outcome is null in all rows if the archive ends before it is known."""
        types = {BOUGHT: pl.Int8, DAYS: pl.Float64, REVENUE: pl.Float64}
        columns = [
            self._outcomes[name].alias(name) if name in self._outcomes else pl.lit(None, dtype).alias(name)
            for name, dtype in types.items()
        ]
        return self.rows.with_columns(columns)
