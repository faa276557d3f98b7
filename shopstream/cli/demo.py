"""Runs the whole system on this machine."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from shopstream.cli.options import Customers, Days, Events, Run, Seed
from shopstream.runtime.logs import configure_logs


def demo(  # noqa: PLR0917 - typer makes an option of each
    customers: Customers = 5_000,
    events: Events = 1_000_000,
    days: Days = 365,
    speed: Annotated[
        float, typer.Option("--speed", min=0.001, help="Event seconds per second when live, up to the wall clock.")
    ] = 100,
    once: Annotated[bool, typer.Option("--once", help="Exit after the first full round, with the summary.")] = False,
    seed: Seed = 7,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Number of processes per consumer role.")] = 1,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Serve and open the dashboards as a live page; not with --once.")
    ] = True,
    run: Run = None,
) -> None:
    """Start everything: servers, a year of a synthetic shop through Kafka, a churn model, scored customers, then live.

    At the end it compares all counts of Kafka and Elasticsearch; the exit code is 1 if they differ. Another call
    continues with the existing data. If `shopstream train` has made a bundle current, the demo uses it and trains none.
    Ctrl-C stops the demo; the servers stay up until `shopstream down`.

    Example: `shopstream demo --once`
    """
    from shopstream.demo.demo import Demo
    from shopstream.demo.demo import run as run_demo
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    configure_logs(json=not console.is_terminal)
    options = Demo(customers, events, days, seed, speed, workers, once, page)
    if not run_demo(options, load_settings(run=run), console, Console()):
        raise typer.Exit(1)
