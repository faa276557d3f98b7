"""One small shop, every figure of it worked out on paper from the contract; whatever counts must find them.

as_of = 2024-03-31 00:00 UTC
"ann" in days before as_of:

400       100         40      30+1ms   20     17      10       1h  20min       as_of
 o1        o2          o3       s0      s1     s5      s2       s3   s4           |
                            o6 placed 25, void 5      o4 placed 12, refunded 1    |  o5 is not known yet
                                              o7 placed 6, moved to "bob" 2       |
e1 counts again after three days, in s5; e5 was sent again after a day, which does not count, neither does s6.
Of "cat" there is a void order only.
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
    _event(5, "s6", 9 * DAY - 20 * MINUTE, "search", "desktop"),
    _event(1, "s5", 17 * DAY, "page_view", "desktop"),
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
    _order("o6", 25, 50.0, "void", 5),
    _order("o6", 25, 60.0, "refunded", 5),
    _order("o6", 25, 50.0),
    _order("o7", 6, 30.0),
    _order("o7", 6, 30.0, "void", 2),
    _order("o7", 6, 30.0, "placed", 2, "bob"),
    _order("x", 3, 7.0, "cancelled", customer="bob"),
    _order("y", 8, 4.0, "void", 7, "cat"),
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
    "sessions_30d": 5,
    "sessions_90d": 6,
    "events_30d": 10,
    "events_per_session_30d": 2.0,
    "session_duration_mean_30d": 840.0,
    "product_views_30d": 3,
    "searches_30d": 1,
    "add_to_carts_30d": 3,
    "cart_sessions_30d": 3,
    "abandoned_carts_30d": 1,
    "cart_abandon_rate_30d": 1 / 3,
    "converted_sessions_30d": 1,
    "conversion_rate_30d": 0.2,
    "mobile_share_30d": 0.6,
    "visit_trend": 2 / (5 * 7 / 30),
    "top_category_90d": "b",
    "top_category_share_90d": 0.5,
}
NULL_FOR_CAT = (
    *("last_order_ts", "recency_days", "avg_order_value_365d", "order_gap_mean_days", "recency_ratio"),
    *("last_seen_ts", "days_since_visit", "events_per_session_30d", "session_duration_mean_30d"),
    *("cart_abandon_rate_30d", "conversion_rate_30d", "mobile_share_30d", "visit_trend"),
    *("top_category_90d", "top_category_share_90d"),
)
CAT: Row = {name: 0.0 if isinstance(value, float) else 0 for name, value in ANN.items()} | dict.fromkeys(NULL_FOR_CAT)
CAT |= {"customer_id": "cat", "as_of": AS_OF, "first_seen_ts": AS_OF - 8 * DAY, "tenure_days": 8.0}
BOB: Row = CAT | {"customer_id": "bob", "first_seen_ts": AS_OF - 6 * DAY, "tenure_days": 6.0, "returns_365d": 1}
BOB |= {"last_order_ts": AS_OF - 6 * DAY, "recency_days": 6.0, "orders_total": 1, "revenue_total": 30.0}
BOB |= {f"orders_{days}d": 1 for days in (7, 30, 90, 365)} | {f"revenue_{days}d": 30.0 for days in (7, 30, 90, 365)}
BOB |= {"avg_order_value_365d": 30.0}
