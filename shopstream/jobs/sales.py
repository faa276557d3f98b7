"""Reads the daily sales of an archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from connectors.clock import iso
from features.errors import ShopstreamError
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.history import History, known_history
from training import sales
from training.sales import DailySales


def read_sales(
    directory: Path,
    categories: int,
    on_step: Callable[[str, float | None], None] = lambda *_: None,
    history: History | None = None,
) -> DailySales:
    """Read the sales of the complete days of an archive. Raises ShopstreamError if it has no sales or no such day.

    Args:
        directory: folder of the archive.
        categories: number of largest categories, see `training.sales.daily_sales`.
        on_step: called with the name of the current step, and the share that is done or None.
        history: part of the archive that counts; only its days that are over have sales. None: all records.
    """
    history = history or known_history(directory)
    days, read_day = archive_days(directory, history.limit_ms)
    position_of = {day: position for position, day in enumerate(days)}
    orders = sales.valid_orders(days, read_day, lambda day: on_step("reading the orders", position_of[day] / len(days)))
    if orders.is_empty():
        raise ShopstreamError(
            f"The archive has no sales: none of its orders is valid by {iso(history.end_ms)}.",
            "Give an archive with orders that are placed and not cancelled or refunded.",
        )
    period = history.period
    return sales.daily_sales(orders, period.days.start, period.whole_days.stop - 1, categories, period.calendar)
