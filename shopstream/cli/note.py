"""Adds, lists and deletes notes: events of the shop that charts show on their time axis."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from shopstream.cli.options import AsJson, Run
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from shopstream.settings import Settings


def add(
    day: Annotated[str, typer.Argument(metavar="DAY", help="Day in the shop's time zone, such as 2026-11-27.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Text of the note: one line of at most 200 characters.")],
    run: Run = None,
) -> None:
    """Add a note to a day. Every chart over time shows it there.

    Adding the same note again changes nothing. Everyone who can open the page can read it.

    Example: `shopstream note add 2026-11-27 "Black Friday"`
    """
    from shopstream.jobs import notes

    note = notes.add_note(_settings(run), day, text)
    Console(stderr=True).print(f"note {note.id} for {note.day}", highlight=False)


def list_notes(as_json: AsJson = False, run: Run = None) -> None:
    """List the notes of a run by day, with their ids.

    Example: `shopstream note list --json`
    """
    from shopstream.jobs import notes

    stored = notes.list_notes(_settings(run))
    if as_json:
        typer.echo(json.dumps([asdict(note) for note in stored], indent=2))
    elif not stored:
        Console(stderr=True).print("no notes yet")
    else:
        Console().print(table(None, ("id", "day", "text"), [(one.id, one.day, escape(one.text)) for one in stored]))


def delete(
    note: Annotated[str, typer.Argument(metavar="ID", help="Id of the note in `note list`, or its beginning.")],
    run: Run = None,
) -> None:
    """Delete a note by its id.

    Example: `shopstream note delete 3f0c9a`
    """
    from shopstream.jobs import notes

    deleted = notes.delete_note(_settings(run), note)
    Console(stderr=True).print(f"deleted: {deleted.day} {escape(deleted.text)}", highlight=False)


def _settings(run: str | None) -> Settings:
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.settings import load_settings

    quiet_client_logs()
    return load_settings(run=run)
