"""Converts foreign logs to archives."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from features.errors import UsageError
from shopstream.cli.options import Answers, Force, Mappings, parse_answers
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from connectors.formats.money_format import MoneyFormat
    from producers.importing.importer import ImportReport
    from producers.importing.refusals import FileReport


def import_log(  # noqa: PLR0917 - typer makes an option of each
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Files, folders or patterns, packed or not; - for standard input."),
    ] = None,
    mapping: Mappings = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Output folder of the archive.")] = None,
    force: Force = False,
    answers: Answers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Report what an import would use and refuse; write no archive.")
    ] = False,
    refused: Annotated[
        Path | None,
        typer.Option("--refused", metavar="FILE", help="CSV file for all refused rows, with line, column and value."),
    ] = None,
    list_mappings: Annotated[bool, typer.Option("--list", help="List the built-in mappings and exit.")] = False,
    show: Annotated[
        str | None, typer.Option("--show", metavar="NAME", help="Print a built-in mapping, as a template, and exit.")
    ] = None,
) -> None:
    """Convert foreign logs of orders or clicks to an archive, described by mapping files.

    All files are one log. Each row is used, left out by a rule of its mapping, or refused with the reason.
    The exit code is 1 if a row is refused; the archive has the other rows.

    Example: `shopstream import orders.csv --mapping orders.yaml --out data/shop`

    Example: `shopstream import 2024/ --mapping clicks-csv --out data/clicks --dry-run`

    `shopstream inspect orders.csv --out orders.yaml` drafts a mapping.
    """
    from producers.importing import mapping as mappings
    from shopstream.jobs.import_logs import import_files
    from shopstream.runtime.topic_mapper import shop_money
    from shopstream.settings import guest_salt, load_settings

    if list_mappings:
        Console().print(table(None, ("mapping", "kind", "format"), mappings.summaries()))
        return
    if show is not None:
        built_in = mappings.builtin_mappings()
        if show not in built_in:
            raise UsageError(f"There is no built-in mapping {show}.", f"Give one of {', '.join(built_in)}.")
        typer.echo(built_in[show], nl=False)
        return
    if not files or not mapping or (out is None and not dry_run):
        raise UsageError(
            "An import needs FILE, --mapping and --out.", "shopstream import cdnow.txt --mapping cdnow --out data/cdnow"
        )
    settings = load_settings()
    logs = mappings.load_mappings(files, mapping, parse_answers(answers), shop_money(settings))
    with Console(stderr=True).status("import") as line:
        report = import_files(
            logs,
            None if dry_run else out,
            force=force,
            refused_file=refused,
            guest_salt=guest_salt(settings),
            on_progress=lambda file, rows: line.update(f"import {escape(file)}: {rows:,} rows"),
        )
    _print(Console(), report, settings.shop.money)
    if report.refused:
        saved = "no archive is written" if dry_run else f"{out} has the other rows"
        raise typer.Exit(_print_refused(Console(stderr=True), report, saved))


def _print(console: Console, report: ImportReport, money: MoneyFormat) -> None:
    from connectors.clock import iso

    files = [(escape(file.file), file.mapping, *(f"{rows:,}" for rows in _counts(file))) for file in report.files]
    headings = ("file", "mapping", "rows read", "left out", "refused", "used")
    console.print(table(None, headings, files, text_columns=2))
    unknown = sum(file.orders_unknown for file in report.files)
    rows = [
        ("rows read", f"{report.rows:,}"),
        *((f"  left out: {escape(reason)}", f"{count:,}") for reason, count in report.left_out.most_common()),
        *((f"  refused: {escape(reason)}", f"{count:,}") for reason, count in report.refused.most_common()),
        *([("  refused lines of unknown orders", f"{unknown:,}")] if unknown else []),
        ("rows used", f"{report.rows_used:,}"),
        *((f"  {escape(reason)}", f"{count:,}") for reason, count in report.dropped.most_common()),
    ]
    labels = {"orders": "order records", "events": "events"}
    rows += [(labels[topic], f"{count:,}") for topic, count in sorted(report.records.items())]
    rows.append(("customers", f"{len(report.customers):,}"))
    if report.first_ms is not None and report.last_ms is not None:
        rows += [("first", iso(report.first_ms)), ("last", iso(report.last_ms))]
    if report.records["orders"]:
        rows.append(("revenue", money.text(Decimal(report.revenue_cents).scaleb(-2))))
    console.print(table(None, ("import", ""), rows))
    for file in report.files:
        for column in file.absent:
            console.print(
                f"{file.file} has no column {column}: null, or the mapping's default", highlight=False, markup=False
            )


def _counts(file: FileReport) -> tuple[int, int, int, int]:
    return file.rows, file.left_out.total(), file.refused.total(), file.rows_used


def _print_refused(console: Console, report: ImportReport, saved: str) -> int:
    """Print the first refused rows of each reason and return the exit code."""
    from producers.importing.refusals import remedy

    for file in report.files:
        for reason, count in file.refused.most_common():
            console.print(f"{file.file}: {count:,} refused: {reason}", markup=False, highlight=False)
            for example in file.examples[reason]:
                console.print(f"  {example.position()}", markup=False, highlight=False, soft_wrap=True)
            console.print(f"  {remedy(reason)}", markup=False, highlight=False, soft_wrap=True)
        if file.orders_unknown:
            console.print(
                f"{file.file}: {file.orders_unknown:,} refused lines whose order is not certain: "
                "orders may lack them, and their totals may be too small",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip
            console.print("  Correct these rows before you use the totals.", markup=False, highlight=False)
    total = report.refused.total()
    console.print(f"Refused rows: {total:,}; {saved}.", markup=False, highlight=False)
    return 1
