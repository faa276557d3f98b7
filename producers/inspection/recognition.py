"""Recognises what the columns of a file are: the fields of orders or clicks, by name and by content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import polars as pl

from connectors.tables.batches import LINE
from producers.inspection.column_profile import ColumnProfile
from producers.inspection.field_names import (
    CATEGORY,
    CLICK_FIELDS,
    EVENT_TYPE,
    LINES,
    ORDER_FIELDS,
    ORDER_ID,
    PART_OF_NAME,
    PRODUCT,
    QUANTITY,
    TOTAL,
    UNIT_PRICE,
    name_rank,
    normal_name,
)
from producers.inspection.findings import Question, counted, listed
from producers.inspection.inspection import Group
from producers.inspection.word_lists import event_type_of, status_of

_STRONG_TYPE_NAMES: Final = 6
"""Names of the event type that are its name alone. `action` and `type` also name other things."""

_TYPES_MIN: Final = 3
"""Event types among the words of a column by which it is the event type without a name for it."""

_LINE_FIELDS: Final = {"product": PRODUCT, "category": CATEGORY, "quantity": QUANTITY, "unit_price": UNIT_PRICE}


@dataclass(slots=True)
class Recognition:
    """Fields and the columns that hold them.

    Attributes:
        kind: `orders` or `clicks`.
        columns: field -> column.
        uncertain: field -> what its column is recognised by, if it is not the whole name.
        others: field -> further columns that the field may be.
        missing: required field without a column -> candidates.
        lines: list of lines in a JSON record, with field -> path within an element.
        rows: `order` or `line`.
        amounts_are_lines: whether the total's column has an amount for each line.
        guests: rows of the sample without a customer, also in the other rows of their order.
        questions: ambiguities.
    """

    kind: Literal["orders", "clicks"]
    columns: dict[str, str] = field(default_factory=dict)
    uncertain: dict[str, str] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    lines: tuple[str, dict[str, str]] | None = None
    rows: Literal["order", "line"] = "order"
    amounts_are_lines: bool = False
    guests: int = 0
    questions: list[Question] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every required field has a column."""
        return not self.missing


def recognise(group: Group, *, messages: bool = False) -> Recognition:
    """Recognise the fields of a group's columns.

    Args:
        group: files of one form.
        messages: whether rows are messages of a topic. Each is one order, and those of one id are its changes.
    """
    usual = [column for column in group.columns if column.kind not in ("empty", "JSON object")]
    if _is_clicks(usual) or not _may_be_orders(usual, group):
        recognition = Recognition("clicks")
        _choose(recognition, CLICK_FIELDS, usual)
    else:
        recognition = Recognition("orders")
        _choose(recognition, ORDER_FIELDS, usual)
    _find_lines(recognition, group)
    _choose_by_content(recognition, usual)
    if recognition.kind == "orders" and (recognition.lines is not None or not messages):
        _decide_rows(recognition, group)
    _note_missing(recognition, usual, messages=messages)
    recognition.guests = _guests(recognition, group)
    return recognition


def _guests(recognition: Recognition, group: Group) -> int:
    column = group.column(recognition.columns.get("customer", ""))
    if column is None or column.name not in group.sample.columns:
        return 0
    text = pl.col(column.name).cast(pl.String).str.strip_chars()
    absent = text.is_null() | text.is_in(["", *column.placeholders])
    key = recognition.columns.get("id")
    if recognition.rows == "line" and key is not None and key != column.name:
        absent = absent.all().over(key)
    return int(group.sample.select(absent.sum()).item())


def _is_clicks(columns: Sequence[ColumnProfile]) -> bool:
    for column in columns:
        rank = name_rank(column.name, EVENT_TYPE)
        if rank is None or column.is_number or column.is_time:
            continue
        known = [word for word in column.words if event_type_of(word)]
        if known or (rank < _STRONG_TYPE_NAMES and column.kind != "id"):
            return True
    has_total = any(column.is_number and name_rank(column.name, TOTAL) is not None for column in columns)
    return not has_total and any(_has_event_types(column) for column in columns)


def _has_event_types(column: ColumnProfile) -> bool:
    """Return whether most words of a column are event types of several kinds, whatever its name."""
    types = [event_type_of(word) for word in column.words]
    return len({one for one in types if one}) >= _TYPES_MIN and types.count(None) * 2 < len(types)


def _may_be_orders(columns: Sequence[ColumnProfile], group: Group) -> bool:
    """Return whether there is an amount, or a list that may be the lines of an order."""
    return bool(group.elements) or any(
        column.is_number and name_rank(column.name, QUANTITY) is None for column in columns
    ) or any(name_rank(column.name, (*TOTAL, *ORDER_ID[:8])) is not None for column in columns)  # fmt: skip


