"""Declares the board for the current state: whether the shop is active and which customers need attention now."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import (
    ALERTS,
    AVERAGE_ORDER,
    CHURN_LABEL,
    EVENTS,
    HIGH_RISK,
    ORDER_COUNT,
    ORDERS,
    REVENUE,
    REVENUE_YEAR,
    SESSIONS,
    VISIT_COUNT,
    WITHIN_HORIZON,
    country,
    reached,
)
from dashboards.conditions import Ago, Is
from dashboards.panels import Dashboard, Measure, Panel, Position, Ratio, Steps, Terms, Time, Window
from features.schema import ABANDONED_AFTER_MS, DAY_MS, EVENT_TYPES, HOUR_MS

ABANDONED: Final = (Is("stage", ("cart", "checkout")), Ago("last_ts", before_ms=ABANDONED_AFTER_MS))
"""Carts abandoned by now. No event rewrites a session after its half hour, so the query compares the times."""

CONVERSION: Final = Ratio(
    "Conversion rate", Measure("Visits with an order", "count", where=reached("purchase")), VISIT_COUNT
)


NOW: Final = Dashboard(
    "now",
    "Live",
    "What happens in the shop right now, and which customers need attention.",
    days=1,
    kibana_days=15,
    controls=(country(SESSIONS),),
    panels=(
        Panel(
            "now-customers", "Visitors", "Customers with at least one visit.",
            SESSIONS, "metric", Position(0, 0, 12, 6),
            (Measure("Visitors", "unique", "customer_id"),),
        ),
        Panel(
            "now-sessions", "Visits", "", SESSIONS, "metric", Position(12, 0, 12, 6), (VISIT_COUNT,),
        ),
        Panel(
            "now-orders", "Orders", "Orders placed, excluding cancelled and refunded ones.",
            ORDERS, "metric", Position(24, 0, 12, 6), (ORDER_COUNT,),
        ),
        Panel(
            "now-revenue", "Revenue", "Excluding cancelled and refunded orders.",
            ORDERS, "metric", Position(36, 0, 12, 6), (REVENUE,),
        ),
        Panel(
            "now-conversion", "Conversion rate", "Share of visits with an order.",
            SESSIONS, "metric", Position(0, 6, 12, 6), (CONVERSION,),
        ),
        Panel(
            "now-basket", "Average order value", "Revenue divided by orders.",
            ORDERS, "metric", Position(12, 6, 12, 6), (AVERAGE_ORDER,),
        ),
        Panel(
            "now-abandoned", "Abandoned carts",
            "Visits with a cart and without an order within 30 minutes of the last click.",
            SESSIONS, "metric", Position(24, 6, 12, 6),
            (Measure("Abandoned carts", "count", where=ABANDONED),),
        ),
        Panel(
            "now-alerts", "New churn alerts", "Customers who moved to high or critical risk.",
            ALERTS, "metric", Position(36, 6, 12, 6),
            (Measure("Customers", "unique", "customer_id", HIGH_RISK),), may_be_empty=True, whole_shop=True,
        ),
        Panel(
            "now-pace", "Last hour and last 24 hours", "",
            ORDERS, "table", Position(0, 12, 24, 9),
            (ORDER_COUNT, REVENUE, AVERAGE_ORDER),
            (
                Steps(
                    "Time",
                    (
                        ("Last hour", (Ago("ts", after_ms=HOUR_MS),)),
                        ("Last 24 hours", (Ago("ts", after_ms=DAY_MS),)),
                    ),
                ),
            ),
            window=Window(back_days=1),
            note="Measured back from the end of the period; in Kibana from the wall clock.",
        ),
        Panel(
            "now-revenue-trend", "Revenue over time", "Excluding cancelled and refunded orders.",
            ORDERS, "bar", Position(24, 12, 24, 9), (REVENUE,), (Time("Time", "ts"),),
        ),
        Panel(
            "now-visits", "Visits and visitors", "",
            SESSIONS, "line", Position(0, 21, 24, 12),
            (VISIT_COUNT, Measure("Visitors", "unique", "customer_id")), (Time("Time", "start_ts"),),
        ),
        Panel(
            "now-clicks", "Activity by event type", "",
            EVENTS, "area", Position(24, 21, 24, 12),
            (Measure("Events", "count"),),
            (Time("Time", "ts"), Terms("Event type", "event_type", len(EVENT_TYPES), by="Events")),
        ),
        Panel(
            "now-feed", "Latest churn alerts",
            f"Customers who have just become likely not to order {WITHIN_HORIZON}.",
            ALERTS, "table", Position(0, 33, 48, 14),
            (
                Measure("Time", "max", "ts", unit="time"),
                Measure(CHURN_LABEL, "max", "churn_probability", unit="percent"),
                Measure(REVENUE_YEAR.label, "max", "revenue_365d", unit="money"),
            ),
            (
                Terms("Customer", "customer_id", 25, by="Time"),
                Terms("Risk", "churn_risk", 1, by="Time"),
                Terms("Segment", "segment", 1, by="Time"),
                Terms("Action", "recommended_action", 1, by="Time"),
            ),
            where=HIGH_RISK,
            sort=("Time", True),
            may_be_empty=True,
            whole_shop=True,
        ),
    ),
)  # fmt: skip
