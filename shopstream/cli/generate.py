"""Writes the archive of the synthetic shop."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from features.errors import UsageError
from shopstream.cli.options import Customers, Days, Events, Force, OutFolder, Seed, with_options
from shopstream.cli.shape_options import ShapeSelection, print_shapes
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from connectors.formats.money_format import MoneyFormat
    from producers.shop.generate import Generated
    from producers.shop.shop import Shop
    from producers.source_shapes.files import WrittenShapes


@with_options(ShapeSelection, "selection")
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
    dirt: Annotated[
        float,
        typer.Option(
            "--dirt", help="Duplicates and invalid rows per clean row, 0-1; with --as: share of messages with dirt."
        ),
    ] = 0.0,
    deleted: Annotated[
        float, typer.Option("--deleted", help="Share of orders that are deleted later: their last record is void.")
    ] = 0.0,
    selection: ShapeSelection,
    csv: Annotated[bool, typer.Option("--csv", help="Write every file as CSV too, below csv/.")] = False,
    force: Force = False,
) -> None:
    """Write the archive of a synthetic shop: events, orders, customers, and the ground truth of the simulation.

    With --as the folder also has the records as messages of other systems: messages/SHAPE/partition-N.jsonl. The
    archive is then without dirt: it is the truth about the messages.

    An interrupted call leaves no files. docs/synthetic-shop.md describes the model and the shapes.

    Example: `shopstream generate --customers 5000 --events 1000000 --days 365 --seed 7 --out shop-archive`

    Example: `shopstream generate --events 100000 --as segment,debezium --dirt 0.02 --deleted 0.01 --out shop-archive`
    """
    from producers.shop.generate import generate as write_archive
    from producers.shop.shop import Shop, checked
    from shopstream.settings import load_settings

    money = load_settings().shop.money
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
    shapes = _shapes(selection, dirt, deleted)
    written: list[WrittenShapes] = []

    def write_messages(archive: Path) -> None:
        from producers.archive.archive import MESSAGES_FOLDER
        from producers.source_shapes.files import write_message_files

        if shapes:
            faults, folder = selection.faults(dirt, seed), archive / MESSAGES_FOLDER
            zone = selection.time_zone()
            written.append(write_message_files(archive, folder, shapes, faults, zone, selection.partitions))

    console = Console(stderr=True)
    began_s = perf_counter()
    bar = Progress(
        TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("events", total=shop.events)
        generated = write_archive(
            shop, out, force=force, csv=csv, dirt=0.0 if shapes else dirt, deleted=deleted, derive=write_messages,
            on_events=lambda count: bar.advance(task, count),
        )  # fmt: skip
    _print_summary(shop, out, generated, perf_counter() - began_s, money)
    for one in written:
        rows = [(shape, f"{count:,}") for shape, count in one.messages.items()]
        Console().print(table("messages", ("shape", "messages"), rows, text_columns=1))
        if print_shapes(Console(), one.admission, one.reports):
            raise typer.Exit(1)


def _shapes(selection: ShapeSelection, dirt: float, deleted: float) -> tuple[str, ...]:
    """Return the shapes to write. Raises UsageError for options that do not fit together."""
    shapes = selection.checked()
    if shapes and not 0 <= dirt <= 1:
        raise UsageError(f"Dirt is a share of the messages, not {dirt}.", "Give a number from 0 to 1.")
    if deleted and "shopify" in shapes:
        raise UsageError(
            "Shopify names no customer of a deleted order, so its messages cannot say --deleted.",
            "Leave out --deleted, or write woocommerce or debezium.",
        )
    return shapes


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


def _print_summary(shop: Shop, out: Path, generated: Generated, seconds: float, money: MoneyFormat) -> None:
    from producers.archive.archive import utc_day

    counts = generated.counts
    revenue = Decimal(counts.revenue_cents - generated.deleted_revenue_cents).scaleb(-2)
    rows = [
        ("customers", f"{generated.customers:,}"),
        ("events", f"{generated.events:,}"),
        ("sessions", f"{counts.sessions:,}"),
        ("orders", f"{counts.orders:,}"),
        ("order records", f"{generated.order_records:,}"),
        ("revenue (placed)", money.text(revenue)),
        *([("deleted orders", f"{generated.deleted_orders:,}")] if generated.deleted_orders else []),
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
