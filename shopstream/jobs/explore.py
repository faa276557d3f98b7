"""Reads an archive for exploration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from connectors.formats.timestamps import zone_name
from features.errors import UsageError
from producers.archive.archive import read_customers
from producers.archive.known_until import read_known_until
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.history import History, known_history
from training.exploration.dataset import ExplorationData, read_data
from training.segments.cohorts import ArchivePeriod


def explore_archive(
    directory: Path,
    zone: str = "UTC",
    on_step: Callable[[str, float], None] = lambda *_: None,
    history: History | None = None,
    money: MoneyFormat = PLAIN_MONEY,
) -> ExplorationData:
    """Read an archive for exploration.

    Args:
        directory: folder of the archive.
        zone: IANA name of the time zone for hours and weekdays.
        on_step: called with the name of the current step, and the share that is done.
        history: part of the archive that counts; None: all records.
        money: format of amounts of money.

    Raises:
        UsageError: the zone does not exist.
        ShopstreamError: there is no archive, or it is empty.
    """
    try:
        zone_name(zone)
    except ValueError as error:
        raise UsageError(f"--zone: {error}.", "Give a name such as Europe/Berlin.") from None
    profiles = read_customers(directory)
    history = history or known_history(directory)
    days, read_day = archive_days(directory, history.limit_ms)
    table = None if profiles is None else pl.DataFrame(pl.from_arrow(profiles))
    period = ArchivePeriod(history.first_ms, history.end_ms)
    read = read_data(days, read_day, table, zone, on_step, period)
    known = read_known_until(directory)
    return replace(read, dates_only=known is not None and known.dates_only, money=money)
