"""States the findings of an inspection in sentences, and as plain values for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from producers.inspection.column_profile import ColumnProfile
from producers.inspection.draft import Draft
from producers.inspection.findings import Question, counted, listed
from producers.inspection.fit import Fit
from producers.inspection.inspection import FileNotes, Form, Group, form_as_dict
from producers.inspection.number_forms import FORMS, form_text
from producers.inspection.time_choice import time_notes
from producers.inspection.workbook import size_text


def extent(group: Group) -> str:
    """Return the sentence on how many rows the findings rest."""
    rows = counted(group.rows, "row")
    if group.complete:
        return f"The findings rest on all {rows}." if group.rows != 1 else "The findings rest on 1 row, which is all."
    if any(file.error is not None for file in group.files):
        return f"The findings rest on the first {rows}, up to a fault."
    return f"The findings rest on the first {rows}; --rows all reads every row."


def file_sentences(group: Group) -> list[str]:
    """Return sentences about form, header, refused rows and summaries of a group's files."""
    form = group.form
    sentences = [*form.evidence, *form.warnings]
    encodings = {
        file.kind.encoding.evidence for file in group.files if file.kind is not None and file.kind.encoding is not None
    }
    sentences += sorted(encodings)
    if len(group.files) > 1:
        sentences.append(f"All {counted(len(group.files), 'file')} have the same columns and form.")
    if form.sheets:
        sizes = [f"{one.name} ({size_text(one)})" for one in form.sheets]
        sentences.append(f"Sheets: {listed(sizes, 20)}.")
    sentences += [
        f"{file.name}, line {line}: {value!r} looks like {'a line' if column is None else 'a row'} of totals."
        for file in group.files
        for name, line, column, value in group.summaries
        if name == file.name
    ]
    for file in group.files:
        sentences += _row_sentences(file)
    return sentences


def _row_sentences(file: FileNotes) -> list[str]:
    sentences = []
    if file.repeated_headers:
        lines = listed([str(line) for line in file.repeated_headers])
        sentences.append(f"{file.name} repeats the header in line {lines}; such lines are no rows.")
    for reason, (count, first) in file.refused.items():
        sentences.append(
            f"{file.name}: {counted(count, 'row')} cannot be read: {reason}; first line {first.line}: {first.value}."
        )
    if file.error is not None:
        sentences.append(f"{file.error[0]} {file.error[1]}".strip())
    return sentences


def column_sentences(column: ColumnProfile) -> list[str]:
    """Return sentences about placeholders, ids, forms of numbers and times of a column."""
    sentences = []
    if column.placeholders:
        words = [
            f"{word!r} in {counted(count, 'row')} (line {line})" for word, (count, line) in column.placeholders.items()
        ]
        sentences.append(f"Placeholders: {listed(words)}.")
    numbers = column.numbers
    if column.kind in ("id", "integer", "decimal", "words", "text"):
        for count, first, what in (
            (numbers.leading_zeros, numbers.first_leading_zero, "with leading zeros"),
            (numbers.whole_floats, numbers.first_whole_float, "that a table of floats printed with .0"),
            (numbers.exponents, numbers.first_exponent, "in scientific notation, whose digits may be lost"),
        ):
            if count and (column.kind != "text" or count * 2 > column.values):
                sentences.append(f"{counted(count, 'value')} {what}, first {first}.")
    if column.blanks:
        sentences.append(
            f"{counted(column.blanks, 'value')} with blanks around {'it' if column.blanks == 1 else 'them'}."
        )
    if column.is_number:
        sentences += _number_sentences(column)
    if column.is_time:
        sentences += time_notes(column)
    return sentences


