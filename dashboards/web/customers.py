"""Provides the customer list behind a segment, and the history of one customer. Pure except for the given search.

No search requests names or e-mail addresses, so the page does not show them even if the index holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from connectors.formats.money_format import MoneyFormat
from dashboards.boards.data import CHURN_LABEL
from dashboards.checks import end_searches, stream_end
from dashboards.conditions import any_of
from dashboards.customer_summary import customer_summary
from dashboards.panels import Unit
from dashboards.queries import TIMEOUT
from dashboards.reasons import reasons
from dashboards.web.boards import Json, Searches, complete
from dashboards.web.csv import csv_text
from dashboards.web.parameters import filters_of, number_of, single_value
from dashboards.web.work_list import inactive_clauses
from features.calendar import Calendar
from features.definitions import FEATURES, MONEY_FIELDS, Feature
from features.errors import UsageError
from features.hold_out import HoldOut
from features.labels import FEATURE_LABELS, labels_of_values
from features.plain_definitions import PLAIN_DEFINITIONS
from features.schema import CONTACT_FIELDS, DAY_MS, VOID_STATUS, record_fields
from features.schema import Customer as Profile
from features.scores.horizon import churn_label, horizon_words
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
NEXT_ORDER_DAYS_MAX: Final = 90.0
"""Expected days to the next order that mean: none within the horizon of the model."""
_REVENUE: Final = {"v": {"sum": {"field": "total"}}}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the customer list.

    Attributes:
        field: field of the customer's document.
        label: label of the column.
        unit: unit that defines the format; `text` is unformatted, `ago` is a number of days.
        time: field with the time that a number of days is counted from.
    """

    field: str
    label: str
    unit: Unit | str = "text"
    time: str = ""

    @property
    def heading(self) -> str:
        """Label on the page, where `136 days ago` replaces a number of days."""
        return FEATURE_LABELS[self.time] if self.time else self.label

    @property
    def help(self) -> str:
        """Definition of the column in plain words; empty for the profile."""
        return PLAIN_DEFINITIONS.get(self.field, "")


def _feature_column(name: str, unit: Unit | str, time: str = "") -> Column:
    return Column(name, FEATURE_LABELS[name], unit, time)


COLUMNS: Final = (
    Column("customer_id", "Customer"),
    Column("segment", "Segment"),
    Column("churn_risk", "Risk"),
    Column("churn_probability", CHURN_LABEL, "percent"),
    Column("churn_reasons", "Why"),
    Column("recommended_action", "Recommended action"),
    _feature_column("revenue_365d", "money"),
    _feature_column("recency_days", "ago", "last_order_ts"),
    _feature_column("days_since_visit", "ago", "last_seen_ts"),
    _feature_column("orders_365d", "count"),
    Column("purchase_probability_30d", "P(order in 30 days)", "percent"),
    Column("country", "Country"),
)
"""Columns of the list: why and what to do come before the figures."""
FILTERS: Final = (
    Column("segment", "Segment"),
    Column("churn_risk", "Risk"),
    Column("recommended_action", "Action"),
    Column("churn_reasons", "Why"),
    Column("country", "Country"),
    Column("acquisition_channel", "Channel"),
    Column("top_category_90d", "Category"),
)
_AGES: Final = tuple(column for column in COLUMNS if column.time)
_UNSORTED: Final = frozenset({"churn_reasons"})
SHOWN: Final = (
    *(field.name for field in record_fields(Profile) if field.name not in CONTACT_FIELDS),
    "as_of",
    *(feature.name for feature in FEATURES),
    *(field.name for field in SCORE_FIELDS),
    "bundle",
)
"""Fields of a customer's document in the customer's history."""


def declaration(horizon: str = "") -> Json:
    """Return the columns and filters of the list for the page; `horizon` is that of the scores, in words."""
    labels = zip(COLUMNS, _labels(horizon, [column.heading for column in COLUMNS]), strict=True)
    return {
        "customers": {
            "columns": [
                {"field": c.field, "label": label, "unit": c.unit, "help": c.help, "sorted": c.field not in _UNSORTED}
                for c, label in labels
            ],
            "filters": [{"field": c.field, "label": c.label} for c in FILTERS],
            "page": PAGE,
        },
        "labels": labels_of_values(),
    }


