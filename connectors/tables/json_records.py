"""Reads JSON Lines, JSON arrays and a list within a JSON document. Number literals stay text, digit by digit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from connectors.tables.batches import Batch, collector_paused, shown
from connectors.tables.delimited import without_missing
from connectors.tables.encodings import encoding_fault, open_text
from connectors.tables.file_format import FileFormat
from connectors.tables.json_path import parse_path
from connectors.tables.log_files import LogFile
from connectors.tables.records import Unreadable, decode_json, records_batch
from features.errors import ShopstreamError

DOCUMENT_CHARACTERS_MAX: Final = 1 << 31
"""Characters of an array or document, which is in memory as a whole. JSON Lines have no bound."""

_START_CHARACTERS: Final = 1 << 16
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL: Final = msgspec.Raw(b"null")
_JSON_BLANKS: Final = " \t\r\n"


def read_json(
    log: LogFile, how: FileFormat, columns: Sequence[str] | None, each: str | None, rows_max: int
) -> Iterator[Batch]:
    """Yield the records of a JSON file. The first character distinguishes an array from JSON Lines.

    Args:
        log: file to read.
        how: format of the file; `records` is the path of a list within one document.
        columns: paths of the values. None: all top-level keys and nested values.
        each: path of a list that gives a row per element, with the columns that begin with a point.
        rows_max: records of a batch.

    Raises:
        ShopstreamError: the file is not JSON Lines, an array, or a document with this list.
    """
    try:
        whole = how.records is not None or _is_array(log, how)
        texts: Iterator[tuple[int, str | msgspec.Raw]] = _document(log, how) if whole else _lines(log, how)
        while batch := _next_batch(texts, columns, each, rows_max, how.decimal):
            batch.rows = without_missing(batch.rows, how)
            yield batch
    except UnicodeDecodeError:
        raise encoding_fault(log, how) from None


def _next_batch(
    texts: Iterator[tuple[int, str | msgspec.Raw]],
    columns: Sequence[str] | None,
    each: str | None,
    rows_max: int,
    decimal: str,
) -> Batch | None:
    with collector_paused():
        records = [(line, _decoded(text, decimal)) for line, text in islice(texts, rows_max)]
        batch = records_batch(records, columns, each) if records else None
        del records  # before the collector runs again
        return batch


def _is_array(log: LogFile, how: FileFormat) -> bool:
    with open_text(log, how) as text:
        while part := text.read(_START_CHARACTERS):
            if start := part.lstrip(_JSON_BLANKS):
                return start[0] == "["
    return False


def _lines(log: LogFile, how: FileFormat) -> Iterator[tuple[int, str | msgspec.Raw]]:
    """Yield line number and text of each JSON Line."""
    with open_text(log, how) as text:
        lines = ((line, stripped) for line, one in enumerate(text, start=1) if (stripped := one.strip(_JSON_BLANKS)))
        start = list(islice(lines, 2))
        _refuse_other_json(log, start)
        yield from start
        yield from lines


def _refuse_other_json(log: LogFile, start: Sequence[tuple[int, str]]) -> None:
    """Refuse a file whose first lines are one object over several lines, or no JSON at all."""
    if not start:
        return
    (line, first), *others = start
    if first[0] != "{":
        raise ShopstreamError(
            f"{log.name}, line {line}: {shown(first)} begins no JSON object and no array.", "Correct `file.format`."
        )
    if others and others[0][1][0] != "{" and isinstance(decode_json(first), Unreadable):
        raise ShopstreamError(
            f"{log.name}, line {line}: the object continues on the next line, so the file is not JSON Lines.",
            "Write one object per line, or name the list of records of the document in `file.records`.",
        )


def _document(log: LogFile, how: FileFormat) -> Iterator[tuple[int, str | msgspec.Raw]]:
    """Yield number, from 1, and text of each element of the array or of the list within the document."""
    with open_text(log, how) as opened:
        text = opened.read(DOCUMENT_CHARACTERS_MAX)
        if opened.read(1):
            raise ShopstreamError(
                f"{log.name} is a JSON document of more than {DOCUMENT_CHARACTERS_MAX >> 30} GiB.",
                "Write it as JSON Lines: one object per line.",
            )
    try:
        elements = _list_in(log, msgspec.Raw(text.strip(_JSON_BLANKS).encode()), how.records)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ShopstreamError(f"{log.name} is not one JSON document: {error}.", "Correct the file.") from None
    yield from enumerate(elements, start=1)


def _list_in(log: LogFile, document: msgspec.Raw, records: str | None) -> list[msgspec.Raw]:
    steps = () if records is None else parse_path(records).steps
    value = document
    for step in steps:
        start = _first_byte(value)
        if isinstance(step, str) and start == b"{":
            value = _OBJECT.decode(value).get(step, _NULL)
        elif isinstance(step, int) and start == b"[":
            elements = _LIST.decode(value)
            value = elements[step] if step < len(elements) else _NULL
        else:
            value = _NULL
    if _first_byte(value) != b"[":
        where = "no list at the top" if records is None else f"no list at {records}"
        raise ShopstreamError(f"{log.name} has {where}.", "Correct `file.records` in the mapping.")
    outside = bytes(document).replace(bytes(value), b"null", 1) if records is not None else b"null"
    around = decode_json(outside.decode())
    if isinstance(around, Unreadable):
        raise ShopstreamError(f"{log.name}: {around.reason}.", "Correct the file.")
    return _LIST.decode(value)


def _first_byte(value: msgspec.Raw) -> bytes:
    return bytes(memoryview(value)[:1])


def _decoded(text: str | msgspec.Raw, decimal: str) -> Any:
    """Return the object of a JSON text, or Unreadable."""
    plain = text if isinstance(text, str) else bytes(text).decode()
    record = decode_json(plain, decimal)
    if not isinstance(record, dict | Unreadable):
        return Unreadable("the JSON is not an object", plain)
    return record
