"""`setup`: prepares external servers for the first record of a run."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(setup)


def setup(
    run: Annotated[str | None, typer.Option("--run", help="The run; default: shop.")] = None,
    users: Annotated[
        bool, typer.Option("--users/--no-users", help="Make users too, of those whose password is given.")
    ] = True,
) -> None:
    """Make a run's topics, index templates and indices, and Elasticsearch's users; again, it changes nothing.

    A user is made, with the rights that docs/security.md lists, for each of the variables WRITER_PASSWORD,
    READER_PASSWORD, TRAINER_PASSWORD and ANALYST_PASSWORD that is set; KIBANA_PASSWORD becomes the password of
    kibana_system. This command needs Elasticsearch's superuser for it, the others never do.

    Example: `shopstream setup --run shop`
    """
    import os

    from rich.console import Console

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
    wanted = create_users.chosen(os.environ) if users else []
    report = consume_job.prepare(settings, endpoints)
    for warning in report.warnings:
        console.print(f"[yellow]warning[/] {warning}", highlight=False)
    made = f"{len(report.created)} topics made" if report.created else "its topics are there"
    console.print(f"run {settings.run}: {made}; templates and indices are there", highlight=False)
    for name, what in create_users.create_users(connection(endpoints), settings.run, wanted):
        console.print(f"user {name} {what}", highlight=False)