def _labels(horizon: str, labels: Sequence[str]) -> list[str]:
    pairs = zip(COLUMNS, labels, strict=True)
    return [churn_label(horizon) if column.field == "churn_probability" else label for column, label in pairs]


# --- the list ---------------------------------------------------------------------------------------------------------


def customers(parameters: Mapping[str, Sequence[str]], search: Searches, money: MoneyFormat) -> Json:
    """Return a page of the customers that match the filters.

    Args:
        parameters: filters by field. `find`: the beginning of an id. `inactive=1`: those at risk who are already
            inactive. `sort`: a column, descending, or ascending with `rising=1`. `first` and `size`: the range of rows.
        search: function that queries Elasticsearch.
        money: format of amounts.

    Raises:
        UsageError: a parameter is out of bounds.
        ShopstreamError: Elasticsearch does not answer.
    """
    own_names = ("find", "sort", "rising", "first", "size", "inactive")
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
        "first_max": FIRST_MAX,
        "rows": [[_value(hit["_source"].get(c.field), c.unit, money) for c in COLUMNS] for hit in hits.get("hits", ())],
        "times": {c.field: [hit["_source"].get(c.time) for hit in hits.get("hits", ())] for c in _AGES},
        "choices": {c.field: [b["key"] for b in buckets.get(c.field, {}).get("buckets", ())] for c in FILTERS},
    }


def _value(value: Any, unit: Unit | str, money: MoneyFormat) -> Any:
    return money.number(value) if unit == "money" and isinstance(value, int | float) else value


def _list_body(parameters: Mapping[str, Sequence[str]], clauses: list[dict[str, Any]]) -> dict[str, Any]:
    sort = single_value(parameters, "sort") or "revenue_365d"
    if sort not in {column.field for column in COLUMNS} - _UNSORTED:
        raise UsageError(f"Customers cannot be sorted by {sort[:100]!r}.", "Click a column header.")
    direction = "asc" if single_value(parameters, "rising") else "desc"
    if single_value(parameters, "inactive"):
        clauses = [*clauses, *inactive_clauses()]
    if find := single_value(parameters, "find"):
        clauses = [*clauses, {"prefix": {"customer_id": {"value": find}}}]
    return {
        "size": number_of(parameters, "size", PAGE, PAGE_MAX),
        "from": number_of(parameters, "first", 0, FIRST_MAX),
        "timeout": TIMEOUT,
        "track_total_hits": True,
        "_source": [*(column.field for column in COLUMNS), *(column.time for column in _AGES)],
        "query": {"bool": {"filter": clauses}},
        "sort": [{sort: {"order": direction, "missing": "_last"}}, {"customer_id": "asc"}],
    }


def without_hold_out(data: Json, hold_out: HoldOut) -> Json:
    """Return a page of customers without those of the hold-out group."""
    position = [column.field for column in COLUMNS].index("customer_id")
    return data | {"rows": [row for row in data["rows"] if not hold_out.contains(row[position])]}


def customers_csv(data: Json, money: MoneyFormat, horizon: str = "") -> str:
    """Return the list as CSV; `horizon` is that of the scores, in words."""
    labels = _labels(horizon, [column.label for column in COLUMNS])
    return csv_text(labels, data["rows"], [column.unit for column in COLUMNS], money)


# --- one customer -----------------------------------------------------------------------------------------------------


