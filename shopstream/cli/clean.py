"""`shopstream clean`: cleans an archive or a foreign log by declared rules and accounts for every row."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.errors import UsageError
from shopstream.cli.progress import progress

if TYPE_CHECKING:
    from rich.console import Console

    from shopstream.jobs.clean_logs import Log


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("clean")(clean)


def clean(
    sources: Annotated[
        list[Path], typer.Argument(metavar="DIR | FILE...", help="The archive, or foreign logs with --mapping.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the clean archive.", show_default=False)],
    mapping: Annotated[
        list[str] | None,
        typer.Option("--mapping", help="Of foreign logs, as for `import`: a ready name or a YAML file."),
    ] = None,
    person: Annotated[
        list[str] | None,
        typer.Option("--person", help="Column of a foreign log that tells people apart who share a customer id."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="YAML file of choices, see docs/cleaning.md; default: the usual ones.")
    ] = None,
    now: Annotated[
        str | None,
        typer.Option("--now", help="ISO 8601; times more than a day after it are wrong. Default: the clock."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an archive that stands there.")] = False,
) -> None:
    """Clean an archive or foreign logs: duplicates, wrong times, spellings, missing values, shared customer ids.

    Beside the clean archive stand the report (cleaning_report.html, .json), the rows left out and what is odd.

    Example: `shopstream clean shop-archive --out shop-clean`

    Example: `shopstream clean orders.csv --mapping orders-csv --person email --out shop-clean`
    """
    from rich.console import Console

    from shopstream.cli.options import parse_time
    from shopstream.jobs.clean import clean_archive
    from shopstream.jobs.clean_logs import clean_logs
    from training.cleaning.plan import load_plan

    console = Console(stderr=True)
    wishes = load_plan(plan)
    clock = datetime.now(UTC)  # noqa: TID251 (what is in the future is told from the clock, here only)
    now_ms = int(clock.timestamp() * 1_000) if now is None else parse_time(now, "--now")
    logs = _logs(sources, mapping or [], person or [])
    with progress(console) as on_step:
        if logs:
            said = clean_logs(logs, out, wishes, now_ms, person=person or [], force=force, on_step=on_step)
        else:
            said = clean_archive(sources[0], out, wishes, now_ms, force=force, on_step=on_step)
    _print(console, said, out)


def _logs(sources: list[Path], names: list[str], person: list[str]) -> list[Log]:
    """Pair the files with their mappings; empty if the source is an archive."""
    from producers.importing.mapping import load_mapping

    if not names:
        if len(sources) > 1 or sources[0].is_file():
            raise UsageError("Foreign logs need a mapping.", "Give --mapping; `shopstream import --list` lists some.")
        if person:
            raise UsageError("--person is of foreign logs.", "In an archive, the plan's `identity` tells people apart.")
        return []
    if len(names) not in (1, len(sources)):
        raise UsageError(
            f"{len(sources)} files, but {len(names)} mappings.", "Give one mapping for all, or one a file."
        )
    names = names * len(sources) if len(names) == 1 else names
    return [(file, *load_mapping(name)) for file, name in zip(sources, names, strict=True)]


def _print(console: Console, said: dict[str, Any], out: Path) -> None:
    from rich.table import Table

    rows = Table(title=f"{said['source']['name']} → {out}")
    for name in ("", "rows in", "rows out", "left out"):
        rows.add_column(name, justify="right" if name else "left")
    for topic, one in said["rows"].items():
        rows.add_row(topic, *(f"{one[name]:,}" for name in ("in", "out", "dropped")))
    for one in said["source"].get("files", ()):
        console.print(f"{one['file']}: {one['rows']:,} rows, {one['used']:,} used", markup=False)
        for reason, count in one["left_out"].items():
            console.print(f"  {count:,} left out: {reason}", markup=False)
    console.print(rows)
    rules = Table("rule", "of", "did")
    for rule in said["rules"]:
        rules.add_row(rule["rule"], rule["topic"], f"{rule['count']:,} {rule['action']}")
    if said["rules"]:
        console.print(rules)
    if said["truth"]:
        for name, one in said["truth"].items():
            if name != "kinds" and one["planted"]:
                console.print(f"{name}: precision {one['precision'] or 0:.4f}, recall {one['recall']:.4f}")
    console.print(f"see {out / 'cleaning_report.html'}")
