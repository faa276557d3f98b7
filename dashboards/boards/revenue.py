"""Declares the revenue board: how sales develop, where they come from, and where they are going."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import (
    AVERAGE_ORDER,
    COHORTS,
    FORECAST,
    ORDER_COUNT,
    ORDER_ITEMS,
    ORDERED,
    ORDERS,
    RETURNED,
    REVENUE,
    SALES,
    channel,
    country,
)
from dashboards.conditions import AtLeast, Is
from dashboards.panels import Dashboard, Measure, Panel, Position, Ratio, Terms, Time, Window

_ALL_ORDERS: Final = Measure("All orders", "count", where=ORDERED)
_RETURNED_AMOUNT: Final = Measure("Returned", "sum", "total", RETURNED, "money")
_RETURNED_SHARE: Final = Ratio("Share returned", Measure("Returned", "count", where=RETURNED), _ALL_ORDERS)

REVENUE_BOARD: Final = Dashboard(
    "revenue",
    "Revenue",
    "How do sales develop, where do they come from, and where are they going?",
    days=90,
    controls=(country(ORDERS), channel(ORDERS)),
    panels=(
        Panel(
            "revenue-total", "Revenue", "How much was sold, without cancelled and refunded orders?",
            ORDERS, "metric", Position(0, 0, 12, 6), (REVENUE,),
        ),
        Panel(
            "revenue-orders", "Orders", "How many orders came in, without cancelled and refunded ones?",
            ORDERS, "metric", Position(12, 0, 12, 6), (ORDER_COUNT,),
        ),
        Panel(
            "revenue-basket", "Average order", "What is an order worth?",
            ORDERS, "metric", Position(24, 0, 12, 6), (AVERAGE_ORDER,),
        ),
        Panel(
            "revenue-returned", "Cancelled or refunded", "What share of all orders was cancelled or refunded?",
            ORDERS, "metric", Position(36, 0, 12, 6),
            (_RETURNED_SHARE,),
        ),
        Panel(
            "revenue-forecast", "Revenue and its forecast", "How much was sold per day, and how much is expected?",
            FORECAST, "line", Position(0, 6, 48, 14),
            (
                Measure("Revenue", "max", "revenue", unit="money"),
                Measure("Forecast", "max", "forecast", unit="money"),
                Measure("80 % from", "max", "low_80", unit="money"),
                Measure("80 % to", "max", "high_80", unit="money"),
                Measure("95 % from", "max", "low_95", unit="money"),
                Measure("95 % to", "max", "high_95", unit="money"),
            ),
            (Time("Day", "ts", "day"),),
            where=(Is("level", ("total",)),),
            window=Window(back_days=90, ahead_days=60),
            whole_shop=True,
            note="The revenue of a future day lies between the two bounds with that probability.",
        ),
        Panel(
            "revenue-category-trend", "Revenue by category", "Which categories contribute to it?",
            ORDER_ITEMS, "bar_stacked", Position(0, 20, 24, 12),
            (SALES,), (Time("Week", "ts", "week"), Terms("Category", "category", 8, by="Revenue")),
        ),
        Panel(
            "revenue-basket-trend", "Average order over time", "Do orders become larger or smaller?",
            ORDERS, "line", Position(24, 20, 24, 12),
            (AVERAGE_ORDER,), (Time("Week", "ts", "week"),),
        ),
        Panel(
            "revenue-channel", "By channel", "Where do buyers come from?",
            ORDERS, "table", Position(0, 32, 24, 12),
            (REVENUE, ORDER_COUNT, AVERAGE_ORDER), (Terms("Channel", "channel", 10, by="Revenue"),),
        ),
        Panel(
            "revenue-country", "By country", "Where do buyers live?",
            ORDERS, "bar_horizontal", Position(24, 32, 24, 12),
            (REVENUE,), (Terms("Country", "country", 12, by="Revenue"),),
        ),
        Panel(
            "revenue-new", "New against returning customers", "Who buys: new customers, or those who came back?",
            COHORTS, "bar_stacked", Position(0, 44, 24, 12),
            (
                Measure("New customers", "sum", "revenue", (Is("months_since", (0,)),), "money"),
                Measure("Returning customers", "sum", "revenue", (AtLeast("months_since", 1),), "money"),
            ),
            (Time("Month", "ts", "month"),),
            note="New: in the month of the first order. Shows all months, whatever the time range is.",
        ),
        Panel(
            "revenue-returns-trend", "Cancelled and refunded orders", "Are more orders cancelled or refunded?",
            ORDERS, "bar_stacked", Position(24, 44, 24, 12),
            (_RETURNED_AMOUNT,), (Time("Week", "ts", "week"), Terms("Status", "status", 2, by="Returned")),
            where=RETURNED,
            note="At the time the order was placed.",
        ),
        Panel(
            "revenue-payment", "By payment method", "How do customers pay, and how much is returned?",
            ORDERS, "table", Position(0, 56, 48, 10),
            (REVENUE, ORDER_COUNT, _RETURNED_AMOUNT, _RETURNED_SHARE),
            (Terms("Payment", "payment_method", 10, by="Revenue"),),
        ),
    ),
)  # fmt: skip