def history(
    parameters: Mapping[str, Sequence[str]],
    search: Searches,
    now_ms: int,
    money: MoneyFormat,
    calendar: Calendar,
    actions: Mapping[str, str] = MappingProxyType({}),
) -> Json:
    """Return the history of a customer up to the newest time of the data.

    It has the sentence about the customer, the reasons in words, and the newest row with definitions of its figures.
    Visits, orders without void ones, and alerts follow. `days` and `weeks` are those of the last year.

    Args:
        parameters: parameter `id`.
        search: function that queries Elasticsearch.
        now_ms: wall-clock time, epoch ms.
        money: format of amounts.
        calendar: calendar of the days and weeks.
        actions: recommended action -> its text.

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
        raise UsageError(f"No customer with the id {customer_id[:100]!r}.", "Use an id from the list of customers.")
    row = rows[0] if rows else {}
    end_ms = stream_end(complete(search.many(end_searches()))) - 1
    newest_ms = max(end_ms, row.get("as_of") or 0, *(one["ts"] for one in _sources(alerts)))
    days = {"sessions": _days(sessions, "doc_count"), "revenue": _days(orders, "v")}
    weeks = {name: _weeks(figures, newest_ms, calendar) for name, figures in days.items()}
    since_ms = calendar.floor_ms("week", [newest_ms], 1 - WEEKS).tolist()[0]
    return {
        "id": customer_id,
        "now_ms": now_ms,
        "newest_ms": newest_ms,
        "summary": customer_summary(row, newest_ms, calendar) if row else "",
        "why": reasons(row, money),
        "action_text": actions.get(row.get("recommended_action") or "", ""),
        "next_order_ms": _next_order(row),
        "inputs": _inputs(row, money),
        "row": _rounded(row, money),
        "sessions": _sources(sessions),
        "sessions_total": _total(sessions),
        "orders": _sources(orders),
        "orders_total": _total(orders),
        "alerts": _sources(alerts)[::-1],
        "horizons": {
            "row": horizon_words([row.get("bundle")]),
            "alerts": horizon_words(one.get("bundle") for one in _sources(alerts)),
        },
        "since_ms": since_ms,
        "days": {name: [day for day, _ in figures if day >= since_ms] for name, figures in days.items()},
        "weeks": weeks | {"revenue": [[start, money.number(amount)] for start, amount in weeks["revenue"]]},
    }


def _next_order(row: Json) -> int | None:
    """Return the expected time of the next order, epoch ms; None without its model, or if none is expected."""
    wait = row.get("expected_days_to_purchase")
    return None if wait is None or wait >= NEXT_ORDER_DAYS_MAX else round(row["as_of"] + wait * DAY_MS)


def _inputs(row: Json, money: MoneyFormat) -> list[list[Any]]:
    """Return label, value, unit and definition of every known feature."""
    return [
        [FEATURE_LABELS[one.name], _value(row[one.name], unit, money), unit, PLAIN_DEFINITIONS[one.name]]
        for one in FEATURES
        if row.get(one.name) is not None
        for unit in [_unit(one)]
    ]


def _unit(feature: Feature) -> str:
    if feature.name in MONEY_FIELDS:
        return "money"
    if feature.kind in ("time", "int"):
        return "time" if feature.kind == "time" else "count"
    if feature.kind == "string":
        return "text"
    words = feature.name.split("_")
    if "days" in words:
        return "days"
    return "percent" if "rate" in words or "share" in words else "seconds" if "duration" in words else "number"


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


def _days(response: Mapping[str, Any], name: str) -> list[tuple[int, float]]:
    """Return the start (epoch ms) and figure of each local day that has documents."""
    buckets = response.get("aggregations", {}).get("days", {}).get("buckets", ())
    return [(one["key"], one[name] if name == "doc_count" else one[name]["value"]) for one in buckets]


def _weeks(days: Sequence[tuple[int, float]], newest_ms: int, calendar: Calendar) -> list[list[float]]:
    """Return the start (epoch ms) and figure of each of the last weeks, the newest one with `newest_ms`.

    Elasticsearch has weeks from Monday only, so its days are added up.
    """
    last = calendar.week_of(calendar.day_at(newest_ms))
    figures = dict.fromkeys(range(last - WEEKS + 1, last + 1), 0.0)
    numbers = calendar.day_of([start for start, _ in days]).tolist()
    for (_, figure), day in zip(days, numbers, strict=True):
        if (week := calendar.week_of(day)) in figures:
            figures[week] += figure
    starts = calendar.start_ms([calendar.week_day(week) for week in figures]).tolist()
    return [[start, figure] for start, figure in zip(starts, figures.values(), strict=True)]


def _sources(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [hit["_source"] for hit in response.get("hits", {}).get("hits", ())]


def _total(response: Mapping[str, Any]) -> int:
    return int(response.get("hits", {}).get("total", {}).get("value", 0))
