"""`shopstream segment`: writes every customer's segment, scores and action, and a summary of the segments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("segment")(segment)


def segment(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The archive.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the results.")] = Path("mart"),
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="ISO 8601; default: the last moment of the archive.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Scores the customers; default: the current bundle of the data folder, if any."),
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option("--rules", help="A ready name or a YAML file; default: those of the bundle, or `segments`."),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Other rules, whose segments stand beside in columns of their own; repeatable."),
    ] = None,
) -> None:
    """Segment the customers of an archive: a table of them all, and a summary of each segment with actions and risks.

    Writes customer_segments.parquet, segment_summary.csv and segment_summary.html, the same bytes for the same input;
    made.json beside them says of what they were made, and when.

    Example: `shopstream segment shop-archive --as-of 2026-06-30 --also value --out mart`
    """
    from rich.console import Console

    from shopstream.cli.options import parse_time
    from shopstream.cli.progress import progress
    from shopstream.jobs.segment import chosen_bundle, last_moment, segment_customers, write_segments
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    scoring = chosen_bundle(bundle, load_settings().home)
    further = ["value"] if also is None else also
    with progress(console) as on_step:
        moment = last_moment(directory) if as_of is None else parse_time(as_of, "--as-of")
        found = segment_customers(directory, moment, scoring, rules, further, on_step)
        on_step("writing", None)
        made_of = {
            "archive": str(directory), "as_of": str(moment), "bundle": found.scored_by,
            "rules": rules or "of the bundle, or the default ones", "further rules": ", ".join(further),
        }  # fmt: skip
        write_segments(found, out, made_of)
    for group in found.groups:
        console.print(f"{group.customers:>9,}  {group.share:6.1%}  {group.name}", highlight=False, markup=False)
    console.print(f"{len(found.mart):,} customers, scored by {found.scored_by} → {out}", highlight=False, markup=False)
