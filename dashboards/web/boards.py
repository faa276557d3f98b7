"""Provides the data of one dashboard to the page: figures, comparisons, small charts. Pure except for the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from dashboards.checks import end_searches, first_searches, newest_of, newest_search, stream_end, stream_start
from dashboards.comparisons import aligned, comparison_query, is_compared, needs_values
from dashboards.panels import Control, Dashboard, Figure, Panel, Span, Time, as_of_panel, layer_panel
from dashboards.queries import (
    Row,
    bucket_end,
    check_complete,
    has_spark,
    interval,
    is_approximate,
    query,
    rows,
    span_of,
    spark_interval,
    sparks,
)
from dashboards.web.declaration import unit_of
from dashboards.web.parameters import ALL_TIME, COMPARISONS, VALUES_MAX, Query
from features.calendar import UTC_CALENDAR, Calendar, Unit
from features.errors import ShopstreamError
from features.schema import SECOND_MS

Json = dict[str, Any]
Response = Mapping[str, Any] | ShopstreamError
Kind = Literal["main", "compare", "layer", "as_of"]
Responses = Mapping[tuple[str, Kind], Response]
Table = Sequence[Row] | ShopstreamError
"""Rows of a panel, or the error of its search."""

SILENT_AFTER_MS: Final = 60 * SECOND_MS
"""Age from which the newest document of a process that reports all the time means silence."""
CHOICE_CHARS_MAX: Final = 200
"""Longer values are not offered, since they are unreadable."""


class Searches(Protocol):
    """Searches the indices of a run. The response for a missing index has no aggregations."""

    def __call__(self, index: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the response to a search. Raises ShopstreamError."""
        ...

    def many(self, searches: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Mapping[str, Any] | ShopstreamError]:
        """Return the responses to several searches, or the error of each. Raises ShopstreamError if nothing answers."""
        ...


def board_data(
    dashboard: Dashboard,
    requested: Query,
    search: Searches,
    now_ms: int,
    calendar: Calendar = UTC_CALENDAR,
    money: MoneyFormat = PLAIN_MONEY,
) -> Json:
    """Return the figures of every panel of a dashboard, with at most three rounds of searches.

    The first round finds the ends of the data, the second one the figures. The third one finds the figures to compare
    with of panels that show top values, which must be the same values.

    Args:
        dashboard: dashboard to fill.
        requested: time range, filters and comparison.
        search: function that queries Elasticsearch.
        now_ms: wall-clock time, epoch ms: end of wall-clock times, and for the age of the data.
        calendar: calendar of days, weeks and months.
        money: format of amounts.

    Raises:
        ShopstreamError: Elasticsearch does not answer.
    """
    stream_end_ms, wall_newest_ms = _ends(dashboard, search)
    if requested.period == ALL_TIME:
        requested = replace(requested, first_ms=stream_start(complete(search.many(first_searches()))))
    request = _Request(requested, stream_end_ms, now_ms, calendar, money)
    parts = [part for panel in dashboard.panels for part in request.parts(panel)]
    first = search.many([(part.panel.data.index, request.body(part)) for part in parts])
    responses = {(part.of, part.kind): response for part, response in zip(parts, first, strict=True)}
    tables = {panel.id: _table(panel, responses[panel.id, "main"]) for panel in dashboard.panels}
    late = [_Part(panel.id, "compare", panel) for panel in dashboard.panels if request.compares_values(panel)]
    more = search.many([(part.panel.data.index, request.body(part, tables[part.of])) for part in late])
    responses |= {(part.of, part.kind): response for part, response in zip(late, more, strict=True)}
    span = requested.span_to(stream_end_ms, calendar)
    compared = requested.compared_span(span, calendar)
    return {
        "id": dashboard.id,
        "now_ms": now_ms,
        "newest_ms": stream_end_ms - 1 or None,
        "from_ms": span.from_ms,
        "to_ms": span.to_ms,
        "ignored": list(requested.ignored),
        "compare": compared and {"from_ms": compared.from_ms, "to_ms": compared.to_ms},
        "panels": {
            panel.id: request.figures(panel, tables[panel.id], responses) | _silent(panel, wall_newest_ms, now_ms)
            for panel in dashboard.panels
        },
    }


def _ends(dashboard: Dashboard, search: Searches) -> tuple[int, int | None]:
    """Return the end of event times, epoch ms, and the newest wall-clock time of a dashboard's documents, if any."""
    wall = next((panel.data for panel in dashboard.panels if panel.data.wall), None)
    searches = [*end_searches(), *([newest_search(wall, str(wall.time_field))] if wall else [])]
    responses = complete(search.many(searches))
    number = len(end_searches())
    return stream_end(responses[:number]), newest_of(responses[number]) if wall else None


