"""Loads a synthetic shop's history into a run exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shopstream.cli.options import Customers, Days, Events, Run, Seed


def seed_history(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of the archive; created if it does not exist.")
    ],
    customers: Customers = 5_000,
    events: Events = 1_000_000,
    days: Days = 365,
    seed: Seed = 7,
    run: Run = None,
) -> None:
    """Generate a synthetic shop's history and send it to Kafka, exactly once even if called again.

    A file next to DIR stores the progress. After an interruption at any moment the next call resumes, and no record
    counts twice. For containers and scripts; `generate` and `replay` do the two parts by hand.

    Example: `shopstream seed shop-archive --events 1000000`
    """
    from connectors.clock import iso
    from features.schema import DAY_MS
    from producers.shop.shop import HISTORY_ENDS_DAYS_AGO, Shop, checked
    from shopstream import embedded
    from shopstream.jobs import produce as produce_job
    from shopstream.jobs import seed_history as seed_job
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    clock = produce_job.wall_clock()
    end_ms = clock.wall_ms() // DAY_MS * DAY_MS - HISTORY_ENDS_DAYS_AGO * DAY_MS
    shop_model = checked(Shop(end_ms=end_ms, seed=seed, customers=customers, events=events, days=days))
    settings = load_settings(run=run)
    produce_job.open_target(settings.run, console)
    with console.status("generating") as line:
        shop = seed_job.ensure_archive(shop_model, directory, lambda _: None)
        with produce_job.stop_on_signal() as interrupted:
            state = seed_job.send_history(
                directory,
                shop,
                seed_job.SeedTarget(
                    embedded.kafka_endpoint(settings),
                    settings.run,
                    clock,
                    interrupted,
                    lambda position: line.update(
                        f"sending {iso(position.event_ms)[:10] if position.event_ms else 'profiles'}"
                    ),
                ),
            )
    counts = ", ".join(f"{number:,} {topic}" for topic, number in sorted(state.delivered.items()))
    if not state.whole:
        console.print(f"not complete ({counts or 'nothing'}); the same command resumes", highlight=False)
        raise typer.Exit(130)
    console.print(f"run {settings.run} has the whole history of {directory}: {counts}", highlight=False)
