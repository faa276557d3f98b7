"""Ranks the customers to contact today by the revenue that can still be saved. Pure except for the given search.

Savable revenue = churn probability x worth. The worth is the expected revenue of the next 90 days. Without the
next-purchase model it is the revenue of the last 12 months, scaled to 90 days.

Elasticsearch of this distribution has no scripts, so the product is ranked here, exactly. Customers are read in falling
order of their worth. A probability is at most 1, so the product of an unread customer is at most the worth of the last
one that was read. Reading ends as soon as that is below the last product of the requested rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from connectors.elasticsearch.client import document_id
from connectors.elasticsearch.workspace import version_of
from connectors.formats.money_format import MoneyFormat
from dashboards.boards.data import AT_RISK, INACTIVE
from dashboards.conditions import Exists, dsl
from dashboards.queries import TIMEOUT
from dashboards.reasons import counted, reasons
from dashboards.web.boards import Json, Searches, complete
from dashboards.web.csv import csv_text
from dashboards.web.parameters import number_of
from features.definitions import FEATURES
from features.hold_out import NOBODY, HoldOut
from features.scores.horizon import churn_label
from features.scores.score import BUNDLE_FIELD
from features.workspace import CONTACTS, INACTIVE_AFTER_DAYS

Basis = Literal["expected", "history"]
"""Worth of a customer: the expected revenue of 90 days, or the revenue of the last 12 months scaled to 90 days."""

ROWS: Final = 20
"""Customers of a page of the list."""
ROWS_MAX: Final = 500
FIRST_MAX: Final = 2_000
BATCH: Final = 200
"""Customers of one search."""
STATES_BATCH: Final = 1_000
"""States of customers of one search."""
SET_ASIDE_MAX: Final = 100
"""Most customers that are listed as done or snoozed: the newest."""
_WORTH: Final[Mapping[Basis, tuple[str, float]]] = {
    "expected": ("expected_revenue_90d", 1.0),
    "history": ("revenue_365d", 90 / 365),
}
"""Basis -> field, and its factor to 90 days."""
_FIELDS: Final = (
    "customer_id", "as_of", *(feature.name for feature in FEATURES), "segment", "churn_probability", "churn_risk",
    "churn_reasons", "expected_revenue_90d", "recommended_action", "marketing_opt_in", BUNDLE_FIELD.name,
)  # fmt: skip

_SCORED: Final = Exists("churn_probability")
NO_ANCHOR: Final = 0
"""The conditions have no age."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A customer of the list.

    Attributes:
        row: fields of the customer's document.
        basis: basis of the worth.
        worth: revenue of 90 days that the customer is worth.
        savable: churn probability times worth.
        version: version of the document of the customer's former state; empty without one.
    """

    row: Mapping[str, Any]
    basis: Basis
    worth: float
    savable: float
    version: str = ""

    @property
    def customer_id(self) -> str:
        """Id of the customer."""
        return str(self.row["customer_id"])


@dataclass(frozen=True, slots=True)
class WorkList:
    """A part of the ranking.

    Attributes:
        rows: requested customers, those of the most savable revenue first.
        total: customers at risk, without those that are done or snoozed; the hold-out group counts.
        inactive: customers at risk without a visit within 60 days; they are not part of the list.
        history: customers of `total` whose worth is that of the past, since they have no expected revenue.
    """

    rows: list[Candidate]
    total: int
    inactive: int
    history: int


# --- bodies of searches -----------------------------------------------------------------------------------------------


def work_list_body(basis: Basis, size: int = BATCH, after: Sequence[Any] = ()) -> Json:
    """Return the search for customers to contact in falling order of their worth.

    Args:
        basis: basis of the worth; each customer has exactly one.
        size: most customers of the response.
        after: sort values of the last customer before; empty: from the first one on.
    """
    field = _WORTH[basis][0]
    expected = {"exists": {"field": _WORTH["expected"][0]}}
    others = {"must_not": [expected]} if basis == "history" else {}
    at_risk = dsl((*AT_RISK, _SCORED), NO_ANCHOR)
    body: Json = {
        "size": size,
        "timeout": TIMEOUT,
        "track_total_hits": True,
        "_source": list(_FIELDS),
        "query": {
            "bool": {
                "filter": [*at_risk, *([expected] if basis == "expected" else [])],
                **others,
            }
        },
        "sort": [{field: {"order": "desc", "missing": 0}}, {"customer_id": "asc"}],
    }
    return body | ({"search_after": list(after)} if after else {})


def inactive_body() -> Json:
    """Return the search that counts the customers at risk who are already inactive."""
    query = {"bool": {"filter": inactive_clauses()}}
    return {"size": 0, "timeout": TIMEOUT, "track_total_hits": True, "query": query}


def inactive_clauses() -> list[Json]:
    """Return the clauses of a `bool.filter` for the customers at risk who are already inactive."""
    return dsl((*INACTIVE, _SCORED), NO_ANCHOR)


def _states_body(customer_ids: Sequence[str]) -> Json:
    # by id: a customer has further documents, those of earlier contacts
    keys = [document_id(customer_id) for customer_id in customer_ids]
    query = {"bool": {"filter": [{"ids": {"values": keys}}]}}
    return {"size": len(customer_ids), "timeout": TIMEOUT, "seq_no_primary_term": True, "query": query}


def _alerts_body(customer_ids: Sequence[str], since_ms: int) -> Json:
    clauses = [{"terms": {"customer_id": list(customer_ids)}}, {"range": {"ts": {"gt": since_ms}}}]
    newest = {
        "terms": {"field": "customer_id", "size": len(customer_ids)},
        "aggs": {"newest": {"max": {"field": "ts"}}},
    }
    return {"size": 0, "timeout": TIMEOUT, "query": {"bool": {"filter": clauses}}, "aggs": {"customers": newest}}


# --- ranking ----------------------------------------------------------------------------------------------------------


def work_list(search: Searches, now_ms: int, first: int = 0, size: int = ROWS, hold_out: HoldOut = NOBODY) -> WorkList:
    """Return customers to contact, ranked by savable revenue; equal ones by their id.

    A customer is one of high or critical churn risk who visited within 60 days. Customers who are done, snoozed
    or in the hold-out group are left out. The ranking is exact if the index does not change while it is read.

    Args:
        search: function that queries Elasticsearch.
        now_ms: wall-clock time, epoch ms.
        first: position of the first row.
        size: number of rows.
        hold_out: customers whom nobody contacts.

    Raises:
        ShopstreamError: Elasticsearch does not answer.
    """
    best: list[Candidate] = []
    seen: set[str] = set()
    totals: dict[Basis, int] = {"expected": 0, "history": 0}
    for basis in _WORTH:
        for batch, total in _batches(search, basis):
            totals[basis] = total
            # a customer whose worth falls while the list is read would appear twice
            new = [one for one in batch if one.customer_id not in seen]
            seen.update(one.customer_id for one in new)
            offered = [one for one in new if not hold_out.contains(one.customer_id)]
            best = sorted([*best, *_open(search, offered, now_ms)], key=_rank)[: first + size]
            if len(best) == first + size and (not best or max(batch[-1].worth, 0.0) < best[-1].savable):
                break
    (inactive,) = complete(search.many([("customers", inactive_body())]))
    for basis, hidden in _hidden_totals(search, now_ms).items():
        totals[basis] -= hidden
    return WorkList(best[first:], sum(totals.values()), _total(inactive), totals["history"])


def _rank(candidate: Candidate) -> tuple[float, str]:
    return -candidate.savable, candidate.customer_id


def _batches(search: Searches, basis: Basis) -> Iterator[tuple[list[Candidate], int]]:
    """Yield customers in falling order of their worth, with the number of all of them."""
    after: Sequence[Any] = ()
    while True:
        (response,) = complete(search.many([("customers", work_list_body(basis, BATCH, after))]))
        hits = response.get("hits", {}).get("hits", ())
        if hits:
            yield [_candidate(hit["_source"], basis) for hit in hits], _total(response)
        if len(hits) < BATCH:
            return
        after = hits[-1]["sort"]


def _hidden_totals(search: Searches, now_ms: int) -> dict[Basis, int]:
    """Return the numbers of the customers at risk who are done or snoozed, by the basis of their worth."""
    totals: dict[Basis, int] = dict.fromkeys(_WORTH, 0)
    after: Sequence[Any] = ()
    while True:
        body: Json = {
            "size": STATES_BATCH,
            "timeout": TIMEOUT,
            "query": {"bool": {"filter": [{"range": {"until_ts": {"gt": now_ms}}}]}},
            "sort": [{"customer_id": "asc"}],
        }
        (response,) = complete(search.many([(CONTACTS, body | ({"search_after": list(after)} if after else {}))]))
        hits = response.get("hits", {}).get("hits", ())
        if ids := sorted(hidden_customers(search, [hit["_source"] for hit in hits], now_ms)):
            bodies = [("customers", _among(work_list_body(basis, 0), ids)) for basis in _WORTH]
            for basis, counted in zip(_WORTH, complete(search.many(bodies)), strict=True):
                totals[basis] += _total(counted)
        if len(hits) < STATES_BATCH:
            return totals
        after = hits[-1]["sort"]


def _among(body: Json, customer_ids: Sequence[str]) -> Json:
    """Return a search for those of some customers."""
    query = body["query"]["bool"]
    clauses = [*query["filter"], {"terms": {"customer_id": list(customer_ids)}}]
    return body | {"query": {"bool": query | {"filter": clauses}}}


def _candidate(row: Mapping[str, Any], basis: Basis) -> Candidate:
    field, factor = _WORTH[basis]
    worth = (row.get(field) or 0.0) * factor
    return Candidate(row, basis, worth, row["churn_probability"] * worth)


def _open(search: Searches, batch: Sequence[Candidate], now_ms: int) -> list[Candidate]:
    """Return the customers of a batch who are neither done nor snoozed, with the version of their former state."""
    if not batch:
        return []
    (response,) = complete(search.many([(CONTACTS, _states_body([one.customer_id for one in batch]))]))
    states = {hit["_source"]["customer_id"]: hit for hit in response.get("hits", {}).get("hits", ())}
    hidden = hidden_customers(search, [hit["_source"] for hit in states.values()], now_ms)
    return [
        Candidate(one.row, one.basis, one.worth, one.savable, version_of(state))
        if (state := states.get(one.customer_id))
        else one
        for one in batch
        if one.customer_id not in hidden
    ]


def hidden_customers(search: Searches, contacts: Sequence[Mapping[str, Any]], now_ms: int) -> set[str]:
    """Return the customers whom their states hide at a time.

    A snoozed customer returns when the snooze ends. A customer who is done returns after 30 days, or when an alert is
    newer than the row at the time of the contact.

    Args:
        search: function that queries Elasticsearch.
        contacts: documents of `contacts`.
        now_ms: wall-clock time, epoch ms.
    """
    hidden = {one["customer_id"]: one for one in contacts if one["until_ts"] > now_ms}
    done = {key: one["as_of_ts"] for key, one in hidden.items() if one["state"] == "done"}
    if not done:
        return set(hidden)
    (response,) = complete(search.many([("alerts", _alerts_body(list(done), min(done.values())))]))
    buckets = response.get("aggregations", {}).get("customers", {}).get("buckets", ())
    raised = {bucket["key"] for bucket in buckets if bucket["newest"]["value"] > done[bucket["key"]]}
    return hidden.keys() - raised


# --- what the page shows ----------------------------------------------------------------------------------------------


def work_list_data(
    parameters: Mapping[str, Sequence[str]],
    search: Searches,
    now_ms: int,
    money: MoneyFormat,
    actions: Mapping[str, str],
    horizon: str = "",
    hold_out: HoldOut = NOBODY,
    effect: str = "",
) -> Json:
    """Return a page of the work list.

    Args:
        parameters: `first` and `size`, the range of rows.
        search: function that queries Elasticsearch.
        now_ms: wall-clock time, epoch ms.
        money: format of amounts.
        actions: action -> its text.
        horizon: horizon of the scores in words.
        hold_out: customers whom nobody contacts.
        effect: sentence about the measured effect of contacts; empty without one.

    Raises:
        UsageError: a parameter is out of bounds.
        ShopstreamError: Elasticsearch does not answer.
    """
    first = number_of(parameters, "first", 0, FIRST_MAX)
    ranked = work_list(search, now_ms, first, number_of(parameters, "size", ROWS, ROWS_MAX), hold_out)
    return {
        "now_ms": now_ms,
        "first": first,
        "first_max": FIRST_MAX,
        "total": ranked.total,
        "inactive": ranked.inactive,
        "inactive_after_days": INACTIVE_AFTER_DAYS,
        "horizon": horizon,
        "worth": worth_text(ranked),
        "hold_out": hold_out_text(hold_out),
        "effect": effect,
        "rows": [_shown(one, money, actions) for one in ranked.rows],
        "set_aside": _set_aside(search, now_ms),
    }


def worth_text(ranked: WorkList) -> str:
    """Return the definition of the worth of the customers of a list."""
    expected = "expected revenue of the next 90 days"
    history = "revenue of the last 12 months, scaled to 90 days"
    if not ranked.history:
        return expected
    if ranked.history == ranked.total:
        return f"{history} (there is no next-purchase model)"
    return f"{expected}; for the {counted(ranked.history, 'customer')} without it, {history}"


def hold_out_text(hold_out: HoldOut) -> str:
    """Return how many customers are never listed, and why; empty without a hold-out group."""
    if hold_out.share <= 0:
        return ""
    return (
        f"{hold_out.share:.0%} of all customers are the hold-out group: they are in every figure and count as at risk, "
        "but are never listed here, so that the effect of contacts can be measured"
    )


def _shown(one: Candidate, money: MoneyFormat, actions: Mapping[str, str]) -> Json:
    row = one.row
    action = row.get("recommended_action")
    return {
        "id": one.customer_id,
        "savable": money.number(one.savable),
        "worth": money.number(one.worth),
        "basis": one.basis,
        "churn_probability": row["churn_probability"],
        "churn_risk": row.get("churn_risk"),
        "segment": row.get("segment"),
        "days_since_visit": row.get("days_since_visit"),
        "why": reasons(row, money),
        "action": action,
        "action_text": actions.get(action or "", ""),
        "marketing_opt_in": row.get("marketing_opt_in"),
        "version": one.version,
    }


def _set_aside(search: Searches, now_ms: int) -> list[Json]:
    """Return the newest states that hide customers."""
    body: Json = {
        "size": SET_ASIDE_MAX,
        "timeout": TIMEOUT,
        "seq_no_primary_term": True,
        "query": {"bool": {"filter": [{"range": {"until_ts": {"gt": now_ms}}}]}},
        "sort": [{"at_ts": "desc"}, {"customer_id": "asc"}],
    }
    (response,) = complete(search.many([(CONTACTS, body)]))
    hits = response.get("hits", {}).get("hits", ())
    hidden = hidden_customers(search, [hit["_source"] for hit in hits], now_ms)
    return [
        {
            "id": hit["_source"]["customer_id"],
            "state": hit["_source"]["state"],
            "at_ts": hit["_source"]["at_ts"],
            "until_ts": hit["_source"]["until_ts"],
            "version": version_of(hit),
        }
        for hit in hits
        if hit["_source"]["customer_id"] in hidden
    ]


def work_list_csv(data: Json, money: MoneyFormat) -> str:
    """Return the list as CSV."""
    columns = {
        "id": ("Customer", "text"),
        "savable": ("Savable revenue", "money"),
        "worth": ("Worth, 90 days", "money"),
        "churn_probability": (churn_label(data["horizon"]), "percent"),
        "churn_risk": ("Risk", "text"),
        "segment": ("Segment", "text"),
        "days_since_visit": ("Days since last visit", "days"),
        "why": ("Why", "text"),
        "action": ("Recommended action", "text"),
        "action_text": ("Action", "text"),
        "marketing_opt_in": ("Accepts marketing", "text"),
    }
    rows = [["; ".join(row[name]) if name == "why" else row[name] for name in columns] for row in data["rows"]]
    return csv_text([label for label, _ in columns.values()], rows, [unit for _, unit in columns.values()], money)


def _total(response: Mapping[str, Any]) -> int:
    return int(response.get("hits", {}).get("total", {}).get("value", 0))
