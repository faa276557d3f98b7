"""Validates the declaration before any search: fields, kinds, charts, grids, filters, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dashboards.conditions import Ago, AtLeast, AtMost, Condition, Is, Not
from dashboards.panels import (
    GRID_COLUMNS,
    Chart,
    Dashboard,
    Dimension,
    Measure,
    Panel,
    Position,
    Ratio,
    Span,
    Steps,
    Terms,
    Time,
    as_of_panel,
    layer_panel,
    plain,
)
from dashboards.queries import BUCKETS_MAX, buckets
from features.schema import DAY_MS, FieldKind

Kinds = Mapping[str, FieldKind]
"""Field of an index -> kind of the field."""

DAYS_MAX: Final = 730
"""Days of the longest time range whose response must stay within its bound."""

_ANY: Final[frozenset[FieldKind]] = frozenset({"string", "strings", "int", "float", "bool", "time"})
_NUMBERS: Final[frozenset[FieldKind]] = frozenset({"int", "float"})
_FITTING: Final[dict[str, frozenset[FieldKind]]] = {
    "sum": _NUMBERS,
    "avg": _NUMBERS,
    "percentile": _NUMBERS,
    "min": _NUMBERS | {"time"},
    "max": _NUMBERS | {"time"},
    "unique": _ANY - {"float"},
    "terms": frozenset({"string", "strings", "int", "bool"}),
    "time": frozenset({"time"}),
}
_ADDITIVE: Final = frozenset({"count", "sum"})
"""Operations of figures that a bucket of further values can have: the whole without the values shown."""
_AXES: Final[frozenset[Chart]] = frozenset({"line", "area", "bar", "bar_stacked", "bar_horizontal"})
"""Charts with an axis of figures."""
_BARS: Final[frozenset[Chart]] = frozenset({"bar", "bar_stacked"})
_SHAPES: Final[dict[Chart, tuple[int, int, int]]] = {
    "metric": (0, 0, 1),
    "line": (1, 2, 8),
    "area": (1, 2, 8),
    "bar": (1, 2, 8),
    "bar_stacked": (1, 2, 8),
    "bar_horizontal": (1, 2, 8),
    "heatmap": (2, 2, 2),
    "table": (1, 4, 12),
}
"""Chart -> fewest dimensions, most dimensions, most measures."""


def faults(dashboards: Sequence[Dashboard], fields: Mapping[str, Kinds]) -> list[str]:
    """Return one line for each error, with the id of the panel or dashboard; empty if there are none.

    Args:
        dashboards: dashboards of the declaration.
        fields: index without the run -> fields of the index.
    """
    panels = [panel for one in dashboards for panel in one.panels]
    errors = [f"{name}: the id is used twice" for name, n in Counter(panel.id for panel in panels).items() if n > 1]
    for dashboard in dashboards:
        errors += [f"{dashboard.id}: {error}" for error in _grid(dashboard)]
        errors += [f"{dashboard.id}: {error}" for error in _controls(dashboard, fields)]
        for panel in dashboard.panels:
            errors += [f"{panel.id}: {error}" for error in _panel(panel, dashboard, fields)]
    return errors


def _panel(panel: Panel, dashboard: Dashboard, fields: Mapping[str, Kinds]) -> Iterator[str]:
    kinds = fields.get(panel.data.index)
    if kinds is None:
        yield f"there is no index {panel.data.index}"
        return
    yield from _shape(panel)
    yield from _ranking(panel)
    yield from _uses(panel, kinds)
    yield from _other(panel, kinds)
    yield from _drawing(panel)
    yield from _layer(panel, fields)
    most = buckets(panel, Span.ending(DAYS_MAX * DAY_MS, DAYS_MAX))
    if most > BUCKETS_MAX:
        yield f"a response may have {most:,} buckets; at most {BUCKETS_MAX:,} are allowed"
    shown = [kinds, *([fields.get(panel.layer.data.index, {})] if panel.layer else [])]
    lacking = [one.field for one in dashboard.controls if any(one.field not in fields_shown for fields_shown in shown)]
    if panel.whole_shop != bool(lacking):
        yield f"whole_shop is {panel.whole_shop}, and of the filters' fields its documents lack {lacking}"


def _shape(panel: Panel) -> Iterator[str]:
    least, most, measures = _SHAPES[panel.chart]
    if not least <= len(panel.dimensions) <= most:
        yield f"a {panel.chart} has {least} to {most} dimensions, not {len(panel.dimensions)}"
    if not 1 <= len(panel.measures) <= measures:
        yield f"a {panel.chart} has 1 to {measures} measures, not {len(panel.measures)}"
    if len(panel.dimensions) > 1 and panel.chart not in ("table", "heatmap") and len(panel.measures) > 1:
        yield "a chart with a split has one measure"
    if len(set(panel.labels)) < len(panel.labels):
        yield f"labels appear twice: {panel.labels}"
    if panel.sort is not None and panel.sort[0] not in panel.labels:
        yield f"it is sorted by {panel.sort[0]}, which is not a column"
    if panel.definition and not panel.definition.endswith((".", "?")):
        yield "the definition must be a sentence"


def _ranking(panel: Panel) -> Iterator[str]:
    by_label = {figure.label: figure for figure in panel.measures}
    for dimension in panel.dimensions:
        if not isinstance(dimension, Terms) or not dimension.by:
            continue
        figure = by_label.get(dimension.by)
        if figure is None or isinstance(figure, Ratio) or figure.op == "percentile" or figure.below:
            yield f"values of {dimension.field} cannot be ranked by {dimension.by!r}"


def _other(panel: Panel, kinds: Kinds) -> Iterator[str]:
    dimensions = [one for one in panel.dimensions if isinstance(one, Terms) and one.other]
    if len(dimensions) > 1:
        yield "only one dimension has a bucket of all further values"
    for dimension in dimensions:
        if not dimension.by or kinds.get(dimension.field) != "string":
            yield f"further values of {dimension.field} need a rank, and one text in each document"
        for measure in (measure for figure in panel.measures for measure in plain(figure)):
            if measure.op not in _ADDITIVE:
                yield f"{measure.label}: a bucket of further values has no {measure.op}"


def _drawing(panel: Panel) -> Iterator[str]:
    if panel.reference_lines and panel.chart not in (*_AXES, "metric"):
        yield f"a {panel.chart} has no reference lines"
    for figure in panel.measures:
        if isinstance(figure, Ratio):
            if any(measure.below or measure.line for measure in plain(figure)):
                yield f"{figure.label}: only a figure of its own is below zero or a line"
        elif (figure.below or figure.line) and panel.chart not in _BARS:
            yield f"{figure.label}: only bars have figures below zero, and lines over them"


def _layer(panel: Panel, fields: Mapping[str, Kinds]) -> Iterator[str]:
    layer = panel.layer
    if layer is None:
        return
    axis = panel.dimensions[0] if panel.dimensions else None
    if len(panel.dimensions) != 1 or not isinstance(axis, Time) or axis.every != layer.time.every:
        yield "a layer needs a chart with one dimension: time, with the same intervals"
    if layer.as_of is not None and layer.as_of.unit != "time":
        yield f"{layer.as_of.label}: a layer is as of a time"
    if layer.data.index not in fields:
        yield f"there is no index {layer.data.index}"
        return
    for part in (layer_panel(panel), as_of_panel(panel)):
        if part is not None:
            yield from _uses(part, fields[layer.data.index])


def _uses(panel: Panel, kinds: Kinds) -> Iterator[str]:
    def check(field: str, how: str) -> Iterator[str]:
        kind = kinds.get(field)
        if kind is None:
            yield f"{panel.data.index} has no field {field}"
        elif kind not in _FITTING[how]:
            yield f"{how} does not fit {field}, a {kind}"

    measures = [measure for figure in panel.measures for measure in plain(figure)]
    conditions = [*panel.where, *(condition for measure in measures for condition in measure.where)]
    for measure in measures:
        yield from _measure(measure, kinds)
        if measure.op != "count":
            yield from check(measure.field, measure.op)
    for dimension in panel.dimensions:
        if isinstance(dimension, Steps):
            if dimension.notes and (panel.chart != "table" or len(dimension.notes) != len(dimension.steps)):
                yield f"{dimension.note_label}: a table has one text for each of the steps, other charts have none"
            conditions += [condition for _, where in dimension.steps for condition in where]
        else:
            yield from check(dimension.field, "terms" if isinstance(dimension, Terms) else "time")
            yield from _numeric(dimension, kinds)
    for condition in conditions:
        yield from _condition(condition, kinds, panel)
    if panel.data.time_field is not None:
        yield from check(panel.data.time_field, "time")


def _measure(measure: Measure, kinds: Kinds) -> Iterator[str]:
    if (measure.op == "count") != (measure.field == ""):
        yield f"{measure.label}: only a count has no field"
    if not 1 <= measure.percent <= 99:
        yield f"{measure.label}: {measure.percent} is not a percentile"
    timed = kinds.get(measure.field) == "time" and measure.op in ("min", "max")
    if timed != (measure.unit == "time"):
        yield f"{measure.label}: the unit {measure.unit} does not fit {measure.field}"


def _numeric(dimension: Dimension, kinds: Kinds) -> Iterator[str]:
    if isinstance(dimension, Terms) and dimension.numeric != (kinds.get(dimension.field) in _NUMBERS):
        yield f"numeric is {dimension.numeric} of {dimension.field}, a {kinds.get(dimension.field)}"


def _condition(condition: Condition, kinds: Kinds, panel: Panel) -> Iterator[str]:
    kind = kinds.get(condition.field)
    if kind is None:
        yield f"{panel.data.index} has no field {condition.field}"
        return
    match condition:
        case Is(values=values):
            accepted: dict[type, frozenset[FieldKind]] = {
                bool: frozenset({"bool"}),
                str: frozenset({"string", "strings"}),
                int: _NUMBERS,
                float: _NUMBERS,
            }
            if not values or any(kind not in accepted[type(value)] for value in values):
                yield f"{condition.field}, a {kind}, is compared with {values}"
        case Not(condition=inner):
            yield from _condition(inner, kinds, panel)
        case AtLeast() | AtMost() if kind not in _NUMBERS:
            yield f"{condition.field}, a {kind}, is compared with a number"
        case Ago() if kind != "time":
            yield f"{condition.field}, a {kind}, is used as a time"
        case _:
            pass


def _controls(dashboard: Dashboard, fields: Mapping[str, Kinds]) -> Iterator[str]:
    for control in dashboard.controls:
        kind = fields.get(control.data.index, {}).get(control.field)
        if kind not in ("string", "bool"):
            yield f"the filter by {control.field} of {control.data.index} uses a field of kind {kind}"
        followed = [panel for panel in dashboard.panels if not panel.whole_shop]
        for panel in followed:
            if control.field not in fields.get(panel.data.index, {}):
                yield f"{panel.id} would be empty under the filter by {control.field}"


def _grid(dashboard: Dashboard) -> Iterator[str]:
    positions = [(panel.id, panel.position) for panel in dashboard.panels]
    for n, (name, position) in enumerate(positions):
        if (
            position.x < 0
            or position.y < 0
            or position.w < 1
            or position.h < 1
            or position.x + position.w > GRID_COLUMNS
        ):
            yield f"{name} is outside the grid"
        for other, other_position in positions[:n]:
            if _overlap(position, other_position):
                yield f"{name} overlaps {other}"


def _overlap(one: Position, other: Position) -> bool:
    apart = one.x + one.w <= other.x or other.x + other.w <= one.x
    return not (apart or one.y + one.h <= other.y or other.y + other.h <= one.y)
