"""Builds the columns of a Lens layer: dimensions, figures, formulas.

A formula is stored expanded: one column for each function, a `math` column with the syntax tree, and the formula
itself. The formula refers to the math column. Lens shows nothing if that column is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from connectors.formats.money_format import MoneyFormat
from dashboards.conditions import Where, kql
from dashboards.kibana.formats import Json, value_format
from dashboards.panels import Data, Dimension, Every, Figure, Measure, ReferenceLine, Steps, Terms, Time, plain

RECORDS: Final = "___records___"
PREVIOUS: Final = "previous"
"""Time shift to the period of equal length before the selected one."""
WIDE: Final = 11
"""Measures from which their ids have two digits. Lens drops columns that begin with the id of an edited formula."""

_OPERATIONS: Final = {
    "count": "count", "sum": "sum", "avg": "average", "min": "min", "max": "max", "unique": "unique_count",
}  # fmt: skip
_EMPTY_IS_ZERO: Final = frozenset({"count", "sum", "unique"})
_INTERVALS: Final[dict[Every, str]] = {"auto": "auto", "hour": "1h", "day": "1d", "week": "1w", "month": "1M"}
_REST: Final = "1 - "
_BELOW: Final = "0 - "


@dataclass(frozen=True, slots=True)
class FigureStyle:
    """How the columns of figures are made.

    Attributes:
        money: format of amounts.
        where: conditions that every figure repeats, since its layer ignores the query of the panel.
        shift: time shift of the figures; empty for the selected period.
    """

    money: MoneyFormat
    where: Where = ()
    shift: str = ""


def measure_ids(measures: Sequence[Figure]) -> tuple[str, ...]:
    """Return the column ids of the measures of a panel: `m0`, or `m00` if there are many."""
    digits = 2 if len(measures) >= WIDE else 1
    return tuple(f"m{position:0{digits}}" for position in range(len(measures)))


# --- dimensions -------------------------------------------------------------------------------------------------------


def dimension_column(dimension: Dimension, data: Data, ranks: dict[str, str]) -> Json:
    """Return the column of a dimension.

    Args:
        dimension: dimension of the panel.
        data: document set of the layer.
        ranks: label of each plain measure of the layer -> id of its column.

    Raises:
        ValueError: the values are ranked by a formula, or by a figure of another layer.
    """
    common = {"label": dimension.label, "customLabel": True, "isBucketed": True}
    match dimension:
        case Time(field=field, every=every):
            params: Json = {"interval": _INTERVALS[every], "includeEmptyRows": True, "dropPartials": False}
            if field != data.time_field:
                params["ignoreTimeRange"] = True  # Lens would filter the field by the time range
            kind, operation, scale = "date", "date_histogram", "interval"
            return {**common, **_column_type(kind, operation, scale), "sourceField": field, "params": params}
        case Steps(steps=steps, notes=notes, note_label=note_label):
            # a dimension of Lens is one column
            texts = [f": {note}" for note in notes] or [""] * len(steps)
            filters = [
                {"input": {"query": kql(where), "language": "kuery"}, "label": f"{label}{text}"}
                for (label, where), text in zip(steps, texts, strict=True)
            ]
            if notes:
                common["label"] = f"{dimension.label}: {note_label.lower()}"
            return {**common, **_column_type("string", "filters", "ordinal"), "params": {"filters": filters}}
        case Terms(field=field, numeric=numeric):
            kind = "number" if numeric else "string"
            typed = {**common, **_column_type(kind, "terms", "ordinal")}
            return {**typed, "sourceField": field, "params": _terms(dimension, data, ranks)}


def _column_type(kind: str, operation: str, scale: str) -> Json:
    return {"dataType": kind, "operationType": operation, "scale": scale}


def _terms(terms: Terms, data: Data, ranks: dict[str, str]) -> Json:
    order: Json = {"type": "alphabetical", "fallback": False}
    direction = "desc" if terms.last_first else "asc"
    if terms.by:
        if terms.by not in ranks:
            raise ValueError(f"Kibana cannot rank {terms.field} by {terms.by}: it is a formula, or of another layer")
        order, direction = {"type": "column", "columnId": ranks[terms.by]}, "desc"
    params: Json = {
        "size": terms.size,
        "orderBy": order,
        "orderDirection": direction,
        "otherBucket": terms.other,
        "missingBucket": terms.other,
        "parentFormat": {"id": "terms"},
        "include": [],
        "exclude": [],
        "includeIsRegex": False,
        "excludeIsRegex": False,
    }
    # each shard returns more values than it shows, since the indices of the months have different top values
    return params | ({"accuracyMode": True} if terms.by and data.monthly else {})


# --- figures ----------------------------------------------------------------------------------------------------------


def figure_columns(name: str, figure: Figure, style: FigureStyle, label: str = "") -> dict[str, Json]:
    """Return the columns of a figure: its own, and those that its formula needs.

    Args:
        name: id of its column.
        figure: figure to compute.
        style: conditions, time shift and format of amounts.
        label: label of the column, if not the figure's.
    """
    if is_plain(figure):
        return {name: _measure(plain(figure)[0], label or figure.label, style)}
    return _formula(name, figure, label or figure.label, style)


def is_plain(figure: Figure) -> bool:
    """Return whether a figure is one function, which can rank the values of a dimension, and no formula."""
    return isinstance(figure, Measure) and not figure.below


def _measure(measure: Measure, label: str, style: FigureStyle) -> Json:
    operation = "median" if _is_median(measure) else _OPERATIONS.get(measure.op, measure.op)
    params: Json = {}
    if measure.op in _EMPTY_IS_ZERO:
        params["emptyAsNull"] = False
    if operation == "percentile":
        params["percentile"] = measure.percent
    number_format = value_format(measure.unit, style.money)
    if number_format is not None:
        params["format"] = number_format
    column: Json = {
        "label": label,
        "customLabel": True,
        "isBucketed": False,
        **_column_type("date" if measure.unit == "time" else "number", operation, "ratio"),
        "sourceField": measure.field or RECORDS,
        "params": params,
    }
    condition = kql((*style.where, *measure.where))
    if condition:
        column["filter"] = {"query": condition, "language": "kuery"}
    return column | ({"timeShift": style.shift} if style.shift else {})


def _is_median(measure: Measure) -> bool:
    return measure.op == "percentile" and measure.percent == 50


def _formula(name: str, figure: Figure, label: str, style: FigureStyle) -> dict[str, Json]:
    text = formula(figure, style.where, style.shift)
    measures = plain(figure)
    parts = {f"{name}X{n}": _measure(measure, f"Part of {label}", style) for n, measure in enumerate(measures)}
    math = f"{name}X{len(parts)}"
    common: Json = {"customLabel": True, "isBucketed": False, "dataType": "number", "scale": "ratio"}
    return {
        **parts,
        math: {
            **common,
            "label": f"Part of {label}",
            "operationType": "math",
            "params": {"tinymathAst": _tree(figure, text, list(parts))},
            "references": list(parts),
        },
        name: {
            **common,
            "label": label,
            "operationType": "formula",
            "params": {
                "formula": text,
                "isFormulaBroken": False,
                "format": value_format(figure.unit, style.money),
            },
            "references": [math],
        },
    }


def _tree(figure: Figure, text: str, parts: Sequence[str]) -> Json:
    full_text = {"location": {"min": 0, "max": len(text)}, "text": text}
    if isinstance(figure, Measure):
        return {"type": "function", "name": "subtract", "args": [0, *parts], **full_text}
    if figure.minus:
        return {"type": "function", "name": "subtract", "args": list(parts), **full_text}
    if not figure.rest:
        return {"type": "function", "name": "divide", "args": list(parts), **full_text}
    inner = text.removeprefix(_REST)
    inner_text = {"location": {"min": len(_REST), "max": len(text)}, "text": inner}
    divided = {"type": "function", "name": "divide", "args": list(parts), **inner_text}
    return {"type": "function", "name": "subtract", "args": [1, divided], **full_text}


def formula(figure: Figure, where: Where = (), shift: str = "") -> str:
    """Return a figure as a Lens formula: `count(kql='stage : "purchase"') / count()`.

    Args:
        figure: figure to write.
        where: further conditions of each function.
        shift: time shift of each function.
    """
    calls = [_call(measure, where, shift) for measure in plain(figure)]
    if isinstance(figure, Measure):
        return f"{_BELOW if figure.below else ''}{calls[0]}"
    if figure.minus:
        return " - ".join(calls)
    return f"{_REST if figure.rest else ''}{' / '.join(calls)}"


def _call(measure: Measure, where: Where, shift: str) -> str:
    condition = kql((*where, *measure.where)).replace("\\", "\\\\").replace("'", "\\'")
    name = "median" if _is_median(measure) else _OPERATIONS.get(measure.op, measure.op)
    arguments = [measure.field] if measure.field else []
    if name == "percentile":
        arguments.append(f"percentile={measure.percent}")
    if condition:
        arguments.append(f"kql='{condition}'")
    if shift:
        arguments.append(f"shift='{shift}'")
    return f"{name}({', '.join(arguments)})"


def static_column(line: ReferenceLine) -> Json:
    """Return the column of a fixed value."""
    return {
        "label": line.label,
        "customLabel": True,
        "isBucketed": False,
        **_column_type("number", "static_value", "ratio"),
        "params": {"value": str(line.value)},
        "references": [],
    }
