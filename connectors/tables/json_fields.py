"""Reads the values of paths from JSON messages into columns, without an object for each part of a message.

A message in common form gives exactly the rows of `records_batch` of its content. Every other message is left to it:
JSON in another form or with an error, or with a part of another kind than its path needs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.tables.batches import LINE, POSITION, frame
from connectors.tables.json_kernel import PADDING, plain_objects
from connectors.tables.json_path import WITHIN, Step
from connectors.tables.records import UnreadableValueError, read_path, reader_of, text_of

Bools = npt.NDArray[np.bool_]
_TEXT_TYPES: Final = frozenset({str, type(None)})
_WHOLE_TYPES: Final = _TEXT_TYPES | {int}
"""Types of values whose texts need no reading: `str` of an integer has every digit."""
_OTHER: Final = frozenset({object})


@dataclass(slots=True)
class FieldNode:
    """Object of a message: keys with the paths that are read below them.

    Attributes:
        inner: key -> object below it.
        leaves: key -> path and the steps from its value on; several paths may lead into one value.
    """

    inner: dict[str, FieldNode] = field(default_factory=dict)
    leaves: dict[str, list[tuple[str, tuple[Step, ...]]]] = field(default_factory=dict)

    def add(self, path: str, steps: tuple[Step, ...]) -> None:
        """Add a path. From a step that is no key on, it is read from the decoded value."""
        key, *rest = steps
        assert isinstance(key, str)
        if rest and isinstance(rest[0], str) and key not in self.leaves:
            self.inner.setdefault(key, FieldNode()).add(path, tuple(rest))
            return
        moved = list(self.inner.pop(key).paths((key,))) if key in self.inner else []
        self.leaves.setdefault(key, []).append((path, tuple(rest)))
        self.leaves[key] += [(other, steps[1:]) for other, steps in moved]

    def paths(self, before: tuple[Step, ...]) -> Iterable[tuple[str, tuple[Step, ...]]]:
        """Yield each path with its steps."""
        for key, node in self.inner.items():
            yield from node.paths((*before, key))
        for key, leaves in self.leaves.items():
            for path, rest in leaves:
                yield path, (*before, key, *rest)


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """Generated type of an object, with what is read of it.

    Attributes:
        type: struct with the fields of the object that are read; each is None by default.
        empty: instance without values, for a missing object.
        fields: function from an instance to the tuple of its fields.
        inner: readers of the objects below, by the number of their field; the list's elements have None.
        leaves: number of a field -> path, and the function from its value to the path's text (None: `text_of`).
        elements: number of the field with the list, or None.
    """

    type: type[msgspec.Struct]
    empty: msgspec.Struct
    fields: Callable[[Any], tuple[Any, ...]]
    inner: list[tuple[int, ObjectReader]]
    leaves: list[tuple[int, str, Callable[[Any], str | None] | None]]
    elements: int | None


def field_reader(node: FieldNode, name: str, elements: tuple[tuple[str, ...], type] | None = None) -> ObjectReader:
    """Return the reader of a node. `elements`: keys to the list and type of its elements."""
    fields: list[tuple[str, Any, Any]] = []
    inner: list[tuple[int, ObjectReader]] = []
    leaves: list[tuple[int, str, Callable[[Any], str | None] | None]] = []
    number_of_list = None
    keys = [*node.inner, *node.leaves]
    if elements is not None and elements[0][0] not in keys:
        keys.append(elements[0][0])
    for number, key in enumerate(keys):
        kind: Any = Any
        below = elements if elements is not None and elements[0][0] == key else None
        if below is not None and len(below[0]) == 1:
            kind, number_of_list = list[below[1] | None] | None, number  # type: ignore[valid-type]
        elif key in node.inner or below is not None:
            rest = None if below is None else (below[0][1:], below[1])
            reader = field_reader(node.inner.get(key, FieldNode()), f"{name}_{number}", rest)
            inner.append((number, reader))
            kind = reader.type | None
        else:
            leaves += [(number, path, reader_of(steps) if steps else None) for path, steps in node.leaves[key]]
        fields.append((f"f{number}", kind, msgspec.field(default=None, name=key)))
    made = msgspec.defstruct(name, fields, gc=False)
    names = [one for one, _, _ in fields]
    get = operator.attrgetter(*names) if names else (lambda _: ())
    one = (lambda value: (get(value),)) if len(names) == 1 else get
    return ObjectReader(made, made(), one, inner, leaves, number_of_list)


class FieldReader:
    """Reads the values of paths from messages.

    Args:
        columns: paths of the values.
        each: path of a list with a row per element, as `records_batch` has it; of keys only.
    """

    def __init__(self, columns: Sequence[str], each: str | None) -> None:
        self._columns = list(dict.fromkeys(columns))
        self._each = each
        root, element = FieldNode(), FieldNode()
        for column in self._columns:
            path = read_path(column, with_elements=each is not None)
            (element if path.depth else root).add(column, path.steps)
        self._element = None if each is None else field_reader(element, "Element")
        keys: tuple[str, ...] = ()
        if each is not None:
            keys = tuple(str(step) for step in read_path(each, with_elements=False).steps)
        self._root = field_reader(root, "Message", None if self._element is None else (keys, self._element.type))
        self._decode = msgspec.json.Decoder(self._root.type, float_hook=str).decode

    @staticmethod
    def reads(columns: Sequence[str], each: str | None) -> bool:
        """Return whether the paths can be read: each begins with a key, and none reads the list itself."""
        if each is not None and WITHIN in each:
            return False
        keys = () if each is None else read_path(each, with_elements=False).steps
        paths = [read_path(column, with_elements=each is not None) for column in columns]
        if not all(path.steps and isinstance(path.steps[0], str) for path in paths):
            return False
        if not all(isinstance(step, str) for step in keys):
            return False
        from_root = [path.steps for path in paths if not path.depth]
        return not any(_leads_along(steps, keys) for steps in from_root if keys)

    def read(self, values: Sequence[bytes]) -> tuple[pl.DataFrame, list[int]]:
        """Return the rows of messages, as `records_batch` does with the position of the message as its line.

        Returns:
            The rows of messages in common form, and the positions of all other messages.
        """
        lines, objects = self._decoded(values)
        texts: dict[str, Sequence[str | None]] = {}
        unread: set[int] = set()
        lists = column_texts(self._root, objects, texts, unread)
        rows = frame(lines, [(column, texts[column]) for column in self._columns if column in texts])
        unread_lines = {lines[at] for at in unread}
        if self._element is not None:
            rows, unread_elements = self._with_elements(rows, lists)
            unread_lines |= unread_elements
        if unread_lines:
            rows = rows.filter(~pl.col(LINE).is_in(list(unread_lines)))
        read = set(lines) - unread_lines
        others = [number for number in range(len(values)) if number not in read] if len(read) < len(values) else []
        return rows.select(LINE, *self._columns, *([] if self._each is None else [POSITION])), others

    def _decoded(self, values: Sequence[bytes]) -> tuple[Sequence[int], list[Any]]:
        decode, plain = self._decode, plain_messages(values)
        if plain.all():
            try:
                return range(len(values)), list(map(decode, values))
            except (msgspec.MsgspecError, ValueError):
                pass
        lines: list[int] = []
        objects: list[Any] = []
        for number in np.flatnonzero(plain).tolist():
            try:
                objects.append(decode(values[number]))
            except (msgspec.MsgspecError, ValueError):
                continue
            lines.append(number)
        return lines, objects

    def _with_elements(self, rows: pl.DataFrame, lists: Sequence[Any]) -> tuple[pl.DataFrame, set[int]]:
        """Return a row per element, and the lines with an element that cannot be read."""
        assert self._element is not None
        empty = self._element.empty
        counts = np.fromiter(map(_count, lists), np.int64, len(lists))
        of_nothing = counts == 0
        widths = counts + of_nothing
        parents = np.repeat(np.arange(len(lists)), widths)
        positions = pl.Series(POSITION, np.arange(len(parents)) - np.repeat(np.cumsum(widths) - widths, widths))
        if of_nothing.any():
            positions = positions.set(pl.Series(of_nothing[parents]), None)
        elements = [one or empty for elements in lists for one in elements or (None,)]
        texts: dict[str, Sequence[str | None]] = {}
        unread: set[int] = set()
        column_texts(self._element, elements, texts, unread)
        if len(parents) > len(rows):
            rows = rows[pl.Series(parents)]
        lines = rows[LINE]
        added = [pl.Series(name, column, dtype=pl.String) for name, column in texts.items()]
        rows = rows.with_columns(*added, positions)
        return rows, {lines[at] for at in unread}


def column_texts(
    reader: ObjectReader, objects: Sequence[Any], texts: dict[str, Sequence[str | None]], unread: set[int]
) -> Sequence[Any]:
    """Add the column of each path to `texts`, and to `unread` the positions of objects with an unreadable value.

    Args:
        reader: reader of the objects.
        objects: instances of its type.
        texts: out, path -> text of each object.
        unread: out.

    Returns:
        The lists whose elements give a row each; empty if the reader has none.
    """
    columns: list[Sequence[Any]] = list(zip(*map(reader.fields, objects), strict=True))
    columns = columns or [()] * (len(reader.leaves) + len(reader.inner) + 1)
    for number, path, read in reader.leaves:
        column = columns[number]
        kinds = set(map(type, column)) if read is None else _OTHER
        if kinds <= _TEXT_TYPES:
            texts[path] = column
        elif kinds <= _WHOLE_TYPES:
            texts[path] = [str(value) if type(value) is int else value for value in column]
        else:
            texts[path] = _read(column, read, unread)
    lists: Sequence[Any] = () if reader.elements is None else columns[reader.elements]
    for number, below in reader.inner:
        empty = below.empty
        inner_lists = column_texts(below, [one or empty for one in columns[number]], texts, unread)
        lists = inner_lists or lists
    return lists


def _count(elements: Sequence[Any] | None) -> int:
    """Return the number of elements; 0 for a list of one missing element, as for none."""
    return len(elements) if elements and elements != [None] else 0


def _read(column: Sequence[Any], read: Callable[[Any], str | None] | None, unread: set[int]) -> list[str | None]:
    read = read or text_of
    texts: list[str | None] = []
    for at, value in enumerate(column):
        if value is None or (read is text_of and type(value) is str):
            texts.append(value)
            continue
        try:
            texts.append(read(value))
        except UnreadableValueError:
            unread.add(at)
            texts.append(None)
    return texts


def _leads_along(steps: Sequence[Step], keys: Sequence[Step]) -> bool:
    """Return whether a path reads the list itself, a part of it, or an object on the way to it."""
    shared = 0
    while shared < min(len(steps), len(keys)) and steps[shared] == keys[shared]:
        shared += 1
    return shared == len(steps) or shared == len(keys) or (shared > 0 and not isinstance(steps[shared], str))


def plain_messages(values: Sequence[bytes]) -> Bools:
    """Return which messages are JSON objects in plain form, in UTF-8, without a key twice."""
    data = b"\0".join([*values, bytes(PADDING)])
    ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values)) + 1) - 1
    plain = np.zeros(len(values), np.bool_)
    plain_objects(np.frombuffer(data, np.uint8), ends, plain)
    if not data.isascii():
        for number, value in enumerate(values):
            plain[number] &= _is_utf8(value)
    return plain


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
