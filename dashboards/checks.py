"""Checks each panel's search in a running Elasticsearch: it answers, returns data, and uses fields of fitting types."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from dashboards.boards.data import EVENTS, ORDERS, SESSIONS
from dashboards.comparisons import aligned, comparison_query, days_before, is_compared
from dashboards.panels import Dashboard, Data, Panel, Span, as_of_panel, layer_panel
from dashboards.queries import fields_of, has_spark, query, rows
from features.calendar import UTC_CALENDAR, Calendar
from features.errors import ShopstreamError
from features.schema import FieldKind

Search = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Index without the run and body of a search -> Elasticsearch's response; raises ShopstreamError. The response for a
missing index has no aggregations."""
Timer = Callable[[], float]
"""Seconds since an arbitrary start."""

State = Literal["PASS", "EMPTY", "FAIL"]

TYPES: Final[dict[FieldKind, frozenset[str]]] = {
    "string": frozenset({"keyword"}),
    "strings": frozenset({"keyword"}),
    "int": frozenset({"long", "integer", "short", "byte"}),
    "float": frozenset({"double", "float", "scaled_float"}),
    "bool": frozenset({"boolean"}),
    "time": frozenset({"date"}),
}
"""Kind of a field -> Elasticsearch types that can hold it."""


class Clock(Protocol):
    """Returns the end of time ranges."""

    def __call__(self, data: Data) -> int:
        """Return the end of the time range for panels over these documents, epoch ms."""
        ...


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of the check of one panel.

    Attributes:
        dashboard: id of the dashboard.
        panel: id of the panel.
        index: index that was searched.
        state: `EMPTY` if no document meets the panel's conditions.
        ms: median of the response times; 0 if no search ran.
        hits: number of documents that meet the conditions.
        rows: number of rows in the response.
        why: description of what is wrong or missing.
        compared_ms: median of the response times of the search over the previous period; 0 if the panel has none.
    """

    dashboard: str
    panel: str
    index: str
    state: State
    ms: float = 0.0
    hits: int = 0
    rows: int = 0
    why: str = ""
    compared_ms: float = 0.0


def newest_search(data: Data, field: str) -> tuple[str, Mapping[str, Any]]:
    """Return the index and the body of the search for the newest time of a set of documents."""
    return data.index, {"size": 0, "aggs": {"newest": {"max": {"field": field}}}}


def newest_of(response: Mapping[str, Any]) -> int | None:
    """Return the newest time of a set of documents from the response, epoch ms; None if there is none."""
    value = response.get("aggregations", {}).get("newest", {}).get("value")
    return None if value is None else int(value)


def newest(search: Search, data: Data) -> int | None:
    """Return the newest time in a set of documents, epoch ms; None if there is none."""
    return newest_of(search(*newest_search(data, str(data.time_field))))


def end_searches() -> list[tuple[str, Mapping[str, Any]]]:
    """Return the searches for the newest event times, as index without the run and body."""
    return [newest_search(EVENTS, "ts"), newest_search(SESSIONS, "last_ts"), newest_search(ORDERS, "ts")]


def first_searches() -> list[tuple[str, Mapping[str, Any]]]:
    """Return the searches for the first event times, as index without the run and body."""
    fields = ((EVENTS, "ts"), (SESSIONS, "start_ts"), (ORDERS, "ts"))
    return [(data.index, {"size": 0, "aggs": {"first": {"min": {"field": field}}}}) for data, field in fields]


def stream_start(responses: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the first event time, epoch ms, from the responses to `first_searches`; None if there is no document."""
    values = [response.get("aggregations", {}).get("first", {}).get("value") for response in responses]
    return min((int(value) for value in values if value is not None), default=None)


def stream_end(responses: Sequence[Mapping[str, Any]]) -> int:
    """Return the end of event times, exclusive, epoch ms, from the responses to `end_searches`.

    Sessions and events are written by different workers from the same records. So the time ranges end with the index
    that is behind. Orders are rarer: their newest time counts only if it is the newest of all.
    """
    events, sessions, orders = (newest_of(response) for response in responses)
    clicks = min((time for time in (events, sessions) if time is not None), default=0)
    return max(clicks, orders or 0) + 1


def ends(search: Search, wall: Data) -> Clock:
    """Return a clock whose time ranges end just after the newest document.

    Event times end as in `stream_end`, wall-clock times with the documents of `wall`. A shop whose history ends in the
    past is therefore shown as of its end.
    """
    stream_end_ms = stream_end([search(*one) for one in end_searches()])
    wall_end_ms = (newest(search, wall) or 0) + 1

    def end(data: Data) -> int:
        return wall_end_ms if data.wall else stream_end_ms

    return end


