"""Inspects files: files of one form are one group, which is read once and profiled as one log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from connectors.tables.batches import LINE, Batch, Refusal, is_name_pattern
from connectors.tables.columnar import parquet_types
from connectors.tables.encodings import open_text
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import LogFile
from connectors.tables.reader import header, read_batches
from features.errors import ShopstreamError
from features.schema import DAY_MS
from producers.inspection.column_profile import ColumnProfile, ColumnStatistics
from producers.inspection.dialect import Dialect, dialect
from producers.inspection.file_kind import FileKind, file_kind
from producers.inspection.findings import Example, Question, counted
from producers.inspection.json_shape import element_profiles, json_shape
from producers.inspection.workbook import Sheet, sheets, size_text

ROWS_MAX: Final = 100_000
SAMPLE_ROWS_MAX: Final = 100_000
"""Rows that are compared with each other, such as the rows of an order."""

_ROWS_PER_FILE_MIN: Final = 1_000
_START_CHARACTERS: Final = 1 << 20
_BATCH_ROWS: Final = 20_000
_TAIL: Final = 5
_LISTS: Final = ("list", "large_list", "fixed_size_list", "map", "struct")
_SUMMARY: Final = re.compile(
    r"(?i)^\W*(?:grand |sub-?)?(?:totals?|sum|summe|gesamt|gesamtsumme|somme|totale|count|rows?|end of (?:file|report))"
    r"\W*$"
    r"|^\W*(?:total|totals|summe|gesamt)\b.*|^\W*[\d,.]+ rows?\b.*|^\W*end of .*"
)
Progress = Callable[[str, int], None]


@dataclass(slots=True)
class FileNotes:
    """What is known of one file.

    Attributes:
        name: name for messages.
        kind: packing, format and encoding; None if it is unreadable.
        rows: rows read.
        complete: whether it was read to its end.
        refused: reason -> number of rows that no mapping reads, with the first of them.
        repeated_headers: lines that repeat the header.
        error: sentence and remedy of the fault that ends the reading.
    """

    name: str
    kind: FileKind | None = None
    rows: int = 0
    complete: bool = False
    refused: dict[str, tuple[int, Example]] = field(default_factory=dict)
    repeated_headers: list[int] = field(default_factory=list)
    error: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """Form of a file: how it is read, its columns, evidence, ambiguities and faults.

    Attributes:
        how: the `file` of a mapping.
        names: columns; None for JSON.
        keys: top-level keys of the first record, of JSON.
        ascii_only: whether the encoding is undecided because all characters are ASCII.
        sheets: sheets of a workbook.
        types: column -> type, of Parquet.
    """

    how: FileFormat
    names: tuple[str, ...] | None
    evidence: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    warnings: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    ascii_only: bool = False
    has_header: bool = True
    sheets: tuple[Sheet, ...] = ()
    types: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Group:
    """Files of one form, profiled together.

    Attributes:
        form: form of the files.
        files: the files.
        columns: profile of each column.
        elements: list within the records -> profiles of the fields of its elements.
        sample: first rows: LINE and the columns.
        summaries: rows that look like totals at the end of a file: file, line, column, value.
    """

    form: Form
    files: list[FileNotes]
    logs: list[LogFile]
    columns: list[ColumnProfile] = field(default_factory=list)
    elements: dict[str, list[ColumnProfile]] = field(default_factory=dict)
    sample: pl.DataFrame = field(default_factory=pl.DataFrame)
    summaries: list[tuple[str, int, str | None, str]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows read."""
        return sum(file.rows for file in self.files)

    @property
    def complete(self) -> bool:
        """Whether all files were read to their end."""
        return all(file.complete for file in self.files)

    def column(self, name: str) -> ColumnProfile | None:
        """Return the profile of a column, or None."""
        return next((one for one in self.columns if one.name == name), None)


