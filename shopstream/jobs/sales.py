"""Reads the daily sales of an archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from features.schema import DAY_MS
from shopstream.jobs.archive_features import archive_days
from training import sales
from training.dataset import known_span
from training.sales import DailySales


def read_sales(
    directory: Path,
    categories: int,
    on_step: Callable[[str, float | None], None] = lambda *_: None,
    as_of: int | None = None,
) -> DailySales:
    """Read the sales of the complete days of an archive.

    Args:
        directory: folder of the archive.
        categories: number of largest categories, see `training.sales.daily_sales`.
        on_step: called with the name of the current step, and the share that is done or None.
        as_of: epoch ms; limits the sales to records known by then, and to days that are over. None: all.
    """
    first_ms, end_ms = known_span(*archive_days(directory))
    days, read_day = archive_days(directory, as_of)
    if as_of is not None:
        end_ms = min(end_ms, as_of)
    position_of = {day: position for position, day in enumerate(days)}
    orders = sales.valid_orders(days, read_day, lambda day: on_step("reading the orders", position_of[day] / len(days)))
    return sales.daily_sales(orders, first_ms // DAY_MS, sales.last_whole_day(end_ms), categories)
