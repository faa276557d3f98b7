"""Writes the feature rows of a whole archive as of one time."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from shopstream.cli.options import Archive, AsOf, OutFile
from shopstream.cli.progress import stated_history, write_table


def features(directory: Archive, out: OutFile, as_of: AsOf = None) -> None:
    """Write the feature rows of every customer of an archive as of one time.

    Example: `shopstream features archive --as-of 2026-06-30T23:59:59.999Z --out rows.parquet`
    """
    from features.backfill import ArchiveCounts
    from shopstream.jobs.archive_features import batch_features

    console = Console(stderr=True)
    moment = stated_history(console, directory, None).end_ms if as_of is None else as_of
    counts = ArchiveCounts()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[day]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading the archive", day="", total=None)

        def on_day(position: int, total: int, day: str) -> None:
            progress.update(task, completed=position, total=total, day=day)

        rows = batch_features(directory, moment, counts, on_day)
    write_table(out, rows)
    console.print(
        f"{rows.height:,} customers from {counts.read['events']:,} events and {counts.read['orders']:,} order records "
        f"({counts.duplicates:,} duplicates, {counts.rejected.total():,} invalid) → {out}"
    )
    for reason, count in counts.rejected.most_common():
        console.print(f"  {count:,} invalid: {reason}")
