"""Queries Elasticsearch for the summary: counts of documents, and the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from elasticsearch import Elasticsearch

from connectors.elasticsearch.client import translate_errors
from connectors.elasticsearch.mappings import alias
from connectors.elasticsearch.search import Searcher
from consumers.index_definitions import INDICES
from dashboards.boards.data import CUSTOMERS, ORDER_ITEMS, ORDERS, SESSIONS, SOLD, reached
from dashboards.checks import newest_of, newest_search
from dashboards.conditions import Is
from dashboards.panels import Measure, Panel, Position, Span, Steps, Terms, Time
from dashboards.queries import Row, query, rows
from features.calendar import Calendar
from features.schema import STAGES, TREND_KEYS, VOID_STATUS
from features.scores.score import RISKS

_NOWHERE: Final = Position(0, 0, 0, 0)
"""Unused position: the summary prints one table after the other, without a grid."""
_OF_GROUP: Final = (
    Measure("customers", "count"),
    Measure("mean churn", "avg", "churn_probability", unit="percent"),
    Measure("revenue 365d", "sum", "revenue_365d", unit="money"),
)
FUNNEL: Final = Panel(
    "funnel", "funnel: sessions whose furthest stage is this one or a later one", "How far do sessions get?",
    SESSIONS, "table", _NOWHERE, (Measure("Sessions", "count"),),
    (Steps("stage", tuple((stage, reached(stage)) for stage in STAGES)),),
)  # fmt: skip
REVENUE: Final = Panel(
    "revenue", "revenue by month of placed orders", "What was sold in each month?",
    ORDERS, "table", _NOWHERE,
    (Measure("revenue", "sum", "total", unit="money"), Measure("orders", "count")),
    (Time("month", "ts", "month"),), where=SOLD,
)  # fmt: skip
PRODUCTS: Final = Panel(
    "products", "top products by revenue", "What sells best?",
    ORDER_ITEMS, "table", _NOWHERE,
    (
        Measure("order lines", "count"), Measure("units", "sum", "quantity"),
        Measure("revenue", "sum", "amount", unit="money"),
    ),
    (Terms("product", "product_id", 10, by="revenue"), Terms("category", "category", 1, by="revenue")), where=SOLD,
)  # fmt: skip
RISK: Final = Panel(
    "risk", "customers by churn risk", "Who is at risk?", CUSTOMERS, "table", _NOWHERE, _OF_GROUP,
    (Steps("risk", tuple((risk, (Is("churn_risk", (risk,)),)) for risk in reversed(RISKS))),),
)  # fmt: skip
SEGMENTS: Final = Panel(
    "segments", "customers by segment", "Who are the customers?", CUSTOMERS, "table", _NOWHERE, _OF_GROUP,
    (Terms("segment", "segment", 100, by="customers"),),
)  # fmt: skip

_NOT_VOID: Final[dict[str, Any]] = {"bool": {"must_not": {"term": {"status": VOID_STATUS}}}}
_VALID: Final[dict[str, dict[str, Any]]] = {"order-items": _NOT_VOID}
_ORDER_LINES: Final = {"size": 0, "query": _NOT_VOID, "aggs": {"lines": {"sum": {"field": "items"}}}}


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    """Document counts of a run.

    Attributes:
        indices: documents by index, without the run's name; void lines are not counted, void orders are.
        with_profile: number of customers whose document has a profile.
        order_lines: sum of the line counts in the order documents, without void orders.
        trends: documents computed from archives, by index.
        alerts: number of alerts, of every bundle.
        scored: number of customers with scores of the current bundle; None: there is no bundle.
    """

    indices: dict[str, int]
    with_profile: int
    order_lines: int
    trends: dict[str, int]
    alerts: int
    scored: int | None


def refresh(client: Elasticsearch, run: str) -> None:
    """Refresh the indices, so that the following searches see all writes."""
    with translate_errors("A search"):
        client.indices.refresh(
            index=[alias(run, index) for index in (*INDICES, "alerts", *TREND_KEYS)], ignore_unavailable=True
        )


def document_counts(client: Elasticsearch, run: str, bundle: str | None) -> DocumentCounts:
    """Count the documents of each index, and those that `bundle` has scored."""
    return DocumentCounts(
        {index: _count(client, run, index, _VALID.get(index)) for index in INDICES},
        _count(client, run, "customers", {"exists": {"field": "signup_ts"}}),
        int(Searcher(client, run)("orders", _ORDER_LINES).get("aggregations", {}).get("lines", {}).get("value") or 0),
        trend_counts(client, run),
        _count(client, run, "alerts"),
        None if bundle is None else _count(client, run, "customers", {"term": {"bundle": bundle}}),
    )


def trend_counts(client: Elasticsearch, run: str) -> dict[str, int]:
    """Count the documents computed from archives, by index without the run's name; 0 for a missing index."""
    return {index: _count(client, run, index) for index in TREND_KEYS}


def table_rows(
    client: Elasticsearch, run: str, from_ms: int, bundle: str | None, calendar: Calendar
) -> dict[str, list[Row]]:
    """Return the rows of each panel of the summary, by the panel's id, with the names of months.

    Args:
        client: client of Elasticsearch.
        run: name of the run.
        from_ms: start of the shop's history.
        bundle: name of the bundle; only its scores count. None: no tables of scores.
        calendar: calendar of the months.
    """
    search = Searcher(client, run)
    panels = [FUNNEL, REVENUE, PRODUCTS]
    if bundle is not None:
        panels += [replace(panel, where=(Is("bundle", (bundle,)),)) for panel in (RISK, SEGMENTS)]
    searches = [newest_search(data, str(data.time_field)) for data in (ORDERS, SESSIONS)]
    newest = [newest_of(search(*one)) or 0 for one in searches]
    span = Span(from_ms, max(*newest, from_ms) + 1)
    return {
        panel.id: [
            _with_months(panel, row, calendar)
            for row in rows(panel, search(panel.data.index, query(panel, span, None, calendar)))
        ]
        for panel in panels
    }


def _with_months(panel: Panel, row: Row, calendar: Calendar) -> Row:
    """Return a row with its local month, such as `2026-05`, in place of the start of the month."""
    timed = [one.label for one in panel.dimensions if isinstance(one, Time)]
    return row | {label: calendar.date_of(row[label])[:7] for label in timed}


def _count(client: Elasticsearch, run: str, index: str, where: dict[str, Any] | None = None) -> int:
    with translate_errors("A search"):
        response = client.count(index=alias(run, index), query=where or {"match_all": {}}, ignore_unavailable=True)
    return int(response["count"])
