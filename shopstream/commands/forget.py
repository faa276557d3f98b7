"""`forget`: a customer's profile, erased wherever it is kept."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(forget)


def forget(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="The customer_id.")],
    run: Annotated[str | None, typer.Option("--run", help="In this run alone; default: in every run.")] = None,
    archive: Annotated[
        list[str] | None,
        typer.Option(
            "--archive",
            help="Another archive's folder or URI; may be given again. Those below the data folder are known.",
        ),
    ] = None,
    state: Annotated[str | None, typer.Option("--state", help="Folder or URI of the checkpoints.")] = None,
    now: Annotated[
        bool, typer.Option("--now", help="Compact the topic and delete the dead letters now, instead of in time.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a customer's profile: name, e-mail and every other field, from topic, state, index, archive, dead letters.

    Events, orders and what is computed from them stay, under the id alone. What was done in each place is printed; the
    exit code is 1 when one could not be reached: then do it again.

    Example: `shopstream forget c-000123 --now --yes`
    """
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from features.errors import UsageError  # noqa: PLC0415
    from shopstream import consuming, known_runs  # noqa: PLC0415
    from shopstream.forgetting import Forgetting  # noqa: PLC0415
    from shopstream.servers.elastic_admin import quiet_client_logs  # noqa: PLC0415
    from shopstream.settings import load_settings  # noqa: PLC0415

    if not customer:
        raise UsageError("CUSTOMER is empty.", "Give the customer_id.")
    quiet_client_logs()
    settings = load_settings(run=run)
    if run is not None:
        known_runs.check_anywhere(settings, state)
    if not yes:
        typer.confirm(f"Erase the profile of {customer} for ever?", abort=True)
    work = Forgetting(settings, customer, consuming.state_folder(settings, state), tuple(archive or ()), now)
    table = Table("place", "what was done")
    found = work.run(None if run is None else [settings.run])
    for done in found:
        mark = "" if done.reached else "[bold red]not reached:[/] "
        table.add_row(escape(done.place), f"{mark}{escape(done.what)}")
    console = Console()
    console.print(table)
    console.print(
        "Backups, and files that others made of topics or indices, are yours to look after. Elasticsearch drops the "
        "old form of a document when it merges segments.",
        highlight=False,
    )
    if not all(done.reached for done in found):
        raise typer.Exit(1)
