"""Adds, lists and deletes the notes of a run: events of the shop that charts show on their time axis."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Final

import msgspec

from connectors.clock import wall_clock_ms
from connectors.elasticsearch import aliases
from connectors.elasticsearch.client import document_id, elastic_connection, open_client
from connectors.elasticsearch.search import Searcher
from connectors.elasticsearch.workspace import ConflictError, Workspace
from consumers.index_definitions import workspace_definitions
from dashboards.panels import Span
from dashboards.web.workspace import notes_between
from features.calendar import day_number
from features.errors import ShopstreamError, UsageError
from features.schema import TS_MAX
from features.workspace import NOTE_CHARS_MAX, NOTES, NOTES_MAX, Note
from shopstream import embedded
from shopstream.jobs.shop_calendar import run_calendar
from shopstream.settings import Settings

ALL_TIMES: Final = Span(0, TS_MAX)


@dataclasses.dataclass(frozen=True, slots=True)
class StoredNote:
    """A note of a run.

    Attributes:
        id: twelve hexadecimal digits made of day and text.
        day: local day, as `2026-11-27`.
        text: one line of text.
    """

    id: str
    day: str
    text: str


def note_id(day: str, text: str) -> str:
    """Return the id of a note: twelve hexadecimal digits made of day and text."""
    return hashlib.sha256(document_id(day, text).encode()).hexdigest()[:12]


def add_note(settings: Settings, day: str, text: str) -> StoredNote:
    """Write a note for a local day of the shop; the same note twice is one.

    Args:
        settings: address of Elasticsearch, the run, and the calendar of the shop.
        day: local day, as `2026-11-27`.
        text: one line of at most 200 characters.

    Raises:
        UsageError: the day or the text is not allowed, or there are too many notes.
        ShopstreamError: Elasticsearch does not answer, or refuses.
    """
    line = check_text(text)
    number = day_number(day)
    with _opened(settings) as (client, search, workspace):
        start_ms = run_calendar(client, settings.run, settings.shop).day_start_ms(number)
        if not 0 <= start_ms < TS_MAX:
            raise UsageError(f"{day} is out of range.", "Give a day from 1970-01-02 on.")
        if len(notes_between(search, ALL_TIMES)) >= NOTES_MAX:
            raise UsageError(f"There are {NOTES_MAX} notes already.", "Delete some by `shopstream note delete`.")
        note = Note(start_ms, day, line, wall_clock_ms())
        key = note_id(day, line)
        with contextlib.suppress(ConflictError):  # it exists already
            workspace.write(NOTES, key, msgspec.structs.asdict(note), "")
    return StoredNote(key, day, line)


def list_notes(settings: Settings) -> list[StoredNote]:
    """Return the notes of a run in order of their days. Raises ShopstreamError."""
    with _opened(settings, create=False) as (_, search, _workspace):
        return [StoredNote(one["id"], one["day"], one["text"]) for one in notes_between(search, ALL_TIMES)]


def delete_note(settings: Settings, key: str) -> StoredNote:
    """Delete a note by its id, or by the beginning of it; return the note.

    Raises:
        UsageError: no note has this id, or several notes do.
        ShopstreamError: Elasticsearch does not answer, or refuses.
    """
    with _opened(settings, create=False) as (_, search, workspace):
        notes = [one for one in notes_between(search, ALL_TIMES) if one["id"].startswith(key)]
        if len(notes) != 1:
            problem = "There is no note" if not notes else f"{len(notes)} notes have an id that begins with"
            raise UsageError(f"{problem} {key!r}.", "`shopstream note list` shows the ids.")
        (note,) = notes
        with contextlib.suppress(ConflictError):  # somebody else has deleted it meanwhile
            workspace.delete(NOTES, note["id"], "")
        return StoredNote(note["id"], note["day"], note["text"])


def check_text(text: str) -> str:
    """Return a note without blanks around it. Raises UsageError if it is empty, too long or not one line."""
    line = text.strip()
    if not line:
        raise UsageError("The note has no text.", 'Give one: shopstream note add 2026-11-27 "Black Friday".')
    if len(line) > NOTE_CHARS_MAX:
        raise UsageError(f"The note has {len(line)} characters.", f"Charts have room for {NOTE_CHARS_MAX}.")
    if not line.isprintable():
        raise UsageError("The note has a line break, or another character that cannot be shown.", "Give one line.")
    return line


@contextlib.contextmanager
def _opened(settings: Settings, *, create: bool = True) -> Iterator[tuple[aliases.Client, Searcher, Workspace]]:
    """Open the notes of a run; `create` makes their index in a run that a former version began."""
    with open_client(elastic_connection(embedded.elastic_endpoint(settings)), connections=1) as client:
        workspace = Workspace(client, settings.run)
        if not aliases.is_visible(client, settings.run, workspace_definitions()):
            run = aliases.run_of_alias_set(client, settings.run)
            if run is None:
                raise ShopstreamError(
                    f"There is no run {settings.run} in Elasticsearch.", "`shopstream runs list` lists the runs."
                )
            if create:
                aliases.install(client, run, workspace_definitions())
        yield client, Searcher(client, settings.run), workspace
