"""Prepares external servers for the first record of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shopstream.cli.options import Run


def setup(
    run: Run = None,
    users: Annotated[bool, typer.Option("--users/--no-users", help="Create the users whose passwords are set.")] = True,
    passwords: Annotated[
        Path | None,
        typer.Option("--passwords", metavar="DIR", help="Folder with passwords, in files named like the variables."),
    ] = None,
) -> None:
    """Create a run's topics, index templates and indices, and Elasticsearch's users; a second call changes nothing.

    The command creates a user, with the permissions of docs/security.md, for each of the variables WRITER_PASSWORD,
    READER_PASSWORD, PAGE_PASSWORD, TRAINER_PASSWORD and ANALYST_PASSWORD that is set. KIBANA_PASSWORD becomes the
    password of kibana_system. Creating users needs Elasticsearch's superuser; the other commands never do.

    Example: `shopstream setup --run shop`

    Example: `shopstream setup --passwords /run/secrets/shopstream`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from connectors.elasticsearch.client import connection
    from shopstream import embedded
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import create_users
    from shopstream.settings import load_settings

    quiet_client_logs()
    console = Console(stderr=True)
    settings = load_settings(run=run)
    endpoints = embedded.endpoints(settings)
    accounts = create_users.chosen(os.environ, passwords) if users else []
    report = consume_job.prepare(settings, endpoints)
    for warning in report.warnings:
        console.print(f"[yellow]warning[/] {warning}", highlight=False)
    topics = f"{len(report.created)} topics created" if report.created else "its topics exist"
    console.print(f"run {settings.run}: {topics}; templates and indices exist", highlight=False)
    for name, change in create_users.create_users(connection(endpoints), settings.run, accounts):
        console.print(f"user {name} {change}", highlight=False)
