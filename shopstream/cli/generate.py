"""`shopstream generate`: writes the synthetic shop's archive, with a progress bar and a summary."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from features.errors import UsageError

if TYPE_CHECKING:
    from producers.shop.generate import Generated
    from producers.shop.shop import Shop


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(generate)


def generate(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder of the archive.", show_default=False)],
    customers: Annotated[int, typer.Option("--customers", help="Customers signed up by the end.")] = 5_000,
    events: Annotated[int, typer.Option("--events", help="Click events, hit exactly.")] = 1_000_000,
    days: Annotated[int, typer.Option("--days", help="Length of the history in days.")] = 365,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")] = 1,
    end: Annotated[
        str | None,
        typer.Option("--end", help="First UTC day after the history, YYYY-MM-DD; default: 14 days ago."),
    ] = None,
    conversion: Annotated[float, typer.Option("--conversion", help="Share of sessions that buy.")] = 0.107,
    abandonment: Annotated[float, typer.Option("--abandonment", help="Share of carts left behind.")] = 0.70,
    dirt: Annotated[float, typer.Option("--dirt", help="Duplicates and invalid rows for each clean row, 0-1.")] = 0.0,
    csv: Annotated[bool, typer.Option("--csv", help="Write every file as CSV too, below csv/.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an archive that stands there.")] = False,
) -> None:
    """Write the archive of a synthetic shop: events, orders, customers, and the truth behind them.

    Nothing is left behind when it is interrupted. The model is described in docs/synthetic-shop.md.

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
        done = write_archive(
            shop, out, force=force, csv=csv, dirt=dirt, on_events=lambda count: bar.advance(task, count)
        )
    _print_summary(shop, out, done, perf_counter() - began_s)


def _end_ms(end: str | None) -> int:
    from producers.archive.archive import day_start_ms
    from producers.shop.shop import HISTORY_ENDS_DAYS_AGO

    if end is None:
        today = datetime.now(UTC).date()  # noqa: TID251 (the default end of a history is told from the clock, here only)
        return day_start_ms(today - timedelta(days=HISTORY_ENDS_DAYS_AGO))
    try:
        moment = datetime.fromisoformat(end)
    except ValueError:
        raise UsageError(f"--end {end} is no date.", "Write it as YYYY-MM-DD, for example 2025-06-01.") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment.time() != datetime.min.time():
        raise UsageError(f"--end {end} is not a UTC midnight.", "Write it as YYYY-MM-DD, for example 2025-06-01.")
    return day_start_ms(date(moment.year, moment.month, moment.day))


def _print_summary(shop: Shop, out: Path, done: Generated, seconds: float) -> None:
    from producers.archive.archive import utc_day

    tally = done.tally
    table = Table(title=f"{out}: {utc_day(shop.start_ms)} until {utc_day(shop.end_ms)}", show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    rows = [
        ("customers", f"{done.customers:,}"),
        ("events", f"{done.events:,}"),
        ("sessions", f"{tally.sessions:,}"),
        ("orders", f"{tally.orders:,}"),
        ("order records", f"{done.order_records:,}"),
        ("revenue (placed)", f"{tally.revenue_cents / 100:,.2f}"),
        ("conversion", _share(tally.converted_sessions, tally.sessions)),
        ("carts left", _share(tally.cart_sessions - tally.converted_sessions, tally.cart_sessions)),
        *([("dirty rows", f"{done.dirty_rows:,}")] if done.dirty_rows else []),
        ("seconds", f"{seconds:,.1f}"),
        ("events/s", f"{done.events / seconds:,.0f}"),
    ]
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
