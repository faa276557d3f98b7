"""Documents of one shop out of one seed: what two indices hold of the same thing agrees, as after a stream.

A history of 200 days that ends 15 days ago, 160 products in 32 categories whose sales change from month to month,
values that are missing, orders of every status. Amounts are whole cents.
"""

from __future__ import annotations

import numpy as np

from features.schema import DEVICES, RETURNED_STATUSES, STAGES
from features.scores.score import RISKS

DAY = 86_400_000
END = 1_779_280_440_000  # 2026-05-20T12:34:00Z, the newest click
NOW = END + 15 * DAY
DAYS = 200
MONTH = 30 * DAY
CUSTOMERS, ORDERS, SESSIONS, PRODUCTS, CATEGORIES = 400, 3_000, 4_000, 160, 32
COUNTRIES = tuple(f"C{n:02d}" for n in range(20))
CHANNELS = tuple(f"channel_{n}" for n in range(14))
METHODS = tuple(f"method_{n}" for n in range(12))
SEGMENTS = tuple(f"segment {n}" for n in range(15))
ACTIONS = tuple(f"action_{n}" for n in range(18))
COHORT_MONTHS = ("2025-10", "2025-11", "2025-12", "2026-01", "2026-02", "2026-03", "2026-04", "2026-05")


def category_of(product):
    """Every fifth product is of the same category; a few have none."""
    return None if product % 40 == 39 else f"category {product % CATEGORIES:02d}"


def some(rng, values, missing=0.05):
    return None if rng.random() < missing else values[int(len(values) * rng.random() ** 2)]


