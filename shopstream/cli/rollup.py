"""`shopstream rollup`: computes past trends from an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connectors.files import write_whole
from shopstream.cli.progress import progress

if TYPE_CHECKING:
    from training.bundle import Bundle


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rollup")(rollup)


def rollup(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The archive.")],
    start: Annotated[
        str | None, typer.Option("--from", help="ISO 8601; the first day. Its week and month are whole too.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="ISO 8601; exclusive.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Scores the customers; default: the current bundle of the data folder, if any."),
    ] = None,
    lost_after: Annotated[
        int | None,
        typer.Option(
            "--lost-after", help="Days without an order; default: the bundle's horizon, or 90.", min=7, max=730
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write Parquet files into this folder instead of Elasticsearch.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="The run whose indices they are.")] = None,
) -> None:
    """Roll an archive up into trends: segments by day, cohorts by month, movement by week, each period whole.

    A period that is rolled up again replaces what its documents were.

    Example: `shopstream rollup shop-archive --from 2026-01-01 --to 2026-07-01`
    """
    from rich.console import Console

    from shopstream.cli.options import date_range
    from shopstream.jobs.rollup import RollupRequest, roll_up
    from shopstream.jobs.write_trends import check_elastic, write_trends
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings(run=run)
    asked = RollupRequest(*date_range(start, end), lost_after)
    scoring = _bundle(bundle, settings.home)
    if out is None:
        check_elastic(settings)
    with progress(console) as on_step:
        trends = roll_up(directory, scoring, asked, on_step)
        if out is not None:
            for trend in trends:
                write_whole(out / f"{trend.index}.parquet", trend.rows.write_parquet)
        else:
            total, written = sum(trend.rows.height for trend in trends), 0

            def told(count: int) -> None:
                nonlocal written
                written += count
                on_step("writing documents", written / total)

            done = write_trends(settings, trends, told)
    by = f"scored by {scoring.name}" if scoring else "no bundle: segments by RFM scores, no probability of churn"
    if out is not None:
        console.print(", ".join(f"{trend.rows.height:,} {trend.index}" for trend in trends) + f" → {out} ({by})")
        return
    for one in done:
        gone = f", {one.removed:,} of before removed" if one.removed else ""
        console.print(f"{settings.run}-{one.index}: {one.written:,} documents{gone}", highlight=False)
    console.print(by, highlight=False)


def _bundle(given: Path | None, home: Path) -> Bundle | None:
    """Load the given bundle, or the current one of the data folder."""
    from shopstream.runtime.bundles import FOLDER, FolderBundles
    from training.bundle import load_bundle

    if given is not None:
        return load_bundle(given)
    return load_bundle(home / FOLDER) if FolderBundles(home / FOLDER).current() else None
