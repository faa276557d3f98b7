"""Keeps the calendar of a run's trends in the mappings of their indices (`_meta`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import elasticsearch
from elasticsearch import Elasticsearch

from connectors.elasticsearch.client import translate_errors
from connectors.elasticsearch.mappings import alias, write_index
from features.calendar import UTC_CALENDAR, Calendar

KEY: Final = "calendar"
_META: Final = "*.mappings._meta"


def stored_calendars(client: Elasticsearch, run: str, indices: Sequence[str]) -> dict[str, Calendar]:
    """Return the calendar of each index of trends that exists; an index without a note is of UTC.

    Args:
        client: client with the permissions of a reader.
        run: name of the run, or of the alias set.
        indices: names without the run: `cohorts`.

    Raises:
        ShopstreamError: Elasticsearch does not respond, or refuses.
    """
    calendars = {}
    for index in indices:
        with translate_errors(f"The index {alias(run, index)}"):
            try:
                response = client.indices.get_mapping(index=alias(run, index), filter_path=_META)
            except elasticsearch.NotFoundError:
                continue
        for entry in response.body.values():
            calendars[index] = _read(entry["mappings"]["_meta"])
    return calendars


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
        client.indices.put_mapping(index=name, meta={**meta, KEY: note})


def _read(meta: Mapping[str, Any]) -> Calendar:
    note = meta.get(KEY)
    return UTC_CALENDAR if note is None else Calendar(note["time_zone"], note["week_start"])
