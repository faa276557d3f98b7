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

STEP: Final = "next_step"
"""First of the `step_ends` by which an order after the cut-off is valid, each judged at its own end, from 1; 0 if there
is none so far; int8. Null if no step has ended."""

BOUGHT_DAYS: Final = 30
REVENUE_DAYS: Final = 90
DAYS_MAX: Final = 90
STEP_DAYS: Final = 5
"""Interval between checks for an order. Of two orders within one interval, the later one is seen."""
LATER_DAYS: Final = 15
"""Spacing of the cut-offs after the last one with a full horizon."""
WINDOWS: Final = {BOUGHT: BOUGHT_DAYS, DAYS: DAYS_MAX, REVENUE: REVENUE_DAYS}
"""Outcome -> days after the cut-off at which it is known; whole steps."""


STEPS_MAX: Final = 3
"""Maximum steps of a horizon: each is one more evaluation of a row on the live path."""


def step_ends(horizon_days: int) -> list[int]:
    """Return the ends of the equal steps of a horizon, ms after the cut-off, ascending; the last one is the horizon.

    There are as many as the horizon has whole BOUGHT_DAYS, at least one and at most STEPS_MAX. A step of BOUGHT_DAYS
    gives the purchase probability.
    """
    steps = min(max(1, horizon_days // BOUGHT_DAYS), STEPS_MAX)
    return [horizon_days * DAY_MS * step // steps for step in range(1, steps + 1)]


def later_cutoffs(last: int, end_ms: int) -> range:
    """Return cut-offs after `last` whose shortest window has ended, epoch ms, descending."""
    return range(end_ms - min(WINDOWS.values()) * DAY_MS, last, -LATER_DAYS * DAY_MS)


def outcome_times(cutoffs: Iterable[int], end_ms: int, horizon_days: int) -> set[int]:
    """Return the times to evaluate the features for the outcomes of these cut-offs, epoch ms; none after `end_ms`."""
    checks = [step * DAY_MS for step in range(STEP_DAYS, max(WINDOWS.values()) + 1, STEP_DAYS)]
    pasts = {*checks, *step_ends(horizon_days)}
    return {time for cutoff in cutoffs for past in pasts if (time := cutoff + past) <= end_ms}


@dataclass(slots=True)
class OutcomeCollector:
    """Collects the outcomes of the customers of one cut-off.

    Attributes:
        rows: rows of every customer at the cut-off.
        cutoff: cut-off, epoch ms.
        horizon_days: horizon of the steps of STEP.
    """

    rows: pl.DataFrame
    cutoff: int
    horizon_days: int
    _outcomes: dict[str, pl.Series] = field(default_factory=dict)
    _first: pl.Series | None = None

    def observe(self, time: int, rows: pl.DataFrame) -> None:
        """Record every customer's row at a later time; call in ascending order of the times."""
        past = time - self.cutoff
        ends = step_ends(self.horizon_days)
        # times outside `outcome_times` would make an outcome depend on other requests to the archive
        checked = 0 < past <= max(WINDOWS.values()) * DAY_MS and past % (STEP_DAYS * DAY_MS) == 0
        if not checked and past not in ends:
            return
        now = self.rows.select("customer_id").join(
            rows.select("customer_id", "last_order_ts", "orders_30d", "revenue_90d"),
            on="customer_id",
            how="left",
            maintain_order="left",
        )
        ordered = now.select(pl.when(col("last_order_ts") > self.cutoff).then(col("last_order_ts"))).to_series()
        if past in ends:
            step = pl.Series(STEP, ordered.is_not_null().cast(pl.Int8) * (ends.index(past) + 1), dtype=pl.Int8)
            before = self._outcomes.get(STEP)
            self._outcomes[STEP] = step if before is None else before.zip_with(before > 0, step)
        if not checked:
            return
        if past <= DAYS_MAX * DAY_MS:
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
        types = {BOUGHT: pl.Int8, DAYS: pl.Float64, REVENUE: pl.Float64, STEP: pl.Int8}
        columns = [
            self._outcomes[name].alias(name) if name in self._outcomes else pl.lit(None, dtype).alias(name)
            for name, dtype in types.items()
        ]
        return self.rows.with_columns(columns)
