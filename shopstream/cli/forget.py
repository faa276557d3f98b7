"""Erases a customer's profile wherever it is stored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from features.errors import UsageError
from shopstream.cli.options import State, Yes
from shopstream.runtime.tables import table


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


def forget(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="customer_id of the profile.")],
    run: Annotated[
        str | None, typer.Option("--run", help="Name of the only run to erase from; default: all runs.")
    ] = None,
    archives: Annotated[
        list[str] | None,
        typer.Option("--archive", help="Folder or URI of an archive outside the data folder; repeatable."),
    ] = None,
    state: State = None,
    force_compaction: Annotated[
        bool,
        typer.Option("--force-compaction", help="Compact the topic and delete the dead letters now, not on schedule."),
    ] = False,
    yes: Yes = False,
) -> None:
    """Erase a customer's profile: name, e-mail and every other field, from topic, state, index, archive, dead letters.

    Events, orders and the values computed from them stay, under the id alone. The command prints the result for each
    location. The exit code is 1 if one could not be reached: call the command again.

    Example: `shopstream forget c-000123 --force-compaction --yes`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs.erase import Erasure
    from shopstream.jobs.runs import check_exists
    from shopstream.settings import load_settings

    if not customer:
        raise UsageError("CUSTOMER is empty.", "Give the customer_id.")
    quiet_client_logs()
    settings = load_settings(run=run)
    if run is not None:
        check_exists(settings, state)
    if not yes:
        typer.confirm(f"Erase the profile of {customer} permanently?", abort=True)
    console = Console()
    messages: list[str] = []

    def on_wait() -> None:
        if not messages:
            messages.append("another erasure is running; waiting until it ends")
            Console(stderr=True).print(messages[0])

    erasure = Erasure(
        settings,
        customer,
        consume_job.state_folder(settings, state),
        tuple(archives or ()),
        force_compaction,
        on_wait=on_wait,
    )
    with ended_by_signal():
        results = erasure.run(None if run is None else [settings.run])
    rows = [
        (escape(result.location), ("" if result.reached else "[bold red]not reached:[/] ") + escape(result.message))
        for result in results
    ]
    console.print(table(None, ("location", "result"), rows))
    console.print(
        "Backups and copies of topics or indices are outside this command. Elasticsearch deletes the old version of a "
        "document when it merges segments.",
        highlight=False,
    )
    if not all(result.reached for result in results):
        raise typer.Exit(1)
