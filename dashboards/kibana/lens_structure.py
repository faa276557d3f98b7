"""Holds a Lens panel to the structure that Lens reads: layers, columns, formulas and the visualization."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from dashboards.kibana.structure_keys import Keys, key_faults

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Operation:
    """What columns of an operation have.

    Attributes:
        bucket: whether the operation makes buckets.
        types: data types.
        scale: scale of its values.
        keys: keys in addition to those of every column.
        params: needed parameters.
    """

    bucket: bool
    types: frozenset[str]
    scale: str
    keys: frozenset[str]
    params: frozenset[str] = frozenset()


_FIELD: Final = frozenset({"sourceField", "params"})
_REFERRING: Final = frozenset({"params", "references"})
_NUMBER: Final = frozenset({"number"})


def _metric(params: Sequence[str] = (), types: frozenset[str] = _NUMBER) -> _Operation:
    return _Operation(False, types, "ratio", _FIELD, frozenset(params))


OPERATIONS: Final = {
    "date_histogram": _Operation(
        True, frozenset({"date"}), "interval", _FIELD, frozenset({"interval", "includeEmptyRows", "dropPartials"})
    ),
    "terms": _Operation(
        True, frozenset({"string", "number"}), "ordinal", _FIELD,
        frozenset({"size", "orderBy", "orderDirection", "otherBucket", "missingBucket", "parentFormat"}),
    ),
    "filters": _Operation(True, frozenset({"string"}), "ordinal", frozenset({"params"}), frozenset({"filters"})),
    "count": _metric(["emptyAsNull"]),
    "sum": _metric(["emptyAsNull"]),
    "unique_count": _metric(["emptyAsNull"]),
    "average": _metric(),
    "min": _metric(types=frozenset({"number", "date"})),
    "max": _metric(types=frozenset({"number", "date"})),
    "median": _metric(),
    "percentile": _metric(["percentile"]),
    "static_value": _Operation(False, _NUMBER, "ratio", _REFERRING, frozenset({"value"})),
    "math": _Operation(False, _NUMBER, "ratio", _REFERRING, frozenset({"tinymathAst"})),
    "formula": _Operation(False, _NUMBER, "ratio", _REFERRING, frozenset({"formula", "isFormulaBroken"})),
}  # fmt: skip
"""Operations that need neither scripts nor a licence nor the analytics module."""
_NOT_RANKING: Final = frozenset({"formula", "math", "static_value", "percentile", "median"})
_INTERVALS: Final = frozenset({"auto", "1h", "1d", "1w", "1M"})
_FORMATS: Final = frozenset({"number", "percent", "bytes"})
_MATH: Final = frozenset({"add", "subtract", "multiply", "divide"})

_LENS: Final = Keys({"title", "description", "visualizationType", "type", "references", "state"})
_STATE: Final = Keys({"visualization", "query", "filters", "datasourceStates", "internalReferences", "adHocDataViews"})
_LAYER: Final = Keys(
    {"columns", "columnOrder", "incompleteColumns", "sampling", "ignoreGlobalFilters"}, {"linkToLayers"}
)
_COMMON: Final = frozenset({"label", "customLabel", "dataType", "isBucketed", "operationType", "scale"})
_VISUALIZATIONS: Final = {
    "lnsMetric": Keys(
        {"layerId", "layerType", "metricAccessor"},
        {
            "subtitle", "palette", "applyColorTo", "secondaryMetricAccessor", "secondaryPrefix", "secondaryTrend",
            "trendlineLayerId", "trendlineLayerType", "trendlineTimeAccessor", "trendlineMetricAccessor",
        },
    ),
    "lnsDatatable": Keys({"layerId", "layerType", "columns"}, {"paging", "sorting"}),
    "lnsHeatmap": Keys(
        {"layerId", "layerType", "shape", "xAccessor", "yAccessor", "valueAccessor", "legend", "gridConfig"}
    ),
    "lnsXY": Keys(
        {"layers", "legend", "valueLabels", "preferredSeriesType"},
        {
            "fittingFunction", "axisTitlesVisibilitySettings", "tickLabelsVisibilitySettings",
            "gridlinesVisibilitySettings", "labelsOrientation",
        },
    ),
}  # fmt: skip
_SERIES: Final = frozenset(
    {
        "line", "area", "area_stacked", "area_percentage_stacked", "bar", "bar_stacked", "bar_percentage_stacked",
        "bar_horizontal", "bar_horizontal_stacked",
    }
)  # fmt: skip
_XY_LAYERS: Final = {
    "data": Keys(
        {"layerId", "layerType", "accessors", "xAccessor", "seriesType"},
        {"splitAccessor", "position", "palette", "colorMapping", "yConfig"},
    ),
    "referenceLine": Keys({"layerId", "layerType", "accessors", "yConfig"}),
}
_COLOUR_MAPPING: Final = Keys({"assignments", "specialAssignments", "paletteId", "colorMode"})
_ASSIGNMENT: Final = Keys({"rules", "color", "touched"})
_TREND: Final = Keys({"type", "visuals", "paletteId", "reversed", "baselineValue"})


def lens_faults(attributes: Json) -> Iterator[str]:
    """Return one line for each fault in the attributes of a Lens panel."""
    wrong = [
        *key_faults("attributes", attributes, _LENS),
        *key_faults("state", attributes.get("state", {}), _STATE),
    ]
    if wrong:
        yield from wrong
        return
    state = attributes["state"]
    layers = state["datasourceStates"].get("formBased", {}).get("layers", {})
    if not layers:
        yield "it has no layer"
        return
    named = [reference.get("name") for reference in attributes["references"]]
    if sorted(named) != sorted(f"indexpattern-datasource-layer-{name}" for name in layers):
        yield f"its references {named} are not those of its layers {sorted(layers)}"
    for name, layer in layers.items():
        wrong = list(key_faults(f"layer {name}", layer, _LAYER))
        yield from wrong or _layer(name, layer, layers)
    ids = [column for layer in layers.values() for column in layer.get("columns", {})]
    if len(set(ids)) < len(ids):
        yield "two layers have columns with the same id"
    yield from _visualization(attributes["visualizationType"], state["visualization"], layers)


# --- columns ----------------------------------------------------------------------------------------------------------


def _layer(name: str, layer: Json, layers: Json) -> Iterator[str]:
    columns, order = layer["columns"], layer["columnOrder"]
    if sorted(order) != sorted(columns):
        yield f"columnOrder of layer {name} does not list its columns"
        return
    for earlier, later in pairwise(order):
        if columns[later].get("isBucketed") and not columns[earlier].get("isBucketed"):
            yield f"{later} is a bucket after the figure {earlier}"
    yield from (f"layer {name} is linked to {one}" for one in layer.get("linkToLayers", ()) if one not in layers)
    for column_id, column in columns.items():
        yield from (f"column {column_id}: {fault}" for fault in _column(column_id, column, columns))
    formulas = [one for one, column in columns.items() if column.get("operationType") == "formula"]
    for formula in formulas:
        for one, column in columns.items():
            if one.startswith(formula) and one != formula and not one.startswith(f"{formula}X"):
                yield f"editing the formula {formula} drops {one} ({column.get('label')})"


def _column(column_id: str, column: Json, columns: Json) -> Iterator[str]:
    operation = OPERATIONS.get(column.get("operationType", ""))
    if operation is None:
        yield f"the operation {column.get('operationType')} is unknown"
        return
    allowed = () if operation.bucket else ("filter", "timeShift")
    wrong = list(key_faults("it", column, Keys(_COMMON | operation.keys, allowed)))
    if wrong:
        yield from wrong
        return
    if column["isBucketed"] != operation.bucket or column["scale"] != operation.scale:
        yield "it is not a bucket or figure as its operation is, or has another scale"
    if column["dataType"] not in operation.types:
        yield f"it is a {column['dataType']}"
    params = column["params"]
    missing = sorted(operation.params - params.keys())
    if missing:
        yield f"its parameters lack {', '.join(missing)}"
        return
    if "format" in params and params["format"].get("id") not in _FORMATS:
        yield f"the format {params['format'].get('id')} is unknown"
    match column["operationType"]:
        case "terms":
            yield from _ranking(params, columns)
        case "date_histogram":
            yield from _interval(params)
        case "static_value":
            yield from _static(params["value"])
        case "formula":
            yield from _formula(column_id, column, columns)
        case "math":
            yield from _math(column, columns)
        case _:
            pass


def _ranking(params: Json, columns: Json) -> Iterator[str]:
    order = params["orderBy"]
    if order.get("type") == "column":
        by = columns.get(order.get("columnId"))
        if by is None or by.get("isBucketed") or by.get("operationType") in _NOT_RANKING:
            yield f"its values cannot be ranked by {order.get('columnId')}"
    elif order != {"type": "alphabetical", "fallback": False}:
        yield f"the order {order} is unknown"
    if params["missingBucket"] and not params["otherBucket"]:
        yield "a bucket of missing values needs that of further values"


def _interval(params: Json) -> Iterator[str]:
    if params["interval"] not in _INTERVALS:
        yield f"the interval {params['interval']} is unknown"
    if params.get("ignoreTimeRange") and params["interval"] == "auto":
        yield "an axis apart from the time range needs a fixed interval"


def _static(value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not re.fullmatch(r"-?\d+(\.\d+)?", value):
        yield f"the value {value!r} is not a text with a number"


def _formula(column_id: str, column: Json, columns: Json) -> Iterator[str]:
    references = column["references"]
    if len(references) != 1 or columns.get(references[0], {}).get("operationType") != "math":
        yield "the formula is not stored expanded: it refers to no math column"
        return
    math, text = columns[references[0]], column["params"]["formula"]
    if not all(one.startswith(f"{column_id}X") for one in (references[0], *math.get("references", ()))):
        yield f"the ids of its parts do not begin with {column_id}X"
    if math["params"]["tinymathAst"].get("text") != text:
        yield "its syntax tree is of another text"
    parts = [columns.get(one, {}) for one in math.get("references", ())]
    called = re.findall(r"\b([a-z_]+)\(", re.sub(r"'(?:\\.|[^'\\])*'", "''", text))
    if called != [part.get("operationType") for part in parts]:
        yield f"it calls {called} and has the columns {[part.get('operationType') for part in parts]}"
    conditions = [re.sub(r"\\(.)", r"\1", one) for one in re.findall(r"kql='((?:\\.|[^'\\])*)'", text)]
    if conditions != [part["filter"]["query"] for part in parts if "filter" in part]:
        yield "its conditions are not the filters of its columns"
    if re.findall(r"shift='([^']*)'", text) != [part["timeShift"] for part in parts if "timeShift" in part]:
        yield "its time shifts are not those of its columns"


def _math(column: Json, columns: Json) -> Iterator[str]:
    tree = column["params"]["tinymathAst"]
    yield from _tree(tree, str(tree.get("text", "")))
    if _leaves(tree) != column["references"]:
        yield f"its syntax tree uses {_leaves(tree)}, and it refers to {column['references']}"
    yield from (f"there is no column {one}" for one in column["references"] if one not in columns)


def _tree(tree: Json, text: str) -> Iterator[str]:
    if tree.get("type") != "function" or tree.get("name") not in _MATH or len(tree.get("args", ())) != 2:
        yield f"{tree.get('name')} is not a function of two arguments"
        return
    location = tree.get("location", {})
    if text[location.get("min", 0) : location.get("max", 0)] != tree.get("text"):
        yield f"the location of {tree.get('text')!r} is wrong"
    for argument in tree["args"]:
        if isinstance(argument, Mapping):
            yield from _tree(argument, text)


def _leaves(tree: Json) -> list[str]:
    leaves: list[str] = []
    for argument in tree.get("args", ()):
        leaves += _leaves(argument) if isinstance(argument, Mapping) else [argument] * isinstance(argument, str)
    return leaves


# --- visualizations ---------------------------------------------------------------------------------------------------


def _visualization(kind: str, picture: Json, layers: Json) -> Iterator[str]:
    if kind not in _VISUALIZATIONS:
        yield f"the visualization {kind} is unknown"
        return
    wrong = list(key_faults("visualization", picture, _VISUALIZATIONS[kind]))
    if wrong:
        yield from wrong
        return
    uses: list[tuple[str, str]] = []
    if kind == "lnsXY":
        for drawn in picture["layers"]:
            faults = list(_drawn(drawn))
            yield from faults
            uses += [] if faults else _drawn_columns(drawn)
    else:
        uses = _picture_columns(picture)
    if kind == "lnsMetric":
        yield from _tile(picture, layers)
    yield from _uses(uses, layers)


def _picture_columns(picture: Json) -> list[tuple[str, str]]:
    """Return layer and column of each accessor."""
    names = ("metricAccessor", "secondaryMetricAccessor", "xAccessor", "yAccessor", "valueAccessor")
    columns = [picture[name] for name in names if name in picture]
    columns += [column.get("columnId", "") for column in picture.get("columns", ())]
    columns += [picture["sorting"].get("columnId", "")] if "sorting" in picture else []
    uses = [(picture["layerId"], column) for column in columns]
    trend = [picture[name] for name in ("trendlineTimeAccessor", "trendlineMetricAccessor") if name in picture]
    return [*uses, *((picture.get("trendlineLayerId", ""), column) for column in trend)]


def _drawn(drawn: Json) -> Iterator[str]:
    keys = _XY_LAYERS.get(drawn.get("layerType", ""))
    if keys is None:
        yield f"the layer type {drawn.get('layerType')} is unknown"
        return
    wrong = list(key_faults(f"layer {drawn.get('layerId')} of the visualization", drawn, keys))
    if wrong:
        yield from wrong
        return
    if "seriesType" in drawn and drawn["seriesType"] not in _SERIES:
        yield f"the series {drawn['seriesType']} is unknown"
    styled = [one.get("forAccessor") for one in drawn.get("yConfig", ())]
    yield from (f"{one} is styled and not drawn" for one in styled if one not in drawn["accessors"])
    if "colorMapping" in drawn:
        yield from _colours(drawn["colorMapping"])


def _drawn_columns(drawn: Json) -> list[tuple[str, str]]:
    columns = [*drawn["accessors"], *(drawn[name] for name in ("xAccessor", "splitAccessor") if name in drawn)]
    return [(drawn["layerId"], column) for column in columns]


def _colours(mapping: Json) -> Iterator[str]:
    yield from key_faults("colorMapping", mapping, _COLOUR_MAPPING)
    for one in mapping.get("assignments", ()):
        yield from key_faults("an assignment of a colour", one, _ASSIGNMENT)
        if any(rule.keys() != {"type", "value"} or rule["type"] != "raw" for rule in one.get("rules", ())):
            yield f"the rules {one.get('rules')} are not raw values"
        if one.get("color", {}).get("type") not in ("colorCode", "categorical"):
            yield f"the colour {one.get('color')} is unknown"
    for one in mapping.get("specialAssignments", ()):
        yield from key_faults("a special assignment", one, _ASSIGNMENT)
        if one.get("rules") != [{"type": "other"}]:
            yield f"the rules {one.get('rules')} are not those of other values"


def _tile(picture: Json, layers: Json) -> Iterator[str]:
    trend = [name for name in picture if name.startswith("trendline")]
    if trend and (len(trend) != 4 or picture["trendlineLayerType"] != "metricTrendline"):
        yield f"the small chart is incomplete: {sorted(trend)}"
    elif trend:
        linked = layers.get(picture["trendlineLayerId"], {}).get("linkToLayers")
        if linked != [picture["layerId"]]:
            yield "the layer of the small chart is not linked to that of the figure"
    if "secondaryTrend" in picture:
        yield from key_faults("secondaryTrend", picture["secondaryTrend"], _TREND)
        if "secondaryMetricAccessor" not in picture:
            yield "a badge needs a second figure"


def _uses(uses: Sequence[tuple[str, str]], layers: Json) -> Iterator[str]:
    """Compare the columns that a visualization uses with those that are computed and not a part of a formula."""
    parts = {
        (name, one)
        for name, layer in layers.items()
        for column in layer.get("columns", {}).values()
        for one in column.get("references", ())
    }
    columns = {(name, one) for name, layer in layers.items() for one in layer.get("columns", {})}
    yield from (f"the visualization uses {column} of layer {layer}, which is none" for layer, column in uses
                if (layer, column) not in columns)  # fmt: skip
    unused = sorted(columns - parts - set(uses))
    yield from (f"column {column} of layer {layer} is computed and not shown" for layer, column in unused)
