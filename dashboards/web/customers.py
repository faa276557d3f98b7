"""Provides the customer list behind a segment, and the history of one customer. Pure except for the given search.

No search requests names or e-mail addresses, so the page does not show them even if the index holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from connectors.formats.money_format import MoneyFormat
from dashboards.conditions import any_of
from dashboards.panels import Unit
from dashboards.queries import TIMEOUT
from dashboards.web.boards import Json, Searches, complete
from dashboards.web.csv import csv_text
from dashboards.web.parameters import filters_of, number_of, single_value
from features.calendar import Calendar
from features.definitions import FEATURES, MONEY_FIELDS
from features.errors import UsageError
from features.schema import CONTACT_FIELDS, VOID_STATUS, record_fields
from features.schema import Customer as Profile
from features.scores.score import SCORE_FIELDS

PAGE: Final = 50
PAGE_MAX: Final = 500
"""Most customers of one response."""
FIRST_MAX: Final = 9_500
"""Highest first row of a page. Elasticsearch pages no further than 10,000 into a sorted list."""
HISTORY_MAX: Final = 50
"""Most sessions, and most orders, of a customer's history: the newest ones."""
ALERTS_MAX: Final = 100
WEEKS: Final = 53
_REVENUE: Final = {"v": {"sum": {"field": "total"}}}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the customer list.

    Attributes:
        field: field of the customer's document.
        label: label of the column.
        unit: unit that defines the format; `text` is unformatted.
        help: definition of the column.
    """

    field: str
    label: str
    unit: Unit | str = "text"
    help: str = ""


_HELP: Final = {feature.name: feature.help for feature in FEATURES}

COLUMNS: Final = (
    Column("customer_id", "Customer"),
    Column("segment", "Segment"),
    Column("churn_risk", "Risk"),
    Column("churn_probability", "Churn probability", "percent"),
    Column("revenue_365d", "Revenue of a year", "money", _HELP["revenue_365d"]),
    Column("orders_365d", "Orders in a year", "count", _HELP["orders_365d"]),
    Column("recency_days", "Days since order", "days", _HELP["recency_days"]),
    Column("days_since_visit", "Days since visit", "days", _HELP["days_since_visit"]),
    Column("purchase_probability_30d", "Buys within 30 days", "percent"),
    Column("country", "Country"),
    Column("churn_reasons", "Reasons"),
    Column("recommended_action", "Action"),
)
FILTERS: Final = (
    Column("segment", "Segment"),
    Column("churn_risk", "Risk"),
    Column("recommended_action", "Action"),
    Column("churn_reasons", "Reason"),
    Column("country", "Country"),
    Column("acquisition_channel", "Channel"),
    Column("top_category_90d", "Category"),
)
_UNSORTED: Final = frozenset({"churn_reasons"})
SHOWN: Final = (
    *(field.name for field in record_fields(Profile) if field.name not in CONTACT_FIELDS),
    "as_of",
    *(feature.name for feature in FEATURES),
    *(field.name for field in SCORE_FIELDS),
    "bundle",
)
"""Fields of a customer's document in the customer's history."""


def declaration() -> Json:
    """Return the columns and filters of the list for the page."""
    return {
        "customers": {
            "columns": [
                {"field": c.field, "label": c.label, "unit": c.unit, "help": c.help, "sorted": c.field not in _UNSORTED}
                for c in COLUMNS
            ],
            "filters": [{"field": c.field, "label": c.label} for c in FILTERS],
            "page": PAGE,
        },
        "features": {feature.name: feature.help for feature in FEATURES},
        "amounts": sorted(MONEY_FIELDS),
    }


# --- the list ---------------------------------------------------------------------------------------------------------


def customers(parameters: Mapping[str, Sequence[str]], search: Searches, money: MoneyFormat) -> Json:
    """Return a page of the customers that match the filters.

    Args:
        parameters: filters by field; `find`, the beginning of an id; `sort`, a column, descending, or ascending with
            `rising=1`; `first` and `size`, the range of rows.
        search: function that queries Elasticsearch.
        money: format of amounts.

    Raises:
        UsageError: a parameter is out of bounds.
        ShopstreamError: Elasticsearch does not answer.
    """
    own_names = ("find", "sort", "rising", "first", "size")
    rest = {name: values for name, values in parameters.items() if name not in own_names}
    filters = filters_of(rest, [column.field for column in FILTERS])
    body = _list_body(parameters, any_of(filters))
    counted = {
        "size": 0,
        "timeout": TIMEOUT,
        "aggs": {c.field: {"terms": {"field": c.field, "size": 50}} for c in FILTERS},
    }
    listed, counted_values = complete(search.many([("customers", body), ("customers", counted)]))
    hits = listed.get("hits", {})
    buckets = counted_values.get("aggregations", {})
    return {
        "total": int(hits.get("total", {}).get("value", 0)),
        "first": body["from"],
        "rows": [[_value(hit["_source"].get(c.field), c.unit, money) for c in COLUMNS] for hit in hits.get("hits", ())],
        "choices": {c.field: [b["key"] for b in buckets.get(c.field, {}).get("buckets", ())] for c in FILTERS},
    }


def _value(value: Any, unit: Unit | str, money: MoneyFormat) -> Any:
    return money.number(value) if unit == "money" and isinstance(value, int | float) else value


def _list_body(parameters: Mapping[str, Sequence[str]], clauses: list[dict[str, Any]]) -> dict[str, Any]:
    sort = single_value(parameters, "sort") or "revenue_365d"
    if sort not in {column.field for column in COLUMNS} - _UNSORTED:
        raise UsageError(f"Customers cannot be sorted by {sort[:100]!r}.", "Click a column header.")
    direction = "asc" if single_value(parameters, "rising") else "desc"
    if find := single_value(parameters, "find"):
        clauses = [*clauses, {"prefix": {"customer_id": {"value": find}}}]
    return {
        "size": number_of(parameters, "size", PAGE, PAGE_MAX),
        "from": number_of(parameters, "first", 0, FIRST_MAX),
        "timeout": TIMEOUT,
        "track_total_hits": True,
        "_source": [column.field for column in COLUMNS],
        "query": {"bool": {"filter": clauses}},
        "sort": [{sort: {"order": direction, "missing": "_last"}}, {"customer_id": "asc"}],
    }


def customers_csv(data: Json, money: MoneyFormat) -> str:
    """Return the list as CSV."""
    return csv_text([column.label for column in COLUMNS], data["rows"], [column.unit for column in COLUMNS], money)


# --- one customer -----------------------------------------------------------------------------------------------------


def history(
    parameters: Mapping[str, Sequence[str]], search: Searches, now_ms: int, money: MoneyFormat, calendar: Calendar
) -> Json:
    """Return the history of a customer: newest row, sessions, orders without void ones, alerts, weeks of the last year.

    Args:
        parameters: parameter `id`.
        search: function that queries Elasticsearch.
        now_ms: wall-clock time, epoch ms.
        money: format of amounts.
        calendar: calendar of the weeks.

    Raises:
        UsageError: the customer does not exist.
        ShopstreamError: Elasticsearch does not answer.
    """
    customer_id = single_value(parameters, "id")
    by_customer = {"bool": {"filter": [{"term": {"customer_id": customer_id}}]}}
    orders_of = {"bool": {**by_customer["bool"], "must_not": [{"term": {"status": VOID_STATUS}}]}}
    known, sessions, orders, alerts = complete(
        search.many(
            [
                ("customers", {"size": 1, "_source": list(SHOWN), "query": by_customer}),
                ("sessions", _newest(by_customer, "start_ts", HISTORY_MAX) | _daily("start_ts", {}, calendar)),
                ("orders", _newest(orders_of, "ts", HISTORY_MAX) | _daily("ts", _REVENUE, calendar)),
                ("alerts", _newest(by_customer, "ts", ALERTS_MAX)),
            ]
        )
    )
    rows = _sources(known)
    if not rows and not _sources(sessions) and not _sources(orders):
        raise UsageError(f"There is no customer {customer_id[:100]!r}.", "Use an id from the list of customers.")
    return {
        "id": customer_id,
        "now_ms": now_ms,
        "row": _rounded(rows[0], money) if rows else {},
        "sessions": _sources(sessions),
        "sessions_total": _total(sessions),
        "orders": _sources(orders),
        "orders_total": _total(orders),
        "alerts": _sources(alerts)[::-1],
        "weeks": {
            "sessions": _weeks(sessions, "doc_count", calendar),
            "revenue": [[start, money.number(amount)] for start, amount in _weeks(orders, "v", calendar)],
        },
    }


def _rounded(row: Json, money: MoneyFormat) -> Json:
    return {name: _value(value, "money" if name in MONEY_FIELDS else "text", money) for name, value in row.items()}


def _newest(query: dict[str, Any], field: str, size: int) -> dict[str, Any]:
    return {
        "size": size,
        "timeout": TIMEOUT,
        "track_total_hits": True,
        "query": query,
        "sort": [{field: "desc"}],
        "_source": {"excludes": list(CONTACT_FIELDS)},
    }


def _daily(field: str, inner: dict[str, Any], calendar: Calendar) -> dict[str, Any]:
    how = {"calendar_interval": "1d", "time_zone": calendar.time_zone, "min_doc_count": 1}
    return {"aggs": {"days": {"date_histogram": {"field": field, **how}, "aggs": inner}}}


def _weeks(response: Mapping[str, Any], name: str, calendar: Calendar) -> list[list[float]]:
    """Return the start (epoch ms) and figure of each of the newest weeks that have documents.

    Elasticsearch has weeks from Monday only, so its days are added up.
    """
    buckets = response.get("aggregations", {}).get("days", {}).get("buckets", ())
    weeks: dict[int, float] = {}
    for bucket, day in zip(buckets, calendar.day_of([bucket["key"] for bucket in buckets]).tolist(), strict=True):
        week = calendar.week_of(day)
        weeks[week] = weeks.get(week, 0) + (bucket[name] if name == "doc_count" else bucket[name]["value"])
    last = max(weeks, default=0)
    return [
        [calendar.day_start_ms(calendar.week_day(week)), figure]
        for week, figure in weeks.items()
        if week > last - WEEKS
    ]


def _sources(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [hit["_source"] for hit in response.get("hits", {}).get("hits", ())]


def _total(response: Mapping[str, Any]) -> int:
    return int(response.get("hits", {}).get("total", {}).get("value", 0))
