"""`demo`: runs the whole system on this machine."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(  # noqa: PLR0917 - typer makes an option of each
    customers: Annotated[int, typer.Option("--customers", help="Customers of the synthetic shop.")] = 5_000,
    events: Annotated[int, typer.Option("--events", help="Click events of its history.")] = 1_000_000,
    days: Annotated[int, typer.Option("--days", help="Length of its history in days.")] = 365,
    speed: Annotated[
        float, typer.Option("--speed", min=0.001, help="Event seconds a second when live, up to the wall clock.")
    ] = 100,
    once: Annotated[bool, typer.Option("--once", help="End after the first full round, with the summary.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same shop.")] = 7,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes of each consumer role.")] = 1,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Serve the dashboards as a live page and open it; not with --once.")
    ] = True,
    run: Annotated[str | None, typer.Option("--run", help="The run that holds the demo; default: shop.")] = None,
) -> None:
    """Start everything: servers, a year of a synthetic shop through Kafka, a churn model, scored customers, then live.

    At the end it counts again, in Kafka and in Elasticsearch; the exit code is 1 if the counts do not agree. Another
    call continues with the data of the run. If there is a current bundle (`shopstream train`), it scores the customers
    and the demo trains none. Ctrl-C ends the demo; the servers stay up (`shopstream down`).

    Example: `shopstream demo --once`
    """
    from rich.console import Console

    from shopstream.demo.demo import Demo
    from shopstream.demo.demo import run as run_demo
    from shopstream.runtime.logs import configure_logs
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    configure_logs(json=not console.is_terminal)
    options = Demo(customers, events, days, seed, speed, workers, once, page)
    if not run_demo(options, load_settings(run=run), console, Console()):
        raise typer.Exit(1)
