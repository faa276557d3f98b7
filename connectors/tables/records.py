"""Reads values of nested records by paths. A value that is not text, a number or a boolean refuses its record."""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from connectors.formats.numbers import PLAIN
from connectors.formats.schema_times import SchemaTime
from connectors.tables.batches import LINE, POSITION, Batch, Refusal, frame, shown
from connectors.tables.json_path import EVERY, WITHIN, Match, Path, Step, parse_path, write_path
from features.errors import UsageError

WHOLE_FLOATS_MAX: Final = 2**53
"""Floats from here on do not hold every integer, so the digits of an id may be lost."""
LOST_DIGITS: Final = "a float of this size has lost digits; store the column as integers, decimals or text"


def _with_comma(number: str) -> str:
    """Return a number literal with a decimal comma; a whole number without a fraction."""
    whole, _, fraction = number.partition(".")
    return whole if not fraction.strip("0") and "e" not in number.lower() else number.replace(".", ",")


_DECODERS: Final = {
    ".": msgspec.json.Decoder(float_hook=str),
    ",": msgspec.json.Decoder(float_hook=_with_comma),
}
"""Decimal sign of the texts of a file -> decoder that writes its number literals with it, so that 1.234 is no 1234."""
_SUM_DIGITS: Final = 100
"""Digits of a sum: more than any list of amounts needs, so that no sum is rounded."""
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_SPACED_COLON: Final = re.compile(r'"\s+:')


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Record, or value of one, that cannot be read: the reason and the text."""

    reason: str
    value: str


class UnreadableValueError(Exception):
    """Value that refuses its record. The arguments are reason and value."""


def decode_json(text: str, decimal: str = ".") -> Any:
    """Return the content of a JSON text, or Unreadable.

    Args:
        text: JSON. Numbers with a point or exponent become their text, others int. An object with a key twice is
            unreadable: one of the two values would be lost.
        decimal: decimal sign of the text of numbers with a point.
    """
    try:
        value = _DECODERS[decimal].decode(text)
        if _has_key_twice(text, value):
            return Unreadable("an object has a key twice", text)
    except RecursionError:
        return Unreadable("the JSON is nested too deeply", text)
    except (msgspec.MsgspecError, ValueError) as error:
        return Unreadable(f"this is not JSON: {error}", text)
    return value


def records_batch(
    records: Sequence[tuple[int, Any]],
    columns: Sequence[str] | None,
    each: str | None,
    schema_times: Collection[str] = (),
) -> Batch:
    """Return records as rows.

    Args:
        records: line, and the object or Unreadable.
        columns: paths of the values. None: all top-level keys and nested values.
        each: path of a list with a row per element. The columns that begin with a point are paths within the element.
            `a[*].b` is a list within each element of the list `a`: the columns that begin with two points are paths
            within its elements.
        schema_times: columns of times whose unit is in the schema; their texts are in ISO 8601.

    Raises:
        UsageError: a path is invalid, or begins with a point without `each`.
    """
    if columns is None:
        return _whole_records(records)
    columns = list(dict.fromkeys(columns))
    lists = [] if each is None else each.split(WITHIN)
    paths = [read_path(column, bool(lists)) for column in columns]
    if any(path.depth > len(lists) for path in paths):
        raise UsageError("A path with two points needs a list within a list.", "Name the list in the mapping.")
    levels = [
        _Level(
            [
                (
                    column,
                    functools.partial(time_at, steps=path.steps) if column in schema_times else reader_of(path.steps),
                )
                for column, path in zip(columns, paths, strict=True)
                if path.depth == depth
            ],
            None if depth == len(lists) else (lists[depth], read_path(lists[depth], with_elements=False).steps),
        )
        for depth in range(len(lists) + 1)
    ]
    lines: list[int] = []
    rows: list[tuple[str | None, ...]] = []
    positions: list[int | None] = []
    refused: list[Refusal] = []
    for line, record in records:
        if isinstance(record, Unreadable):
            refused.append(Refusal(line, None, shown(record.value), record.reason))
            continue
        try:
            expanded = list(_rows_of(record, levels, (), None))
        except _UnreadableColumnError as error:
            column, reason, value = error.args
            refused.append(Refusal(line, column, shown(value), reason))
            continue
        rows += [values for _, values in expanded]
        positions += [position for position, _ in expanded]
        lines += [line] * len(expanded)
    names = [name for level in levels for name, _ in level.columns]
    table = zip(*rows, strict=True) if rows else ([] for _ in names)
    batch = frame(lines, list(zip(names, table, strict=True))).select(LINE, *columns)
    if lists:
        batch = batch.with_columns(pl.Series(POSITION, positions, dtype=pl.Int64))
    return Batch(batch, refused)


@dataclass(frozen=True, slots=True)
class _Level:
    """Columns of a record or of an element, and the name and path of the list that gives a row per element."""

    columns: list[tuple[str, Callable[[Any], str | None]]]
    inner: tuple[str, tuple[Step, ...]] | None


class _UnreadableColumnError(Exception):
    """Value that refuses its record. The arguments are column, reason and value."""


def _rows_of(
    record: Any, levels: Sequence[_Level], before: tuple[str | None, ...], position: int | None
) -> Iterator[tuple[int | None, tuple[str | None, ...]]]:
    """Yield position and values of each row of a record: one, or one per element of its list."""
    level, *others = levels
    column = ""
    try:
        values = list(before)
        for column, read in level.columns:  # noqa: B007 - the column of a refusal
            values.append(read(record))
        if level.inner is None:
            yield position, tuple(values)
            return
        column, steps = level.inner
        elements = _elements(record, steps)
    except UnreadableValueError as error:
        raise _UnreadableColumnError(column, *error.args) from None
    for at, element in [(None, None)] if elements == [None] else enumerate(elements):
        yield from _rows_of(element, others, tuple(values), at)


def read_path(text: str, with_elements: bool) -> Path:
    """Return the path of a column. Raises UsageError if it is invalid, or relative where no list is read."""
    try:
        path = parse_path(text)
    except ValueError as error:
        raise UsageError(f"{error}.", "Correct the mapping.") from None
    if path.relative and not with_elements:
        raise UsageError(f"{text!r} is a path within an element, but no list is read.", "Name the list in the mapping.")
    return path


def reader_of(steps: Sequence[Step]) -> Callable[[Any], str | None]:
    """Return a function with the result of `text_at`. Most paths have keys alone, and are read without its checks."""
    if not all(type(step) is str for step in steps):
        return functools.partial(text_at, steps=steps)

    def read(record: Any) -> str | None:
        value = record
        for step in steps:
            if type(value) is not dict:
                return text_at(record, steps)
            value = value.get(step)
        return value if value is None or type(value) is str else text_of(value, steps)

    return read


def text_at(record: Any, steps: Sequence[Step]) -> str | None:
    """Return the text of a value within a record, or None if it is missing.

    Raises:
        UnreadableValueError: the path leads to an object or a list, or does not fit the record.
    """
    if EVERY in steps:
        return _added(record, steps)
    value = _value_at(record, steps)
    if value is None or type(value) is str:
        return value
    return text_of(value, steps)


def time_reader_of(steps: Sequence[Step]) -> Callable[[Any], str | None]:
    """Return a function with the result of `time_at`."""
    return functools.partial(time_at, steps=steps)


def time_at(record: Any, steps: Sequence[Step]) -> str | None:
    """Return the ISO 8601 text of a time whose unit is in the schema of its message, or None if it is missing.

    Raises:
        UnreadableValueError: the path does not fit the record, the schema has no unit, or the year has no 4 digits.
    """
    value = _value_at(record, steps)
    if value is None:
        return None
    if not isinstance(value, SchemaTime):
        raise UnreadableValueError("the schema gives no unit of this time: write its format", _brief(value))
    try:
        return value.iso()
    except OverflowError:
        raise UnreadableValueError("time before 1970 or after 9999", str(int(value))) from None


def _added(record: Any, steps: Sequence[Step]) -> str | None:
    """Return the exact sum of the amounts of a list's elements; None without an amount.

    Raises:
        UnreadableValueError: a value is no decimal.
    """
    at = list(steps).index(EVERY)
    texts = [
        text
        for element in _elements(record, steps[:at])
        if element is not None and (text := text_at(element, steps[at + 1 :])) is not None
    ]
    for text in texts:
        if not re.fullmatch(PLAIN, text):
            raise UnreadableValueError(f"{write_path(steps)} has a value that is no decimal number", text)
    if not texts:
        return None
    with localcontext(prec=_SUM_DIGITS):
        return decimal_text(sum(map(Decimal, texts), Decimal()))


def text_of(value: Any, steps: Sequence[Step] = ()) -> str | None:
    """Return the text of a typed value: integers for whole floats, plain decimals, true and false, ISO times.

    Raises:
        UnreadableValueError: the value is an object, a list or a duration, or has no exact text.
    """
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        where = write_path(steps) or "the value"
        raise UnreadableValueError(f"{where} is {kind}, not a value", str(value)[:200])
    for kind_of_value, read in _TEXTS:
        if isinstance(value, kind_of_value):
            return read(value)
    if value is None:
        return None
    raise UnreadableValueError(f"a {type(value).__name__} is not a value", str(value)[:200])


def float_text(value: float) -> str | None:
    """Return the shortest exact decimal of a float without exponent, an integer if it is whole; None for NaN.

    Raises:
        UnreadableValueError: the float is infinite, or so large that digits are lost.
    """
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise UnreadableValueError("the number is infinite", str(value))
    if value.is_integer():
        if abs(value) >= WHOLE_FLOATS_MAX:
            raise UnreadableValueError(LOST_DIGITS, repr(value))
        return str(int(value))
    return str(np.format_float_positional(value, trim="-"))


def decimal_text(value: Decimal) -> str | None:
    """Return a decimal without exponent and without zeros at the end; None for NaN."""
    if not value.is_finite():
        return None
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _bytes_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise UnreadableValueError("the bytes are not UTF-8", value[:40].hex(" ")) from None


def _duration_text(value: dt.timedelta) -> str:
    raise UnreadableValueError("a duration is not a value", str(value))


def _unreadable_text(value: Unreadable) -> str:
    raise UnreadableValueError(value.reason, value.value)


def _value_at(record: Any, steps: Sequence[Step]) -> Any:
    value = record
    for depth, step in enumerate(steps):
        if type(value) is str:
            value = _inner_json(value, steps[:depth])
        if value is None:
            return None
        if type(value) is dict and type(step) is str:
            value = value.get(step)
        elif type(value) is list and type(step) is int:
            value = value[step] if step < len(value) else None
        elif type(value) is list and type(step) is Match:
            value = _matching(value, step, steps[:depth])
        else:
            what = "an object" if type(step) is str else "a list"
            raise UnreadableValueError(f"{_named(steps[:depth])} is not {what}", _brief(value))
    return value


def _matching(elements: list[Any], step: Match, steps: Sequence[Step]) -> Any:
    """Return the element with the value. Two of them are refused: neither is the right one."""
    matches = [one for one in elements if isinstance(one, dict) and text_of(one.get(step.key)) == step.value]
    if len(matches) > 1:
        where = f"{_named(steps)} has {len(matches)} elements"
        raise UnreadableValueError(f"{where} with {step.key}={step.value}", _brief(matches))
    return matches[0] if matches else None


def _elements(record: Any, steps: Sequence[Step]) -> list[Any]:
    """Return the elements of a list; one missing element if it is empty or missing."""
    value = _value_at(record, steps)
    if type(value) is str:
        value = _inner_json(value, steps)
    if value is None:
        return [None]
    if not isinstance(value, list):
        raise UnreadableValueError(f"{_named(steps)} is not a list", _brief(value))
    return value or [None]


def _inner_json(text: str, steps: Sequence[Step]) -> Any:
    """Return the object or list in a text that holds JSON; None for an empty text."""
    if not text.strip():
        return None
    value = _cached_json(text)
    if isinstance(value, Unreadable):
        raise UnreadableValueError(f"{_named(steps)} is text without an object or list in it", text)
    return value


@functools.lru_cache(maxsize=16)
def _cached_json(text: str) -> Any:
    """Return decoded JSON. Several columns have paths into the same text."""
    return decode_json(text)


def _named(steps: Sequence[Step]) -> str:
    """Return the path of a value for people. Without a step it is the element of a list itself."""
    return write_path(steps) if steps else "the element"


def _brief(value: Any) -> str:
    return value if isinstance(value, str) else str(value)[:200]


def _has_key_twice(text: str, value: Any) -> bool:
    """Return whether an object of a JSON text has a key twice. The decoder keeps the last value of each key.

    A pair has one `":`, except if a blank precedes the colon or the key ends with a backslash. Without these the cheap
    count is the number of pairs. That of the decoded value, written again, is at most the number of its keys. So equal
    counts exclude repeated keys.
    """
    has_blank = " :" in text or "\n:" in text or "\t:" in text or "\r:" in text
    if '\\\\":' not in text and not (has_blank and _SPACED_COLON.search(text)):
        written = msgspec.json.encode(value)
        if text.count('":') - text.count('\\":') == written.count(b'":') - written.count(b'\\":'):
            return False
    return _STRING.sub("", text).count(":") != _key_count(value)


def _key_count(value: Any) -> int:
    if type(value) is dict:
        return len(value) + sum(_key_count(one) for one in value.values() if type(one) is dict or type(one) is list)
    if type(value) is list:
        return sum(_key_count(one) for one in value if type(one) is dict or type(one) is list)
    return 0


def _whole_records(records: Sequence[tuple[int, Any]]) -> Batch:
    """Return all values of records: top-level keys, and values of nested objects by their paths. Lists are JSON."""
    refused: list[Refusal] = []
    lines: list[int] = []
    rows: list[dict[str, str | None]] = []
    for line, record in records:
        if isinstance(record, Unreadable):
            refused.append(Refusal(line, None, shown(record.value), record.reason))
        else:
            lines.append(line)
            rows.append(dict(_leaves(record, ())))
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Batch(frame(lines, [(name, [row.get(name) for row in rows]) for name in names]), refused)


def _leaves(value: dict[str, Any], steps: tuple[Step, ...]) -> Iterator[tuple[str, str | None]]:
    for key, one in value.items():
        path = (*steps, key)
        if isinstance(one, dict):
            yield from _leaves(one, path)
        elif isinstance(one, list):
            yield write_path(path), msgspec.json.encode(one).decode()
        else:
            yield write_path(path), text_of(one)


_TEXTS: Final[tuple[tuple[type, Callable[[Any], str | None]], ...]] = (
    (str, str),
    (bool, lambda value: "true" if value else "false"),  # precedes int, of which it is a subclass
    (int, str),
    (float, float_text),
    (Decimal, decimal_text),
    (bytes, _bytes_text),
    (dt.date, lambda value: value.isoformat()),
    (dt.time, lambda value: value.isoformat()),
    (dt.timedelta, _duration_text),
    (uuid.UUID, str),
    (Unreadable, _unreadable_text),
)
"""Type of a value -> its text."""