def _number_sentences(column: ColumnProfile) -> list[str]:
    numbers = column.numbers
    sentences = []
    if numbers.symbols:
        signs = [f"{sign} ({count:,})" for sign, count in numbers.symbols.most_common()]
        sentences.append(f"Currencies in the values: {listed(signs)}.")
    fits = numbers.fitting()
    if not fits:
        best = numbers.readings[numbers.best()]
        sentences.append(
            f"No form of numbers reads all values; {form_text(numbers.best())} leaves {counted(best.unread, 'value')}"
            f" unread, first {best.first_unread}."
        )
    elif numbers.different(fits):
        example = numbers.disagreements[frozenset((fits[0], numbers.different(fits)[0]))]
        sentences.append(
            f"Ambiguous: {example} fits {' and '.join(map(form_text, (fits[0], numbers.different(fits)[0])))}."
        )
    elif fits[0] != FORMS[0]:
        proof = numbers.readings[FORMS[0]].first_unread
        sentences.append(f"{form_text(fits[0]).capitalize()}: {proof} proves it.")
    best = numbers.readings[(fits or [numbers.best()])[0]]
    if best.negatives:
        sentences.append(f"{counted(best.negatives, 'value')} below 0, first {best.negative}.")
    return sentences


# --- JSON -------------------------------------------------------------------------------------------------------------
def group_as_dict(group: Group, draft: Draft, fits: list[Fit]) -> dict[str, Any]:
    """Return the findings on a group as plain values."""
    return {
        "files": [_file_as_dict(file) for file in group.files],
        "form": _form_as_dict(group.form),
        "rows_read": group.rows,
        "complete": group.complete,
        "findings": file_sentences(group),
        "columns": [_column_as_dict(column, group.form.types.get(column.name)) for column in group.columns],
        "lists": {name: [_column_as_dict(one) for one in columns] for name, columns in group.elements.items()},
        "summaries": [
            {"file": file, "line": line, "column": column, "value": value}
            for file, line, column, value in group.summaries
        ],
        "questions": [question_as_dict(question) for question in draft.questions],
        "ready_mappings": [asdict(fit) for fit in fits],
        "draft": {
            "complete": draft.complete,
            "kind": draft.recognition.kind,
            "columns": draft.recognition.columns,
            "lines": None if draft.recognition.lines is None else
            {"list": draft.recognition.lines[0], **draft.recognition.lines[1]},
            "missing": draft.recognition.missing,
            "mapping": draft.text,
        },
    }  # fmt: skip


def question_as_dict(question: Question) -> dict[str, Any]:
    """Return an ambiguity as plain values."""
    return {**asdict(question), "choices": list(question.choices)}


def _file_as_dict(file: FileNotes) -> dict[str, Any]:
    kind = file.kind
    encoding = kind.encoding if kind is not None else None
    return {
        "name": file.name,
        "packing": kind.packing if kind is not None else None,
        "encoding": None if encoding is None else encoding.label,
        "rows_read": file.rows,
        "complete": file.complete,
        "repeated_headers": file.repeated_headers,
        "refused": [
            {"reason": reason, "rows": count, "line": first.line, "value": first.value}
            for reason, (count, first) in file.refused.items()
        ],
        "error": None if file.error is None else " ".join(file.error).strip(),
    }


def unreadable_as_dict(file: FileNotes) -> dict[str, Any]:
    """Return a file that cannot be read as plain values."""
    return _file_as_dict(file)


def _form_as_dict(form: Form) -> dict[str, Any]:
    return {
        "file": form_as_dict(form.how),
        "has_header": form.has_header,
        "sheets": [{"name": one.name, "rows": one.rows, "columns": one.columns} for one in form.sheets],
    }


def _column_as_dict(column: ColumnProfile, parquet_type: str | None = None) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.kind,
        "file_type": parquet_type,
        "rows": column.rows,
        "filled": column.values,
        "distinct": column.distinct,
        "distinct_is_exact": column.distinct_exact,
        "examples": list(column.examples),
        "lowest": column.low,
        "highest": column.high,
        "words": column.words if column.kind in ("words", "boolean") else {},
        "placeholders": {word: count for word, (count, _) in column.placeholders.items()},
        "notes": column_sentences(column),
    }
