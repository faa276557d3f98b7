"""Declares the product board: what sells, what is only viewed, and what declines."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import EVENTS, ORDER_ITEMS, ORDERED, RETURNED, SALES, SOLD, channel, country
from dashboards.conditions import Ago, Exists, Is, Where
from dashboards.panels import Control, Dashboard, Measure, Panel, Position, Ratio, Terms, Time, Window
from features.schema import DAY_MS

LATELY_DAYS: Final = 30
"""Days of each of the two consecutive periods that identify declining products."""

_LATELY: Final[Where] = (Ago("ts", after_ms=LATELY_DAYS * DAY_MS),)
_BEFORE: Final[Where] = (Ago("ts", after_ms=2 * LATELY_DAYS * DAY_MS, before_ms=LATELY_DAYS * DAY_MS),)
_NOW_SOLD: Final = Measure(f"Last {LATELY_DAYS} days", "sum", "amount", (*SOLD, *_LATELY), "money")
_BEFORE_SOLD: Final = Measure(f"Previous {LATELY_DAYS} days", "sum", "amount", (*SOLD, *_BEFORE), "money")

_VIEWS: Final = Measure("Product views", "count", where=(Is("event_type", ("product_view",)),))
_CARTS: Final = Measure("Add-to-carts", "count", where=(Is("event_type", ("add_to_cart",)),))
_BOUGHT: Final = Measure("Purchases", "count", where=(Is("event_type", ("purchase",)),))
_CONVERSIONS: Final = (
    _VIEWS,
    _CARTS,
    _BOUGHT,
    Ratio("View → cart", _CARTS, _VIEWS),
    Ratio("Cart → order", _BOUGHT, _CARTS),
    Ratio("View → order", _BOUGHT, _VIEWS),
)
_NET: Final = "Quantity times price, excluding cancelled and refunded orders."

PRODUCTS: Final = Dashboard(
    "products",
    "Products",
    "What sells, what is viewed but not bought, and what declines.",
    days=30,
    controls=(country(ORDER_ITEMS), channel(ORDER_ITEMS), Control("Category", "category", ORDER_ITEMS)),
    panels=(
        Panel(
            "products-revenue", "Product revenue", _NET, ORDER_ITEMS, "metric", Position(0, 0, 12, 6), (SALES,),
            note="Differs from the revenue of orders by delivery and discounts.",
        ),
        Panel(
            "products-units", "Units sold", "Excluding cancelled and refunded orders.",
            ORDER_ITEMS, "metric", Position(12, 0, 12, 6), (Measure("Units sold", "sum", "quantity", SOLD),),
        ),
        Panel(
            "products-sold", "Different products sold", "Excluding cancelled and refunded orders.",
            ORDER_ITEMS, "metric", Position(24, 0, 12, 6), (Measure("Products", "unique", "product_id", SOLD),),
        ),
        Panel(
            "products-cart", "Cart-to-order rate", "Purchases divided by add-to-carts.",
            EVENTS, "metric", Position(36, 0, 12, 6), (Ratio("Cart-to-order rate", _BOUGHT, _CARTS),),
        ),
        Panel(
            "products-top", "Top products", _NET,
            ORDER_ITEMS, "table", Position(0, 6, 24, 14),
            (
                SALES,
                Measure("Units sold", "sum", "quantity", SOLD),
                Measure("Order lines", "count", where=SOLD),
                Ratio(
                    "Return rate",
                    Measure("Returned", "count", where=RETURNED),
                    Measure("All", "count", where=ORDERED),
                ),
            ),
            (
                Terms("Product", "product_id", 25, by="Revenue"),
                Terms("Category", "category", 1, by="Revenue", other=True),
            ),
            where=(Exists("product_id"),),
            sort=("Revenue", True),
            note="The return rate is the share of order lines that were cancelled or refunded.",
        ),
        Panel(
            "products-falling", "Declining products",
            f"Among the top 50 of the previous {LATELY_DAYS} days, sorted by lost revenue.",
            ORDER_ITEMS, "table", Position(24, 6, 24, 14),
            (_BEFORE_SOLD, _NOW_SOLD, Ratio("Change", _NOW_SOLD, _BEFORE_SOLD, unit="money", minus=True)),
            (Terms("Product", "product_id", 50, by=_BEFORE_SOLD.label),),
            window=Window(back_days=2 * LATELY_DAYS),
            sort=("Change", False),
        ),
        Panel(
            "products-conversion", "Most viewed products", "Counts views, not visits: two views count twice.",
            EVENTS, "table", Position(0, 20, 48, 14),
            _CONVERSIONS, (Terms("Product", "product_id", 25, by=_VIEWS.label),),
            where=(Exists("product_id"),),
            sort=(_VIEWS.label, True),
        ),
        Panel(
            "products-categories", "Conversion by category", "Counts views, not visits: two views count twice.",
            EVENTS, "table", Position(0, 34, 24, 13),
            _CONVERSIONS, (Terms("Category", "category", 15, by=_VIEWS.label, other=True),),
            where=(Is("event_type", ("product_view", "add_to_cart", "purchase")),),
        ),
        Panel(
            "products-category-revenue", "Revenue by category", _NET,
            ORDER_ITEMS, "bar_horizontal", Position(24, 34, 24, 13),
            (SALES,), (Terms("Category", "category", 15, by="Revenue", other=True),),
        ),
        Panel(
            "products-trend", "Product views, add-to-carts and purchases per day", "",
            EVENTS, "line", Position(0, 47, 48, 12),
            (_VIEWS, _CARTS, _BOUGHT), (Time("Day", "ts", "day"),),
        ),
    ),
)  # fmt: skip