@dataclass(slots=True)
class Inspection:
    """Result of an inspection: groups of files of one form, and files that cannot be read."""

    groups: list[Group] = field(default_factory=list)
    unreadable: list[FileNotes] = field(default_factory=list)


def inspect_logs(
    logs: Sequence[LogFile], rows_max: int | None, now_ms: int, on_progress: Progress = lambda _file, _rows: None
) -> Inspection:
    """Inspect files.

    Args:
        logs: files.
        rows_max: rows to read of all files of one form; None: all.
        now_ms: current time, epoch ms.
        on_progress: callback that receives the file's name and the number of rows read from it.
    """
    inspection = Inspection()
    for log in logs:
        notes = FileNotes(log.name)
        try:
            notes.kind = file_kind(log)
            form = _form(log, notes.kind)
        except ShopstreamError as error:
            notes.error = (error.message, error.remedy or "")
            inspection.unreadable.append(notes)
            continue
        group = next((one for one in inspection.groups if _same_form(one.form, form)), None)
        if group is None:
            inspection.groups.append(Group(form, [notes], [log]))
            continue
        group.files.append(notes)
        group.logs.append(log)
        group.form = _joined(group.form, form)
    for group in inspection.groups:
        _read(group, rows_max, now_ms + DAY_MS, on_progress)
    return inspection


# --- forms ------------------------------------------------------------------------------------------------------------
def _form(log: LogFile, kind: FileKind) -> Form:
    if kind.format == "parquet":
        how = FileFormat(format="parquet")
        types = parquet_types(log)
        return Form(how, tuple(types), types=types, warnings=_unnamed_columns(types, header(log, how)))
    if kind.format == "excel":
        return _excel_form(log)
    assert kind.encoding is not None
    encoding = kind.encoding
    questions = (encoding.question,) if encoding.question else ()
    if kind.format == "json":
        shape = json_shape(log, encoding.name)
        how = FileFormat(format="json", encoding=encoding.name, records=shape.records)
        return Form(
            how, None, (shape.evidence,), (*questions, *shape.questions), encoding.warnings, shape.keys,
            ascii_only=encoding.ascii_only,
        )  # fmt: skip
    with open_text(log, FileFormat(format="csv", encoding=encoding.name)) as stream:
        text = stream.read(_START_CHARACTERS)
    described = dialect(text, complete=len(text) < _START_CHARACTERS)
    return replace(
        _text_form(described, encoding.name),
        questions=(*questions, *described.questions),
        warnings=(*encoding.warnings, *described.warnings),
        ascii_only=encoding.ascii_only,
    )


