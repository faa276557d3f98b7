"""Converts archive tables to columns of valid rows: the wire rules (features/records/validity.py) over whole columns.

A row counts under the reason of its first invalid field, in declaration order. Reasons are counted with the text of the
wire but without the received value. Two rules differ from the wire: an archive accepts future times up to the year
9999, and NaN is null. A null element of `items` makes its order invalid, as on the wire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import inspect

from features.records.archive_columns import (
    Column,
    Mask,
    amount_column,
    integer_column,
    millis_column,
    one_array,
    text_column,
)
from features.records.columns import EventColumns, Int32, Int64, OrderColumns, coded
from features.records.money import to_cents
from features.records.rejections import FieldForm, RecordForm, form_of
from features.schema import (
    DEVICES,
    EVENT_TYPES,
    ORDER_CHANGE_MS_MAX,
    STATUSES,
    TS_MAX,
    Event,
    FieldKind,
    Order,
    record_fields,
)

C = TypeVar("C", EventColumns, OrderColumns)


@dataclass(frozen=True, slots=True)
class ArchiveRows(Generic[C]):
    """The valid rows of a table.

    Attributes:
        columns: columns of the valid rows, in the order of the table.
        keep: int64 [len(columns)], ascending: position of each row in the table.
        rejected: reason -> number of invalid rows; each row is counted once.
    """

    columns: C
    keep: Int64
    rejected: Counter[str]


def event_rows(table: pa.Table) -> ArchiveRows[EventColumns]:
    """Return the valid events of an archive table.

    Args:
        table: table with the columns of schema.Event, of any type that can represent them (`archive_columns`), in any
            order. Other columns are ignored, missing ones are null. At most 2 GiB of text per column.
    """
    rows = _Rows(table.num_rows)
    columns_of = _validate(_EVENT, table, rows, "")
    keep = rows.keep()
    words, (category, channel, country) = coded(
        *(_select(columns_of[name], keep) for name in ("category", "channel", "country"))
    )
    columns = EventColumns(
        event_id=_select(columns_of["event_id"], keep),
        customer_id=_select(columns_of["customer_id"], keep),
        session_id=_select(columns_of["session_id"], keep),
        ts=_select(columns_of["ts"], keep),
        event_type=_select(columns_of["event_type"], keep).astype(np.uint8),
        device=_select(columns_of["device"], keep).astype(np.uint8),
        category=category,
        channel=channel,
        country=country,
        words=words,
    )
    return ArchiveRows(columns, _positions(keep, rows), rows.rejected)


def order_rows(table: pa.Table) -> ArchiveRows[OrderColumns]:
    """Return the valid order records of an archive table; `records` of their columns is None.

    Args:
        table: table with the columns of schema.Order; otherwise as for `event_rows`.
    """
    rows = _Rows(table.num_rows)
    columns_of = _validate(_ORDER, table, rows, "")
    change = columns_of["updated_ts"] - columns_of["ts"]
    rows.reject(
        (change < 0) | (change > ORDER_CHANGE_MS_MAX),
        f"`updated_ts`: expected from `ts` to {ORDER_CHANGE_MS_MAX} ms later",
    )
    keep = rows.keep()
    columns = OrderColumns(
        order_id=_select(columns_of["order_id"], keep),
        customer_id=_select(columns_of["customer_id"], keep),
        ts=_select(columns_of["ts"], keep),
        updated_ts=_select(columns_of["updated_ts"], keep),
        status=_select(columns_of["status"], keep).astype(np.uint8),
        total_cents=to_cents(_select(columns_of["total"], keep)),
        lines=_select(columns_of["items"], keep).astype(np.int32),
        records=None,
    )
    return ArchiveRows(columns, _positions(keep, rows), rows.rejected)


@dataclass(slots=True)
class _Rows:
    """The rows that are valid so far, and the reasons for the invalid ones."""

    count: int
    rejected: Counter[str] = field(default_factory=Counter)
    invalid: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.invalid = np.zeros(self.count, np.bool_)

    def reject(self, mask: Mask, reason: str) -> None:
        if not mask.any():
            return
        new = mask & ~self.invalid
        count = int(np.count_nonzero(new))
        if count:
            self.rejected[reason] += count
            self.invalid |= new

    def keep(self) -> Int64 | None:
        """Return the positions of the valid rows; None means all."""
        return np.flatnonzero(~self.invalid) if self.rejected else None


@dataclass(frozen=True, slots=True)
class _LineRows:
    """Rows of order lines. An invalid line makes its order invalid."""

    orders: _Rows
    order_of_line: Int64

    def reject(self, mask: Mask, reason: str) -> None:
        if mask.any():
            of_order = np.zeros(self.orders.count, np.bool_)
            of_order[self.order_of_line[mask]] = True
            self.orders.reject(of_order, reason)


def _positions(keep: Int64 | None, rows: _Rows) -> Int64:
    return np.arange(rows.count) if keep is None else keep


def _select(values: Any, keep: Int64 | None) -> Any:
    if keep is None:
        return values
    return values.take(pa.array(keep)) if isinstance(values, pa.Array) else values[keep]


# --- the rules of one field -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Rule:
    """A field of a record with everything needed to validate its column."""

    form: FieldForm
    kind: FieldKind
    bounds: inspect.Type
    words: tuple[str, ...] | None
    lines: tuple[_Rule, ...] = ()


_WORDS: Final = {"event_type": EVENT_TYPES, "device": DEVICES, "status": STATUSES}


def _rules(record: type[msgspec.Struct], form: RecordForm) -> tuple[_Rule, ...]:
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)
    rules = []
    for typed, plain, field_form in zip(info.fields, record_fields(record), form.fields, strict=True):
        options = typed.type.types if isinstance(typed.type, inspect.UnionType) else (typed.type,)
        bounds = options[0]
        lines: tuple[_Rule, ...] = ()
        if isinstance(bounds, inspect.ListType) and isinstance(bounds.item_type, inspect.StructType):
            assert field_form.element is not None
            lines = _rules(bounds.item_type.cls, field_form.element)
        rules.append(_Rule(field_form, plain.kind, bounds, _WORDS.get(plain.name), lines))
    return tuple(rules)


_EVENT: Final = _rules(Event, form_of(Event))
_ORDER: Final = _rules(Order, form_of(Order))

_READ: Final[dict[FieldKind, Callable[[pa.Array], Column]]] = {
    "string": text_column,
    "int": integer_column,
    "float": amount_column,
    "time": millis_column,
}


def _validate(rules: tuple[_Rule, ...], table: pa.Table, rows: _Rows | _LineRows, path: str) -> dict[str, Any]:
    """Validate every field of a table. Return its columns: text, codes of words, numbers; for `items` the lengths."""
    columns_of: dict[str, Any] = {}
    present = set(table.column_names)
    for rule in rules:
        name = rule.form.name
        array = one_array(table[name]) if name in present else pa.nulls(table.num_rows)
        if rule.kind == "items":
            assert isinstance(rows, _Rows)
            columns_of[name] = _validate_lines(rule, array, rows)
        else:
            columns_of[name] = _validate_field(rule, array, rows, f"{path}{name}")
    return columns_of


def _validate_field(rule: _Rule, array: pa.Array, rows: _Rows | _LineRows, name: str) -> Any:
    if pa.types.is_null(array.type):
        array = array.cast({"string": pa.string(), "float": pa.float64()}.get(rule.kind, pa.int64()))
    column = _READ[rule.kind](array)
    expected = f"`{name}`: expected {rule.form.expected}"
    if rule.form.required:
        rows.reject(column.null, f"`{name}` is missing")
    rows.reject(column.wrong, expected)
    known = ~(column.null | column.wrong)
    if rule.words is not None:
        codes = pc.index_in(column.values, value_set=pa.array(rule.words, pa.string()))
        rows.reject(known & codes.is_null().to_numpy(zero_copy_only=False), expected)
        return pc.fill_null(codes, 0).to_numpy(zero_copy_only=False)
    match rule.bounds:
        case inspect.StrType(min_length=least):
            sizes = _sizes(column.values)
            if least:
                rows.reject(known & (sizes < least), expected)
            if rule.form.bytes_max is not None:
                rows.reject(known & (sizes > rule.form.bytes_max), f"`{name}`: {rule.form.at_most}")
        case inspect.IntType(ge=least) if least is not None:
            rows.reject(known & (column.values < least), expected)
        case inspect.FloatType(ge=least, le=most) if least is not None and most is not None:
            rows.reject(known & ~((column.values >= least) & (column.values <= most)), expected)
    if rule.kind == "time":
        rows.reject(known & (column.values > TS_MAX), f"`{name}`: expected a time up to the year 9999")
    return column.values


def _sizes(text: pa.StringArray) -> Int32:
    sizes: Int32 = pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
    return sizes


def _validate_lines(rule: _Rule, array: pa.Array, rows: _Rows) -> Int64:
    """Validate the lines of orders. Return the number of lines of each order."""
    name, expected = rule.form.name, f"`{rule.form.name}`: expected {rule.form.expected}"
    if not _is_list(array.type):
        rows.reject(~array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False), expected)
        return np.zeros(rows.count, np.int64)
    lengths: Int64 = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if rule.form.elements_max is not None:
        rows.reject(lengths > rule.form.elements_max, f"`{name}`: {rule.form.at_most}")
    lines = array.flatten()
    line_rows = _LineRows(rows, np.repeat(np.arange(rows.count), lengths))
    line_rows.reject(
        ~lines.is_valid().to_numpy(zero_copy_only=False) if lines.null_count else np.zeros(len(lines), np.bool_),
        f"`{name}[]`: expected an object",
    )
    if pa.types.is_struct(lines.type):
        # all fields of a null line are null, so they add no second reason
        fields = dict(zip([f.name for f in lines.type], lines.flatten(), strict=True))
        table = pa.table(fields) if fields else pa.table({"": pa.nulls(len(lines))})
        _validate(rule.lines, table, line_rows, f"{name}[].")
    elif len(lines):
        line_rows.reject(np.ones(len(lines), np.bool_), f"`{name}[]`: expected an object")
    return lengths


def _is_list(kind: pa.DataType) -> bool:
    kinds = pa.types
    return bool(
        kinds.is_list(kind)
        or kinds.is_large_list(kind)
        or kinds.is_fixed_size_list(kind)
        or kinds.is_list_view(kind)
        or kinds.is_large_list_view(kind)
    )
