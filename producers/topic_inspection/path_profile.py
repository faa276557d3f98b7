"""Profiles the paths of records: how many messages have each, with which types of JSON, and which values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import polars as pl

from connectors.tables.batches import LINE
from connectors.tables.file_format import FileFormat
from connectors.tables.json_path import EVERY, Step, write_path
from connectors.tables.records import decode_json, records_batch
from producers.inspection.column_profile import ColumnProfile, ColumnStatistics
from producers.inspection.inspection import FileNotes, Form, Group
from producers.inspection.json_shape import element_profiles
from producers.topic_inspection.personal_data import is_personal

_TEXT_SHARE_MIN: Final = 0.9
"""Share of the texts of a path that hold a JSON object, from which the path is one of `text_fields`."""
_DEPTH_MAX: Final = 20


class _Float(str):
    """Number literal with a point or exponent."""

    __slots__ = ()


_TYPED: Final = msgspec.json.Decoder(float_hook=_Float)


@dataclass(slots=True)
class PathProfile:
    """Path of the records.

    Attributes:
        path: path; `[*]` stands for every element of a list.
        filled: messages with a value that is not null.
        messages: messages with a record.
        types: type of JSON -> values.
        column: statistics of the values; None for lists, and for lists within lists.
        hidden: whether the values are not shown.
    """

    path: str
    filled: int
    messages: int
    types: Counter[str] = field(default_factory=Counter)
    column: ColumnProfile | None = None
    hidden: bool = False

    @property
    def fill(self) -> float:
        """Share of the messages with a record that have the path."""
        return self.filled / self.messages if self.messages else 0.0


def typed_json(text: str) -> Any:
    """Return decoded JSON in which numbers with a point differ from texts. The text is JSON."""
    return _TYPED.decode(text)


# --- texts that hold JSON ---------------------------------------------------------------------------------------------
def text_fields(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return the paths whose texts hold JSON objects."""
    texts: Counter[tuple[str, ...]] = Counter()
    objects: Counter[tuple[str, ...]] = Counter()
    for record in records:
        for steps, text in _objects_or_texts(record, ()):
            texts[steps] += 1
            objects[steps] += text.lstrip().startswith("{") and isinstance(decode_json(text), dict)
    return [write_path(steps) for steps, count in texts.items() if objects[steps] >= _TEXT_SHARE_MIN * count]


def _objects_or_texts(value: dict[str, Any], steps: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, one in value.items():
        if isinstance(one, dict):
            yield from _objects_or_texts(one, (*steps, name))
        elif type(one) is str and one:
            yield (*steps, name), one


def with_texts_opened(record: dict[str, Any], fields: Sequence[str], steps: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a record in which the texts of some paths are the objects that they hold."""
    opened: dict[str, Any] = {}
    for name, value in record.items():
        path = (*steps, name)
        if isinstance(value, dict):
            opened[name] = with_texts_opened(value, fields, path)
        elif isinstance(value, str) and write_path(path) in fields:
            content = decode_json(value)
            opened[name] = typed_json(value) if isinstance(content, dict) else value
        else:
            opened[name] = value
    return opened


# --- paths ------------------------------------------------------------------------------------------------------------
def path_profiles(records: Sequence[dict[str, Any]], group: Group) -> list[PathProfile]:
    """Return the profile of each path.

    Args:
        records: records with numbers as `typed_json` has them.
        group: the same records, profiled by `group_of`.
    """
    filled: Counter[str] = Counter()
    types: dict[str, Counter[str]] = {}
    for record in records:
        own: dict[str, bool] = {}
        for steps, kind in _leaves(record, ()):
            path = write_path(steps)
            types.setdefault(path, Counter())[kind] += 1
            own[path] = own.get(path, False) or kind != "null"
        filled.update(path for path, has_value in own.items() if has_value)
    columns: Mapping[str, ColumnProfile] = {column.name: column for column in group.columns} | {
        f"{name}[*]{column.name}": column for name, columns in group.elements.items() for column in columns
    }
    objects = {path[:end] for path in types for end, sign in enumerate(path) if sign in ".["}
    profiles = []
    for path, kinds in types.items():
        if path in objects and kinds.keys() == {"null"}:
            continue  # an object that some messages lack
        column = columns.get(path)
        hidden = is_personal(path, () if column is None else (*column.words, *column.examples))
        hidden = hidden or (column is not None and column.kind == "email")
        profiles.append(PathProfile(path, filled[path], len(records), kinds, column, hidden))
    return profiles


def _leaves(value: Any, steps: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], str]]:
    if isinstance(value, dict) and len(steps) < _DEPTH_MAX:
        for name, one in value.items():
            yield from _leaves(one, (*steps, name))
    elif isinstance(value, list) and len(steps) < _DEPTH_MAX:
        yield steps, "list"
        for one in value:
            if isinstance(one, dict):
                yield from _leaves(one, (*steps, EVERY))
    else:
        yield steps, _type_of(value)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | _Float):
        return "number"
    return "text" if isinstance(value, str) else "object" if isinstance(value, dict) else "list"


def group_of(name: str, records: Sequence[tuple[int, dict[str, Any]]], late_ms: int) -> Group:
    """Return records as a group of the inspection, which recognises fields and drafts mappings.

    Args:
        name: name of the topic or file.
        records: number of the message, and its record.
        late_ms: times after it are in the future, epoch ms.
    """
    batch = records_batch([(line, _plain(record)) for line, record in records], None, None)
    notes = FileNotes(name, rows=len(batch.rows), complete=True)
    group = Group(Form(FileFormat(format="json"), None), [notes], [], sample=batch.rows)
    for column in batch.rows.columns:
        if column != LINE:
            statistics = ColumnStatistics(column, late_ms)
            statistics.add(batch.rows.select(LINE, pl.col(column)), len(batch.rows))
            group.columns.append(statistics.profile())
    for profile in group.columns:
        if profile.kind == "JSON list":
            group.elements[profile.name] = element_profiles(batch.rows, profile.name, late_ms)
    return group


def _plain(record: Any) -> Any:
    """Return a record whose number literals are plain texts, as those of `decode_json`."""
    if isinstance(record, dict):
        return {name: _plain(one) for name, one in record.items()}
    if isinstance(record, list):
        return [_plain(one) for one in record]
    return str(record) if isinstance(record, _Float) else record
