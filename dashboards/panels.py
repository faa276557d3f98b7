"""Defines the types of the declaration: panels, their measures, dimensions and document sets. Plain values.

    boards.DASHBOARDS                         every dashboard with its panels: the one declaration
    queries.query(panel, span, filters)       the body of a search, bounded in size
    queries.rows(panel, response)             its response as a list of flat dicts, keyed by the labels of
                                              dimensions, then of measures; times as epoch ms
    kibana.lens.lens_panel(panel, data_view)  the same panel as a Kibana Lens panel
    kibana.saved_objects.ndjson(DASHBOARDS)   the file that Kibana imports
    validation.faults(DASHBOARDS, fields)     the errors in the declaration itself

A page that shows a panel reads `chart`, `dimensions` and `measures` (with their units). It sends `queries.query` to the
index `features.schema.index_name(run, panel.data.index)` and draws `queries.rows`. The first dimension is the axis (of
a heat map: the columns), the second one the split (of a heat map: the rows). A table shows them side by side. Filters
of the dashboard apply to every panel without `whole_shop`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from dashboards.conditions import Where
from features.schema import DAY_MS

Op = Literal["count", "sum", "avg", "min", "max", "unique", "percentile"]
Unit = Literal[
    "count", "whole", "number", "money", "percent", "seconds", "milliseconds", "days", "bytes", "per_second", "time"
]
"""Format of a figure. `whole` hides the fraction of a value such as 812.4 expected customers."""
Chart = Literal["metric", "line", "area", "bar", "bar_stacked", "bar_horizontal", "table", "heatmap"]
Every = Literal["auto", "hour", "day", "week", "month"]

GRID_COLUMNS: Final = 48
"""Width of a dashboard in grid columns."""

OTHER: Final = "(other)"
"""Key of the bucket of all further values."""

PALETTE: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#666666")
"""Colours of series, in this order, distinguishable with any colour vision (Okabe and Ito)."""


@dataclass(frozen=True, slots=True)
class Data:
    """A set of documents.

    Attributes:
        index: name of the index without the run: `sessions`.
        time_field: field that a time range filters; None: each document is the newest of its kind, so every time range
            includes all documents.
        what: description of one document.
        wall: whether its times are wall-clock times. Otherwise they are event times, which may lag behind the clock.
        monthly: whether it is split by month, so that a list of top values needs the values of every month.
        whole: whether each document is about a whole period. Otherwise the newest intervals of an axis lack documents.
    """

    index: str
    time_field: str | None
    what: str
    wall: bool = False
    whole: bool = False
    monthly: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure over the documents of a bucket.

    Attributes:
        label: label of the figure; unique within a panel, including its dimensions.
        op: aggregation; `unique` counts distinct values (approximate above 3,000), `percentile` needs `percent`.
        field: field of the documents; empty for `count`.
        where: conditions on the documents of the bucket.
        unit: unit that defines the format.
        percent: percentile; 50 is the median.
        below: whether the figure is shown below zero, as a loss: its value is negated.
        line: whether a chart of bars shows the figure as a line over them.
    """

    label: str
    op: Op
    field: str = ""
    where: Where = ()
    unit: Unit = "count"
    percent: int = 50
    below: bool = False
    line: bool = False


@dataclass(frozen=True, slots=True)
class Ratio:
    """Quotient of two figures; missing if the denominator is 0 or either is missing.

    Attributes:
        label: label of the figure.
        over: numerator.
        under: denominator.
        rest: whether the figure is 1 - ratio.
        unit: unit that defines the format.
        minus: whether the figure is over - under instead of over / under; missing if either is missing.
    """

    label: str
    over: Measure
    under: Measure
    rest: bool = False
    unit: Unit = "percent"
    minus: bool = False


Figure = Measure | Ratio


@dataclass(frozen=True, slots=True)
class Terms:
    """One bucket for each of the top values of a field.

    Attributes:
        label: label of the axis or column.
        field: field with string, int or bool values.
        size: maximum number of buckets.
        by: label of the measure that ranks the values, the highest first; empty: the value itself ranks them.
        last_first: whether values ranked by themselves start with the highest.
        numeric: whether the field holds numbers.
        other: whether one more bucket, OTHER, holds all further documents, so that the buckets add up to the whole.
            Documents without a value have the value NOT_KNOWN, which ranks as any other.
    """

    label: str
    field: str
    size: int = 10
    by: str = ""
    last_first: bool = False
    numeric: bool = False
    other: bool = False


@dataclass(frozen=True, slots=True)
class Time:
    """One bucket for each time interval, including empty ones.

    Attributes:
        label: label of the axis.
        field: time field.
        every: length of the interval; `auto` fits the time range.
    """

    label: str
    field: str
    every: Every = "auto"


