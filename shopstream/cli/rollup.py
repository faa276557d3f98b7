"""Computes past trends from an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shopstream.cli.options import Archive, AsOf, Bundle, Run, check_range, parse_time
from shopstream.cli.progress import progress, stated_history


def rollup(
    directory: Archive,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Start of the range, ISO 8601, inclusive; a local day.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="End of the range, ISO 8601, exclusive; a local day.")
    ] = None,
    bundle: Bundle = None,
    lost_after: Annotated[
        int | None,
        typer.Option(
            "--lost-after",
            help="Days without an order until a customer is lost; default: the bundle's horizon, or 90.",
            min=7,
            max=730,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Output folder of Parquet files; default: write to Elasticsearch."),
    ] = None,
    run: Run = None,
    as_of: AsOf = None,
) -> None:
    """Compute trends of an archive: segments by day, cohorts by month, second orders, movement by week.

    Days, weeks and months are those of the shop (`shop.time_zone`, `shop.week_start`), else of the imported log, else
    UTC. The range extends to the whole weeks and months of its days. The documents of a period replace earlier ones.

    Example: `shopstream rollup shop-archive --from 2026-01-01 --to 2026-07-01`
    """
    from connectors.files import write_whole
    from shopstream.jobs.rollup import ROLLED_UP, RollupRequest, roll_up
    from shopstream.jobs.segment import chosen_bundle
    from shopstream.jobs.shop_calendar import trend_calendar
    from shopstream.jobs.write_trends import check_elastic, check_part, write_trends
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings(run=run)
    scoring = chosen_bundle(bundle, settings.home)
    if out is None:
        check_elastic(settings)
    known = None if out is not None else trend_calendar(settings)
    history = stated_history(console, directory, as_of, settings.shop, known)
    zone = history.calendar.time_zone
    start_ms = None if start is None else parse_time(start, "--from", zone)
    end_ms = None if end is None else parse_time(end, "--to", zone)
    check_range(start_ms, end_ms)
    if out is None and (start is not None or end is not None):
        check_part(settings, ROLLED_UP, history.calendar)
    with progress(console) as on_step:
        trends = roll_up(directory, scoring, RollupRequest(start_ms, end_ms, lost_after), on_step, history)
        if out is not None:
            for trend in trends:
                write_whole(out / f"{trend.index}.parquet", trend.rows.write_parquet)
        else:
            total, written = sum(trend.rows.height for trend in trends), 0

            def on_written(count: int) -> None:
                nonlocal written
                written += count
                on_step("writing documents", written / total)

            replaced = write_trends(settings, trends, history.calendar, on_written)
    by = f"scored by {scoring.name}" if scoring else "no bundle: segments by RFM scores, no probability of churn"
    if out is not None:
        console.print(", ".join(f"{trend.rows.height:,} {trend.index}" for trend in trends) + f" → {out} ({by})")
        return
    for periods in replaced:
        removed = f", {periods.removed:,} earlier ones removed" if periods.removed else ""
        console.print(f"{settings.run}-{periods.index}: {periods.written:,} documents{removed}", highlight=False)
    console.print(by, highlight=False)
