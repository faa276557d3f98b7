"""`forget`: erases a customer's profile wherever it is stored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from types import FrameType


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """End the command on SIGTERM and SIGHUP as on Ctrl-C, so that its cleanup runs."""

    def end(number: int, _frame: FrameType | None) -> None:
        for other in previous:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
    from rich.markup import escape
    from rich.table import Table

    from connectors.elasticsearch.admin import quiet_client_logs
    from features.errors import UsageError
    from shopstream.cli import known_runs
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs.erase import Forgetting
    from shopstream.settings import load_settings

    if not customer:
        raise UsageError("CUSTOMER is empty.", "Give the customer_id.")
    quiet_client_logs()
    settings = load_settings(run=run)
    if run is not None:
        known_runs.check_anywhere(settings, state)
    if not yes:
        typer.confirm(f"Erase the profile of {customer} for ever?", abort=True)
    console = Console()
    told: list[str] = []

    def waiting() -> None:
        if not told:
            told.append("another erasure is at work; waiting for it to end")
            Console(stderr=True).print(told[0])

    work = Forgetting(
        settings,
        customer,
        consume_job.state_folder(settings, state),
        tuple(archive or ()),
        now,
        on_wait=waiting,
    )
    table = Table("place", "what was done")
    with ended_by_signal():
        found = work.run(None if run is None else [settings.run])
    for done in found:
        mark = "" if done.reached else "[bold red]not reached:[/] "
        table.add_row(escape(done.place), f"{mark}{escape(done.what)}")
    console.print(table)
    console.print(
        "Backups, and files that others made of topics or indices, are yours to look after. Elasticsearch drops the "
        "old form of a document when it merges segments.",
        highlight=False,
    )
    if not all(done.reached for done in found):
        raise typer.Exit(1)