def product_at(rng, ts):
    """Other products sell in each month, so that the top of a month is not that of the whole."""
    favourites = (int(rng.random() ** 2 * PRODUCTS) + 53 * (ts // MONTH)) % PRODUCTS
    return int(favourites)


def consistent_documents(seed=19):
    """Index -> its documents."""
    rng = np.random.default_rng(seed)
    made = {"sessions": [], "events": [], "orders": [], "order-items": [], "customers": []}
    for n in range(SESSIONS):
        _session(rng, made, n)
    for n in range(ORDERS):
        _order(rng, made, n)
    for n in range(CUSTOMERS):
        made["customers"].append(_customer(rng, n))
    return made | _trends(rng, made["customers"])


def _time(rng):
    return int(END - 1 - rng.random() ** 1.5 * DAYS * DAY)


def _session(rng, made, n):
    start = END - 1 if n == 0 else min(_time(rng), END - 3_600_000)
    stage = STAGES[int(len(STAGES) * rng.random() ** 1.5)]
    product = product_at(rng, start)
    common = {
        "customer_id": f"c{int(rng.integers(CUSTOMERS))}", "session_id": f"s{n}",
        "device": DEVICES[int(rng.integers(len(DEVICES)))],
        "channel": some(rng, CHANNELS), "country": some(rng, COUNTRIES),
    }  # fmt: skip
    reached = STAGES.index(stage)
    steps = ["page_view", "product_view", "add_to_cart", "checkout", "purchase"][: reached + 1]
    events = []
    for step in steps:
        for _ in range(1 if step == "purchase" else int(rng.integers(1, 3))):
            detail = {"product_id": f"p{product}", "category": category_of(product)} if step != "page_view" else {}
            events.append({"event_type": step, **common, **detail})
    for k, event in enumerate(events):
        made["events"].append({"event_id": f"e{n}-{k}", "ts": start if n == 0 else start + 60_000 * k, **event})
    seconds = dict.fromkeys(
        ("to_view_s", "view_to_cart_s", "cart_to_checkout_s", "checkout_to_purchase_s", "to_purchase_s")
    )
    for name in tuple(seconds)[:reached]:
        seconds[name] = float(rng.integers(5, 900))
    if stage == "purchase":
        seconds["to_purchase_s"] = float(rng.integers(60, 3_000))
    made["sessions"].append({
        **common, **seconds, "start_ts": start, "last_ts": made["events"][-1]["ts"], "duration_s": 60.0 * len(events),
        "events": len(events), "category": category_of(product) if reached else None, "stage": stage,
        "converted": stage == "purchase", "abandoned": stage in ("cart", "checkout"),
    })  # fmt: skip


def _order(rng, made, n):
    ts = _time(rng)
    status = "placed" if rng.random() < 0.85 else str(rng.choice([*RETURNED_STATUSES, "void"]))
    common = {
        "order_id": f"o{n}", "customer_id": f"c{int(rng.integers(CUSTOMERS))}", "ts": ts, "status": status,
        "channel": some(rng, CHANNELS), "country": some(rng, COUNTRIES),
    }  # fmt: skip
    cents = 0
    lines = int(rng.integers(1, 4))
    for line in range(lines):
        product, quantity, price = product_at(rng, ts), int(rng.integers(1, 4)), int(rng.integers(99, 9_999))
        cents += quantity * price
        made["order-items"].append({
            **common, "line": line, "product_id": f"p{product}", "category": category_of(product),
            "quantity": quantity, "unit_price": price / 100, "amount": quantity * price / 100,
        })  # fmt: skip
    made["orders"].append({
        **common, "updated_ts": ts, "total": cents / 100, "payment_method": some(rng, METHODS), "items": lines,
    })  # fmt: skip


def _customer(rng, n):
    orders = int(rng.integers(0, 5))
    known = orders > 0
    probability = round(float(rng.random()), 4) if known else None
    risk = RISKS[min(int(probability * len(RISKS)), len(RISKS) - 1)] if known else None
    return {
        "customer_id": f"c{n}", "country": some(rng, COUNTRIES), "orders_total": orders,
        "segment": some(rng, SEGMENTS, missing=0) if n % 25 else None, "churn_probability": probability,
        "churn_risk": risk, "revenue_365d": int(rng.integers(0, 500_000)) / 100 if known else 0.0,
        "recommended_action": some(rng, ACTIONS), "churn_reasons": ["recency_days", "orders_90d", "orders_365d"],
        "days_since_visit": None if n % 11 == 0 else 60.0 if n % 13 == 0 else round(float(rng.random() * 150), 3),
        "recency_days": 20.0, "order_gap_mean_days": 12.0, "r_score": int(rng.integers(1, 6)),
        "f_score": int(rng.integers(1, 6)), "expected_revenue_90d": int(rng.integers(0, 50_000)) / 100,
    }  # fmt: skip


def _trends(rng, customers):
    """Trends until the end; those of the newest day are the customers of now."""
    today = END // DAY * DAY
    days = []
    for age in range(5):
        groups = {}
        for one in customers:
            key = (one["segment"] or "(none)", one["country"] or "(none)")
            group = groups.setdefault(key, [0, 0.0, 0])
            group[0] += 1
            if one["churn_probability"] is not None:
                group[1] += one["churn_probability"] * (1 if age == 0 else 0.9)
                group[2] += 1
        days += [
            {
                "ts": today - age * DAY, "day": f"day {age}", "segment": segment, "country": country,
                "channel": "(none)", "customers": number, "revenue": 1.0, "churn_sum": total, "churn_customers": scored,
                "in_training": age > 2, "complete": age > 0,
            }
            for (segment, country), (number, total, scored) in groups.items()
        ]  # fmt: skip
    cohorts = [
        {
            "ts": END - (len(COHORT_MONTHS) - first - since) * MONTH, "cohort": cohort, "months_since": since,
            "month": COHORT_MONTHS[first + since], "country": country, "channel": channel, "known": known,
            "customers": 10 + first, "active": 10 + first if since == 0 else int(rng.integers(0, 10)),
            "orders": 12, "revenue": int(rng.integers(0, 90_000)) / 100,
            "complete": first + since < len(COHORT_MONTHS) - 1,
        }
        for first, cohort in enumerate(COHORT_MONTHS)
        for since in range(len(COHORT_MONTHS) - first)
        for country in ("C00", "C01")
        for channel in CHANNELS[:10]
        for known in ((False,) if first == 0 else (False, True))
    ]  # fmt: skip
    movement = []
    for week in range(20):
        new, returning, reactivated, lost = (int(one) for one in rng.integers(1, 50, 4))
        movement.append({
            "ts": today - 7 * DAY * (week + 1), "week": str(week), "new": new, "returning": returning,
            "reactivated": reactivated, "lost": lost, "net": new + reactivated - lost, "active": 100,
            "lost_after_days": 90, "complete": True,
        })  # fmt: skip
    return {"segments-daily": days, "cohorts": cohorts, "movement": movement}
