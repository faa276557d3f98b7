"""Builds Kibana Lens panels: the state of a form-based layer and its visualization, embedded in a dashboard.

Properties of the format that this file does not show:

- A formula is stored expanded: one column for each function, a `math` column with the syntax tree, and the formula
  itself. The formula refers to the math column. Lens shows nothing if that column is missing.
- `columnOrder` lists every column, buckets first, the outer bucket before the inner one.
- A layer that ignores the filters of its dashboard also ignores the panel's own query. The conditions of such a panel
  are therefore in the filters of its columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from connectors.formats.money_format import MoneyFormat
from dashboards.conditions import Where, kql
from dashboards.panels import (
    PALETTE,
    Chart,
    Dimension,
    Every,
    Figure,
    Measure,
    Panel,
    Ratio,
    Steps,
    Terms,
    Time,
    Unit,
    Window,
    plain,
)
from dashboards.queries import nesting

LAYER: Final = "layer"
RECORDS: Final = "___records___"
TABLE_ROWS: Final = 10
"""Rows per page of a table."""

Json = dict[str, Any]

_OPERATIONS: Final = {
    "count": "count", "sum": "sum", "avg": "average", "min": "min", "max": "max", "unique": "unique_count",
}  # fmt: skip
_EMPTY_IS_ZERO: Final = frozenset({"count", "sum", "unique"})
_SERIES: Final[dict[Chart, str]] = {
    "line": "line", "area": "area_stacked", "bar": "bar", "bar_stacked": "bar_stacked",
    "bar_horizontal": "bar_horizontal",
}  # fmt: skip
_INTERVALS: Final[dict[Every, str]] = {"auto": "auto", "hour": "1h", "day": "1d", "week": "1w", "month": "1M"}


def value_format(unit: Unit, money: MoneyFormat) -> Json | None:
    """Return the Lens number format of a unit; None for times, which use Kibana's settings.

    Args:
        unit: unit of a figure.
        money: format of amounts: decimals, and the currency, which follows each number. The language of the numbers is
            a setting of Kibana.
    """
    numbers: dict[Unit, tuple[int, str]] = {
        "count": (0, ""),
        "whole": (0, ""),
        "number": (2, ""),
        "money": (money.decimals, f" {money.currency}" if money.currency else ""),
        "seconds": (0, " s"),
        "milliseconds": (0, " ms"),
        "days": (1, " d"),
        "per_second": (1, " /s"),
    }
    if unit == "time":
        return None
    if unit in ("percent", "bytes"):
        return {"id": unit, "params": {"decimals": 1}}
    decimals, suffix = numbers[unit]
    return {"id": "number", "params": {"decimals": decimals} | ({"suffix": suffix} if suffix else {})}


def attributes(panel: Panel, data_view: str, money: MoneyFormat) -> Json:
    """Return the Lens attributes of a panel, by value.

    Args:
        panel: panel to show.
        data_view: id of the data view of its index.
        money: format of amounts.
    """
    columns = _columns(panel, money)
    return {
        "title": panel.title,
        "description": panel.definition,
        "visualizationType": _KINDS.get(panel.chart, "lnsXY"),
        "type": "lens",
        "references": [
            {"type": "index-pattern", "id": data_view, "name": f"indexpattern-datasource-layer-{LAYER}"},
        ],
        "state": {
            "visualization": _visualization(panel),
            "query": {"query": "" if panel.whole_shop else kql(panel.where), "language": "kuery"},
            "filters": [],
            "datasourceStates": {
                "formBased": {
                    "layers": {
                        LAYER: {
                            "columns": columns,
                            "columnOrder": list(columns),
                            "incompleteColumns": {},
                            "sampling": 1,
                            "ignoreGlobalFilters": panel.whole_shop,
                        }
                    }
                },
                "textBased": {"layers": {}},
            },
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }


def time_range(window: Window) -> dict[str, str]:
    """Return the time range of a panel that has its own."""
    ahead = f"+{window.ahead_days}d" if window.ahead_days else ""
    return {"from": f"now-{window.back_days}d", "to": f"now{ahead}"}


# --- columns ----------------------------------------------------------------------------------------------------------


def _columns(panel: Panel, money: MoneyFormat) -> dict[str, Json]:
    """Return all columns in the order of `columnOrder`."""
    columns = {f"d{position}": _dimension(panel, panel.dimensions[position]) for position in nesting(panel)}
    for position, figure in enumerate(panel.measures):
        columns |= _figure(f"m{position}", figure, panel.where if panel.whole_shop else (), money)
    return columns


def _dimension(panel: Panel, dimension: Dimension) -> Json:
    common = {"label": dimension.label, "customLabel": True, "isBucketed": True}
    match dimension:
        case Time(field=field, every=every):
            params: Json = {"interval": _INTERVALS[every], "includeEmptyRows": True, "dropPartials": False}
            kind, operation, scale = "date", "date_histogram", "interval"
            return {**common, **_column_type(kind, operation, scale), "sourceField": field, "params": params}
        case Steps(steps=steps):
            filters = [{"input": {"query": kql(where), "language": "kuery"}, "label": label} for label, where in steps]
            return {**common, **_column_type("string", "filters", "ordinal"), "params": {"filters": filters}}
        case Terms(field=field, numeric=numeric):
            kind = "number" if numeric else "string"
            return {
                **common,
                **_column_type(kind, "terms", "ordinal"),
                "sourceField": field,
                "params": _terms(panel, dimension),
            }


def _column_type(kind: str, operation: str, scale: str) -> Json:
    return {"dataType": kind, "operationType": operation, "scale": scale}


def _terms(panel: Panel, terms: Terms) -> Json:
    order: Json = {"type": "alphabetical", "fallback": False}
    direction = "desc" if terms.last_first else "asc"
    if terms.by:
        position = next(n for n, figure in enumerate(panel.measures) if figure.label == terms.by)
        order, direction = {"type": "column", "columnId": f"m{position}"}, "desc"
    return {
        "size": terms.size,
        "orderBy": order,
        "orderDirection": direction,
        "otherBucket": False,
        "missingBucket": False,
        "parentFormat": {"id": "terms"},
        "include": [],
        "exclude": [],
        "includeIsRegex": False,
        "excludeIsRegex": False,
    }


def _figure(name: str, figure: Figure, where: Where, money: MoneyFormat) -> dict[str, Json]:
    if isinstance(figure, Measure):
        return {name: _measure(figure, figure.label, where, money)}
    return _formula(name, figure, where, money)


def _measure(measure: Measure, label: str, where: Where, money: MoneyFormat) -> Json:
    operation = "median" if _is_median(measure) else _OPERATIONS.get(measure.op, measure.op)
    params: Json = {}
    if measure.op in _EMPTY_IS_ZERO:
        params["emptyAsNull"] = False
    if operation == "percentile":
        params["percentile"] = measure.percent
    number_format = value_format(measure.unit, money)
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
    condition = kql((*where, *measure.where))
    if condition:
        column["filter"] = {"query": condition, "language": "kuery"}
    return column


def _is_median(measure: Measure) -> bool:
    return measure.op == "percentile" and measure.percent == 50


def _formula(name: str, ratio: Ratio, where: Where, money: MoneyFormat) -> dict[str, Json]:
    text = formula(ratio, where)
    parts = {f"{name}X{n}": _measure(m, f"Part of {ratio.label}", where, money) for n, m in enumerate(plain(ratio))}
    math = f"{name}X2"
    common: Json = {"customLabel": True, "isBucketed": False, "dataType": "number", "scale": "ratio"}
    return {
        **parts,
        math: {
            **common,
            "label": f"Part of {ratio.label}",
            "operationType": "math",
            "params": {"tinymathAst": _tree(ratio, text, list(parts))},
            "references": list(parts),
        },
        name: {
            **common,
            "label": ratio.label,
            "operationType": "formula",
            "params": {"formula": text, "isFormulaBroken": False, "format": value_format(ratio.unit, money)},
            "references": [math],
        },
    }


def _tree(ratio: Ratio, text: str, parts: Sequence[str]) -> Json:
    full_text = {"location": {"min": 0, "max": len(text)}, "text": text}
    if ratio.minus:
        return {"type": "function", "name": "subtract", "args": list(parts), **full_text}
    if not ratio.rest:
        return {"type": "function", "name": "divide", "args": list(parts), **full_text}
    inner = text.removeprefix(_REST)
    inner_text = {"location": {"min": len(_REST), "max": len(text)}, "text": inner}
    divided = {"type": "function", "name": "divide", "args": list(parts), **inner_text}
    return {"type": "function", "name": "subtract", "args": [1, divided], **full_text}


_REST: Final = "1 - "


def formula(figure: Figure, where: Where = ()) -> str:
    """Return a figure as a Lens formula: `count(kql='stage : "purchase"') / count()`."""
    if isinstance(figure, Measure):
        return _call(figure, where)
    over, under = (_call(measure, where) for measure in plain(figure))
    if figure.minus:
        return f"{over} - {under}"
    return f"{_REST if figure.rest else ''}{over} / {under}"


def _call(measure: Measure, where: Where) -> str:
    condition = kql((*where, *measure.where)).replace("\\", "\\\\").replace("'", "\\'")
    name = "median" if _is_median(measure) else _OPERATIONS.get(measure.op, measure.op)
    arguments = [measure.field] if measure.field else []
    if name == "percentile":
        arguments.append(f"percentile={measure.percent}")
    if condition:
        arguments.append(f"kql='{condition}'")
    return f"{name}({', '.join(arguments)})"


def lens_panel(panel: Panel, data_view: str, money: MoneyFormat) -> Json:
    """Return the `embeddableConfig` of a dashboard panel."""
    config = {"title": panel.title, "description": panel.definition, "enhancements": {}, "hidePanelTitles": False}
    config |= {"attributes": attributes(panel, data_view, money)}
    return config | ({"timeRange": time_range(panel.window)} if panel.window else {})


# --- visualizations ---------------------------------------------------------------------------------------------------

_KINDS: Final[dict[Chart, str]] = {"metric": "lnsMetric", "table": "lnsDatatable", "heatmap": "lnsHeatmap"}


def _visualization(panel: Panel) -> Json:
    layer: Json = {"layerId": LAYER, "layerType": "data"}
    match panel.chart:
        case "metric":
            return {**layer, "metricAccessor": "m0", "color": PALETTE[0], "subtitle": panel.definition}
        case "table":
            return {**layer, **_table(panel)}
        case "heatmap":
            return {**layer, **_heatmap(panel)}
        case _:
            return _xy(panel, layer)


def _table(panel: Panel) -> Json:
    labels = {label: f"d{n}" for n, label in enumerate(d.label for d in panel.dimensions)}
    labels |= {label: f"m{n}" for n, label in enumerate(m.label for m in panel.measures)}
    columns = [{"columnId": column, "isTransposed": False, "isMetric": column[0] == "m"} for column in labels.values()]
    state: Json = {"columns": columns, "paging": {"enabled": True, "size": TABLE_ROWS}}
    if panel.sort is not None:
        label, descending = panel.sort
        state["sorting"] = {"columnId": labels[label], "direction": "desc" if descending else "asc"}
    return state


def _heatmap(panel: Panel) -> Json:
    titles = panel.dimensions
    return {
        "shape": "heatmap",
        "xAccessor": "d0",
        "yAccessor": "d1",
        "valueAccessor": "m0",
        "legend": {"isVisible": True, "position": "right", "type": "heatmap_legend"},
        "gridConfig": {
            "type": "heatmap_grid",
            "isCellLabelVisible": True,
            "isXAxisLabelVisible": True,
            "isYAxisLabelVisible": True,
            "isXAxisTitleVisible": True,
            "isYAxisTitleVisible": True,
            "xTitle": titles[0].label,
            "yTitle": titles[1].label,
        },
    }


def _xy(panel: Panel, layer: Json) -> Json:
    accessors = [f"m{n}" for n in range(len(panel.measures))]
    series = _SERIES[panel.chart]
    drawn: Json = {**layer, "seriesType": series, "accessors": accessors, "xAccessor": "d0", "position": "top"}
    if len(panel.dimensions) > 1:
        drawn["splitAccessor"] = "d1"
        drawn["palette"] = {"type": "palette", "name": "default"}
    else:
        drawn["yConfig"] = [
            {"forAccessor": one, "color": colour} for one, colour in zip(accessors, PALETTE, strict=False)
        ]
    shown = {"x": True, "yLeft": True, "yRight": True}
    many = len(accessors) > 1 or len(panel.dimensions) > 1
    return {
        "layers": [drawn],
        "preferredSeriesType": series,
        "legend": {"isVisible": many, "position": "bottom"},
        "valueLabels": "show" if panel.chart == "bar_horizontal" else "hide",
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "tickLabelsVisibilitySettings": shown,
        "gridlinesVisibilitySettings": shown,
        "labelsOrientation": {"x": 0, "yLeft": 0, "yRight": 0},
    }
