"""Keeps the calendar of a run's trends in the mappings of their indices (`_meta`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from elasticsearch import Elasticsearch

from connectors.elasticsearch.client import translate_errors
from connectors.elasticsearch.mappings import CALENDAR_NOTE, alias, owner, write_index
from features.calendar import UTC_CALENDAR, Calendar

_META: Final = "*.mappings._meta"


def stored_calendars(client: Elasticsearch, run: str, indices: Sequence[str]) -> dict[str, Calendar]:
    """Return the calendar of each index of trends that was written.

    An index without a note was written before calendars were noted, by UTC.

    Args:
        client: client with the permissions of a reader.
        run: name of the run, or of the alias set.
        indices: names without the run: `cohorts`.

    Raises:
        ShopstreamError: Elasticsearch does not respond, or refuses.
    """
    if not indices:
        return {}  # no name would be every index
    with translate_errors(f"The trends of {run}"):
        response = client.indices.get_mapping(
            index=[alias(run, index) for index in indices], filter_path=_META, ignore_unavailable=True
        )
    # an alias set leads to the indices of a run of another name
    noted = {known[1]: calendar for name, entry in response.body.items()
             if (known := owner(name, indices)) is not None
             and (calendar := _read(entry["mappings"]["_meta"])) is not None}  # fmt: skip
    return {index: noted[index] for index in indices if index in noted}


def store_calendar(client: Elasticsearch, run: str, index: str, calendar: Calendar) -> None:
    """Note the calendar of an index of trends, which is created if it does not exist.

    Raises:
        ShopstreamError: Elasticsearch does not respond, or refuses.
    """
    name = write_index(run, index)
    with translate_errors(f"The index {name}"):
        if not client.indices.exists(index=name):
            client.indices.create(index=name, wait_for_active_shards=1)
        meta = client.indices.get_mapping(index=name, filter_path=_META).body[name]["mappings"]["_meta"]
        note = {"time_zone": calendar.time_zone, "week_start": calendar.week_start}
        client.indices.put_mapping(index=name, meta={**meta, CALENDAR_NOTE: note})


def _read(meta: Mapping[str, Any]) -> Calendar | None:
    """Return the calendar that an index notes; None if the index has no documents yet."""
    if CALENDAR_NOTE not in meta:
        return UTC_CALENDAR
    note = meta[CALENDAR_NOTE]
    return None if note is None else Calendar(note["time_zone"], note["week_start"])
