"""Cleans an archive or foreign logs by declared rules and accounts for every row."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.options import Force, Mappings, OutFolder, time_option
from shopstream.cli.progress import progress
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from producers.importing.importer import Log


def clean(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="DIR | FILE...", help="Folder of the archive, or foreign logs with --mapping."),
    ],
    out: OutFolder,
    mapping: Mappings = None,
    identity_column: Annotated[
        list[str] | None,
        typer.Option("--identity-column", help="Column of a foreign log that separates people with one customer id."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="YAML file of cleaning rules, see docs/cleaning.md; default: the built-in plan."),
    ] = None,
    now_ms: Annotated[
        int | None,
        time_option("--now", "ISO 8601 time; times more than a day later are invalid. Default: the system clock."),
    ] = None,
    force: Force = False,
) -> None:
    """Clean an archive or foreign logs: duplicates, wrong times, spellings, missing values, shared customer ids.

    Writes a clean archive with a report (cleaning_report.html, .json), the dropped rows and the anomalies next to it.

    Example: `shopstream clean shop-archive --out shop-clean`

    Example: `shopstream clean orders.csv --mapping orders-csv --identity-column email --out shop-clean`
    """
    from shopstream.jobs.clean import clean_archive
    from shopstream.jobs.clean_logs import clean_logs
    from training.cleaning.plan import load_plan

    console = Console(stderr=True)
    rules = load_plan(plan)
    clock = datetime.now(UTC)  # noqa: TID251 (the only place that reads the clock to decide which times are in the future)
    limit_ms = int(clock.timestamp() * 1_000) if now_ms is None else now_ms
    identity = identity_column or []
    logs = _logs(sources, mapping or [], identity)
    with progress(console) as on_step:
        if logs:
            result = clean_logs(logs, out, rules, limit_ms, person=identity, force=force, on_step=on_step)
        else:
            result = clean_archive(sources[0], out, rules, limit_ms, force=force, on_step=on_step)
    _print(console, result, out)


def _logs(sources: list[Path], mappings: list[str], identity: list[str]) -> list[Log]:
    """Pair the files with their mappings; empty if the source is an archive."""
    from producers.importing.mapping import load_mappings
    from shopstream.runtime.topic_mapper import shop_money
    from shopstream.settings import load_settings

    if mappings:
        return load_mappings(sources, mappings, shop=shop_money(load_settings()))
    if len(sources) > 1 or sources[0].is_file():
        raise UsageError("Foreign logs need a mapping.", "Give --mapping; `shopstream import --list` lists some.")
    if identity:
        raise UsageError(
            "--identity-column applies to foreign logs.", "For an archive, set `identity` in the file of --plan."
        )
    return []


def _print(console: Console, result: dict[str, Any], out: Path) -> None:
    source = result["source"]
    for file in source.get("files", ()):
        console.print(f"{file['file']}: {file['rows']:,} rows, {file['used']:,} used", markup=False)
        for reason, count in file["left_out"].items():
            console.print(f"  {count:,} left out: {reason}", markup=False)
    for reason, count in source["refused"].items() if not source.get("files") else ():
        console.print(f"{count:,} rows of the log were refused by its import: {reason}", markup=False)
    counts = [
        (topic, *(f"{rows[name]:,}" for name in ("in", "out", "dropped"))) for topic, rows in result["rows"].items()
    ]
    console.print(table(f"{source['name']} → {out}", ("", "rows in", "rows out", "left out"), counts, text_columns=1))
    if result["rules"]:
        effects = [(rule["rule"], rule["topic"], f"{rule['count']:,} {rule['action']}") for rule in result["rules"]]
        console.print(table(None, ("rule", "topic", "effect"), effects))
    for name, score in (result["truth"] or {}).items():
        if name != "kinds" and score["planted"]:
            console.print(f"{name}: precision {score['precision'] or 0:.4f}, recall {score['recall']:.4f}")
    console.print(f"see {out / 'cleaning_report.html'}")
