"""Declares the board for the current state: whether the shop is active and which customers need attention now."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import (
    ALERTS,
    AT_RISK,
    AVERAGE_ORDER,
    EVENTS,
    ORDER_COUNT,
    ORDERS,
    REVENUE,
    SESSION_COUNT,
    SESSIONS,
    SOLD,
    country,
    reached,
)
from dashboards.conditions import Ago, Is
from dashboards.panels import Dashboard, Measure, Panel, Position, Ratio, Steps, Terms, Time
from features.schema import ABANDONED_AFTER_MS, DAY_MS, HOUR_MS

ABANDONED: Final = (Is("stage", ("cart", "checkout")), Ago("last_ts", before_ms=ABANDONED_AFTER_MS))
"""Carts abandoned by now. No event rewrites a session after its half hour, so the query compares the times."""

CONVERSION: Final = Ratio(
    "Conversion", Measure("Sessions with a purchase", "count", where=reached("purchase")), SESSION_COUNT
)


NOW: Final = Dashboard(
    "now",
    "Now",
    "Is the shop active, and which customers need attention now?",
    days=1,
    kibana_days=15,
    controls=(country(SESSIONS),),
    panels=(
        Panel(
            "now-customers", "Active customers", "How many customers visited the shop?",
            SESSIONS, "metric", Position(0, 0, 12, 6),
            (Measure("Active customers", "unique", "customer_id"),),
        ),
        Panel(
            "now-sessions", "Sessions", "How many visits were there?",
            SESSIONS, "metric", Position(12, 0, 12, 6), (SESSION_COUNT,),
        ),
        Panel(
            "now-orders", "Orders", "How many orders came in, without cancelled and refunded ones?",
            ORDERS, "metric", Position(24, 0, 12, 6), (ORDER_COUNT,),
        ),
        Panel(
            "now-revenue", "Revenue", "What are they worth?",
            ORDERS, "metric", Position(36, 0, 12, 6), (REVENUE,),
        ),
        Panel(
            "now-conversion", "Conversion", "What share of the visits ends in a purchase?",
            SESSIONS, "metric", Position(0, 6, 12, 6), (CONVERSION,),
        ),
        Panel(
            "now-basket", "Average order", "What is an order worth?",
            ORDERS, "metric", Position(12, 6, 12, 6), (AVERAGE_ORDER,),
        ),
        Panel(
            "now-abandoned", "Abandoned carts", "How many visits left a cart more than half an hour ago?",
            SESSIONS, "metric", Position(24, 6, 12, 6),
            (Measure("Abandoned carts", "count", where=ABANDONED),),
        ),
        Panel(
            "now-alerts", "Customers whose risk rose", "How many customers have become likely to leave?",
            ALERTS, "metric", Position(36, 6, 12, 6),
            (Measure("Customers", "unique", "customer_id", AT_RISK),), may_be_empty=True, whole_shop=True,
        ),
        Panel(
            "now-pace", "Recent orders and revenue", "What came in during the last hour and the last day?",
            ORDERS, "table", Position(0, 12, 24, 9),
            (ORDER_COUNT, REVENUE, AVERAGE_ORDER),
            (
                Steps(
                    "Time",
                    (
                        ("last 60 minutes", (Ago("ts", after_ms=HOUR_MS),)),
                        ("last 24 hours", (Ago("ts", after_ms=DAY_MS),)),
                        ("whole time range", SOLD),
                    ),
                ),
            ),
            note="Measured back from the end of the time range; in Kibana from the wall clock.",
        ),
        Panel(
            "now-revenue-trend", "Revenue over time", "How do sales develop, by the minute in a short time range?",
            ORDERS, "bar", Position(24, 12, 24, 9), (REVENUE,), (Time("Time", "ts"),),
        ),
        Panel(
            "now-visits", "Visits over time", "How many customers visit, and how often?",
            SESSIONS, "line", Position(0, 21, 24, 12),
            (SESSION_COUNT, Measure("Customers", "unique", "customer_id")), (Time("Time", "start_ts"),),
        ),
        Panel(
            "now-clicks", "Clicks by kind", "What do visitors do?",
            EVENTS, "area", Position(24, 21, 24, 12),
            (Measure("Clicks", "count"),), (Time("Time", "ts"), Terms("Kind", "event_type", 7, by="Clicks")),
        ),
        Panel(
            "now-feed", "Newest alerts", "Which customers have just become likely to leave, and what should be done?",
            ALERTS, "table", Position(0, 33, 48, 14),
            (
                Measure("When", "max", "ts", unit="time"),
                Measure("Churn probability", "max", "churn_probability", unit="percent"),
                Measure("Revenue of a year", "max", "revenue_365d", unit="money"),
            ),
            (
                Terms("Customer", "customer_id", 25, by="When"),
                Terms("Risk", "churn_risk", 1, by="When"),
                Terms("Segment", "segment", 1, by="When"),
                Terms("Action", "recommended_action", 1, by="When"),
            ),
            where=AT_RISK,
            sort=("When", True),
            may_be_empty=True,
            whole_shop=True,
        ),
    ),
)  # fmt: skip
