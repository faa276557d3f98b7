"""Documents of every index out of one seed, by the kinds of their fields: not a shop, but every field has values."""

from __future__ import annotations

import numpy as np

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.mappings import FIXED_SUFFIX, month_indices
from consumers.index_definitions import run_definitions
from dashboards.boards import DASHBOARDS
from dashboards.panels import plain
from features.schema import DEVICES, EVENT_TYPES, STAGES, STATUSES
from features.scores.score import RISKS

NOW = 1_779_280_440_000  # 2026-05-20T12:34:00Z
DAY = 86_400_000
NUMBERS = {
    "sessions": 400, "orders": 300, "order-items": 500, "events": 1_200, "customers": 150, "alerts": 60,
    "pipeline": 120, "segments-daily": 300, "cohorts": 400, "second-orders": 90, "movement": 30, "forecast": 80,
    "contacts": 0, "notes": 0, "views": 0,
}  # fmt: skip
WORDS = {
    "stage": STAGES, "device": DEVICES, "event_type": EVENT_TYPES, "churn_risk": RISKS, "status": STATUSES,
    "country": ("DE", "FR", "NO"), "channel": ("ads", "mail", "search"), "category": ("Books", "<b>Toys</b>", "=1+1"),
    "segment": ("Champions", "At Risk", "Can't Lose Them", 'say "hi"'), "level": ("total", "category"),
    "payment_method": ("card", "invoice"),
    "feature": ("recency_days", "visit_trend"),
    "product_id": tuple(f"p{n}" for n in range(20)), "state": ("working",), "role": ("features", "index"),
    "churn_reasons": ("recency_days", "visit_trend", "orders_90d", "returns_365d"),
    "recommended_action": ("call", "write", "let_go"), "cohort": tuple(f"2025-{m:02d}" for m in range(1, 13)),
}  # fmt: skip
INTS = {
    "r_score": (1, 6),
    "f_score": (1, 6),
    "m_score": (1, 6),
    "months_since": (0, 13),
    "worker": (0, 3),
    "orders_total": (0, 4),
}
AMOUNTS = {
    measure.field
    for dashboard in DASHBOARDS
    for panel in dashboard.panels
    for figure in panel.measures
    for measure in plain(figure)
    if measure.unit == "money"
} | {"price", "unit_price"}
ALWAYS_PRESENT = {"start_ts", "customer_id", "session_id", "ts", "at", "event_id", "order_id"}


def documents(seed=7):
    """Index -> its documents."""
    return {
        definition.name: _documents(definition.name, definition.fields, np.random.default_rng([seed, number]))
        for number, definition in enumerate(run_definitions(contact=False))
    }


def _documents(index, fields, rng):
    made = []
    for n in range(NUMBERS[index]):
        document = {f.name: _value(index, f, n, rng) for f in fields}
        for f in fields:
            if not f.required and f.name not in ALWAYS_PRESENT and rng.random() < 0.1:
                document[f.name] = None
        made.append(document)
    return made


def _value(index, field, n, rng):
    if field.name in WORDS:
        words = WORDS[field.name]
        if field.kind == "strings":
            return sorted(rng.choice(words, 3, replace=False).tolist())
        return words[int(rng.integers(len(words)))]
    match field.kind:
        case "time":
            days = 400 if index in ("cohorts", "movement") else 100 if index == "forecast" else 70
            ahead = 40 * DAY if index == "forecast" else 0
            # most are new, so that short time ranges have some
            return int(NOW + ahead - 1 - rng.random() ** 3 * (days * DAY + ahead))
        case "int":
            return int(rng.integers(*INTS.get(field.name, (0, 50))))
        case "float":
            digits = 2 if field.name in AMOUNTS else 3  # amounts are whole cents
            return round(float(rng.random() * (1 if "probability" in field.name else 500)), digits)
        case "bool":
            return bool(rng.random() < 0.7)
        case "strings":
            return ["a", "b"]
        case _:
            unique = {"event_id", "order_id", "session_id"}
            many = index == "customers" and field.name == "customer_id"
            return f"{field.name}-{n if field.name in unique or many else int(rng.integers(90))}"


def put(client, run, made):
    """Writes documents where a run's aliases find them."""
    definitions = run_definitions(contact=False)
    install(client, run, definitions)
    lines = []
    for definition in definitions:
        for n, document in enumerate(made[definition.name]):
            if definition.monthly:
                (name,) = month_indices(run, definition.name, np.array([document["ts"]]))
            else:
                name = f"{run}-{definition.name}{FIXED_SUFFIX}"
            lines += [{"index": {"_index": name, "_id": str(n)}}, document]
    answer = client.bulk(operations=lines, refresh=True)
    assert not answer["errors"], [item for item in answer["items"] if item["index"].get("error")][:3]
