"""Writes every customer's segment, scores and action, and a summary of the segments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shopstream.cli.options import Archive, AsOf, Bundle, OutFolder
from shopstream.cli.progress import progress, stated_history


def segment(
    directory: Archive,
    out: OutFolder = Path("mart"),
    as_of: AsOf = None,
    bundle: Bundle = None,
    rules: Annotated[
        str | None,
        typer.Option("--rules", help="Built-in rules or a YAML file; default: rules of the bundle, or `segments`."),
    ] = None,
    extra_rules: Annotated[
        list[str] | None,
        typer.Option("--extra-rules", help="Further rules, with segments in columns of their own; repeatable."),
    ] = None,
) -> None:
    """Segment the customers of an archive: a table of all customers, and a summary of each segment with actions.

    Writes customer_segments.parquet, segment_summary.csv and segment_summary.html, the same bytes for the same input.
    made.json next to them stores the inputs and the time.

    Example: `shopstream segment shop-archive --as-of 2026-06-30 --extra-rules value --out mart`
    """
    from shopstream.jobs.segment import chosen_bundle, segment_customers, write_segments
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings()
    scoring = chosen_bundle(bundle, settings.home)
    further = ["value"] if extra_rules is None else extra_rules
    moment = stated_history(console, directory, None).end_ms if as_of is None else as_of
    with progress(console) as on_step:
        segmented = segment_customers(directory, moment, scoring, rules, further, on_step, money=settings.shop.money)
        on_step("writing", None)
        made_of = {
            "archive": str(directory), "as_of": str(moment), "bundle": segmented.scored_by,
            "rules": rules or "of the bundle, or the default ones", "further rules": ", ".join(further),
        }  # fmt: skip
        write_segments(segmented, out, made_of)
    for group in segmented.groups:
        console.print(f"{group.customers:>9,}  {group.share:6.1%}  {group.name}", highlight=False, markup=False)
    total = f"{len(segmented.customer_table):,} customers, scored by {segmented.scored_by} → {out}"
    console.print(total, highlight=False, markup=False)
