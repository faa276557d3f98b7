"""`seed`: loads a synthetic shop's history into a run exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connectors.clock import iso


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("seed")(seed_history)


def seed_history(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The archive; made where it is not there.")],
    customers: Annotated[int, typer.Option("--customers", help="Customers signed up by the end.")] = 5_000,
    events: Annotated[int, typer.Option("--events", help="Click events.")] = 1_000_000,
    days: Annotated[int, typer.Option("--days", help="Length of the history in days.")] = 365,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same shop.")] = 7,
    run: Annotated[str | None, typer.Option("--run", help="The run that gets it; default: shop.")] = None,
) -> None:
    """Make a synthetic shop's history once and send it to Kafka once, however often this is called.

    A file beside DIR records what was sent. After a kill at any moment, the next call continues and nothing counts
    twice. For containers and scripts; `generate` and `replay` do the two parts by hand.

    Example: `shopstream seed shop-archive --events 1000000`
    """
    from rich.console import Console

    from features.schema import DAY_MS
    from producers.shop.shop import HISTORY_ENDS_DAYS_AGO, Shop, checked
    from shopstream import embedded
    from shopstream.jobs import produce as produce_job
    from shopstream.jobs import seed_history as past
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    clock = produce_job.wall_clock()
    end_ms = clock.wall_ms() // DAY_MS * DAY_MS - HISTORY_ENDS_DAYS_AGO * DAY_MS
    requested = checked(Shop(end_ms=end_ms, seed=seed, customers=customers, events=events, days=days))
    settings = load_settings(run=run)
    produce_job.open_target(settings.run, console)
    with console.status("generating") as line:
        shop = past.ensure_archive(requested, directory, lambda _: None)
        with produce_job.stop_on_signal() as interrupted:
            state = past.send_history(
                directory,
                shop,
                past.SeedTarget(
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
        console.print(f"not complete ({counts or 'nothing'}); the same command continues", highlight=False)
        raise typer.Exit(130)
    console.print(f"run {settings.run} has the whole history of {directory}: {counts}", highlight=False)
