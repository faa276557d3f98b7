"""One small shop, every figure of it worked out on paper from the contract; whatever counts must find them.

as_of = 2024-03-31 00:00 UTC
"ann" in days before as_of:

400       100         40      30+1ms   20             10       1h  20min       as_of
 o1        o2          o3       s0      s1             s2       s3   s4           |
                                                 o4 placed 12, refunded 1 after   |  o5 is not known yet
"""

from __future__ import annotations

from oracle.rows import Row

AS_OF = 1_711_843_200_000
DAY = 86_400_000
MINUTE = 60_000


def _event(
    number: int, session: str, before_ms: int, event_type: str, device: str = "mobile", category: str | None = None
) -> Row:
    row: Row = {"event_id": f"e{number}", "session_id": session, "event_type": event_type, "customer_id": "ann"}
    return row | {"ts": AS_OF - before_ms, "device": device, "category": category}


def _order(
    name: str, days: int, total: float, status: str = "placed", changed_days: int | None = None, customer: str = "ann"
) -> Row:
    row: Row = {"order_id": name, "customer_id": customer, "ts": AS_OF - days * DAY, "status": status, "total": total}
    return row | {"updated_ts": AS_OF - (days if changed_days is None else changed_days) * DAY}


EVENTS: list[Row] = [
    _event(0, "s0", 30 * DAY, "product_view", category="out of 30 days, inside 90"),
    _event(1, "s1", 20 * DAY, "search", "desktop"),
    _event(2, "s1", 20 * DAY, "page_view", "mobile"),  # a tie of the first event: e1 < e2, so desktop
    _event(3, "s1", 20 * DAY - 10 * MINUTE, "product_view", category="b"),
    _event(4, "s2", 10 * DAY, "product_view", category="a"),
    _event(5, "s2", 10 * DAY - 20 * MINUTE, "add_to_cart", category="a"),
    _event(6, "s2", 10 * DAY - 30 * MINUTE, "purchase", category="a"),
    _event(7, "s3", 60 * MINUTE, "product_view", category="b"),
    _event(8, "s3", 30 * MINUTE, "add_to_cart", category="b"),  # abandoned, to the millisecond
    _event(9, "s4", 20 * MINUTE, "add_to_cart"),  # not yet
    _event(9, "s4", 20 * MINUTE, "add_to_cart"),
    _event(10, "s4", -1, "purchase"),
]
ORDERS: list[Row] = [
    _order("o1", 400, 10.0),
    _order("o2", 100, 1.015),
    _order("o3", 40, 2.675, "cancelled", 39),
    _order("o3", 40, 2.675, "placed", 38),
    _order("o4", 12, 99.0),
    _order("o4", 12, 99.0, "refunded", 1),
    _order("o4", 12, 99.0, "placed", 2),
    _order("o5", 1, 5.0, changed_days=-1),
    _order("x", 3, 7.0, "cancelled", customer="bob"),
]

ANN: Row = {
    "customer_id": "ann",
    "as_of": AS_OF,
    "first_seen_ts": AS_OF - 400 * DAY,
    "tenure_days": 400.0,
    "last_order_ts": AS_OF - 40 * DAY,
    "recency_days": 40.0,
    "orders_total": 3,
    "revenue_total": 13.70,
    "orders_7d": 0,
    "orders_30d": 0,
    "orders_90d": 1,
    "orders_365d": 2,
    "revenue_7d": 0.0,
    "revenue_30d": 0.0,
    "revenue_90d": 2.68,
    "revenue_365d": 3.70,
    "avg_order_value_365d": 1.85,
    "order_gap_mean_days": 180.0,
    "recency_ratio": 40 / 180,
    "returns_365d": 1,
    "last_seen_ts": AS_OF - 20 * MINUTE,
    "days_since_visit": 20 / 1440,
    "sessions_7d": 2,
    "sessions_30d": 4,
    "sessions_90d": 5,
    "events_30d": 9,
    "events_per_session_30d": 2.25,
    "session_duration_mean_30d": 1050.0,
    "product_views_30d": 3,
    "searches_30d": 1,
    "add_to_carts_30d": 3,
    "cart_sessions_30d": 3,
    "abandoned_carts_30d": 1,
    "cart_abandon_rate_30d": 1 / 3,
    "converted_sessions_30d": 1,
    "conversion_rate_30d": 0.25,
    "mobile_share_30d": 0.75,
    "visit_trend": 2 / (4 * 7 / 30),
    "top_category_90d": "b",
    "top_category_share_90d": 0.5,
}
NULL_FOR_BOB = (
    *("last_order_ts", "recency_days", "avg_order_value_365d", "order_gap_mean_days", "recency_ratio"),
    *("last_seen_ts", "days_since_visit", "events_per_session_30d", "session_duration_mean_30d"),
    *("cart_abandon_rate_30d", "conversion_rate_30d", "mobile_share_30d", "visit_trend"),
    *("top_category_90d", "top_category_share_90d"),
)
BOB: Row = {name: 0.0 if isinstance(value, float) else 0 for name, value in ANN.items()} | dict.fromkeys(NULL_FOR_BOB)
BOB |= {"customer_id": "bob", "as_of": AS_OF, "first_seen_ts": AS_OF - 3 * DAY, "tenure_days": 3.0, "returns_365d": 1}
