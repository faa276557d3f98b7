"""Shows the progress and the times of commands that work on files, and writes their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    import polars as pl

    from connectors.formats.money_format import MoneyFormat
    from features.calendar import Calendar
    from shopstream.jobs.history import History
    from shopstream.settings import ShopSettings


@contextmanager
def progress(console: Console) -> Iterator[Callable[[str, float | None], None]]:
    """Show the current step and, if known, its completed share from 0 to 1. Without a terminal, print a line a step."""
    if not console.is_terminal:
        yield _line_per_step(console)
        return
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=console, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("reading the archive", total=None)

        def show(step: str, share: float | None) -> None:
            bar.update(task, description=step, total=None if share is None else 1.0, completed=share or 0.0)

        yield show


def _line_per_step(console: Console) -> Callable[[str, float | None], None]:
    last = ""

    def show(step: str, _share: float | None) -> None:
        nonlocal last
        if step != last:
            console.print(step, highlight=False, soft_wrap=True, markup=False)
        last = step

    return show


def stated_history(
    console: Console,
    directory: Path,
    as_of: int | None,
    shop: ShopSettings | None = None,
    otherwise: Calendar | None = None,
) -> History:
    """Find the part of an archive that counts, and print its end and the records that look wrong.

    Args:
        console: console for the sentences.
        directory: folder of the archive.
        as_of: value of --as-of, epoch ms, or None.
        shop: settings of the shop, whose calendar comes before that of the archive.
        otherwise: calendar if neither names a zone; None: UTC.

    Raises:
        ShopstreamError: there is no archive, it is empty, all of its records are ahead of now, or after `as_of`.
    """
    from connectors.clock import iso, wall_clock_ms
    from features.calendar import UTC_CALENDAR
    from shopstream.jobs.history import known_history
    from shopstream.jobs.shop_calendar import archive_calendar

    calendar = archive_calendar(directory, shop, otherwise or UTC_CALENDAR)
    history = known_history(directory, as_of, wall_clock_ms(), calendar)
    for warning in history.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}", highlight=False, soft_wrap=True)
    if as_of is None:
        console.print(
            f"as of {iso(history.end_ms)}, {history.reason} (--as-of gives another time)",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    if shop is not None:
        chosen = shop.time_zone or calendar.time_zone != UTC_CALENDAR.time_zone
        hint = "" if chosen else " (set shop.time_zone for the shop's own)"
        console.print(f"days, weeks and months of {calendar}{hint}", highlight=False, markup=False, soft_wrap=True)
    return history


def state_currency(console: Console, money: MoneyFormat) -> None:
    """Print that amounts have no currency, if the settings have none."""
    from connectors.formats.money_format import NO_CURRENCY

    if not money.currency:
        console.print(NO_CURRENCY, highlight=False, markup=False)


def write_table(out: Path, frame: pl.DataFrame) -> None:
    """Write Parquet or CSV, by the file's suffix. CSV cells hold no formulas; blanks join the words of a list."""
    from polars import List, col

    from connectors.files import write_whole
    from connectors.formats.csv_safety import safe_frame

    if out.suffix != ".csv":
        write_whole(out, frame.write_parquet)
        return
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, List)]
    write_whole(out, safe_frame(frame.with_columns(col(name).list.join(" ") for name in lists)).write_csv)
