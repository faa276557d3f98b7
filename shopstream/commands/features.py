"""`shopstream features`: the rows of a whole archive at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import polars as pl
    import pyarrow as pa

    from features.replayed import ArchiveCounts


ROWS_PER_TABLE = 1_000_000
"""Rows of a day that are read at once."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("features")(features)


def features(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The archive.")],
    as_of: Annotated[str, typer.Option("--as-of", help="ISO 8601; a time without a zone is UTC.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Parquet file, or CSV by its ending.", show_default=False)],
) -> None:
    """Write the feature rows of every customer of an archive, as they are true at a time.

    Example: `shopstream features archive --as-of 2026-06-30T23:59:59.999Z --out rows.parquet`
    """
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from features.replayed import ArchiveCounts  # noqa: PLC0415
    from shopstream.producing import parse_time  # noqa: PLC0415
    from shopstream.working import write_table  # noqa: PLC0415

    console = Console(stderr=True)
    counts = ArchiveCounts()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[day]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading the archive", day="", total=None)

        def on_day(position: int, total: int, day: str) -> None:
            progress.update(task, completed=position, total=total, day=day)

        rows = batch_features(directory, parse_time(as_of, "--as-of"), counts, on_day)
    write_table(out, rows)
    console.print(
        f"{rows.height:,} customers from {counts.read['events']:,} events and {counts.read['orders']:,} order records "
        f"({counts.duplicates:,} duplicates, {counts.rejected.total():,} invalid) → {out}"
    )
    for reason, count in counts.rejected.most_common():
        console.print(f"  {count:,} of: {reason}")


def batch_features(
    directory: Path,
    as_of: int,
    counts: ArchiveCounts | None = None,
    on_day: Callable[[int, int, str], None] = lambda *_: None,
) -> pl.DataFrame:
    """Feature rows of every customer of an archive.

    Args:
        directory: the archive.
        as_of: epoch ms.
        counts: filled with what was read and left out.
        on_day: told position, number of days and the day's name before each day.

    Returns:
        One row a customer, columns as in `features.definitions.ROW_SCHEMA`, ordered by customer_id.
    """
    from features.replayed import rows_at  # noqa: PLC0415

    wanted, read_day = archive_days(directory, as_of)

    def told(day: int) -> None:
        on_day(wanted.index(day), len(wanted), str(datetime.fromtimestamp(day * 86_400, UTC).date()))

    ((_, rows),) = rows_at(wanted, read_day, [as_of], counts, told)
    return rows.sort("customer_id")


def archive_days(
    directory: Path, as_of: int | None = None
) -> tuple[list[int], Callable[[str, int], Iterable[pa.Table]]]:
    """Numbers of the days of an archive, and a reader of a topic's rows of a day.

    Args:
        directory: the archive.
        as_of: epoch ms; only what is known then. None: all.
    """
    from datetime import date  # noqa: PLC0415

    from features.replayed import known_at  # noqa: PLC0415
    from features.schema import DAY_MS  # noqa: PLC0415
    from producers import archive  # noqa: PLC0415

    found = {topic: set(archive.days(directory, topic)) for topic in ("events", "orders")}
    epoch = date(1970, 1, 1)

    def read_day(topic: str, number: int) -> Iterable[pa.Table]:
        day = date.fromordinal(epoch.toordinal() + number)
        return archive.read_day_parts(directory, topic, day, ROWS_PER_TABLE) if day in found[topic] else ()

    numbers = sorted({(day - epoch).days for days in found.values() for day in days})
    if as_of is None:
        return numbers, read_day
    return [number for number in numbers if number * DAY_MS <= as_of], known_at(read_day, as_of)
