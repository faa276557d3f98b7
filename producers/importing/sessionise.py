"""Splits clicks of a source without sessions into sessions.

    gap  < 30 min:  the same session            --x--x---x----------
    gap >= 30 min:  a new one                   --x--x-----[30 min]-----x--x
    a session that would reach 24 h is cut there: x-x-x-x- ... [24 h from its first click] -x-x

The gap matches the contract's abandoned cart, whose last click is at least 30 minutes old.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from features.schema import ABANDONED_AFTER_MS, DAY_MS

SESSION_MS_MAX: Final = DAY_MS


def with_sessions(clicks: pl.DataFrame) -> pl.DataFrame:
    """Return the clicks with null session_id and event_id filled.

    Args:
        clicks: event_id, customer_id, session_id, ts (Datetime) and `_row`, the position in the file, which orders
            clicks of the same time. Holds all clicks of a customer.

    Returns:
        The clicks, ascending by customer, ts and `_row`. A session id consists of customer and epoch ms of the first
        click,
        an event id of session and position: equal files yield equal ids.
    """
    ts = pl.col("ts").to_physical()
    new_customer = (pl.col("customer_id") != pl.col("customer_id").shift(1)).fill_null(True)
    long_gap = (ts - ts.shift(1) >= ABANDONED_AFTER_MS).fill_null(True)
    clicks = clicks.sort("customer_id", "ts", "_row").with_columns(_visit=(new_customer | long_gap).cum_sum())
    block = (ts - ts.first().over("_visit")) // SESSION_MS_MAX
    clicks = clicks.with_columns(_block=block).with_columns(
        _start=ts.first().over("_visit", "_block"), _position=pl.int_range(pl.len()).over("_visit", "_block")
    )
    own = pl.format("{}-{}", "customer_id", "_start")
    return clicks.with_columns(
        session_id=pl.col("session_id").fill_null(own),
        event_id=pl.col("event_id").fill_null(pl.format("{}-{}", own, "_position")),
    ).drop("_visit", "_block", "_start", "_position")
