"""Inspects foreign files and drafts mappings for them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from features.errors import UsageError
from shopstream.cli.options import AsJson, Force
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from producers.inspection.draft import Draft
    from producers.inspection.fit import Fit
    from producers.inspection.inspection import Group, Inspection

WIDTH_MAX = 100
_EXAMPLE_CHARACTERS = 24
_FILES_SHOWN = 20
_COLUMNS_SHOWN = 80


def inspect_log(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Files, folders or patterns, packed or not; - for standard input."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Output file for the drafted mapping.")
    ] = None,
    rows: Annotated[
        str, typer.Option("--rows", metavar="N", help="Rows to read of all files of one form, or `all`.")
    ] = "100000",
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Describe foreign files with evidence, name what is ambiguous, and draft a mapping.

    Files of one form are one log: the columns and signs of all of them are compared.
    The exit code is 1 if a file is unreadable, or if no column is recognised for a required part of the mapping.

    Example: `shopstream inspect orders.csv`

    Example: `shopstream inspect 2024/*.csv.gz --out orders.yaml`

    Example: `shopstream inspect events.jsonl --rows all --json`
    """
    from connectors.clock import wall_clock_ms
    from connectors.tables.log_files import log_files
    from producers.inspection.draft import draft
    from producers.inspection.fit import fitting_mappings
    from producers.inspection.inspection import inspect_logs

    rows_max = _row_count(rows)
    if out is not None and out.exists() and not force:
        raise UsageError(f"{out} exists.", "Name another file, or replace it by --force.")
    with Console(stderr=True).status("inspect") as line:
        inspection = inspect_logs(
            log_files(files), rows_max, wall_clock_ms(),
            on_progress=lambda file, count: line.update(f"inspect {escape(file)}: {count:,} rows"),
        )  # fmt: skip
        results = [(group, draft(group), fitting_mappings(group)) for group in inspection.groups]
    outputs = _written(out, [made for _, made, _ in results])
    if as_json:
        _print_json(inspection, results)
    else:
        console = Console()
        console.width = min(console.width, WIDTH_MAX) if console.is_terminal else WIDTH_MAX
        for number, result in enumerate(results):
            _print_group(console, *result, outputs[number] if outputs else None)
        if len(results) > 1:
            _say(console, f"The files have {len(results)} forms; import needs a mapping for each.")
    errors = Console(stderr=True)
    for file in inspection.unreadable:
        _say(errors, " ".join(file.error or ()).strip())
    if inspection.unreadable or any(_is_incomplete(group, made) for group, made, _ in results):
        raise typer.Exit(1)


def _row_count(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or not int(text):
        raise UsageError(f"Invalid number for --rows: {text!r}.", "Give a number above 0, or `all`.")
    return int(text)


def _is_incomplete(group: Group, made: Draft) -> bool:
    return not made.complete or any(file.error is not None for file in group.files)


def _written(out: Path | None, drafts: list[Draft]) -> list[Path]:
    """Write a draft for each form of the files: the second one to NAME-2.yaml."""
    if out is None:
        return []
    names = [out if not number else out.with_stem(f"{out.stem}-{number + 1}") for number in range(len(drafts))]
    for name, made in zip(names, drafts, strict=True):
        try:
            name.write_text(made.text, "utf-8")
        except OSError as error:
            raise UsageError(f"{name} cannot be written: {error.strerror}.", "Name another file of --out.") from error
    return names


def _print_json(inspection: Inspection, results: list[tuple[Group, Draft, list[Fit]]]) -> None:
    import json

    from producers.inspection.report import group_as_dict, unreadable_as_dict

    document: dict[str, Any] = {
        "groups": [group_as_dict(*result) for result in results],
        "unreadable": [unreadable_as_dict(file) for file in inspection.unreadable],
    }
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))


