"""Finds the records of JSON files, and the lists of lines within records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import polars as pl

from connectors.tables.batches import LINE, frame
from connectors.tables.encodings import open_text
from connectors.tables.file_format import FileFormat
from connectors.tables.json_path import write_path
from connectors.tables.log_files import LogFile
from connectors.tables.records import Unreadable, decode_json
from features.errors import ShopstreamError
from producers.inspection.column_profile import ColumnProfile, ColumnStatistics
from producers.inspection.field_names import LINES, name_rank
from producers.inspection.findings import Question, counted

DOCUMENT_CHARACTERS_MAX: Final = 1 << 28
"""Characters of a JSON document that is searched for lists of records."""

_START_CHARACTERS: Final = 1 << 20
_DEPTH_MAX: Final = 4
_LISTS_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class JsonShape:
    """Form of a JSON file: the path of its records, keys of the first ones, evidence and ambiguities."""

    records: str | None
    keys: frozenset[str]
    evidence: str
    questions: tuple[Question, ...] = ()


def json_shape(log: LogFile, encoding: str | None) -> JsonShape:
    """Find the records of a JSON file: JSON Lines, an array, or a list within one document.

    Raises:
        ShopstreamError: the file has no records.
    """
    how = FileFormat(format="json", encoding=encoding)
    with open_text(log, how) as text:
        start = text.read(_START_CHARACTERS)
        complete = len(start) < _START_CHARACTERS
    body = start.lstrip(" \t\r\n")
    if body.startswith("["):
        return JsonShape(None, _keys_of_array(body), "The file is a JSON array of records.")
    lines = [line for line in body.splitlines() if line.strip()]
    first = decode_json(lines[0]) if complete or len(lines) > 1 else Unreadable("cut", "")
    if isinstance(first, dict) and (len(lines) > 1 or not complete):
        return JsonShape(None, frozenset(first), "Each line is a JSON object (JSON Lines).")
    document = first if isinstance(first, dict) else _document(log, how)
    lists = sorted(_lists(document, ()), key=lambda one: -one[1])
    outer = [one for one in lists if not isinstance(first, dict) or name_rank(one[0], LINES) is None]
    if isinstance(first, dict) and not outer:
        return JsonShape(None, frozenset(first), "The file is one JSON object, a single record.")
    if not outer:
        raise ShopstreamError(
            f"{log.name} is one JSON document without a list of records.",
            "Write it as JSON Lines: one object per line.",
        )
    path, length, keys = outer[0]
    questions = []
    if len(outer) > 1 or isinstance(first, dict):
        others = [f"{name} ({counted(size, 'object')})" for name, size, _ in outer]
        text_ = f"The document has lists of objects: {', '.join(others[:5])}."
        questions = [
            Question(
                "records", None, tuple(name for name, *_ in outer), text_, "Name the list of records in file.records."
            )
        ]
    evidence = f"The records are the {counted(length, 'object')} of the list {path} in one JSON document."
    return JsonShape(path, keys, evidence, tuple(questions))


def _document(log: LogFile, how: FileFormat) -> Any:
    with open_text(log, how) as text:
        whole = text.read(DOCUMENT_CHARACTERS_MAX)
    document = decode_json(whole)
    if isinstance(document, Unreadable):
        raise ShopstreamError(f"{log.name}: {document.reason}.", "Correct the file, or write one object per line.")
    return document


def _keys_of_array(start: str) -> frozenset[str]:
    """Return the keys of the first object of an array."""
    depth, quoted, escaped = 0, False, False
    at = start.find("{")
    for position in range(max(at, 0), len(start)):
        character = start[position]
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                first = decode_json(start[at : position + 1])
                return frozenset(first) if isinstance(first, dict) else frozenset()
    return frozenset()


def _lists(value: Any, steps: tuple[str, ...]) -> Iterator[tuple[str, int, frozenset[str]]]:
    """Yield path, length and keys of each list of objects in a document, except lists within lists."""
    if not isinstance(value, dict) or len(steps) >= _DEPTH_MAX:
        return
    for key, one in value.items():
        path = (*steps, key)
        if isinstance(one, list) and one and all(isinstance(element, dict) for element in one[:100]):
            yield write_path(path), len(one), frozenset(one[0])
        else:
            yield from _lists(one, path)


def element_profiles(sample: pl.DataFrame, column: str, late_ms: int) -> list[ColumnProfile]:
    """Return the profiles of the fields of a list's elements, with names that begin with a point.

    Args:
        sample: LINE and columns of text.
        column: column whose values are lists as JSON.
        late_ms: times after it are in the future, epoch ms.
    """
    lines: list[int] = []
    elements: list[dict[str, str | None]] = []
    for line, text in sample.select(LINE, column).drop_nulls().head(_LISTS_MAX).iter_rows():
        content = decode_json(text)
        for element in content if isinstance(content, list) else []:
            if isinstance(element, dict):
                lines.append(line)
                elements.append(dict(_leaves(element, ())))
    names = list(dict.fromkeys(name for element in elements for name in element))
    table = frame(lines, [(name, [element.get(name) for element in elements]) for name in names])
    profiles = []
    for name in names:
        statistics = ColumnStatistics(name, late_ms)
        statistics.add(table.select(LINE, name), len(table))
        profiles.append(statistics.profile())
    return profiles


def _leaves(value: dict[str, Any], steps: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    for key, one in value.items():
        path = (*steps, key)
        if isinstance(one, dict):
            yield from _leaves(one, path)
        elif isinstance(one, list):
            yield f".{write_path(path)}", msgspec.json.encode(one).decode()
        elif one is not None:
            yield f".{write_path(path)}", ("true" if one else "false") if isinstance(one, bool) else str(one)
