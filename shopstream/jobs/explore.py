"""Reads an archive for exploration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from producers.archive.archive import read_customers
from producers.archive.known_until import read_known_until
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.history import History, known_history
from training.exploration.dataset import ExplorationData, read_data


def explore_archive(
    directory: Path,
    on_step: Callable[[str, float], None] = lambda *_: None,
    history: History | None = None,
    money: MoneyFormat = PLAIN_MONEY,
) -> ExplorationData:
    """Read an archive for exploration.

    Args:
        directory: folder of the archive.
        on_step: called with the name of the current step, and the share that is done.
        history: part of the archive that counts, and its calendar; None: all records.
        money: format of amounts of money.

    Raises:
        ShopstreamError: there is no archive, or it is empty.
    """
    profiles = read_customers(directory)
    history = history or known_history(directory)
    days, read_day = archive_days(directory, history.limit_ms)
    table = None if profiles is None else pl.DataFrame(pl.from_arrow(profiles))
    read = read_data(days, read_day, table, on_step, history.period)
    known = read_known_until(directory)
    return replace(read, dates_only=known is not None and known.dates_only, money=money)
