"""Splits clicks of a source without sessions into sessions.

    gap  < 30 min:  the same session            --x--x---x----------
    gap >= 30 min:  a new one                   --x--x-----[30 min]-----x--x
    a session that would reach 24 h is cut there: x-x-x-x- ... [24 h from its first click] -x-x

The gap matches the contract's abandoned cart, whose last click is at least 30 minutes old. A session of the source that
reaches 24 hours is cut in the same way.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from features.schema import ABANDONED_AFTER_MS, DAY_MS, EVENT_TYPES

SESSION_MS_MAX: Final = DAY_MS
_KIND: Final = "_kind"


def with_sessions(clicks: pl.DataFrame) -> pl.DataFrame:
    """Return the clicks with null session_id and event_id filled, sorted by their content.

    Args:
        clicks: event_id, event_type, customer_id, session_id, ts (Int64, epoch ms) and further columns of the event.
            Holds all clicks of a customer.

    Returns:
        The clicks, ascending by customer, ts, type in the order of the funnel, and the other columns. A session id
        consists of customer and epoch ms of the first click, an event id of session and position. The order of the
        input has no effect. The rest of a source's session after 24 hours has the id of the session and the epoch ms
        of its first click.
    """
    kinds = pl.col("event_type").replace_strict(list(EVENT_TYPES), list(range(len(EVENT_TYPES))), return_dtype=pl.Int8)
    clicks = _by_content(clicks.with_columns(kinds.alias(_KIND)))
    ts = pl.col("ts")
    new_customer = (pl.col("customer_id") != pl.col("customer_id").shift(1)).fill_null(True)
    long_gap = (ts - ts.shift(1) >= ABANDONED_AFTER_MS).fill_null(True)
    clicks = clicks.with_columns(_visit=(new_customer | long_gap).cum_sum())
    clicks = _with_starts(clicks, ["_visit"], "_start")
    row = pl.int_range(pl.len())
    begins = pl.struct("_visit", "_start").rle_id().diff().fill_null(1) > 0
    position = row - pl.when(begins).then(row).forward_fill()
    own = pl.format("{}-{}", "customer_id", "_start")
    clicks = clicks.with_columns(_own=own, _position=position).with_columns(
        event_id=pl.col("event_id").fill_null(pl.format("{}-{}", "_own", "_position"))
    )
    return _with_given(clicks).drop("_visit", "_start", "_own", "_position", _KIND)


def _by_content(clicks: pl.DataFrame) -> pl.DataFrame:
    """Return clicks ascending by customer, ts, type and the other columns, which only decide among few rows."""
    first = ["customer_id", "ts", _KIND]
    clicks = clicks.sort(first)
    again = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in first).fill_null(False)
    tied = clicks.select(again | again.shift(-1, fill_value=False)).to_series()
    if not tied.any():
        return clicks
    others = [name for name in clicks.columns if name not in (*first, "event_type")]
    ties = clicks.filter(tied).sort(*first, *others, nulls_last=True)
    # the ties of each place are sorted, and the places are in the same order
    rows = pl.int_range(len(clicks), eager=True)
    at = rows.clone().scatter(rows.filter(tied), pl.int_range(len(clicks), len(clicks) + len(ties), eager=True))
    return pl.concat([clicks, ties])[at]


def _with_given(clicks: pl.DataFrame) -> pl.DataFrame:
    """Fill missing session ids, and cut sessions of the source that reach 24 hours."""
    if clicks["session_id"].null_count() == len(clicks):
        return clicks.with_columns(session_id="_own")
    session = ["customer_id", "session_id"]
    clicks = _with_starts(clicks, session, "_part")
    rest = pl.col("_part") > pl.col("ts").min().over(session)
    named = pl.when(rest).then(pl.format("{}-{}", "session_id", "_part")).otherwise("session_id")
    filled = pl.when(pl.col("session_id").is_null()).then("_own").otherwise(named)
    return clicks.with_columns(session_id=filled).drop("_part")


def _with_starts(clicks: pl.DataFrame, group: list[str], name: str) -> pl.DataFrame:
    """Add the first ts of each click's session, where a group is cut 24 hours after the first click of each session.

    Args:
        clicks: ascending by ts within a group.
        group: columns of the group. Rows with a null in it are not cut.
        name: column to add, Int64.
    """
    ts = pl.col("ts")
    clicks = clicks.with_columns(ts.min().over(group).alias(name))
    late = pl.all_horizontal(pl.col(group).is_not_null()) & (ts - pl.col(name) >= SESSION_MS_MAX)
    while clicks.select(late.any()).item():
        # the first click beyond the limit begins the next session; each pass cuts one session per group
        begin = pl.when(late).then(ts).min().over(group)
        clicks = clicks.with_columns(pl.when(late).then(begin).otherwise(pl.col(name)).alias(name))
    return clicks