# --- text -------------------------------------------------------------------------------------------------------------
def _print_group(console: Console, group: Group, made: Draft, fits: list[Fit], out: Path | None) -> None:
    from producers.inspection.report import extent, file_sentences

    console.print(_file_table(group))
    for sentence in [extent(group), *file_sentences(group)]:
        _say(console, f"- {sentence}")
    if group.columns:
        console.print(_column_table(group))
    _print_notes(console, group)
    for name, columns in group.elements.items():
        fields = ", ".join(f"{one.name} ({one.kind}, {one.fill:.0%})" for one in columns[:30])
        _say(console, f"- The list {name} has elements with {fields}.")
    if made.questions:
        console.print("[bold]To decide[/]")
        for question in made.questions:
            _say(console, f"- {question.text} {question.decides}")
    if fits:
        rows = [
            (escape(fit.name), f"{len(fit.columns)}", f"{len(fit.absent)}", escape(", ".join(fit.differences)) or "-")
            for fit in fits
        ]
        console.print(table(None, ("ready mapping", "columns matched", "optional absent", "to change in file"), rows))
    _print_next(console, group, made, fits, out)


def _file_table(group: Group) -> Any:
    rows: list[tuple[str, ...]] = []
    for file in group.files[:_FILES_SHOWN]:
        kind = file.kind
        encoding = kind.encoding.label if kind is not None and kind.encoding is not None else "-"
        packing = (kind.packing if kind is not None else None) or "plain"
        rows.append((escape(file.name), packing, group.form.how.format, encoding, f"{file.rows:,}"))
    if len(group.files) > _FILES_SHOWN:
        rest = group.files[_FILES_SHOWN:]
        rows.append((f"{len(rest):,} more files", "", "", "", f"{sum(file.rows for file in rest):,}"))
    return table(None, ("file", "packing", "format", "encoding", "rows read"), rows, text_columns=4)


def _column_table(group: Group) -> Any:
    rows = []
    for column in group.columns[:_COLUMNS_SHOWN]:
        examples = ", ".join(_short(one) for one in column.examples[:2])
        distinct = f"{column.distinct:,}" + ("" if column.distinct_exact else "+")
        kind = group.form.types.get(column.name)
        rows.append(
            (escape(column.name), escape(column.kind if kind is None else f"{column.kind} ({kind})"),
             escape(examples), escape(column.low or ""), escape(column.high or ""), f"{column.fill:.0%}", distinct)
        )  # fmt: skip
    if len(group.columns) > _COLUMNS_SHOWN:
        rows.append((f"{len(group.columns) - _COLUMNS_SHOWN} more: see --json", "", "", "", "", "", ""))
    headings = ("column", "type", "examples", "lowest", "highest", "filled", "distinct")
    return table(None, headings, rows, text_columns=5)


def _short(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARACTERS else f"{text[: _EXAMPLE_CHARACTERS - 1]}…"


def _print_notes(console: Console, group: Group) -> None:
    from producers.inspection.report import column_sentences

    for column in group.columns:
        for sentence in column_sentences(column):
            _say(console, f"- {column.name}: {sentence}")


def _print_next(console: Console, group: Group, made: Draft, fits: list[Fit], out: Path | None) -> None:
    from connectors.tables.log_files import paths_in_a_call

    names = [shlex.quote(name) for name in paths_in_a_call(group.logs)]
    files = " ".join(names[:3]) + (" …" if len(names) > 3 else "")
    if not made.complete:
        for name, candidates in made.recognition.missing.items():
            known = f"; candidates: {', '.join(candidates[:8])}" if candidates else "; no column is a candidate"
            _say(console, f"- No column is recognised as {name}{known}. Write it in the mapping.")
    console.print("[bold]Next[/]")
    ready = next((fit for fit in fits if not fit.differences), None)
    if ready is not None:
        _say(console, f"  shopstream import {files} --mapping {ready.name} --dry-run", soft_wrap=True)
    if out is None:
        _say(console, f"  shopstream inspect {files} --out mapping.yaml", soft_wrap=True)
    else:
        checks = made.text.count("CHECK:")
        _say(console, f"  {out} is drafted; {checks} lines have CHECK. Edit it, then:")
        _say(console, f"  shopstream import {files} --mapping {shlex.quote(str(out))} --dry-run", soft_wrap=True)


def _say(console: Console, text: str, *, soft_wrap: bool = False) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=soft_wrap)