def _silent(panel: Panel, newest_ms: int | None, now_ms: int) -> Json:
    if panel.chart != "metric" or not panel.data.wall or newest_ms is None or now_ms - newest_ms <= SILENT_AFTER_MS:
        return {}
    return {"silent_ms": now_ms - newest_ms}


@dataclass(frozen=True, slots=True)
class _Part:
    """A search for a panel: `panel` with its figures, for the figures of the panel `of`."""

    of: str
    kind: Kind
    panel: Panel


@dataclass(frozen=True, slots=True)
class _Request:
    """What is requested of a dashboard, and the ends of its data in epoch ms."""

    requested: Query
    stream_end_ms: int
    now_ms: int
    calendar: Calendar
    money: MoneyFormat

    def end(self, panel: Panel) -> int:
        """Return the end of the documents of a panel, epoch ms."""
        return self.now_ms if panel.data.wall else self.stream_end_ms

    def span(self, panel: Panel) -> Span:
        """Return the time range of the dashboard for a panel."""
        return self.requested.span_to(self.end(panel), self.calendar)

    def compares(self, panel: Panel) -> bool:
        """Return whether figures of another time range are requested for a panel."""
        return self.requested.compare is not None and is_compared(panel)

    def compares_values(self, panel: Panel) -> bool:
        """Return whether the comparison of a panel waits for the values that the panel shows."""
        return self.compares(panel) and needs_values(panel)

    def parts(self, panel: Panel) -> list[_Part]:
        """Return the searches of the first round for a panel."""
        parts = [_Part(panel.id, "main", panel)]
        if self.compares(panel) and not needs_values(panel):
            parts.append(_Part(panel.id, "compare", panel))
        if (layer := layer_panel(panel)) is not None:
            parts.append(_Part(panel.id, "layer", layer))
        if (as_of := as_of_panel(panel)) is not None:
            parts.append(_Part(panel.id, "as_of", as_of))
        return parts

    def body(self, part: _Part, table: Table = ()) -> Json:
        """Return the body of a search; `table` is the panel's table if the search compares its values."""
        span, filters = self.span(part.panel), self.requested.filters
        if part.kind != "compare":
            return query(part.panel, span, filters, self.calendar, spark=part.kind == "main" and has_spark(part.panel))
        other = self.requested.compared_span(span, self.calendar)
        assert other is not None
        shown = () if isinstance(table, ShopstreamError) else table
        return comparison_query(part.panel, span, other, shown, filters, self.calendar)

    def figures(self, panel: Panel, table: Table, responses: Responses) -> Json:
        """Return the figures of a panel as JSON, or its error."""
        try:
            main = _usable(table)
            response = responses[panel.id, "main"]
            assert not isinstance(response, ShopstreamError)
            return {
                "hits": int(response.get("hits", {}).get("total", {}).get("value", 0)),
                "rows": _listed(panel, main, self.money),
                **self._partial(panel, main),
                **({"approximate": True} if is_approximate(panel, response) else {}),
                **(self._spark(panel, response) if has_spark(panel) else {}),
                **(self._compare(panel, main, responses) if self.compares(panel) else {}),
                **(self._layer(panel, responses) if panel.layer is not None else {}),
            }
        except ShopstreamError as error:
            return {"problem": error.message, "remedy": error.remedy}

    def _partial(self, panel: Panel, table: Sequence[Row]) -> Json:
        """Return `partial`: the intervals of a panel's time axis that are cut at its start or not over."""
        axis = next((dimension for dimension in panel.dimensions if isinstance(dimension, Time)), None)
        if panel.data.whole or axis is None:
            return {}
        own = span_of(panel, self.span(panel))
        step = interval(axis.every, own)
        return {"partial": self._cut(sorted({row[axis.label] for row in table}), step, panel, own)}

    def _cut(self, starts: Sequence[int], step: Unit | int, panel: Panel, own: Span) -> list[int]:
        end_ms = min(self.end(panel), own.to_ms)
        edges = {*starts[:1], *starts[-1:]}
        return sorted(one for one in edges if one < own.from_ms or bucket_end(one, step, self.calendar) > end_ms)

    def _spark(self, panel: Panel, response: Mapping[str, Any]) -> Json:
        own, figure = self.span(panel), panel.measures[0]
        points = [[start, _number(figure, row, self.money)] for start, row in sparks(panel, response)]
        cut = self._cut([start for start, _ in points], spark_interval(own), panel, own)
        return {"spark": points, "spark_partial": cut}

    def _compare(self, panel: Panel, main: Sequence[Row], responses: Responses) -> Json:
        response = responses[panel.id, "compare"]
        if isinstance(response, ShopstreamError):
            raise response
        span = self.span(panel)
        other = self.requested.compared_span(span, self.calendar)
        assert other is not None
        # days that are compared with may not be over either
        known = Span(other.from_ms, min(other.to_ms, self.end(panel)))
        compared = aligned(panel, main, response, span, known, self.calendar)
        figures = _listed(panel, compared.rows, self.money)
        return {"compare": {"rows": figures, "own_keys": dict(compared.own_keys), "partial": compared.partial}}

    def _layer(self, panel: Panel, responses: Responses) -> Json:
        layer, as_of = layer_panel(panel), as_of_panel(panel)
        assert layer is not None
        table = _usable(_table(layer, responses[panel.id, "layer"]))
        drawn = [row for row in table if any(row[figure.label] is not None for figure in layer.measures)]
        when = None
        if as_of is not None:
            (row,) = _usable(_table(as_of, responses[panel.id, "as_of"]))
            when = row[as_of.measures[0].label]
        return {"layer": {"rows": _listed(layer, drawn, self.money), "as_of": when}}


