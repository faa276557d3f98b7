"""Alerts and notifications for tests."""

from __future__ import annotations

import msgspec

from consumers.notifications.message import Notification, alert_notification
from features.scores.alerts import Alert

ACTIONS = {"personal_contact": "Call or write personally."}
DAY = "2026-05-20"
TS = 1_779_280_440_000
HOSTILE = 'x"><script>alert(1)</script>\r\nBcc: <!channel> [a](http://evil) *b* & | \x00é'


def alert(customer="c-1", risk="high", **changes) -> Alert:
    values = {
        "customer_id": customer, "churn_risk": risk, "day": DAY, "ts": TS, "churn_risk_before": "medium",
        "churn_probability": 0.734, "churn_reasons": ["recency_days", "days_since_visit", "unknown_input"],
        "segment": "At Risk", "recommended_action": "personal_contact", "revenue_365d": 1_234.5,
        "bundle": "churn-90d-b1",
    }  # fmt: skip
    return Alert(**values | changes)


def encoded(*alerts: Alert) -> list[bytes]:
    return [msgspec.json.encode(one) for one in alerts]


def notification(customer="c-1", **changes) -> Notification:
    return alert_notification(alert(customer, **changes), "shop", ACTIONS, page_url="https://page.example/")
