"""Translates conditions on documents into Elasticsearch's query DSL and Kibana's KQL.

All conditions of a tuple must hold. Times are measured back from an anchor, the end of the requested time range.
Kibana calls this anchor `now`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from features.schema import DAY_MS, HOUR_MS, SECOND_MS

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Is:
    """The field has one of the values."""

    field: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value."""

    field: str


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The field is a number of at least `value`."""

    field: str
    value: int | float


@dataclass(frozen=True, slots=True)
class AtMost:
    """The field is a number of at most `value`."""

    field: str
    value: int | float


@dataclass(frozen=True, slots=True)
class Ago:
    """The field is a time at most `after_ms` and more than `before_ms` before the anchor.

    Attributes:
        field: name of a time field.
        after_ms: maximum age in milliseconds; None: no limit.
        before_ms: age in milliseconds that must be exceeded; None: no limit.
    """

    field: str
    after_ms: int | None = None
    before_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold, also because the field has no value."""

    condition: Is | Exists | AtLeast | AtMost

    @property
    def field(self) -> str:
        """Return the field of the condition."""
        return self.condition.field


Condition = Is | Exists | AtLeast | AtMost | Ago | Not
Where = tuple[Condition, ...]

_UNITS: Final = ((DAY_MS, "d"), (HOUR_MS, "h"), (60 * SECOND_MS, "m"), (SECOND_MS, "s"))


def dsl(where: Where, anchor_ms: int) -> list[dict[str, Any]]:
    """Return the clauses of a `bool.filter`, one for each condition."""
    return [_clause(condition, anchor_ms) for condition in where]


def _clause(condition: Condition, anchor_ms: int) -> dict[str, Any]:
    match condition:
        case Is(field, values):
            return {"terms": {field: list(values)}}
        case Exists(field):
            return {"exists": {"field": field}}
        case AtLeast(field, value):
            return {"range": {field: {"gte": value}}}
        case AtMost(field, value):
            return {"range": {field: {"lte": value}}}
        case Not(inner):
            return {"bool": {"must_not": [_clause(inner, anchor_ms)]}}
        case Ago(field, after_ms, before_ms):
            bounds = {}
            if after_ms is not None:
                bounds["gte"] = anchor_ms - after_ms
            if before_ms is not None:
                bounds["lt"] = anchor_ms - before_ms
            return {"range": {field: bounds}}


def kql(where: Where) -> str:
    """Return the conditions as one KQL expression; empty for every document."""
    return " and ".join(_expression(condition) for condition in where)


def _expression(condition: Condition) -> str:
    match condition:
        case Is(field, values):
            words = [_literal(value) for value in values]
            return f"{field} : {words[0]}" if len(words) == 1 else f"{field} : ({' or '.join(words)})"
        case Exists(field):
            return f"{field} : *"
        case AtLeast(field, value):
            return f"{field} >= {value}"
        case AtMost(field, value):
            return f"{field} <= {value}"
        case Not(inner):
            return f"not {_expression(inner)}"
        case Ago(field, after_ms, before_ms):
            bounds = [f"{field} >= {_ago(after_ms)}"] if after_ms is not None else []
            bounds += [f"{field} < {_ago(before_ms)}"] if before_ms is not None else []
            return " and ".join(bounds)


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)


def _ago(ms: int) -> str:
    """Return a time such as `now-30m`, in the largest unit that needs no fraction."""
    if ms == 0:
        return "now"
    size, unit = next((size, unit) for size, unit in _UNITS if ms % size == 0)
    return f"now-{ms // size}{unit}"


def any_of(filters: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return the clauses of the selected filters: a document has one of the values of each field."""
    return [{"terms": {field: list(values)}} for field, values in filters.items() if values]