# --- by name ----------------------------------------------------------------------------------------------------------
def _is_text(column: ColumnProfile) -> bool:
    return column.kind in ("id", "integer", "words", "text", "email", "boolean")


def _is_status(column: ColumnProfile) -> bool:
    known = any(status_of(word) for word in column.words)
    named = bool(re.search("status|statut|stato|estado", normal_name(column.name)))
    return column.kind in ("words", "text", "id") and (known or (named and bool(column.words)))


def _is_amount(column: ColumnProfile) -> bool:
    return column.is_number


def _is_customer(column: ColumnProfile) -> bool:
    return _is_text(column)


def _is_order_id(column: ColumnProfile) -> bool:
    if not _is_text(column):
        return False
    if normal_name(column.name.rsplit(".", 1)[-1]) in ("name", "reference", "order"):
        return bool(column.examples) and all(re.search(r"\d", one) for one in column.examples)
    return True


_ACCEPTS: Final[Mapping[str, Callable[[ColumnProfile], bool]]] = {
    "id": _is_order_id, "customer": _is_customer, "total": _is_amount, "quantity": _is_amount, "unit_price": _is_amount,
    "price": _is_amount, "time": lambda column: column.is_time, "updated": lambda column: column.is_time,
    "status": _is_status, "type": lambda column: column.kind in ("words", "text", "id", "boolean"),
    "currency": lambda column: column.kind in ("words", "text"),
}  # fmt: skip
"""Field -> test of a column's content. Other fields accept any text."""


def _choose(recognition: Recognition, fields: Mapping[str, Sequence[str]], columns: Sequence[ColumnProfile]) -> None:
    """Choose the column with the best name for each field. A column is one field only."""
    used: set[str] = set()
    for name, names in fields.items():
        accepts = _ACCEPTS.get(name, _is_text)
        ranked = sorted(
            (rank, position, column.name)
            for position, column in enumerate(columns)
            if column.name not in used and accepts(column) and (rank := name_rank(column.name, names)) is not None
        )
        if not ranked:
            continue
        rank, _, chosen = ranked[0]
        recognition.columns[name] = chosen
        used.add(chosen)
        recognition.others[name] = [one for _, _, one in ranked[1:]]
        if rank >= PART_OF_NAME:
            text = f"The column {chosen} is the {name} by a part of its name."
            recognition.questions.append(
                Question("column", chosen, (chosen,), text, f"Confirm the source of {name} in the mapping.")
            )
            recognition.uncertain[name] = "a part of its name"
        equal = [one for other, _, one in ranked[1:] if other == rank]
        if equal:
            text = f"The columns {listed([chosen, *equal])} have the same meaning by name."
            recognition.questions.append(
                Question("column", chosen, (chosen, *equal), text, f"Write the right one as the source of {name}.")
            )


# --- by content -------------------------------------------------------------------------------------------------------
def _choose_by_content(recognition: Recognition, columns: Sequence[ColumnProfile]) -> None:
    """Choose the only column whose values can be a required field that no name reveals."""
    tests: list[tuple[str, Callable[[ColumnProfile], bool]]] = [
        ("time", lambda column: column.is_time),
        ("customer", lambda column: column.kind == "email"),
    ]
    has_sum = {"quantity", "unit_price"} <= recognition.columns.keys() or recognition.lines is not None
    if recognition.kind == "orders" and not has_sum:
        tests.append(("total", lambda column: column.kind == "decimal"))
    if recognition.kind == "clicks":
        tests.append(("type", lambda column: sum(event_type_of(word) is not None for word in column.words) > 1))
    for name, accepts in tests:
        if name in recognition.columns:
            continue
        used = set(recognition.columns.values())
        fit = [column.name for column in columns if column.name not in used and accepts(column)]
        if len(fit) == 1:
            recognition.columns[name] = fit[0]
            recognition.uncertain[name] = "its values alone"
            text = f"The column {fit[0]} is the {name} by its values alone; its name does not reveal it."
            recognition.questions.append(
                Question("column", fit[0], (fit[0],), text, f"Confirm the source of {name} in the mapping.")
            )


def _note_missing(recognition: Recognition, columns: Sequence[ColumnProfile], *, messages: bool) -> None:
    """Note the required fields without a column, with the columns that they may be."""
    used = set(recognition.columns.values())
    free = [column for column in columns if column.name not in used]
    required = ["time", "customer"]
    if recognition.kind == "clicks":
        required.append("type")
    elif recognition.lines is None:
        sums = {"quantity", "unit_price"} <= recognition.columns.keys() and not messages
        required += [] if sums else ["total"]
        required += ["id"] if recognition.rows == "line" or messages else []
    kinds = {"time": ("time", "date", "integer", "text"), "total": ("decimal", "integer", "text")}
    for name in required:
        if name not in recognition.columns:
            suits = kinds.get(name, ("id", "words", "text", "integer", "email"))
            recognition.missing[name] = [column.name for column in free if column.kind in suits]


