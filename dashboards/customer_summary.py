"""Writes the one sentence about a customer: how they bought, since when they are silent, and what is to be expected.

Pure. The sentence is written for the newest time of the data, not for the time of the customer's row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dashboards.horizons import horizon_text
from dashboards.reasons import counted, days_text, share_text
from features.calendar import Calendar
from features.schema import DAY_MS

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def customer_summary(row: Mapping[str, Any], newest_ms: int, calendar: Calendar) -> str:
    """Return the sentence about a customer.

    Args:
        row: fields of the customer's document.
        newest_ms: newest time of the data, epoch ms.
        calendar: calendar of the shop's days.
    """
    return f"{_history(row, newest_ms, calendar)}; {_outlook(row)}."


def date_text(time_ms: int, calendar: Calendar) -> str:
    """Return the local date of a time for people: `24 Mar 2026`."""
    year, month, day = calendar.date_of(time_ms).split("-")
    return f"{int(day)} {_MONTHS[int(month) - 1]} {year}"


def _history(row: Mapping[str, Any], newest_ms: int, calendar: Calendar) -> str:
    last_order, last_visit = row.get("last_order_ts"), row.get("last_seen_ts")
    if not row.get("orders_total") or last_order is None:
        return "Has not ordered yet" + (f"; last visit {_ago(newest_ms, last_visit)}" if last_visit else "")
    gap = row.get("order_gap_mean_days") or 0
    pause = (newest_ms - last_order) / DAY_MS
    date = date_text(last_order, calendar)
    if gap and pause <= gap:
        return f"Buys every {days_text(gap)}, last on {date}"
    start = f"Bought every {days_text(gap)} until {date}" if gap else f"{_orders(row)} on {date}"
    if last_visit is not None and last_visit - last_order > DAY_MS:
        return f"{start}, no order for {days_text(pause)}, last visit {_ago(newest_ms, last_visit)}"
    return f"{start}, silent for {days_text(pause)}"


def _orders(row: Mapping[str, Any]) -> str:
    # several orders at the same moment have no gap
    return "Bought once," if row["orders_total"] == 1 else f"Bought {counted(row['orders_total'], 'time')},"


def _ago(newest_ms: int, time_ms: int) -> str:
    age = (newest_ms - time_ms) / DAY_MS
    return "today" if age < 1 else f"{days_text(age)} ago"


def _outlook(row: Mapping[str, Any]) -> str:
    probability = row.get("churn_probability")
    if probability is not None:
        return f"{share_text(probability)} likely not to order {horizon_text(row.get('bundle'))}"
    return "without a churn score until the first order" if not row.get("orders_total") else "without a churn model yet"
