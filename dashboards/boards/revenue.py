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
from dashboards.conditions import AtLeast, Exists, Is
from dashboards.panels import Dashboard, Layer, Measure, Panel, Position, Ratio, Terms, Time, Window

_ALL_ORDERS: Final = Measure("All orders", "count", where=ORDERED)
_RETURNED_AMOUNT: Final = Measure("Cancelled & refunded value", "sum", "total", RETURNED, "money")
_RETURNED_SHARE: Final = Ratio(
    "Cancel & refund rate", Measure("Cancelled or refunded", "count", where=RETURNED), _ALL_ORDERS
)
_NET: Final = "Excluding cancelled and refunded orders."
_FIRST: Final = (Is("months_since", (0,)),)
_FORECAST_LAYER: Final = Layer(
    FORECAST,
    Time("Day", "ts", "day"),
    (
        Measure("Forecast", "max", "forecast", unit="money"),
        Measure("80% from", "max", "low_80", unit="money"),
        Measure("80% to", "max", "high_80", unit="money"),
        Measure("95% from", "max", "low_95", unit="money"),
        Measure("95% to", "max", "high_95", unit="money"),
    ),
    where=(Is("level", ("total",)),),
    as_of=Measure("Forecast made on", "max", "ts", (Exists("revenue"),), "time"),
)
"""The forecast index has the revenue of each past day that the forecast was made from."""

REVENUE_BOARD: Final = Dashboard(
    "revenue",
    "Revenue",
    "Sales, where they come from, and the forecast.",
    days=90,
    controls=(country(ORDERS), channel(ORDERS)),
    panels=(
        Panel(
            "revenue-total", "Revenue", _NET, ORDERS, "metric", Position(0, 0, 12, 6), (REVENUE,),
        ),
        Panel(
            "revenue-orders", "Orders", _NET, ORDERS, "metric", Position(12, 0, 12, 6), (ORDER_COUNT,),
        ),
        Panel(
            "revenue-basket", "Average order value", "Revenue divided by orders.",
            ORDERS, "metric", Position(24, 0, 12, 6), (AVERAGE_ORDER,),
        ),
        Panel(
            "revenue-returned", "Cancelled or refunded", "Share of all orders.",
            ORDERS, "metric", Position(36, 0, 12, 6), (_RETURNED_SHARE,),
        ),
        Panel(
            "revenue-forecast", "Daily revenue and forecast",
            "Revenue as of now. Each forecast day falls inside its range with the given probability.",
            ORDERS, "line", Position(0, 6, 48, 14),
            (REVENUE,), (Time("Day", "ts", "day"),),
            window=Window(back_days=90, ahead_days=60),
            whole_shop=True,
            layer=_FORECAST_LAYER,
        ),
        Panel(
            "revenue-category-trend", "Revenue by category", f"Quantity times price of order lines. {_NET}",
            ORDER_ITEMS, "bar_stacked", Position(0, 20, 24, 12),
            (SALES,), (Time("Week", "ts", "week"), Terms("Category", "category", 8, by="Revenue", other=True)),
            note="Differs from the revenue of orders by delivery and discounts.",
        ),
        Panel(
            "revenue-basket-trend", "Average order value over time", "Revenue divided by orders.",
            ORDERS, "line", Position(24, 20, 24, 12),
            (AVERAGE_ORDER,), (Time("Week", "ts", "week"),),
        ),
        Panel(
            "revenue-channel", "Revenue by channel", _NET,
            ORDERS, "table", Position(0, 32, 24, 12),
            (REVENUE, ORDER_COUNT, AVERAGE_ORDER), (Terms("Channel", "channel", 10, by="Revenue", other=True),),
        ),
        Panel(
            "revenue-country", "Revenue by country", _NET,
            ORDERS, "bar_horizontal", Position(24, 32, 24, 12),
            (REVENUE,), (Terms("Country", "country", 12, by="Revenue", other=True),),
        ),
        Panel(
            "revenue-new", "New vs. returning customers",
            "Revenue of customers by whether their first order is in the month. A history may begin after it.",
            COHORTS, "bar_stacked", Position(0, 44, 24, 12),
            (
                Measure("New customers", "sum", "revenue", (*_FIRST, Is("known", (True,))), "money"),
                Measure("Returning customers", "sum", "revenue", (AtLeast("months_since", 1),), "money"),
                Measure("Not known", "sum", "revenue", (*_FIRST, Is("known", (False,))), "money"),
            ),
            (Time("Month", "ts", "month"),),
        ),
        Panel(
            "revenue-returns-trend", "Cancelled and refunded value", "By order date.",
            ORDERS, "bar_stacked", Position(24, 44, 24, 12),
            (_RETURNED_AMOUNT,),
            (Time("Week", "ts", "week"), Terms("Status", "status", 2, by=_RETURNED_AMOUNT.label)),
            where=RETURNED,
        ),
        Panel(
            "revenue-payment", "Revenue by payment method", _NET,
            ORDERS, "table", Position(0, 56, 48, 10),
            (REVENUE, ORDER_COUNT, _RETURNED_AMOUNT, _RETURNED_SHARE),
            (Terms("Payment method", "payment_method", 10, by="Revenue", other=True),),
        ),
    ),
)  # fmt: skip