def _unnamed_columns(types: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the warning about columns of Parquet that a mapping cannot name: repeated names and patterns."""
    own = [name for name in names if name not in types]
    positions = [name.strip("\0") for name in types if name.startswith("\0")]
    if not positions or len(own) != len(positions):  # a struct has several names
        called = positions
    else:
        called = [f"{position} is called {name!r}" for position, name in zip(positions, own, strict=True)]
    them = "it" if len(positions) == 1 else "them"
    return (f"{', '.join(called)}: a mapping cannot name {them}. Rename {them}.",) if positions else ()


def _text_form(described: Dialect, encoding: str | None) -> Form:
    """Return the form of a text. Columns without a unique name get one, because a mapping needs it."""
    names = _unique(described.names)
    given = names if not described.has_header or names != described.names or described.separator == " " else None
    skip_lines = described.skip_lines
    if given is not None and described.has_header and described.separator != " ":
        skip_lines += 1
    if described.separator == " ":
        how = FileFormat(format="whitespace", columns=names, skip_lines=skip_lines, encoding=encoding)
    else:
        how = FileFormat(
            format="csv", separator=described.separator, quote=described.quote, skip_lines=skip_lines,
            encoding=encoding, columns=given,
        )  # fmt: skip
    return Form(how, names, described.evidence, has_header=described.has_header)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that are not empty, not repeated and no patterns."""
    unique: list[str] = []
    for position, name in enumerate(names, 1):
        called = "" if is_name_pattern(name) else name
        chosen = called.replace("\0", "") or f"column {position}"
        number = 2
        while chosen in unique or (chosen != name and chosen in names):
            chosen = f"{called or f'column {position}'} {number}"
            number += 1
        unique.append(chosen)
    return tuple(unique)


def _excel_form(log: LogFile) -> Form:
    every = sheets(log)
    filled = [one for one in every if one.rows]
    if not filled:
        raise ShopstreamError(f"{log.name} has no sheet with values.", "Give a workbook with rows.")
    largest = max(filled, key=lambda one: one.rows)
    skip = _title_rows(largest)
    alike = [one.name for one in filled if one.first[skip : skip + 1] == largest.first[skip : skip + 1]]
    questions = []
    if len(filled) > 1:
        sizes = ", ".join(f"{one.name} ({size_text(one)})" for one in filled[:8])
        questions = [
            Question("sheet", None, tuple(one.name for one in filled), f"Several sheets have rows: {sizes}.",
                     "Name the sheet, or the sheets that are one log, in file.sheet.")
        ]  # fmt: skip
    named = tuple(alike) if len(alike) > 1 else largest.name
    how = FileFormat(format="excel", sheet=named if len(filled) > 1 else None, skip_lines=skip)
    evidence = [f"{counted(skip, 'row')} before the header."] if skip else []
    names = tuple(header(log, how.by_sheet()[0][1]))
    return Form(how, names, tuple(evidence), tuple(questions), sheets=tuple(every))


def _title_rows(sheet: Sheet) -> int:
    """Return the number of rows before the header: rows with at most half of the columns filled."""
    for number, row in enumerate(sheet.first):
        if sum(bool(value.strip()) for value in row) * 2 > sheet.columns:
            return number
    return 0


def _same_form(one: Form, other: Form) -> bool:
    if one.how.model_copy(update={"encoding": None}) != other.how.model_copy(update={"encoding": None}):
        return False
    if one.how.encoding != other.how.encoding and not one.ascii_only and not other.ascii_only:
        return False
    if one.names is None:
        return bool(one.keys & other.keys) and 2 * len(one.keys & other.keys) >= len(one.keys | other.keys)
    return one.names == other.names


def _joined(one: Form, other: Form) -> Form:
    """Return the form of two files of one form: the encoding is that of the file with other characters than ASCII."""
    if one.ascii_only and not other.ascii_only:
        return other
    known = {question.topic for question in one.questions}
    questions = (*one.questions, *(question for question in other.questions if question.topic not in known))
    return replace(one, keys=one.keys | other.keys, questions=questions)


# --- rows -------------------------------------------------------------------------------------------------------------
def _read(group: Group, rows_max: int | None, late_ms: int, on_progress: Progress) -> None:
    """Read the files of a group and profile their columns."""
    statistics: dict[str, ColumnStatistics] = {}
    samples: list[pl.DataFrame] = []
    sampled = 0
    for number, (log, notes) in enumerate(zip(group.logs, group.files, strict=True)):
        share = None if rows_max is None else max(
            (rows_max - group.rows) // (len(group.files) - number), min(_ROWS_PER_FILE_MIN, rows_max)
        )  # fmt: skip
        for rows in _rows(log, notes, group, share):
            for name in rows.columns[1:]:
                if name not in statistics:
                    statistics[name] = ColumnStatistics(name, late_ms)
                statistics[name].add(rows.select(LINE, name), len(rows))
            if sampled < SAMPLE_ROWS_MAX:
                samples.append(rows)
                sampled += len(rows)
            on_progress(notes.name, notes.rows)
    group.columns = [one.profile() for one in statistics.values()]
    for profile in group.columns:
        profile.rows = group.rows - sum(column is not None for _, _, column, _ in group.summaries)
    if samples:
        group.sample = pl.concat(samples, how="diagonal_relaxed").head(SAMPLE_ROWS_MAX)
    for profile in group.columns:
        if profile.kind == "JSON list":
            group.elements[profile.name] = element_profiles(group.sample, profile.name, late_ms)


def _rows(log: LogFile, notes: FileNotes, group: Group, rows_max: int | None) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file, up to `rows_max`, without lines of totals at its end. A fault that ends it is noted."""
    waiting: Batch | None = None
    try:
        for batch in _batches(log, group.form, rows_max):
            if waiting is not None:
                yield _named(waiting.rows)
            waiting = None
            if rows_max is not None and notes.rows + len(batch.rows) > rows_max:
                batch.rows = batch.rows.head(rows_max - notes.rows)
                notes.rows += len(batch.rows)
                yield _named(batch.rows)
                return
            notes.rows += len(batch.rows)
            _note_refusals(notes, batch)
            waiting = batch
    except ShopstreamError as error:
        notes.error = (error.message, error.remedy or "")
    else:
        notes.complete = True
    if waiting is not None:
        rows = _named(waiting.rows)
        summaries = _summaries(rows, waiting.refused) if notes.complete else []
        group.summaries += [(notes.name, *one) for one in summaries]
        yield rows.filter(~pl.col(LINE).is_in([line for line, column, _ in summaries if column is not None]))


def _batches(log: LogFile, form: Form, rows_max: int | None) -> Iterator[Batch]:
    """Yield the batches of a file. Lists of Parquet files are no text and are left out."""
    columns = None
    if form.types:
        columns = [name for name in form.names or () if not form.types.get(name, "").startswith(_LISTS)]
    size = _BATCH_ROWS if rows_max is None else max(1, min(_BATCH_ROWS, rows_max))
    for _, how in form.how.by_sheet():
        yield from read_batches(log, how, columns, rows_max=size)


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with printable names for columns that have none."""
    return rows.rename({name: name.strip("\0") for name in rows.columns if name.startswith("\0column")})


def _note_refusals(notes: FileNotes, batch: Batch) -> None:
    for one in batch.refused:
        if one.left_out:
            notes.repeated_headers.append(one.line)
            continue
        count, first = notes.refused.get(one.reason, (0, Example(one.value or "", one.line)))
        notes.refused[one.reason] = (count + 1, first)


def _summaries(rows: pl.DataFrame, refused: Sequence[Refusal]) -> list[tuple[int, str | None, str]]:
    """Return line, column and value of rows at the end that sum up the file. The column is None for a refused row."""
    tail = list(rows.tail(_TAIL).iter_rows(named=True))
    last = max([row[LINE] for row in tail] + [one.line for one in refused[-_TAIL:]], default=0)
    summaries: list[tuple[int, str | None, str]] = []
    for row in tail:
        values = {name: str(value).strip() for name, value in row.items() if name != LINE and value is not None}
        named = next(((name, value) for name, value in values.items() if _SUMMARY.match(value)), None)
        if named is None or row[LINE] <= last - 2 * _TAIL:
            continue
        if len(values) * 2 <= len(row) - 1 or _others_are_numbers(values, named[0]):
            summaries.append((row[LINE], *named))
    summaries += [
        (one.line, None, one.value or "")
        for one in refused[-_TAIL:]
        if not one.left_out
        and one.line > last - _TAIL
        and any(_SUMMARY.match(part.strip()) for part in (one.value or "").split(" | "))
    ]
    return sorted(summaries, key=lambda one: one[0])


def _others_are_numbers(values: dict[str, str], name: str) -> bool:
    return all(re.fullmatch(r"[-\d.,' ]+", value) for key, value in values.items() if key != name) and len(values) > 1


def form_as_dict(how: FileFormat) -> dict[str, Any]:
    """Return the `file` of a mapping without defaults."""
    return how.model_dump(mode="json", exclude_defaults=True)