def check(
    dashboards: Sequence[Dashboard],
    search: Search,
    end: Clock,
    timer: Timer,
    types: Mapping[str, Mapping[str, str]] | None = None,
    kinds: Mapping[str, Mapping[str, FieldKind]] | None = None,
    repeat: int = 1,
    calendar: Calendar = UTC_CALENDAR,
) -> list[CheckResult]:
    """Run the searches of every panel: its figures over the default time range, the previous period, and its layer.

    Args:
        dashboards: dashboards of the declaration.
        search: function that queries Elasticsearch.
        end: clock that returns the end of time ranges.
        timer: timer that measures a search.
        types: index -> field -> type in the running Elasticsearch; compared with `kinds` if both are given.
        kinds: index -> field -> declared kind.
        repeat: number of runs of each search.
        calendar: calendar of time axes and of the previous period.
    """
    runs = _Runs(search, timer, repeat)
    results = []
    for dashboard in dashboards:
        for panel in dashboard.panels:
            parts = [one for one in (panel, layer_panel(panel), as_of_panel(panel)) if one is not None]
            wrong = [
                _wrong_types(one, (types or {}).get(one.data.index), (kinds or {}).get(one.data.index)) for one in parts
            ]
            errors = [one for one in wrong if one]
            span = Span.ending(end(panel.data), dashboard.days)
            results.append(
                CheckResult(dashboard.id, panel.id, panel.data.index, "FAIL", why=errors[0])
                if errors
                else _run_searches(dashboard, panel, runs, span, calendar)
            )
    return results


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs searches several times.

    Attributes:
        search: function that queries Elasticsearch.
        timer: timer that measures a search.
        repeat: number of runs of each search.
    """

    search: Search
    timer: Timer
    repeat: int

    def of(self, panel: Panel, body: Mapping[str, Any]) -> tuple[float, Mapping[str, Any]]:
        """Return the median time of a search in ms, and its response. Raises ShopstreamError."""
        times: list[float] = []
        response: Mapping[str, Any] = {}
        for _ in range(self.repeat):
            before = self.timer()
            response = self.search(panel.data.index, body)
            times.append((self.timer() - before) * 1_000)
        return round(statistics.median(times), 1), response


def _run_searches(dashboard: Dashboard, panel: Panel, runs: _Runs, span: Span, calendar: Calendar) -> CheckResult:
    compared_ms = 0.0
    try:
        ms, response = runs.of(panel, query(panel, span, None, calendar, spark=has_spark(panel)))
        table = rows(panel, response)
        if is_compared(panel):
            previous = days_before(span, dashboard.days, calendar)
            body = comparison_query(panel, span, previous, table, None, calendar)
            compared_ms, other = runs.of(panel, body)
            aligned(panel, table, other, span, previous, calendar)
        for part in (layer_panel(panel), as_of_panel(panel)):
            if part is not None:
                rows(part, runs.of(part, query(part, span, None, calendar))[1])
    except ShopstreamError as error:
        return CheckResult(dashboard.id, panel.id, panel.data.index, "FAIL", why=str(error))
    hits = int(response.get("hits", {}).get("total", {}).get("value", 0))
    figures = [row[figure.label] for row in table for figure in panel.measures]
    result = CheckResult(
        dashboard.id, panel.id, panel.data.index, "PASS", ms, hits, len(table), compared_ms=compared_ms
    )
    if not panel.may_be_empty and (hits == 0 or all(value is None for value in figures)):
        return CheckResult(**{**_fields(result), "state": "EMPTY", "why": _why_empty(panel, hits)})
    return result


def _fields(result: CheckResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in CheckResult.__slots__}


def _why_empty(panel: Panel, hits: int) -> str:
    if hits:
        return "there are documents, but none has a value"
    timed = " in its time range" if panel.data.time_field is not None else ""
    return f"no document of {panel.data.index}{timed} meets its conditions"


def _wrong_types(panel: Panel, types: Mapping[str, str] | None, kinds: Mapping[str, FieldKind] | None) -> str:
    if not types or kinds is None:
        return ""  # an index that does not exist yet is empty, not wrong
    for field in fields_of(panel):
        if field not in types:
            return f"the mapping of {panel.data.index} has no field {field}"
        if types[field] not in TYPES.get(kinds[field], frozenset()):
            return f"{field} of {panel.data.index} is a {types[field]}, where {kinds[field]} was declared"
    return ""
