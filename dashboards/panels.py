"""The words of the declaration: what a panel is, and what it shows of which documents. Plain values.

    dashboards.boards.DASHBOARDS              every dashboard with its panels: the one declaration
    queries.query(panel, span, filters)       the body of a search, bounded in size
    queries.rows(panel, response)             its answer as a list of flat dicts, keyed by the labels of
                                              dimensions, then of measures; times as epoch ms
    lens.lens(panel, view)                    the same panel as a Kibana Lens panel
    saved_objects.ndjson(DASHBOARDS, fields)  everything that Kibana imports
    checks.faults(DASHBOARDS, fields)         what is wrong with the declaration itself

A page that shows a panel reads `chart`, `dimensions`, `measures` (their units), asks `queries.query` of the index
`features.schema.index_name(run, panel.data.index)` and draws `queries.rows`. The first dimension is the axis (of a
heat map: the columns), the second one the split (of a heat map: the rows); a table shows them side by side.
Filters of the dashboard apply to every panel but those of the `whole_shop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from dashboards.conditions import Where
from features.schema import DAY_MS

Op = Literal["count", "sum", "avg", "min", "max", "unique", "percentile"]
Unit = Literal[
    "count", "whole", "number", "money", "percent", "seconds", "milliseconds", "days", "bytes", "per_second", "time"
]
"""How a figure is written; `whole` has a fraction that nobody needs: 812.4 expected customers."""
Chart = Literal["metric", "line", "area", "bar", "bar_stacked", "bar_horizontal", "table", "heatmap"]
Every = Literal["auto", "hour", "day", "week", "month"]

GRID_COLUMNS: Final = 48
"""Width of a dashboard."""

PALETTE: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#666666")
"""Colours that people with any colour vision tell apart, in the order in which series take them (Okabe and Ito)."""


@dataclass(frozen=True, slots=True)
class Data:
    """A set of documents.

    Attributes:
        index: without the run: `sessions`.
        time_field: by which a time range chooses; None: each document is the newest of its kind, so that every time
            range has all of them.
        what: a document, in words.
        wall: its times are those of the wall clock; otherwise they are event times, which may lie behind it.
    """

    index: str
    time_field: str | None
    what: str
    wall: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure over the documents of a bucket.

    Attributes:
        label: above it; unique within a panel, among dimensions too.
        op: `unique` is the number of different values (approximate above 3,000), `percentile` needs `percent`.
        field: of the documents; empty for `count`.
        where: which of the bucket's documents count.
        unit: how it is written.
        percent: 50 is the median.
    """

    label: str
    op: Op
    field: str = ""
    where: Where = ()
    unit: Unit = "count"
    percent: int = 50


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure over another; missing where the other is 0 or missing.

    Attributes:
        label: above it.
        over: the numerator.
        under: the denominator.
        rest: 1 - ratio instead.
        unit: how it is written.
        minus: over - under instead of over / under, missing where either is.
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
    """A bucket for each of the values of a field that come first.

    Attributes:
        label: of the axis or column.
        field: a string, int or bool.
        size: the most buckets.
        by: label of the measure by which values are ranked, the highest first; empty: by the value itself.
        last_first: where they are ranked by the value itself: the highest first.
        numeric: the field holds numbers.
    """

    label: str
    field: str
    size: int = 10
    by: str = ""
    last_first: bool = False
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class Time:
    """A bucket for each stretch of time, empty ones included.

    Attributes:
        label: of the axis.
        field: of times.
        every: `auto` fits the time range.
    """

    label: str
    field: str
    every: Every = "auto"


@dataclass(frozen=True, slots=True)
class Steps:
    """A bucket for each condition, in their order; a document may be in several.

    Attributes:
        label: of the axis or column.
        steps: label and conditions of each.
    """

    label: str
    steps: tuple[tuple[str, Where], ...]


Dimension = Terms | Time | Steps


@dataclass(frozen=True, slots=True)
class Place:
    """Of a panel on the grid, GRID_COLUMNS wide; y grows downwards."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Window:
    """A time range that a panel has whatever its dashboard's is: days before the anchor, and after it."""

    back_days: int
    ahead_days: int = 0


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture and the question that it answers.

    Attributes:
        id: unique among all panels: `funnel-steps`.
        title: above it.
        question: that it answers, as a sentence.
        data: whose documents it shows.
        chart: how it is drawn.
        place: on its dashboard.
        measures: what is shown, at least one.
        dimensions: by what, none to two; a table takes more.
        where: which documents count at all.
        window: its own time range.
        whole_shop: filters of the dashboard do not apply, since its documents lack a field that one of them asks.
        sort: label of the column by which the rows of a table stand, and whether the highest come first; the
            dimensions choose which rows there are.
        note: what else has to be known to read it.
        may_be_empty: that there is nothing to show is an answer too, and no fault.
    """

    id: str
    title: str
    question: str
    data: Data
    chart: Chart
    place: Place
    measures: tuple[Figure, ...]
    dimensions: tuple[Dimension, ...] = ()
    where: Where = ()
    window: Window | None = None
    whole_shop: bool = False
    sort: tuple[str, bool] | None = None
    note: str = ""
    may_be_empty: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The keys of a row, in their order."""
        return tuple(part.label for part in (*self.dimensions, *self.measures))


@dataclass(frozen=True, slots=True)
class Control:
    """A filter that a dashboard offers: values of a field, taken from an index that has it."""

    label: str
    field: str
    data: Data


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Panels that answer one question together.

    Attributes:
        id: `funnel`.
        title: `Funnel`.
        question: that it answers.
        panels: in reading order.
        controls: filters that all of its panels follow but those of the whole shop.
        days: length of its time range when it is opened.
        kibana_days: the same in Kibana, whose ranges end at the wall clock; None: as `days`.
    """

    id: str
    title: str
    question: str
    panels: tuple[Panel, ...]
    controls: tuple[Control, ...] = ()
    days: int = 30
    kibana_days: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A time range in epoch ms: from_ms <= t < to_ms. Its end is the anchor of conditions on ages."""

    from_ms: int
    to_ms: int

    @classmethod
    def ending(cls, anchor_ms: int, days: int) -> Span:
        """The `days` before `anchor_ms`."""
        return cls(anchor_ms - days * DAY_MS, anchor_ms)


def plain(figure: Figure) -> tuple[Measure, ...]:
    """The measures that a figure is made of."""
    return (figure,) if isinstance(figure, Measure) else (figure.over, figure.under)
