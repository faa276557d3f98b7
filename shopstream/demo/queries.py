"""Queries Elasticsearch for the summary: counts, funnel, revenue by month, top products, scores.

Only aggregations of the core modules: no scripts, no pipelines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from elasticsearch import Elasticsearch

from connectors.elasticsearch.client import failures_told
from connectors.elasticsearch.mappings import alias
from consumers.index_definitions import INDICES
from features.schema import STAGES, STATUSES, TREND_KEYS, VOID_STATUS
from features.scores.score import RISKS

SOLD: Final = STATUSES[0]
TOP_PRODUCTS: Final = 10
SEGMENTS_MAX: Final = 100
"""A rules file may define more segments; only the largest are shown."""


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    """Document counts of a run.

    Attributes:
        indices: documents by index, without the run's name; void lines are not counted.
        with_profile: number of customers whose document has a profile.
        order_lines: sum of the line counts in the order documents.
    """

    indices: dict[str, int]
    with_profile: int
    order_lines: int


@dataclass(frozen=True, slots=True)
class MonthRevenue:
    """Orders placed in a month (`2025-06`) that were neither cancelled nor refunded."""

    month: str
    orders: int
    revenue: float


@dataclass(frozen=True, slots=True)
class ProductSales:
    """Sales of a product, over all valid orders."""

    product_id: str
    category: str
    lines: int
    units: int
    revenue: float


@dataclass(frozen=True, slots=True)
class Group:
    """Customers who share a risk band or a segment.

    Attributes:
        name: name of the band or segment; empty for customers without one.
        customers: number of customers.
        churn: mean churn probability of the customers who have one; None: no customer has one.
        revenue: sum of the revenue of the last 365 days.
    """

    name: str
    customers: int
    churn: float | None
    revenue: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of the customers by one bundle.

    Attributes:
        customers: number of documents with its scores.
        risks: risk bands, the highest first; customers without an order have none.
        segments: segments, the largest first.
        alerts: number of alert documents, of every bundle.
    """

    customers: int
    risks: list[Group]
    segments: list[Group]
    alerts: int


def refresh(client: Elasticsearch, run: str) -> None:
    """Refresh the indices, so that the following searches see all writes."""
    with failures_told("A search"):
        client.indices.refresh(
            index=[*_aliases(run), *(alias(run, index) for index in ("alerts", *TREND_KEYS))], ignore_unavailable=True
        )


def document_counts(client: Elasticsearch, run: str) -> DocumentCounts:
    """Count the documents of each index."""
    with failures_told("A search"):
        indices = {
            index: int(client.count(index=alias(run, index), query=query, ignore_unavailable=True)["count"])
            for index, query in ((index, _query_of(index)) for index in INDICES)
        }
        profiled = client.count(index=alias(run, "customers"), query={"exists": {"field": "signup_ts"}})["count"]
    lines = _aggregate(client, run, "orders", {"lines": {"sum": {"field": "items"}}})["lines"]["value"]
    return DocumentCounts(indices, int(profiled), int(lines))


def funnel(client: Elasticsearch, run: str) -> list[tuple[str, int]]:
    """Return each stage with the number of sessions whose furthest stage is that one or a later one."""
    body = {"stages": {"terms": {"field": "stage", "size": len(STAGES)}}}
    found = {b["key"]: int(b["doc_count"]) for b in _aggregate(client, run, "sessions", body)["stages"]["buckets"]}
    return [(stage, sum(found.get(later, 0) for later in STAGES[place:])) for place, stage in enumerate(STAGES)]


def revenue_by_month(client: Elasticsearch, run: str) -> list[MonthRevenue]:
    """Return the revenue by UTC month of the order, in order of time."""
    months = {
        "date_histogram": {"field": "ts", "calendar_interval": "month", "format": "yyyy-MM", "min_doc_count": 0},
        "aggs": {"revenue": {"sum": {"field": "total"}}},
    }
    answer = _aggregate(client, run, "orders", {"months": months}, {"term": {"status": SOLD}})
    return [
        MonthRevenue(bucket["key_as_string"], int(bucket["doc_count"]), float(bucket["revenue"]["value"]))
        for bucket in answer["months"]["buckets"]
    ]


def top_products(client: Elasticsearch, run: str, size: int = TOP_PRODUCTS) -> list[ProductSales]:
    """Return the products with the highest revenue."""
    products = {
        "terms": {"field": "product_id", "size": size, "order": {"revenue": "desc"}},
        "aggs": {
            "revenue": {"sum": {"field": "amount"}},
            "units": {"sum": {"field": "quantity"}},
            "category": {"terms": {"field": "category", "size": 1}},
        },
    }
    answer = _aggregate(client, run, "order-items", {"products": products}, {"term": {"status": SOLD}})
    return [
        ProductSales(
            bucket["key"],
            next((entry["key"] for entry in bucket["category"]["buckets"]), ""),
            int(bucket["doc_count"]),
            int(bucket["units"]["value"]),
            float(bucket["revenue"]["value"]),
        )
        for bucket in answer["products"]["buckets"]
    ]


def scores(client: Elasticsearch, run: str, bundle: str) -> Scores:
    """Group the customers scored by a bundle into risk bands and segments.

    Args:
        client: client of Elasticsearch.
        run: name of the run.
        bundle: name of the bundle.
    """
    means = {"churn": {"avg": {"field": "churn_probability"}}, "revenue": {"sum": {"field": "revenue_365d"}}}
    body = {
        name: {"terms": {"field": field, "size": SEGMENTS_MAX, "missing": ""}, "aggs": means}
        for name, field in (("risks", "churn_risk"), ("segments", "segment"))
    }
    answer = _aggregate(client, run, "customers", body, {"term": {"bundle": bundle}})
    risks, segments = (
        [
            Group(b["key"], int(b["doc_count"]), b["churn"]["value"], float(b["revenue"]["value"]))
            for b in answer[name]["buckets"]
        ]
        for name in body
    )
    rank = {name: place for place, name in enumerate(RISKS)}
    with failures_told("A search"):
        alerts = client.count(index=alias(run, "alerts"), ignore_unavailable=True)["count"]
    return Scores(
        sum(group.customers for group in risks),
        sorted(risks, key=lambda group: -rank.get(group.name, -1)),
        segments,
        int(alerts),
    )


def trend_counts(client: Elasticsearch, run: str) -> dict[str, int]:
    """Count the documents computed from archives, by index without the run's name; 0 for a missing index."""
    with failures_told("A search"):
        return {
            index: int(client.count(index=alias(run, index), ignore_unavailable=True)["count"]) for index in TREND_KEYS
        }


def _query_of(index: str) -> dict[str, Any]:
    if index == "order-items":
        return {"bool": {"must_not": {"term": {"status": VOID_STATUS}}}}
    return {"match_all": {}}


def _aggregate(
    client: Elasticsearch, run: str, index: str, aggregations: dict[str, Any], query: dict[str, Any] | None = None
) -> dict[str, Any]:
    with failures_told("A search"):
        answer = client.search(
            index=alias(run, index),
            size=0,
            aggregations=aggregations,
            query=query or {"match_all": {}},
            ignore_unavailable=True,
        )
    # an index pattern that matches nothing returns no aggregations
    empty: dict[str, Any] = {name: {"buckets": [], "value": 0} for name in aggregations}
    found: dict[str, Any] = answer.body.get("aggregations", empty)
    return found


def _aliases(run: str) -> list[str]:
    return [alias(run, index) for index in INDICES]
