"""Computes the funnel: sessions of the last days by their furthest stage, as the contract defines them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from polars import col

from features.errors import ShopstreamError
from features.records.archive_rows import event_rows
from features.schema import DAY_MS, EVENT_TYPES, STAGE_EVENT, STAGES

WINDOW_DAYS: Final = 30
ReadDay = Callable[[str, int], Iterable[pa.Table]]

STEPS: Final = {
    "view": "viewed a product",
    "cart": "added to the cart",
    "checkout": "started the checkout",
    "purchase": "bought",
}


def funnel(days: Sequence[int], read_day: ReadDay, as_of: int) -> pl.DataFrame:
    """Return the sessions that began in the last 30 days, by stage.

    Args:
        days: numbers of the UTC days in the archive, ascending.
        read_day: function that reads the rows of one topic and day.
        as_of: end of the window, epoch ms.

    Returns:
        A row for each of STAGES: `stage`; `ended`, sessions whose furthest stage it is; `reached`, sessions with this
        or a later furthest stage. `kept` is the share of the previous stage that reached this one, 1 for the first.

    Raises:
        ShopstreamError: there are no visits, or no visit reached some stage.
    """
    start = as_of - WINDOW_DAYS * DAY_MS
    # a session that began before the window may reach one day into it
    window = [day for day in days if start - DAY_MS < (day + 1) * DAY_MS and day * DAY_MS <= as_of]
    parts = [_furthest(table, as_of) for day in window for table in read_day("events", day)]
    if not parts:
        raise ShopstreamError("The last 30 days of the archive have no visits.", "Give an archive with events.")
    sessions = pl.concat(parts).group_by("customer_id", "session_id").agg(col("start").min(), col("stage").max())
    counts = sessions.filter(col("start") > start)["stage"].value_counts(name="n")
    ended = np.zeros(len(STAGES), np.int64)
    ended[counts["stage"].to_numpy()] = counts["n"].to_numpy()
    reached = ended[::-1].cumsum()[::-1]
    if reached.min() == 0:
        raise ShopstreamError(
            f"No visit of the last 30 days reached the stage {STAGES[int(np.argmin(reached))]}.",
            "Give an archive whose clicks record the stages from the product view to the purchase.",
        )
    continued = np.concatenate([[1.0], reached[1:] / reached[:-1]])
    return pl.DataFrame({"stage": list(STAGES), "ended": ended, "reached": reached, "kept": np.round(continued, 6)})


def _furthest(table: pa.Table, as_of: int) -> pl.DataFrame:
    """Return customer, session, first time and furthest stage of the sessions in a part of a day's events."""
    valid = event_rows(table).columns
    ranks = {event: STAGES.index(stage) for stage, event in STAGE_EVENT.items()}
    stages = np.array([ranks.get(event, 0) for event in EVENT_TYPES])
    events = pl.DataFrame({
        "customer_id": pl.Series(pl.from_arrow(valid.customer_id)),
        "session_id": pl.Series(pl.from_arrow(valid.session_id)),
        "ts": valid.ts, "stage": stages[valid.event_type],
    }).filter(col("ts") <= as_of)  # fmt: skip
    return events.group_by("customer_id", "session_id").agg(col("ts").min().alias("start"), col("stage").max())


def leak(steps: pl.DataFrame) -> tuple[str, str, float]:
    """Return the step with the largest loss: the previous stage, the stage, the lost share."""
    stage = int(np.argmin(steps["kept"].to_numpy()))
    return STAGES[stage - 1], STAGES[stage], 1 - float(steps["kept"][stage])
