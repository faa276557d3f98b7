"""What Elasticsearch is asked for the summary: counts, funnel, revenue by month, top products, scores.

Only aggregations that the core modules have: no scripts, no pipelines.
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
"""A rules file may name more; the largest are shown."""


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    """Documents of a run.

    Attributes:
        indices: by index, without the run's name; lines made void are not counted.
        with_profile: customers whose document has a profile.
        order_lines: the lines that the documents of the orders say they have.
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
    """What a product sold, over all orders that stand."""

    product_id: str
    category: str
    lines: int
    units: int
    revenue: float


@dataclass(frozen=True, slots=True)
class Group:
    """Customers who share a risk band or a segment.

    Attributes:
        name: of it; empty for those who have none.
        customers: how many.
        churn: mean churn probability of those who have one; None: nobody has.
        revenue: of the last 365 days, the sum.
    """

    name: str
    customers: int
    churn: float | None
    revenue: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What a bundle says of the customers.

    Attributes:
        customers: documents with its scores.
        risks: by band, the highest first; customers without an order have none.
        segments: the largest first.
        alerts: documents of alerts, of every bundle.
    """

    customers: int
    risks: list[Group]
    segments: list[Group]
    alerts: int


def refresh(client: Elasticsearch, run: str) -> None:
    """Makes all that was written visible to the searches that follow."""
    with failures_told("A search"):
        client.indices.refresh(
            index=[*_aliases(run), *(alias(run, index) for index in ("alerts", *TREND_KEYS))], ignore_unavailable=True
        )


def document_counts(client: Elasticsearch, run: str) -> DocumentCounts:
    """How many documents each index has."""
    with failures_told("A search"):
        indices = {
            index: int(client.count(index=alias(run, index), query=query, ignore_unavailable=True)["count"])
            for index, query in ((index, _query_of(index)) for index in INDICES)
        }
        profiled = client.count(index=alias(run, "customers"), query={"exists": {"field": "signup_ts"}})["count"]
    lines = _aggregate(client, run, "orders", {"lines": {"sum": {"field": "items"}}})["lines"]["value"]
    return DocumentCounts(indices, int(profiled), int(lines))


def funnel(client: Elasticsearch, run: str) -> list[tuple[str, int]]:
    """Each stage with the sessions whose furthest stage is that one or a later one."""
    body = {"stages": {"terms": {"field": "stage", "size": len(STAGES)}}}
    found = {b["key"]: int(b["doc_count"]) for b in _aggregate(client, run, "sessions", body)["stages"]["buckets"]}
    return [(stage, sum(found.get(later, 0) for later in STAGES[place:])) for place, stage in enumerate(STAGES)]


def revenue_by_month(client: Elasticsearch, run: str) -> list[MonthRevenue]:
    """Months in their order, by the UTC month of the order."""
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
    """The products of the highest revenue."""
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
    """How the customers whose documents a bundle has scored fall into bands and segments.

    Args:
        client: of Elasticsearch.
        run: the run.
        bundle: its name.
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
    """Documents of what is computed from archives, by index without the run's name; 0 where there is none."""
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
    # an index pattern that matches nothing gives an answer without aggregations
    empty: dict[str, Any] = {name: {"buckets": [], "value": 0} for name in aggregations}
    found: dict[str, Any] = answer.body.get("aggregations", empty)
    return found


def _aliases(run: str) -> list[str]:
    return [alias(run, index) for index in INDICES]
