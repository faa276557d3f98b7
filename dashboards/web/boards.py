"""Provides the declaration to the page's script, and the data of one dashboard. Pure except for the given search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from connectors.formats.money_format import NO_CURRENCY, PLAIN_MONEY, MoneyFormat
from dashboards.boards.data import EVENTS, ORDERS, PIPELINE, SESSIONS
from dashboards.checks import ends
from dashboards.panels import GRID_COLUMNS, PALETTE, Control, Dashboard, Dimension, Figure, Panel, Span, Steps, Time
from dashboards.queries import bucket_end, interval, query, rows, span_of
from dashboards.web.parameters import VALUES_MAX, Query
from features.calendar import UTC_CALENDAR, Calendar
from features.errors import ShopstreamError
from features.schema import DEVICES, EVENT_TYPES, STAGES, STATUSES
from features.scores.score import RISKS

Json = dict[str, Any]

FILLED_BY: Final = {
    "segments-daily": "`shopstream rollup` fills it from an archive.",
    "cohorts": "`shopstream rollup` fills it from an archive.",
    "second-orders": "`shopstream rollup` fills it from an archive.",
    "movement": "`shopstream rollup` fills it from an archive.",
    "forecast": "`shopstream forecast --index` fills it.",
    "alerts": "Alerts are written when a customer's churn risk rises; `shopstream train` creates the scores.",
    "pipeline": "A running `shopstream consume` writes it.",
}
"""Index -> remedy for an empty panel over it; for all other indices: consume events."""
FILLED_BY_STREAM: Final = "Choose a longer time range or fewer filters; `shopstream consume` fills it."
ORDERS_OF: Final = {
    "churn_risk": RISKS,
    "stage": STAGES,
    "status": STATUSES,
    "device": DEVICES,
    "event_type": EVENT_TYPES,
}
"""Field -> its values in the order of series and their colours. Other fields are sorted by value."""
COLOURS_OF: Final = {"churn_risk": {risk: f"var(--churn_risk-{risk})" for risk in RISKS}}
"""Field -> value -> colour: steps of one hue, defined in static/page.css for the light and the dark theme."""
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


def declaration(dashboards: Sequence[Dashboard], run: str, money: MoneyFormat) -> Json:
    """Return everything that the page needs before its first search."""
    return {
        "run": run,
        "money": {
            "currency": money.currency,
            "locale": money.locale,
            "decimals": money.decimals,
            "note": "" if money.currency else NO_CURRENCY,
        },
        "columns": GRID_COLUMNS,
        "palette": list(PALETTE),
        "boards": [_board(dashboard) for dashboard in dashboards],
    }


def _board(dashboard: Dashboard) -> Json:
    return {
        "id": dashboard.id,
        "title": dashboard.title,
        "summary": dashboard.summary,
        "last": f"{dashboard.days}d",
        "filters": [{"label": control.label, "field": control.field} for control in dashboard.controls],
        "panels": [_panel(panel, bool(dashboard.controls)) for panel in dashboard.panels],
    }


def _panel(panel: Panel, filtered: bool) -> Json:
    notes = [panel.note] if panel.note else []
    if panel.window is not None:
        ahead = f" and the next {panel.window.ahead_days}" if panel.window.ahead_days else ""
        notes.append(f"Always the last {panel.window.back_days} days{ahead}.")
    if panel.whole_shop and filtered:
        notes.append("Shows the whole shop, whatever the filters are.")
    return {
        "id": panel.id,
        "title": panel.title,
        "definition": panel.definition,
        "note": " ".join(notes),
        "chart": panel.chart,
        "data": panel.data.index,
        "position": [panel.position.x, panel.position.y, panel.position.w, panel.position.h],
        "dimensions": [_dimension(dimension) for dimension in panel.dimensions],
        "measures": [{"label": figure.label, "unit": figure.unit} for figure in panel.measures],
        "empty": FILLED_BY.get(panel.data.index, FILLED_BY_STREAM),
    }


def _dimension(dimension: Dimension) -> Json:
    kind = "time" if isinstance(dimension, Time) else "steps" if isinstance(dimension, Steps) else "terms"
    field = getattr(dimension, "field", "")
    return {
        "label": dimension.label,
        "kind": kind,
        "field": field,
        "order": ORDERS_OF.get(field, ()),
        "colours": COLOURS_OF.get(field),
    }


def board_data(
    dashboard: Dashboard,
    requested: Query,
    search: Searches,
    now_ms: int,
    calendar: Calendar = UTC_CALENDAR,
    money: MoneyFormat = PLAIN_MONEY,
) -> Json:
    """Return the rows of every panel of a dashboard, with one round of searches.

    Args:
        dashboard: dashboard to fill.
        requested: time range and filters.
        search: function that queries Elasticsearch.
        now_ms: wall-clock time, epoch ms, for the age of the data.
        calendar: calendar of days, weeks and months.
        money: format of amounts.

    Raises:
        ShopstreamError: Elasticsearch does not answer.
    """
    end = ends(search, (EVENTS, ORDERS, SESSIONS), PIPELINE)
    spans = {panel.id: requested.span_to(end(panel.data), calendar) for panel in dashboard.panels}
    bodies = [
        (panel.data.index, query(panel, spans[panel.id], requested.filters, calendar)) for panel in dashboard.panels
    ]
    responses = search.many(bodies)
    span = requested.span_to(end(EVENTS), calendar)
    return {
        "id": dashboard.id,
        "now_ms": now_ms,
        "newest_ms": end(EVENTS) - 1 or None,
        "from_ms": span.from_ms,
        "to_ms": span.to_ms,
        "panels": {
            panel.id: _with_partial(
                panel_data(panel, response, money), panel, spans[panel.id], end(panel.data), calendar
            )
            for panel, response in zip(dashboard.panels, responses, strict=True)
        },
    }


def _with_partial(data: Json, panel: Panel, span: Span, end_ms: int, calendar: Calendar) -> Json:
    """Add `partial` to the rows of a panel: the intervals of its time axis that are cut at its start or not over.

    Args:
        data: rows of the panel, or its error.
        panel: panel of the rows.
        span: time range of the panel.
        end_ms: end of the data, exclusive, epoch ms.
        calendar: calendar of the axis.
    """
    positions = [n for n, dimension in enumerate(panel.dimensions) if isinstance(dimension, Time)]
    if panel.data.whole or not positions or "rows" not in data:
        return data
    dimension = panel.dimensions[positions[0]]
    assert isinstance(dimension, Time)
    own = span_of(panel, span)
    step = interval(dimension.every, own)
    keys = sorted({row[positions[0]] for row in data["rows"]})
    end_ms = min(end_ms, span.to_ms)
    edges = {*keys[:1], *keys[-1:]}
    return data | {
        "partial": sorted(key for key in edges if key < own.from_ms or bucket_end(key, step, calendar) > end_ms)
    }


def panel_data(panel: Panel, response: Mapping[str, Any] | ShopstreamError, money: MoneyFormat = PLAIN_MONEY) -> Json:
    """Return the rows of a panel as lists in the order of its labels, with rounded amounts, or the error."""
    try:
        if isinstance(response, ShopstreamError):
            raise response
        table = rows(panel, response)
    except ShopstreamError as error:
        return {"problem": error.message, "remedy": error.remedy}
    hits = int(response.get("hits", {}).get("total", {}).get("value", 0))
    amounts = {figure.label for figure in panel.measures if figure.unit == "money"}
    return {
        "hits": hits,
        "rows": [
            [money.number(row[label]) if label in amounts else row[label] for label in panel.labels] for row in table
        ],
    }


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
        ShopstreamError: a response is missing or partial.
    """
    completed = []
    for response in responses:
        if isinstance(response, ShopstreamError):
            raise response
        if response.get("timed_out") or response.get("_shards", {}).get("failed"):
            raise ShopstreamError("Elasticsearch returned a partial response.", "It is overloaded: try again.")
        completed.append(response)
    return completed


def _values(control: Control) -> Json:
    return {"size": 0, "aggs": {"values": {"terms": {"field": control.field, "size": VALUES_MAX}}}}


def unit_of(part: Dimension | Figure) -> str:
    """Return the unit of a column of a panel; `text` for values of a field."""
    return "time" if isinstance(part, Time) else str(getattr(part, "unit", "text"))
