"""Reads an archive for exploration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from connectors.formats.timestamps import zone_name
from features.errors import UsageError
from producers.archive.archive import read_customers
from shopstream.jobs.archive_features import archive_days
from training.exploration.dataset import ExplorationData, read_data


def explore_archive(
    directory: Path, zone: str = "UTC", on_step: Callable[[str, float], None] = lambda *_: None
) -> ExplorationData:
    """Read an archive for exploration.

    Args:
        directory: folder of the archive.
        zone: IANA name of the time zone for hours and weekdays.
        on_step: called with the name of the current step, and the share that is done.

    Raises:
        UsageError: the zone does not exist.
        ShopstreamError: there is no archive, or it is empty.
    """
    try:
        zone_name(zone)
    except ValueError as error:
        raise UsageError(f"--zone: {error}.", "Give a name such as Europe/Berlin.") from None
    profiles = read_customers(directory)
    return read_data(
        *archive_days(directory), None if profiles is None else pl.DataFrame(pl.from_arrow(profiles)), zone, on_step
    )
