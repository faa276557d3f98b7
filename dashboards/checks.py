"""Each panel's search against a running Elasticsearch: does it answer, with data, from fields of a fitting type?"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from dashboards.panels import Dashboard, Data, Panel, Span
from dashboards.queries import fields_of, query, rows
from features.errors import ShopstreamError
from features.schema import FieldKind

Search = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Index without the run and body of a search -> Elasticsearch's answer; raises ShopstreamError. An index that is not
there answers without aggregations."""
Timer = Callable[[], float]
"""Seconds since whenever."""

State = Literal["PASS", "EMPTY", "FAIL"]

TYPES: Final[dict[FieldKind, frozenset[str]]] = {
    "string": frozenset({"keyword"}),
    "strings": frozenset({"keyword"}),
    "int": frozenset({"long", "integer", "short", "byte"}),
    "float": frozenset({"double", "float", "scaled_float"}),
    "bool": frozenset({"boolean"}),
    "time": frozenset({"date"}),
}
"""Kind of a field -> types of Elasticsearch that hold it."""


class Clock(Protocol):
    """Where time ranges end."""

    def __call__(self, data: Data) -> int:
        """The end of the time range of panels over these documents, epoch ms."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one panel.

    Attributes:
        dashboard: its id.
        panel: its id.
        index: that was asked.
        state: `EMPTY` where no document met the panel's conditions.
        ms: median of the times from question to answer; 0 where nothing was asked.
        hits: documents that met its conditions.
        rows: of the answer.
        why: what is wrong, or missing.
    """

    dashboard: str
    panel: str
    index: str
    state: State
    ms: float = 0.0
    hits: int = 0
    rows: int = 0
    why: str = ""


def newest(search: Search, data: Data) -> int | None:
    """The newest time of a set of documents, epoch ms; None where there is none."""
    body = {"size": 0, "aggs": {"newest": {"max": {"field": data.time_field}}}}
    value = search(data.index, body).get("aggregations", {}).get("newest", {}).get("value")
    return None if value is None else int(value)


def ends(search: Search, stream: Sequence[Data], wall: Data) -> Clock:
    """Time ranges that end just after the newest document: of `stream` for event times, of `wall` for the wall clock.

    So a shop whose history ends in the past is seen as it was then.
    """
    seen = [found for found in (newest(search, data) for data in stream) if found is not None]
    stream_end, wall_end = max(seen, default=0) + 1, (newest(search, wall) or 0) + 1

    def end(data: Data) -> int:
        return wall_end if data.wall else stream_end

    return end


def check(
    dashboards: Sequence[Dashboard],
    search: Search,
    end: Clock,
    timer: Timer,
    types: Mapping[str, Mapping[str, str]] | None = None,
    kinds: Mapping[str, Mapping[str, FieldKind]] | None = None,
    repeat: int = 1,
) -> list[Checked]:
    """Runs the search of every panel, over the time range that its dashboard opens with.

    Args:
        dashboards: the declaration.
        search: asks Elasticsearch.
        end: where time ranges end.
        timer: measures a search.
        types: index -> field -> type in the running Elasticsearch; with `kinds`, fields are held against them.
        kinds: index -> field -> declared kind.
        repeat: how often each search runs.
    """
    found = []
    for dashboard in dashboards:
        for panel in dashboard.panels:
            wrong = _wrong_types(panel, (types or {}).get(panel.data.index), (kinds or {}).get(panel.data.index))
            span = Span.ending(end(panel.data), dashboard.days)
            found.append(
                Checked(dashboard.id, panel.id, panel.data.index, "FAIL", why=wrong)
                if wrong
                else _asked(dashboard, panel, search, span, timer, repeat)
            )
    return found


def _asked(dashboard: Dashboard, panel: Panel, search: Search, span: Span, timer: Timer, repeat: int) -> Checked:
    body = query(panel, span)
    times: list[float] = []
    response: Mapping[str, Any] = {}
    try:
        for _ in range(repeat):
            before = timer()
            response = search(panel.data.index, body)
            times.append((timer() - before) * 1_000)
        answer = rows(panel, response)
    except ShopstreamError as error:
        return Checked(dashboard.id, panel.id, panel.data.index, "FAIL", why=str(error))
    hits = int(response.get("hits", {}).get("total", {}).get("value", 0))
    figures = [row[figure.label] for row in answer for figure in panel.measures]
    told = Checked(
        dashboard.id, panel.id, panel.data.index, "PASS", round(statistics.median(times), 1), hits, len(answer)
    )
    if not panel.may_be_empty and (hits == 0 or all(value is None for value in figures)):
        return Checked(**{**_fields(told), "state": "EMPTY", "why": _why_empty(panel, hits)})
    return told


def _fields(checked: Checked) -> dict[str, Any]:
    return {name: getattr(checked, name) for name in Checked.__slots__}


def _why_empty(panel: Panel, hits: int) -> str:
    if hits:
        return "documents, and none with a value"
    timed = " in its time range" if panel.data.time_field is not None else ""
    return f"no document of {panel.data.index}{timed} meets its conditions"


def _wrong_types(panel: Panel, types: Mapping[str, str] | None, kinds: Mapping[str, FieldKind] | None) -> str:
    if not types or kinds is None:
        return ""  # an index that is not there yet is empty, not wrong
    for field in fields_of(panel):
        if field not in types:
            return f"the mapping of {panel.data.index} has no field {field}"
        if types[field] not in TYPES.get(kinds[field], frozenset()):
            return f"{field} of {panel.data.index} is a {types[field]}, where {kinds[field]} was declared"
    return ""


# --- the file for Kibana ----------------------------------------------------------------------------------------------


def unresolved(saved: Sequence[Mapping[str, Any]]) -> list[str]:
    """References of saved objects that lead to nothing in the same file, and ids that stand twice."""
    there = [(one["type"], one["id"]) for one in saved]
    found = [f"{kind} {name} stands twice" for kind, name in sorted({key for key in there if there.count(key) > 1})]
    for one in saved:
        found += [
            f"{one['type']} {one['id']}: there is no {reference['type']} {reference['id']} ({reference['name']})"
            for reference in one["references"]
            if (reference["type"], reference["id"]) not in there
        ]
    return found
