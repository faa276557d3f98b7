"""Reads the values of paths from changes of Debezium into columns, without an object for each part of a change.

A change in common form gives exactly the rows that `open_message` and `records_batch` give. Every other message is left
to them: deletions, numerics of variable scale, changes of no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import polars as pl

from connectors.messages.envelopes import CHANGE_FIELDS
from connectors.tables.batches import LINE, frame
from connectors.tables.json_fields import FieldNode, column_texts, field_reader, plain_messages
from connectors.tables.json_path import parse_path

_ROW_OPERATIONS: Final = ("c", "u", "r")
_SCALED: Final = b'"scale"'
"""Part of a change with a numeric of variable scale, even in a column that no path reads."""


class _WithSchema(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    schema: msgspec.Raw
    payload: msgspec.Raw


_WITH_SCHEMA: Final = msgspec.json.Decoder(_WithSchema)


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """Rows of changes: LINE, the position of the message, and the columns.

    Attributes:
        current: rows after the changes.
        former: rows before the updates that have one.
        others: positions of the messages that are not in common form.
    """

    current: pl.DataFrame
    former: pl.DataFrame
    others: list[int]


class ChangeReader:
    """Reads the values of paths from changes.

    Args:
        columns: paths of the values, from the row or from the fields of the change.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(dict.fromkeys(columns))
        row, change = FieldNode(), FieldNode()
        of_change: set[str] = set()
        for column in self._columns:
            key, *rest = parse_path(column).steps
            if key in CHANGE_FIELDS:
                of_change.add(str(key))
                change.add(column, (key, *rest))
            else:
                row.leaves.setdefault(str(key), []).append((column, tuple(rest)))
        self._row, self._change = field_reader(row, "Row"), field_reader(change, "Fields")
        # a column of the table with such a name precedes the field of the change
        self._hidden = [f"hidden_{name}" for name in sorted(of_change)]
        hidden: list[Any] = [
            (name, Any, msgspec.field(default=msgspec.UNSET, name=name.removeprefix("hidden_")))
            for name in self._hidden
        ]
        table_row: Any = msgspec.defstruct("TableRow", hidden, bases=(self._row.type,), gc=False)
        parts: list[Any] = [
            ("op_of_row", Any, msgspec.field(default=None, name="op")),
            ("before", table_row | None, None), ("after", table_row | None, None),
            ("schema", Any, msgspec.UNSET), ("payload", Any, msgspec.UNSET),
        ]  # fmt: skip
        if "op" in of_change:
            parts = parts[1:]
        whole: Any = msgspec.defstruct("Change", parts, bases=(self._change.type,), gc=False)
        self._op = next((f"f{n}" for n, key in enumerate([*change.inner, *change.leaves]) if key == "op"), "op_of_row")
        self._decode = msgspec.json.Decoder(whole, float_hook=str).decode

    @staticmethod
    def reads(columns: Sequence[str], each: str | None) -> bool:
        """Return whether the paths can be read: every one begins with a key, and there is no list."""
        paths = [parse_path(column) for column in columns]
        return each is None and all(path.steps and isinstance(path.steps[0], str) and not path.depth for path in paths)

    def read(self, values: Sequence[bytes]) -> ChangeRows:
        """Return the rows of changes in common form, and the positions of all other messages."""
        lines: list[int] = []
        changes: list[Any] = []
        for number, is_plain in enumerate(plain_messages(values).tolist()):
            change = self._opened(values[number]) if is_plain else None
            if change is not None:
                lines.append(number)
                changes.append(change)
        updates = [at for at, one in enumerate(changes) if getattr(one, self._op) == "u" and one.before is not None]
        current, unread = self._rows(lines, changes, [one.after for one in changes])
        former, unread_former = self._rows(
            [lines[at] for at in updates], [changes[at] for at in updates], [changes[at].before for at in updates]
        )
        if unread := unread | unread_former:
            readable = ~pl.col(LINE).is_in(list(unread))
            current, former = current.filter(readable), former.filter(readable)
        read = set(lines) - unread
        return ChangeRows(current, former, [number for number in range(len(values)) if number not in read])

    def _opened(self, value: bytes) -> Any:
        """Return the change, or None if it is not in common form."""
        try:
            if value.startswith(b'{"schema"'):
                value = bytes(_WITH_SCHEMA.decode(value).payload)
            if _SCALED in value:
                return None
            change = self._decode(value)
        except (msgspec.MsgspecError, ValueError):
            return None
        if change.payload is not msgspec.UNSET or change.schema is not msgspec.UNSET:
            return None
        if getattr(change, self._op) not in _ROW_OPERATIONS or change.after is None:
            return None
        rows = [change.after] if change.before is None else [change.after, change.before]
        is_common = all(getattr(row, name) is msgspec.UNSET for row in rows for name in self._hidden)
        return change if is_common else None

    def _rows(self, lines: list[int], changes: list[Any], rows: list[Any]) -> tuple[pl.DataFrame, set[int]]:
        texts: dict[str, Sequence[str | None]] = {}
        unread: set[int] = set()
        column_texts(self._row, rows, texts, unread)
        column_texts(self._change, changes, texts, unread)
        return frame(lines, [(column, texts[column]) for column in self._columns]), {lines[at] for at in unread}
