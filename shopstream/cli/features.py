"""`shopstream features`: writes the feature rows of a whole archive as of one time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from features.backfill import ArchiveCounts
    from shopstream.cli.options import parse_time
    from shopstream.cli.progress import write_table
    from shopstream.jobs.archive_features import batch_features

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
