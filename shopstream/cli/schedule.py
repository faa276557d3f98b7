"""Trains models and computes trends, forecast and segments at an interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shopstream.cli.options import OutFolder, Run, Tries, parse_duration_s
from shopstream.runtime.bundles import FOLDER


def schedule(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder of the archive; default: the archive of the run's consumers."),
    ] = None,
    every: Annotated[str, typer.Option("--every", help="Time between two rounds: `24h`, `30m`.")] = "24h",
    out: OutFolder = Path("mart"),
    tries: Tries = 6,
    once: Annotated[bool, typer.Option("--once", help="Exit after one round, with code 1 if a step failed.")] = False,
    run: Run = None,
) -> None:
    """Train a bundle, compute trends, forecast and segment at an interval, until Ctrl-C.

    The first round waits until the run's archive consumer has caught up with Kafka. Each bundle becomes the current
    one of the data folder, and running consumers load it. A failed step is logged, and the round runs again.

    Example: `shopstream schedule --every 24h`
    """
    from connectors.clock import iso
    from shopstream import embedded
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import produce as produce_job
    from shopstream.jobs.schedule import SchedulePlan, Scheduler, caught_up
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings(run=run)
    archive = directory or Path(consume_job.archive_folder(settings, None))
    plan = SchedulePlan(archive, out, settings.run, parse_duration_s(every, "--every"), tries)
    clock = produce_job.wall_clock()
    settings.home.mkdir(parents=True, exist_ok=True)
    kafka = embedded.kafka_endpoint(settings)
    with produce_job.stop_on_signal() as stop_requested:
        scheduler = Scheduler(
            plan,
            folder=settings.home / FOLDER,
            heartbeat=settings.home / "trainer.alive",
            clock=clock,
            stop_requested=stop_requested,
            on_message=lambda text: console.print(f"{iso(clock.wall_ms())} {text}", highlight=False),
        )
        if directory is None:
            scheduler.wait_for(lambda: caught_up(kafka, settings.run))
        failed = scheduler.run(once=once)
    if failed is not None:
        raise typer.Exit(1 if failed else 0)