def _table(panel: Panel, response: Response) -> Table:
    try:
        return rows(panel, response) if not isinstance(response, ShopstreamError) else response
    except ShopstreamError as error:
        return error


def _usable(table: Table) -> Sequence[Row]:
    if isinstance(table, ShopstreamError):
        raise table
    return table


def _listed(panel: Panel, table: Iterable[Row], money: MoneyFormat) -> list[list[Any]]:
    """Return rows as lists in the order of a panel's labels, with rounded amounts."""
    keys = [dimension.label for dimension in panel.dimensions]
    return [[*(row[key] for key in keys), *(_number(figure, row, money) for figure in panel.measures)] for row in table]


def _number(figure: Figure, row: Row, money: MoneyFormat) -> Any:
    value = row[figure.label]
    return money.number(value) if figure.unit == "money" else value


def csv_columns(panel: Panel, data: Json, requested: Query) -> tuple[list[str], list[list[Any]], list[str]]:
    """Return the table of a panel for a CSV file: labels, rows and units of its columns.

    A requested comparison has one more column for each figure, and on a time axis one for the start of its interval.

    Args:
        panel: panel of the table.
        data: figures of the panel as in `board_data`, without a problem.
        requested: the request that they answer.
    """
    parts = [*panel.dimensions, *panel.measures]
    labels, units = [part.label for part in parts], [unit_of(part) for part in parts]
    if "compare" not in data or requested.compare is None:
        return labels, data["rows"], units
    words, depth = COMPARISONS[requested.compare], len(panel.dimensions)
    own_keys = data["compare"]["own_keys"]
    compared = {tuple(row[:depth]): row[depth:] for row in data["compare"]["rows"]}
    time = next((n for n, dimension in enumerate(panel.dimensions) if isinstance(dimension, Time)), None)
    table = []
    for row in data["rows"]:
        start = [] if time is None else [own_keys.get(row[time])]
        table.append([*row, *start, *compared.pop(tuple(row[:depth]), [None] * len(panel.measures))])
    for key, figures in compared.items():
        start = [] if time is None else [own_keys.get(key[time])]
        table.append([*key, *([None] * len(panel.measures)), *start, *figures])
    times = [] if time is None else [f"{panel.dimensions[time].label}, {words}"]
    more = [f"{figure.label}, {words}" for figure in panel.measures]
    return [*labels, *times, *more], table, [*units, *(["time"] * len(times)), *units[depth:]]


def choices(dashboard: Dashboard, search: Searches) -> Json:
    """Return the values of each filter of a dashboard, the most frequent first.

    Raises:
        ShopstreamError: Elasticsearch does not answer.
    """
    responses = search.many([(control.data.index, _values(control)) for control in dashboard.controls])
    values: Json = {}
    for control, response in zip(dashboard.controls, complete(responses), strict=True):
        buckets = response.get("aggregations", {}).get("values", {}).get("buckets", ())
        keys = [str(bucket.get("key_as_string", bucket["key"])) for bucket in buckets]
        values[control.field] = [key for key in keys if len(key) <= CHOICE_CHARS_MAX]
    return values


def complete(responses: Sequence[Mapping[str, Any] | ShopstreamError]) -> list[Mapping[str, Any]]:
    """Return the responses if all of them are present and complete.

    Raises:
        ShopstreamError: a response is missing or incomplete.
    """
    completed = []
    for response in responses:
        if isinstance(response, ShopstreamError):
            raise response
        check_complete(response)
        completed.append(response)
    return completed


def _values(control: Control) -> Json:
    return {"size": 0, "aggs": {"values": {"terms": {"field": control.field, "size": VALUES_MAX}}}}
