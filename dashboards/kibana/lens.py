"""Builds Kibana Lens panels: the state of form-based layers and their visualization, embedded in a dashboard.

Properties of the format that this file does not show:

- `columnOrder` lists every column, buckets first, the outer bucket before the inner one.
- A layer that ignores the filters of its dashboard also ignores the panel's own query. The query applies to every
  other layer. The conditions of a panel that ignores filters, or has a layer of other documents, are therefore in the
  filters of its columns.
- Columns of different layers have different ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from connectors.formats.money_format import MoneyFormat
from dashboards.conditions import Ago, kql
from dashboards.kibana.columns import (
    PREVIOUS,
    FigureStyle,
    dimension_column,
    figure_columns,
    is_plain,
    measure_ids,
    static_column,
)
from dashboards.kibana.formats import Json
from dashboards.kibana.help_panel import description
from dashboards.panels import PALETTE, Chart, Data, Dimension, Figure, Layer, Measure, Panel, Terms, Time, Window, plain
from dashboards.queries import nesting
from dashboards.web.declaration import ORDERS_OF
from features.scores.score import RISKS

LAYER: Final = "layer"
"""Layer of the documents of a panel."""
LINE_LAYER: Final = "line"
"""Layer of the figures that are lines over bars."""
OVERLAY_LAYER: Final = "overlay"
"""Layer of other documents."""
REFERENCE_LAYER: Final = "reference"
TREND_LAYER: Final = "trend"
"""Layer of the small chart of a tile."""
PREVIOUS_ID: Final = "p0"
"""Column of the figure of a tile in the previous period."""
TREND_ID: Final = "t0"
TREND_AXIS: Final = "d0trend"
VS_PREVIOUS: Final = "vs previous period"
TABLE_ROWS: Final = 10
"""Rows per page of a table."""

DataViewId = Callable[[Data], str]
"""Returns the id of the data view of a set of documents."""

_SERIES: Final[dict[Chart, str]] = {
    "line": "line", "area": "area_stacked", "bar": "bar", "bar_stacked": "bar_stacked",
    "bar_horizontal": "bar_horizontal",
}  # fmt: skip
_KINDS: Final[dict[Chart, str]] = {"metric": "lnsMetric", "table": "lnsDatatable", "heatmap": "lnsHeatmap"}
_REFERENCE_COLOUR: Final = "#666666"
_RISK_COLOURS: Final = dict(zip(RISKS, ("#8a939c", "#8f6d00", "#963500", "#6b0012"), strict=True))
"""Colours of the bands of churn risk, those of the live page in its light theme."""
_LEVELS: Final = ("#009E73", "#E69F00", "#D55E00")
"""Colours of a figure below, between and above thresholds."""


@dataclass(frozen=True, slots=True)
class LensLayer:
    """A layer of a Lens panel.

    Attributes:
        id: id of the layer.
        data: document set.
        columns: columns in the order of `columnOrder`.
        drawn: entry of the layer in the visualization of a chart; empty for other visualizations.
        linked: id of the layer whose filters this layer takes over.
    """

    id: str
    data: Data
    columns: dict[str, Json]
    drawn: Json
    linked: str = ""


def attributes(panel: Panel, data_view: DataViewId, money: MoneyFormat) -> Json:
    """Return the Lens attributes of a panel, by value.

    Args:
        panel: panel to show.
        data_view: returns the id of a data view.
        money: format of amounts.
    """
    layers = lens_layers(panel, money)
    return {
        "title": panel.title,
        "description": description(panel),
        "visualizationType": _KINDS.get(panel.chart, "lnsXY"),
        "type": "lens",
        "references": [
            {
                "type": "index-pattern",
                "id": data_view(layer.data),
                "name": f"indexpattern-datasource-layer-{layer.id}",
            }
            for layer in layers
        ],
        "state": {
            "visualization": _visualization(panel, layers),
            "query": {"query": "" if _in_columns(panel) else kql(panel.where), "language": "kuery"},
            "filters": [],
            "datasourceStates": {
                "formBased": {"layers": {layer.id: _layer(layer, panel) for layer in layers}},
                "textBased": {"layers": {}},
            },
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }


def _layer(layer: LensLayer, panel: Panel) -> Json:
    content = {
        "columns": layer.columns,
        "columnOrder": list(layer.columns),
        "incompleteColumns": {},
        "sampling": 1,
        "ignoreGlobalFilters": panel.whole_shop,
    }
    return content | ({"linkToLayers": [layer.linked]} if layer.linked else {})


def _in_columns(panel: Panel) -> bool:
    """Return whether the conditions of a panel are in its columns instead of its query."""
    return panel.whole_shop or panel.layer is not None


def time_range(window: Window) -> dict[str, str]:
    """Return the time range of a panel that has its own."""
    ahead = f"+{window.ahead_days}d" if window.ahead_days else ""
    return {"from": f"now-{window.back_days}d", "to": f"now{ahead}"}


def lens_panel(panel: Panel, data_view: DataViewId, money: MoneyFormat) -> Json:
    """Return the `embeddableConfig` of a dashboard panel. The title of a tile is the label of its figure."""
    config: Json = {
        "title": panel.title,
        "description": description(panel),
        "enhancements": _drill_downs(panel),
        "hidePanelTitles": panel.chart == "metric",
        "attributes": attributes(panel, data_view, money),
    }
    return config | ({"timeRange": time_range(panel.window)} if panel.window else {})


def _drill_downs(panel: Panel) -> Json:
    """Return the drill-down of a click on a value to Discover, which takes only one layer of documents."""
    valued = any(isinstance(dimension, Terms) for dimension in panel.dimensions)
    lines = any(isinstance(figure, Measure) and figure.line for figure in panel.measures)
    if not valued or lines or panel.layer is not None:
        return {}
    event = {
        "eventId": f"{panel.id}-discover",
        "triggers": ["FILTER_TRIGGER"],
        "action": {
            "factoryId": "OPEN_IN_DISCOVER_DRILLDOWN",
            "name": "Show documents in Discover",
            "config": {"openInNewTab": False},
        },
    }
    return {"dynamicActions": {"events": [event]}}


# --- layers -----------------------------------------------------------------------------------------------------------


def lens_layers(panel: Panel, money: MoneyFormat) -> list[LensLayer]:
    """Return the layers of a panel: its documents first, then lines over bars, other documents, and fixed values."""
    style = FigureStyle(money, panel.where if _in_columns(panel) else ())
    # a heat map of Lens has one figure: it cannot show the sizes of its rows
    measures = panel.measures[:1] if panel.chart == "heatmap" else panel.measures
    figures = dict(zip(measure_ids(measures), measures, strict=True))
    lines = {name: figure for name, figure in figures.items() if isinstance(figure, Measure) and figure.line}
    main = {name: figure for name, figure in figures.items() if name not in lines}
    layers = [_main_layer(panel, main, style)]
    if lines:
        columns = _columns({"d0line": panel.dimensions[0]}, panel.data, lines, style)
        drawn = _drawn(LINE_LAYER, "line", lines, "d0line", len(main))
        layers.append(LensLayer(LINE_LAYER, panel.data, columns, drawn))
    if panel.layer is not None:
        layers.append(_overlay(panel.layer, money, len(figures)))
    if panel.reference_lines and panel.chart in _SERIES:
        layers.append(_reference(panel))
    if is_compared(panel):
        layers[0].columns.update(_previous(panel, style))
        layers.append(_trend(panel, style))
    return layers


def is_compared(panel: Panel) -> bool:
    """Return whether a tile shows the change since the previous period and a small chart over time.

    Without those whose conditions have an age: Lens shifts the time range, and ages still count from now.
    """
    if panel.chart != "metric" or panel.data.time_field is None or panel.window is not None:
        return False
    conditions = [*panel.where, *(condition for one in plain(panel.measures[0]) for condition in one.where)]
    with_age = any(isinstance(condition, Ago) for condition in conditions)
    return not with_age and panel.measures[0].unit != "time"


def _previous(panel: Panel, style: FigureStyle) -> dict[str, Json]:
    return figure_columns(PREVIOUS_ID, panel.measures[0], replace(style, shift=PREVIOUS), VS_PREVIOUS)


def _trend(panel: Panel, style: FigureStyle) -> LensLayer:
    axis = Time("Time", panel.data.time_field or "")
    columns = _columns({TREND_AXIS: axis}, panel.data, {TREND_ID: panel.measures[0]}, style, panel.title)
    return LensLayer(TREND_LAYER, panel.data, columns, {}, LAYER)


def _main_layer(panel: Panel, figures: Mapping[str, Figure], style: FigureStyle) -> LensLayer:
    nested = {f"d{position}": panel.dimensions[position] for position in nesting(panel)}
    columns = _columns(nested, panel.data, figures, style, panel.title if panel.chart == "metric" else "")
    if panel.chart not in _SERIES:
        return LensLayer(LAYER, panel.data, columns, {})
    drawn = _drawn(LAYER, _SERIES[panel.chart], figures, "d0")
    if len(panel.dimensions) > 1:
        del drawn["yConfig"]
        drawn |= {"splitAccessor": "d1", **_split_colours(panel.dimensions[1])}
    return LensLayer(LAYER, panel.data, columns, drawn)


def _columns(
    dimensions: Mapping[str, Dimension], data: Data, figures: Mapping[str, Figure], style: FigureStyle, label: str = ""
) -> dict[str, Json]:
    """Return the columns of a layer in the order of `columnOrder`."""
    ranks = {figure.label: name for name, figure in figures.items() if is_plain(figure)}
    columns = {name: dimension_column(dimension, data, ranks) for name, dimension in dimensions.items()}
    for name, figure in figures.items():
        columns |= figure_columns(name, figure, style, label)
    return columns


def _overlay(layer: Layer, money: MoneyFormat, coloured: int) -> LensLayer:
    figures = {f"f{position}": figure for position, figure in enumerate(layer.measures)}
    columns = _columns({"d0overlay": layer.time}, layer.data, figures, FigureStyle(money, layer.where))
    return LensLayer(OVERLAY_LAYER, layer.data, columns, _drawn(OVERLAY_LAYER, "line", figures, "d0overlay", coloured))


def _reference(panel: Panel) -> LensLayer:
    columns = {f"r{position}": static_column(line) for position, line in enumerate(panel.reference_lines)}
    styled = {
        "axisMode": "left", "color": _REFERENCE_COLOUR, "fill": "none", "lineStyle": "dashed", "lineWidth": 1,
        "textVisibility": True,
    }  # fmt: skip
    drawn = {
        "layerId": REFERENCE_LAYER,
        "layerType": "referenceLine",
        "accessors": list(columns),
        "yConfig": [{"forAccessor": name, **styled} for name in columns],
    }
    return LensLayer(REFERENCE_LAYER, panel.data, columns, drawn)


def _drawn(layer: str, series: str, figures: Iterable[str], axis: str, coloured: int = 0) -> Json:
    """Return the entry of a layer in the visualization of a chart.

    Args:
        layer: id of the layer.
        series: type of its series.
        figures: ids of the columns of its figures.
        axis: id of the column of its axis.
        coloured: number of figures of other layers, which have the first colours.
    """
    accessors = list(figures)
    colours = zip(accessors, PALETTE[coloured:], strict=False)
    return {
        "layerId": layer,
        "layerType": "data",
        "seriesType": series,
        "accessors": accessors,
        "xAccessor": axis,
        "position": "top",
        "yConfig": [{"forAccessor": name, "color": colour} for name, colour in colours],
    }


def _split_colours(split: Dimension) -> Json:
    """Return the colours of the series of a split: fixed ones for fields with a fixed set of values."""
    values = ORDERS_OF.get(split.field, ()) if isinstance(split, Terms) else ()
    if not values:
        return {"palette": {"type": "palette", "name": "default"}}
    colours = _RISK_COLOURS if values == RISKS else dict(zip(values, PALETTE, strict=False))
    return {
        "colorMapping": {
            "assignments": [
                {
                    "rules": [{"type": "raw", "value": value}],
                    "color": {"type": "colorCode", "colorCode": colour},
                    "touched": True,
                }
                for value, colour in colours.items()
            ],
            "specialAssignments": [{"rules": [{"type": "other"}], "color": {"type": "loop"}, "touched": False}],
            "paletteId": "default",
            "colorMode": {"type": "categorical"},
        }
    }


# --- visualizations ---------------------------------------------------------------------------------------------------


def _visualization(panel: Panel, layers: Sequence[LensLayer]) -> Json:
    layer: Json = {"layerId": LAYER, "layerType": "data"}
    match panel.chart:
        case "metric":
            return {**layer, **_metric(panel)}
        case "table":
            return {**layer, **_table(panel)}
        case "heatmap":
            return {**layer, **_heatmap(panel)}
        case _:
            return _xy(panel, [one.drawn for one in layers])


def _metric(panel: Panel) -> Json:
    """Return a tile: its title is the label of its column, its figure is named below only if the name differs."""
    label = panel.measures[0].label
    tile: Json = {"metricAccessor": "m0"}
    if label != panel.title:
        tile["subtitle"] = label
    if panel.reference_lines:
        tile |= {"palette": _thresholds([line.value for line in panel.reference_lines]), "applyColorTo": "value"}
    if is_compared(panel):
        # the badge shows the difference from the main figure; its colours do not judge whether more is better
        dynamic = {"type": "dynamic", "visuals": "both", "paletteId": "complementary", "reversed": False}
        tile |= {
            "secondaryMetricAccessor": PREVIOUS_ID,
            "secondaryPrefix": VS_PREVIOUS,
            "secondaryTrend": {**dynamic, "baselineValue": "primary"},
            "trendlineLayerId": TREND_LAYER,
            "trendlineLayerType": "metricTrendline",
            "trendlineTimeAccessor": TREND_AXIS,
            "trendlineMetricAccessor": TREND_ID,
        }
    return tile


def _thresholds(values: Sequence[float]) -> Json:
    """Return a palette with one more colour than thresholds, from good to bad."""
    colours = _LEVELS[-len(values) - 1 :]
    floors = [0, *values]
    ceilings = [*values, 10 * values[-1]]
    stops = {
        "stops": [{"color": colour, "stop": stop} for colour, stop in zip(colours, ceilings, strict=True)],
        "colorStops": [{"color": colour, "stop": stop} for colour, stop in zip(colours, floors, strict=True)],
    }
    params = {
        "name": "custom", "reverse": False, "rangeType": "number", "rangeMin": 0, "rangeMax": ceilings[-1],
        "progression": "fixed", "continuity": "all", "steps": len(colours), "maxSteps": 5, **stops,
    }  # fmt: skip
    return {"type": "palette", "name": "custom", "params": params}


def _table(panel: Panel) -> Json:
    ids = [f"d{position}" for position in range(len(panel.dimensions))]
    metrics = measure_ids(panel.measures)
    state: Json = {
        "columns": [{"columnId": one, "isTransposed": False, "isMetric": one in metrics} for one in (*ids, *metrics)],
        "paging": {"enabled": True, "size": TABLE_ROWS},
    }
    if panel.sort is not None:
        label, descending = panel.sort
        column = dict(zip(panel.labels, (*ids, *metrics), strict=True))[label]
        state["sorting"] = {"columnId": column, "direction": "desc" if descending else "asc"}
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


def _xy(panel: Panel, drawn: Sequence[Json]) -> Json:
    shown = {"x": True, "yLeft": True, "yRight": True}
    series = sum(len(one["accessors"]) for one in drawn if one["layerType"] == "data")
    return {
        "layers": list(drawn),
        "preferredSeriesType": _SERIES[panel.chart],
        "legend": {"isVisible": series > 1 or len(panel.dimensions) > 1, "position": "bottom"},
        "valueLabels": "show" if panel.chart == "bar_horizontal" else "hide",
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "tickLabelsVisibilitySettings": shown,
        "gridlinesVisibilitySettings": shown,
        "labelsOrientation": {"x": 0, "yLeft": 0, "yRight": 0},
    }
