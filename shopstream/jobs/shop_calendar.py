"""Chooses the calendar of figures: the settings, else that of the archive or run, else UTC.

A run keeps the calendar of its trends. Days of two zones would add up to wrong figures, so another calendar is refused
until the trends are computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from connectors.elasticsearch.aliases import Client
from connectors.elasticsearch.client import elastic_connection, open_client
from connectors.elasticsearch.trend_calendars import stored_calendars
from features.calendar import UTC_CALENDAR, Calendar
from features.errors import ShopstreamError, UsageError
from features.schema import TREND_KEYS
from producers.archive.known_until import read_known_until
from shopstream import embedded
from shopstream.settings import Settings, ShopSettings

COMMANDS: Final = {"forecast": "`shopstream forecast DIR --index`"}
"""Index of trends -> command that computes it; any other index: `shopstream rollup DIR`."""
_ROLLUP: Final = "`shopstream rollup DIR`"


def archive_calendar(directory: Path, shop: ShopSettings | None = None, otherwise: Calendar = UTC_CALENDAR) -> Calendar:
    """Return the calendar of an archive's days, weeks and months.

    Args:
        directory: folder of the archive.
        shop: settings of the shop, which come first; None: the archive alone.
        otherwise: calendar if neither the settings nor the archive name a zone.

    Raises:
        ShopstreamError: the note of the importer is damaged.
    """
    shop = shop or ShopSettings()
    known = None if shop.time_zone is not None else read_known_until(directory)
    zone = None if known is None else known.time_zone
    return chosen_calendar(shop, otherwise if zone is None else Calendar(zone))


def trend_calendar(settings: Settings) -> Calendar:
    """Return the calendar of the trends of `settings.run`; UTC if it has none. Raises ShopstreamError."""
    with open_client(elastic_connection(embedded.elastic_endpoint(settings))) as client:
        return next(iter(stored_calendars(client, settings.run, list(TREND_KEYS)).values()), UTC_CALENDAR)


def run_calendar(client: Client, run: str, shop: ShopSettings) -> Calendar:
    """Return the calendar of a run's figures.

    Args:
        client: client with the permissions of a reader.
        run: name of the run.
        shop: settings of the shop.

    Raises:
        ShopstreamError: the run's trends are of another calendar, or of several; or Elasticsearch does not answer.
    """
    stored = stored_calendars(client, run, list(TREND_KEYS))
    calendar = chosen_calendar(shop, next(iter(stored.values()), UTC_CALENDAR))
    others = {index: one for index, one in stored.items() if one != calendar}
    if others:
        commands = " and ".join(dict.fromkeys(COMMANDS.get(index, _ROLLUP) for index in others))
        index, other = next(iter(others.items()))
        raise ShopstreamError(
            f"The trends {run}-{index} are by days of {other}, the shop's calendar is {calendar}.",
            f"Compute them again: {commands}, without a range; or correct shop.time_zone and shop.week_start.",
        )
    return calendar


def check_trend_calendar(client: Client, run: str, indices: Sequence[str], calendar: Calendar) -> None:
    """Refuse to write a part of trends by another calendar than the rest.

    Args:
        client: client of Elasticsearch.
        run: name of the run.
        indices: indices of which a part is to be written, without the run.
        calendar: calendar of the new documents.

    Raises:
        UsageError: a part of an index would be of another calendar.
        ShopstreamError: Elasticsearch does not answer.
    """
    for index, other in stored_calendars(client, run, indices).items():
        if other != calendar:
            raise UsageError(
                f"The trends {run}-{index} are by days of {other}, these would be by days of {calendar}.",
                "Compute them all again, without --from and --to; or correct shop.time_zone and shop.week_start.",
            )


def chosen_calendar(shop: ShopSettings, other: Calendar = UTC_CALENDAR) -> Calendar:
    """Return the calendar of the settings; what they do not name is that of the other calendar."""
    return Calendar(shop.time_zone or other.time_zone, shop.week_start or other.week_start)
