"""Defines the alert rules for Kibana: rules by a query of Elasticsearch, which every licence has. Pure.

Imported rules would be disabled and without a key, so the API creates them. A rule has no action: the user adds a
connector in Kibana.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal

from dashboards.boards.data import ALERTS, ORDERS, PIPELINE, STANDING
from dashboards.panels import Data
from features.schema import index_name
from features.scores.score import RISKS

Json = dict[str, Any]

RULE_TYPE: Final = ".es-query"
CONSUMER: Final = "stackAlerts"
"""Feature of Kibana in which the rules are shown: Stack Management, Rules."""
TAG: Final = "Shopstream"

REVENUE_SHARE_MIN: Final = 0.7
"""Share of the daily revenue of the week before below which the last day is a drop."""
REVENUE_DAYS: Final = 7
SILENT_MINUTES: Final = 10
LAG_MAX: Final = 10_000
REJECTED_MINUTES: Final = 15
ALERT_MINUTES: Final = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule.

    Attributes:
        id: id of the rule, a UUID, as Kibana requires. It is fixed for a rule, a run and a space.
        name: name of the rule.
        body: body of the request that creates it.
    """

    id: str
    name: str
    body: Json


def alert_rules(run: str, space: str = "") -> tuple[Rule, ...]:
    """Return the rules of a run.

    Args:
        run: name of the run whose indices they search.
        space: space of Kibana; empty: the default space.
    """
    return (
        _rule(run, space, "Revenue dropped", "1h", _revenue_drop(run)),
        _rule(run, space, "The pipeline is silent", "5m", _silent(run)),
        _rule(run, space, "The pipeline lags behind", "5m", _lag(run)),
        _rule(run, space, "Records were rejected", "5m", _rejected(run)),
        _rule(run, space, "Customers became critical", "5m", _critical(run)),
    )


def _rule(run: str, space: str, name: str, interval: str, params: Json) -> Rule:
    digest = hashlib.sha256(f"{run}/{space}/{name}".encode()).digest()
    title = f"{run.capitalize()}: {name}"
    body = {
        "name": title,
        "rule_type_id": RULE_TYPE,
        "consumer": CONSUMER,
        "tags": [TAG],
        "schedule": {"interval": interval},
        "enabled": True,
        "actions": [],
        "params": params,
    }
    return Rule(str(uuid.UUID(bytes=digest[:16], version=4)), title, body)


def _revenue_drop(run: str) -> Json:
    query = (
        f'FROM {index_name(run, ORDERS.index)} | WHERE status == "{STANDING}" '
        "| EVAL recent = CASE(ts >= NOW() - 1 day, total, 0.0), before = CASE(ts < NOW() - 1 day, total, 0.0) "
        "| STATS recent = SUM(recent), before = SUM(before) "
        f"| WHERE before > 0 AND recent < {REVENUE_SHARE_MIN} * before / {REVENUE_DAYS}"
    )
    return _by_esql(ORDERS, query, REVENUE_DAYS + 1, "d")


def _rejected(run: str) -> Json:
    """Return the rule for counters of rejected records that rose. A restart of a worker resets its counter."""
    query = (
        f"FROM {index_name(run, PIPELINE.index)} | WHERE rejected IS NOT NULL "
        "| STATS first = MIN(rejected), last = MAX(rejected) BY role, worker | WHERE last > first"
    )
    return _by_esql(PIPELINE, query, REJECTED_MINUTES, "m")


def _silent(run: str) -> Json:
    return _by_query(run, PIPELINE, {"exists": {"field": "state"}}, SILENT_MINUTES, ("<", 1))


def _lag(run: str) -> Json:
    largest = {"aggType": "max", "aggField": "lag_records"}
    return _by_query(run, PIPELINE, {"exists": {"field": "state"}}, SILENT_MINUTES, (">", LAG_MAX)) | largest


def _critical(run: str) -> Json:
    params = _by_query(run, ALERTS, {"term": {"churn_risk": RISKS[-1]}}, ALERT_MINUTES, (">", 0))
    # an alert is reported once
    return params | {"excludeHitsFromPreviousRun": True}


def _by_query(run: str, data: Data, query: Json, minutes: int, limit: tuple[Literal["<", ">"], int]) -> Json:
    """Return the parameters of a rule that counts the documents of a query in the last minutes."""
    comparator, threshold = limit
    return {
        "searchType": "esQuery",
        "index": [index_name(run, data.index)],
        "esQuery": json.dumps({"query": query}),
        **_window(data, minutes, "m"),
        "thresholdComparator": comparator,
        "threshold": [threshold],
    }


def _by_esql(data: Data, query: str, length: int, unit: str) -> Json:
    """Return the parameters of a rule that reports the rows of an ES|QL query."""
    return {
        "searchType": "esqlQuery",
        "esqlQuery": {"esql": query},
        **_window(data, length, unit),
        "thresholdComparator": ">",
        "threshold": [0],
    }


def _window(data: Data, length: int, unit: str) -> Json:
    return {
        "timeField": data.time_field,
        "timeWindowSize": length,
        "timeWindowUnit": unit,
        "size": 100,
        "aggType": "count",
        "groupBy": "all",
        "excludeHitsFromPreviousRun": False,
    }