@dataclass(frozen=True, slots=True)
class Steps:
    """One bucket for each condition, in the declared order; a document may be in several.

    Attributes:
        label: label of the axis or column.
        steps: label and conditions of each bucket.
        notes: text of each bucket, which a table shows in a column of its own; empty: no such column.
        note_label: label of that column.
    """

    label: str
    steps: tuple[tuple[str, Where], ...]
    notes: tuple[str, ...] = ()
    note_label: str = ""


Dimension = Terms | Time | Steps


@dataclass(frozen=True, slots=True)
class Position:
    """Position of a panel on the grid, which is GRID_COLUMNS wide; y grows downwards."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Window:
    """A panel's own time range, independent of its dashboard: days before and after the anchor."""

    back_days: int
    ahead_days: int = 0


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """A fixed value that a chart shows as a line, such as a threshold."""

    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Layer:
    """Further figures on the time axis of a chart, from other documents.

    Attributes:
        data: document set of the figures.
        time: its time axis, with the interval of the panel's axis.
        measures: figures.
        where: conditions on all its documents.
        as_of: time at which the layer was computed, with the unit `time`.
    """

    data: Data
    time: Time
    measures: tuple[Figure, ...]
    where: Where = ()
    as_of: Measure | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One visualization.

    Attributes:
        id: id that is unique among all panels: `funnel-steps`.
        title: title of the panel: the name of its figures.
        definition: definition of the figures, as sentences; empty if the title suffices.
        data: document set that it shows.
        chart: type of chart.
        position: position on its dashboard.
        measures: figures, at least one.
        dimensions: dimensions of the buckets, at most two; a table allows more.
        where: conditions on all documents.
        window: time range of the panel, if it has its own.
        whole_shop: whether filters of the dashboard do not apply, since the documents lack one of the filtered fields.
        sort: label of the column that sorts the rows of a table, and whether the highest come first. The dimensions
            select the rows.
        note: further information needed to read the panel.
        layer: further figures on the time axis, from other documents.
        reference_lines: fixed values, in ascending order, shown as lines; a tile in Kibana changes its colour at them.
        may_be_empty: whether an empty panel is a valid result.
    """

    id: str
    title: str
    definition: str
    data: Data
    chart: Chart
    position: Position
    measures: tuple[Figure, ...]
    dimensions: tuple[Dimension, ...] = ()
    where: Where = ()
    window: Window | None = None
    whole_shop: bool = False
    sort: tuple[str, bool] | None = None
    note: str = ""
    may_be_empty: bool = False
    layer: Layer | None = None
    reference_lines: tuple[ReferenceLine, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Keys of a row, in their order."""
        return tuple(part.label for part in (*self.dimensions, *self.measures))


@dataclass(frozen=True, slots=True)
class Control:
    """A filter of a dashboard: the values of a field, taken from an index that has it."""

    label: str
    field: str
    data: Data


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Panels about one subject.

    Attributes:
        id: id such as `funnel`.
        title: title such as `Funnel`.
        summary: what the dashboard shows, as a sentence.
        panels: panels in reading order.
        controls: filters for all panels without `whole_shop`.
        days: length of the default time range.
        kibana_days: length of the default time range in Kibana, where ranges end at the wall clock; None: as `days`.
    """

    id: str
    title: str
    summary: str
    panels: tuple[Panel, ...]
    controls: tuple[Control, ...] = ()
    days: int = 30
    kibana_days: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A time range in epoch ms: from_ms <= t < to_ms. Its end is the anchor of age conditions."""

    from_ms: int
    to_ms: int

    @classmethod
    def ending(cls, anchor_ms: int, days: int) -> Span:
        """Return the `days` before `anchor_ms`."""
        return cls(anchor_ms - days * DAY_MS, anchor_ms)


def plain(figure: Figure) -> tuple[Measure, ...]:
    """Return the measures that make up a figure."""
    return (figure,) if isinstance(figure, Measure) else (figure.over, figure.under)


def time_position(panel: Panel) -> int | None:
    """Return the position of the time axis among the dimensions of a panel; None without one."""
    return next((n for n, dimension in enumerate(panel.dimensions) if isinstance(dimension, Time)), None)


def layer_panel(panel: Panel) -> Panel | None:
    """Return the layer of a panel as a panel of its own; None without a layer."""
    layer = panel.layer
    if layer is None:
        return None
    return replace(
        panel, data=layer.data, measures=layer.measures, dimensions=(layer.time,), where=layer.where, layer=None
    )


def as_of_panel(panel: Panel) -> Panel | None:
    """Return the time at which the layer of a panel was computed, as a tile over all times; None without one."""
    layer = panel.layer
    if layer is None or layer.as_of is None:
        return None
    data = replace(layer.data, time_field=None)
    return replace(
        panel, chart="metric", data=data, measures=(layer.as_of,), dimensions=(), where=layer.where, layer=None,
        window=None,
    )  # fmt: skip