# --- lines ------------------------------------------------------------------------------------------------------------
def _find_lines(recognition: Recognition, group: Group) -> None:
    """Find the list of lines in JSON records, and its fields."""
    lists = sorted(
        (rank if (rank := name_rank(name, LINES)) is not None else len(LINES), name) for name in group.elements
    )
    for _, name in lists:
        fields: dict[str, str] = {}
        for line_field, names in _LINE_FIELDS.items():
            accepts = _is_amount if line_field in ("quantity", "unit_price") else _is_text
            ranked = sorted(
                (rank, column.name)
                for column in group.elements[name]
                if accepts(column) and (rank := name_rank(column.name.lstrip("."), names)) is not None
            )
            if ranked:
                fields[line_field] = ranked[0][1]
        if fields.keys() & {"product", "quantity", "unit_price"} and (
            "id" in recognition.columns or recognition.kind == "clicks"
        ):
            recognition.lines = (name, fields)
            for line_field in _LINE_FIELDS if recognition.kind == "orders" else ():
                recognition.columns.pop(line_field, None)
            return


def _decide_rows(recognition: Recognition, group: Group) -> None:
    """Decide whether rows are orders or lines, by the rows that share an id."""
    columns = recognition.columns
    sums = {"quantity", "unit_price"} <= columns.keys()
    if recognition.lines is not None:
        _, fields = recognition.lines
        if "total" not in columns and not {"quantity", "unit_price"} <= fields.keys():
            recognition.missing["total"] = []
        return
    if "total" not in columns and sums:
        recognition.rows = "line"
    if "id" not in columns or columns["id"] not in group.sample.columns:
        return
    has_line = bool(columns.keys() & {"product", "quantity", "unit_price"})
    shared = _shared_ids(group.sample, columns)
    if not shared.orders:
        return
    repeated = (
        f"{counted(shared.orders, 'id')} of {columns['id']} {'is' if shared.orders == 1 else 'are'} in several rows"
    )
    if shared.customers:
        example, line = shared.customers
        recognition.questions.append(
            Question("ids", columns["id"], (), f"{repeated}, and {example!r} (line {line}) has several customers.",
                     "Such orders are refused; make ids unique, for example by order.id: {join: ...}.")
        )  # fmt: skip
    if "total" in columns and shared.totals and has_line:
        recognition.rows = "line"
        example, line = shared.totals
        text = f"{repeated}, and the values of {columns['total']} differ in {example!r} (line {line})."
        recognition.amounts_are_lines = True
        chosen = "quantity * unit_price" if sums else f"sum of {columns['total']}"
        recognition.questions.append(
            Question("total", columns["total"], (chosen, columns["total"]), text,
                     "Decide whether the order's total is the sum of its lines.")
        )  # fmt: skip
    elif "total" in columns and shared.totals:
        recognition.questions.append(
            Question("rows", columns["id"], ("order", "line"), f"{repeated} with different totals.",
                     "Rows may be changes of an order (rows: order, with order.updated) or its lines (rows: line).")
        )  # fmt: skip
    elif has_line:
        recognition.rows = "line"
    else:
        recognition.questions.append(
            Question("rows", columns["id"], ("order", "line"), f"{repeated}, but no column is a product or quantity.",
                     "Rows may be changes of an order (rows: order) or its lines (rows: line).")
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _SharedIds:
    """Ids that several rows share: their number, and the first id with different customers or totals."""

    orders: int
    customers: tuple[str, int] | None
    totals: tuple[str, int] | None


def _shared_ids(sample: pl.DataFrame, columns: Mapping[str, str]) -> _SharedIds:
    key = columns["id"]
    compared = [columns[name] for name in ("customer", "total") if name in columns and columns[name] in sample.columns]
    groups = (
        sample.filter(pl.col(key).is_not_null())
        .group_by(key)
        .agg(
            pl.len().alias("\0rows"),
            pl.col(LINE).min(),
            *(pl.col(name).drop_nulls().n_unique() for name in compared if name != key),
        )
        .filter(pl.col("\0rows") > 1)
        .sort(LINE)
    )

    def first_with_several(name: str) -> tuple[str, int] | None:
        column = columns.get(name)
        if column not in groups.columns or column == key:
            return None
        several = groups.filter(pl.col(str(column)) > 1)
        return None if several.is_empty() else (str(several[key][0]), int(several[LINE][0]))

    return _SharedIds(len(groups), first_with_several("customer"), first_with_several("total"))
