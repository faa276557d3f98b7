"""Writes the archive of the synthetic shop."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from features.errors import UsageError
from shopstream.cli.options import Customers, Days, Events, Force, OutFolder, Seed
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from producers.shop.generate import Generated
    from producers.shop.shop import Shop


def generate(
    *,
    out: OutFolder,
    customers: Customers = 5_000,
    events: Events = 1_000_000,
    days: Days = 365,
    seed: Seed = 1,
    end: Annotated[
        str | None,
        typer.Option("--end", help="First UTC day after the history, YYYY-MM-DD; default: 14 days ago."),
    ] = None,
    conversion: Annotated[float, typer.Option("--conversion", help="Share of sessions with an order.")] = 0.107,
    abandonment: Annotated[float, typer.Option("--abandonment", help="Share of abandoned carts.")] = 0.70,
    dirt: Annotated[float, typer.Option("--dirt", help="Duplicates and invalid rows per clean row, 0-1.")] = 0.0,
    csv: Annotated[bool, typer.Option("--csv", help="Write every file as CSV too, below csv/.")] = False,
    force: Force = False,
) -> None:
    """Write the archive of a synthetic shop: events, orders, customers, and the ground truth of the simulation.

    An interrupted call leaves no files. docs/synthetic-shop.md describes the model.

    Example: `shopstream generate --customers 5000 --events 1000000 --days 365 --seed 7 --out shop-archive`
    """
    from producers.shop.generate import generate as write_archive
    from producers.shop.shop import Shop, checked

    shop = checked(
        Shop(
            end_ms=_end_ms(end),
            seed=seed,
            customers=customers,
            events=events,
            days=days,
            conversion=conversion,
            abandonment=abandonment,
        )
    )
    console = Console(stderr=True)
    began_s = perf_counter()
    bar = Progress(
        TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("events", total=shop.events)
        generated = write_archive(
            shop, out, force=force, csv=csv, dirt=dirt, on_events=lambda count: bar.advance(task, count)
        )
    _print_summary(shop, out, generated, perf_counter() - began_s)


def _end_ms(end: str | None) -> int:
    from producers.archive.archive import day_start_ms
    from producers.shop.shop import HISTORY_ENDS_DAYS_AGO

    if end is None:
        today = datetime.now(UTC).date()  # noqa: TID251 (the only place that derives the default end of a history from the clock)
        return day_start_ms(today - timedelta(days=HISTORY_ENDS_DAYS_AGO))
    try:
        moment = datetime.fromisoformat(end)
    except ValueError:
        raise UsageError(f"--end {end} is not a date.", "Write it as YYYY-MM-DD, for example 2025-06-01.") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment.time() != datetime.min.time():
        raise UsageError(f"--end {end} is not a UTC midnight.", "Write it as YYYY-MM-DD, for example 2025-06-01.")
    return day_start_ms(date(moment.year, moment.month, moment.day))


def _print_summary(shop: Shop, out: Path, generated: Generated, seconds: float) -> None:
    from producers.archive.archive import utc_day

    counts = generated.counts
    rows = [
        ("customers", f"{generated.customers:,}"),
        ("events", f"{generated.events:,}"),
        ("sessions", f"{counts.sessions:,}"),
        ("orders", f"{counts.orders:,}"),
        ("order records", f"{generated.order_records:,}"),
        ("revenue (placed)", f"{counts.revenue_cents / 100:,.2f}"),
        ("conversion", _share(counts.converted_sessions, counts.sessions)),
        ("abandoned carts", _share(counts.cart_sessions - counts.converted_sessions, counts.cart_sessions)),
        *([("dirty rows", f"{generated.dirty_rows:,}")] if generated.dirty_rows else []),
        ("seconds", f"{seconds:,.1f}"),
        ("events/s", f"{generated.events / seconds:,.0f}"),
    ]
    title = f"{out}: {utc_day(shop.start_ms)} until {utc_day(shop.end_ms)}"
    Console().print(table(title, ("", ""), rows, text_columns=1, show_header=False))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
