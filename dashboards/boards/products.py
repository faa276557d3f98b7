"""Declares the product board: what sells, what is only viewed, and what is falling."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import EVENTS, ORDER_ITEMS, ORDERED, RETURNED, SALES, SOLD, channel, country
from dashboards.conditions import Ago, Exists, Is, Where
from dashboards.panels import Control, Dashboard, Measure, Panel, Position, Ratio, Terms, Time, Window
from features.schema import DAY_MS

LATELY_DAYS: Final = 30
"""Days of each of the two consecutive periods that identify falling products."""

_LATELY: Final[Where] = (Ago("ts", after_ms=LATELY_DAYS * DAY_MS),)
_BEFORE: Final[Where] = (Ago("ts", after_ms=2 * LATELY_DAYS * DAY_MS, before_ms=LATELY_DAYS * DAY_MS),)
_NOW_SOLD: Final = Measure(f"Last {LATELY_DAYS} days", "sum", "amount", (*SOLD, *_LATELY), "money")
_BEFORE_SOLD: Final = Measure(f"{LATELY_DAYS} days before", "sum", "amount", (*SOLD, *_BEFORE), "money")

_LINES: Final = Measure("Lines", "count", where=SOLD)
_VIEWS: Final = Measure("Views", "count", where=(Is("event_type", ("product_view",)),))
_CARTS: Final = Measure("To cart", "count", where=(Is("event_type", ("add_to_cart",)),))
_BOUGHT: Final = Measure("Bought", "count", where=(Is("event_type", ("purchase",)),))
_CONVERSIONS: Final = (
    _VIEWS,
    _CARTS,
    _BOUGHT,
    Ratio("View to cart", _CARTS, _VIEWS),
    Ratio("Cart to order", _BOUGHT, _CARTS),
    Ratio("View to order", _BOUGHT, _VIEWS),
)

PRODUCTS: Final = Dashboard(
    "products",
    "Products",
    "What sells, what is only viewed, and what is falling?",
    days=30,
    controls=(country(ORDER_ITEMS), channel(ORDER_ITEMS), Control("Category", "category", ORDER_ITEMS)),
    panels=(
        Panel(
            "products-revenue", "Revenue of lines", "What are all lines worth, without cancelled and refunded ones?",
            ORDER_ITEMS, "metric", Position(0, 0, 12, 6), (SALES,),
            note="Quantity times unit price; what a customer paid for an order may differ by delivery or discount.",
        ),
        Panel(
            "products-units", "Units", "How many units were sold?",
            ORDER_ITEMS, "metric", Position(12, 0, 12, 6), (Measure("Units", "sum", "quantity", SOLD),),
        ),
        Panel(
            "products-sold", "Products sold", "How many different products were sold?",
            ORDER_ITEMS, "metric", Position(24, 0, 12, 6), (Measure("Products", "unique", "product_id", SOLD),),
        ),
        Panel(
            "products-cart", "Cart to order", "What share of the products put in a cart is bought?",
            EVENTS, "metric", Position(36, 0, 12, 6), (Ratio("Cart to order", _BOUGHT, _CARTS),),
        ),
        Panel(
            "products-top", "Top products by revenue", "What sells best?",
            ORDER_ITEMS, "table", Position(0, 6, 24, 14),
            (
                SALES, Measure("Units", "sum", "quantity", SOLD), _LINES,
                Ratio(
                    "Returned",
                    Measure("Returned", "count", where=RETURNED),
                    Measure("All", "count", where=ORDERED),
                ),
            ),
            (Terms("Product", "product_id", 25, by="Revenue"), Terms("Category", "category", 1, by="Revenue")),
            where=(Exists("product_id"),),
            sort=("Revenue", True),
            note="Returned is the share of lines of cancelled or refunded orders.",
        ),
        Panel(
            "products-falling", "Falling products", "Which products sell less than before?",
            ORDER_ITEMS, "table", Position(24, 6, 24, 14),
            (_BEFORE_SOLD, _NOW_SOLD, Ratio("Change", _NOW_SOLD, _BEFORE_SOLD, unit="money", minus=True)),
            (Terms("Product", "product_id", 50, by=_BEFORE_SOLD.label),),
            window=Window(back_days=2 * LATELY_DAYS),
            sort=("Change", False),
            note="Among the fifty best sellers of the earlier days.",
        ),
        Panel(
            "products-conversion", "Most viewed products", "Which products are viewed most, and are they bought?",
            EVENTS, "table", Position(0, 20, 48, 14),
            _CONVERSIONS, (Terms("Product", "product_id", 25, by="Views"),),
            where=(Exists("product_id"),),
            sort=("Views", True),
            note="Counts of clicks, not of visits: a product that is viewed twice counts twice.",
        ),
        Panel(
            "products-categories", "Conversion by category", "Which categories are viewed but not bought?",
            EVENTS, "table", Position(0, 34, 24, 13),
            _CONVERSIONS, (Terms("Category", "category", 15, by="Views"),), where=(Exists("category"),),
        ),
        Panel(
            "products-category-revenue", "Revenue by category", "How much revenue do they bring?",
            ORDER_ITEMS, "bar_horizontal", Position(24, 34, 24, 13),
            (SALES,), (Terms("Category", "category", 15, by="Revenue"),),
        ),
        Panel(
            "products-trend", "Views, carts and purchases", "How do views and purchases develop?",
            EVENTS, "line", Position(0, 47, 48, 12),
            (_VIEWS, _CARTS, _BOUGHT), (Time("Day", "ts", "day"),),
        ),
    ),
)  # fmt: skip
