"""Checks each panel's search in a running Elasticsearch: it answers, returns data, and uses fields of fitting types."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from dashboards.boards.data import EVENTS, ORDERS, SESSIONS
from dashboards.panels import Dashboard, Data, Panel, Span
from dashboards.queries import fields_of, query, rows
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
    """

    dashboard: str
    panel: str
    index: str
    state: State
    ms: float = 0.0
    hits: int = 0
    rows: int = 0
    why: str = ""


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
    """Run the search of every panel over the default time range of its dashboard.

    Args:
        dashboards: dashboards of the declaration.
        search: function that queries Elasticsearch.
        end: clock that returns the end of time ranges.
        timer: timer that measures a search.
        types: index -> field -> type in the running Elasticsearch; compared with `kinds` if both are given.
        kinds: index -> field -> declared kind.
        repeat: number of runs of each search.
        calendar: calendar of time axes.
    """
    results = []
    for dashboard in dashboards:
        for panel in dashboard.panels:
            wrong = _wrong_types(panel, (types or {}).get(panel.data.index), (kinds or {}).get(panel.data.index))
            body = query(panel, Span.ending(end(panel.data), dashboard.days), None, calendar)
            results.append(
                CheckResult(dashboard.id, panel.id, panel.data.index, "FAIL", why=wrong)
                if wrong
                else _run_search(dashboard, panel, search, body, timer, repeat)
            )
    return results


def _run_search(
    dashboard: Dashboard, panel: Panel, search: Search, body: Mapping[str, Any], timer: Timer, repeat: int
) -> CheckResult:
    times: list[float] = []
    response: Mapping[str, Any] = {}
    try:
        for _ in range(repeat):
            before = timer()
            response = search(panel.data.index, body)
            times.append((timer() - before) * 1_000)
        table = rows(panel, response)
    except ShopstreamError as error:
        return CheckResult(dashboard.id, panel.id, panel.data.index, "FAIL", why=str(error))
    hits = int(response.get("hits", {}).get("total", {}).get("value", 0))
    figures = [row[figure.label] for row in table for figure in panel.measures]
    result = CheckResult(
        dashboard.id, panel.id, panel.data.index, "PASS", round(statistics.median(times), 1), hits, len(table)
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
