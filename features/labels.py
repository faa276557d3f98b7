"""Defines the words that people read for identifiers: fields, features, and values of fields.

The page, Kibana, reports and documents take them from here. Files, topics and CSV keep the identifiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from features.schema import ALL_CATEGORIES, NOT_KNOWN

NOT_SET: Final = "Not set"

_EVERYWHERE: Final[Mapping[str, str]] = {NOT_KNOWN: NOT_SET, ALL_CATEGORIES: "All categories", "(other)": "Other"}

_CHANNELS: Final[Mapping[str, str]] = {
    "affiliate": "Affiliate",
    "direct": "Direct",
    "email": "Email",
    "organic_search": "Organic search",
    "paid_search": "Paid search",
    "referral": "Referral",
    "social": "Social",
}

FEATURE_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "first_seen_ts": "First seen",
        "tenure_days": "Days since first seen",
        "last_order_ts": "Last order",
        "recency_days": "Days since last order",
        "orders_total": "Orders, all time",
        "revenue_total": "Revenue, all time",
        "orders_7d": "Orders, last 7 days",
        "orders_30d": "Orders, last 30 days",
        "orders_90d": "Orders, last 90 days",
        "orders_365d": "Orders, last 12 months",
        "revenue_7d": "Revenue, last 7 days",
        "revenue_30d": "Revenue, last 30 days",
        "revenue_90d": "Revenue, last 90 days",
        "revenue_365d": "Revenue, last 12 months",
        "avg_order_value_365d": "Average order value, last 12 months",
        "order_gap_mean_days": "Typical order gap, days",
        "recency_ratio": "Time since last order, in typical order gaps",
        "returns_365d": "Cancelled and refunded orders, last 12 months",
        "last_seen_ts": "Last visit",
        "days_since_visit": "Days since last visit",
        "sessions_7d": "Visits, last 7 days",
        "sessions_30d": "Visits, last 30 days",
        "sessions_90d": "Visits, last 90 days",
        "events_30d": "Events, last 30 days",
        "events_per_session_30d": "Events per visit, last 30 days",
        "session_duration_mean_30d": "Average visit duration, last 30 days",
        "product_views_30d": "Product views, last 30 days",
        "searches_30d": "Searches, last 30 days",
        "add_to_carts_30d": "Add-to-carts, last 30 days",
        "cart_sessions_30d": "Visits with a cart, last 30 days",
        "abandoned_carts_30d": "Abandoned carts, last 30 days",
        "cart_abandon_rate_30d": "Cart abandonment rate, last 30 days",
        "converted_sessions_30d": "Visits with an order, last 30 days",
        "conversion_rate_30d": "Conversion rate, last 30 days",
        "mobile_share_30d": "Share of mobile visits, last 30 days",
        "visit_trend": "Visits this week against the month",
        "top_category_90d": "Top category, last 90 days",
        "top_category_share_90d": "Share of the top category, last 90 days",
    }
)
"""Feature -> its name in words. A test requires one for each feature."""

SCORE_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "r_score": "Recency score",
        "f_score": "Frequency score",
        "m_score": "Monetary score",
        "rfm_code": "RFM scores",
        "segment": "Segment",
        "churn_probability": "Churn probability",
        "churn_risk": "Churn risk",
        "churn_reasons": "Churn drivers",
        "purchase_probability_30d": "Probability of an order, next 30 days",
        "expected_days_to_purchase": "Expected days to next order",
        "expected_revenue_90d": "Expected revenue, next 90 days",
        "recommended_action": "Recommended action",
    }
)
"""Score of a customer -> its name in words. A test requires one for each score."""

MODEL_INPUT_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bgnbd_alive": "Probability that the customer is active (BG/NBD)",
        "bgnbd_churn": "Churn probability from purchase rhythm (BG/NBD)",
        "bgnbd_orders": "Expected orders from purchase rhythm (BG/NBD)",
        "days_since_first_order": "Days since first order",
        "expected_orders": "Expected orders at the customer's usual rate",
        "expected_orders_of_last_month": "Orders last month against usual",
        "orders_per_day": "Orders per day",
        "recent_conversion": "Recent conversion rate",
        "recent_orders_per_day": "Recent orders per day",
        "recent_sessions_per_day": "Recent visits per day",
        "session_trend": "Recent visits against usual",
        "visit_pause_ratio": "Time since last visit, in typical visit gaps",
        "visits_alive": "Probability that the customer still visits",
        "visits_churn": "Churn probability from visits and conversion",
        "visits_orders": "Expected orders from visits and conversion",
    }
)
"""Input that a model computes from features -> its name in words; further inputs are written in sentence case."""

PROFILE_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "customer_id": "Customer",
        "acquisition_channel": "Acquisition channel",
        "age": "Age",
        "country": "Country",
        "gender": "Gender",
        "premium": "Premium",
        "signup_ts": "Sign-up",
    }
)

DRIVER_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tenure_days": "Time as a customer",
        "recency_days": "Long time since last order",
        "orders_total": "Few orders",
        "revenue_total": "Low revenue",
        "orders_7d": "Few orders (7 days)",
        "orders_30d": "Few orders (30 days)",
        "orders_90d": "Few orders (90 days)",
        "orders_365d": "Few orders (12 months)",
        "revenue_7d": "Low revenue (7 days)",
        "revenue_30d": "Low revenue (30 days)",
        "revenue_90d": "Low revenue (90 days)",
        "revenue_365d": "Low revenue (12 months)",
        "avg_order_value_365d": "Order value",
        "order_gap_mean_days": "Long order gaps",
        "recency_ratio": "Longer order gap than usual",
        "returns_365d": "Cancelled or refunded orders",
        "days_since_visit": "Long time since last visit",
        "sessions_7d": "Few visits (7 days)",
        "sessions_30d": "Few visits (30 days)",
        "sessions_90d": "Few visits (90 days)",
        "events_30d": "Little activity (30 days)",
        "events_per_session_30d": "Activity per visit",
        "session_duration_mean_30d": "Visit duration",
        "product_views_30d": "Product views",
        "searches_30d": "Searches",
        "add_to_carts_30d": "Add-to-carts",
        "cart_sessions_30d": "Visits with a cart",
        "abandoned_carts_30d": "Abandoned carts",
        "cart_abandon_rate_30d": "Cart abandonment",
        "converted_sessions_30d": "Visits with an order",
        "conversion_rate_30d": "Conversion rate of visits",
        "mobile_share_30d": "Share of mobile visits",
        "visit_trend": "Fewer visits than usual this week",
        "top_category_90d": "Top category",
        "top_category_share_90d": "Interest in a single category",
        "days_since_first_order": "Time since first order",
        "orders_per_day": "Order rate",
        "recent_orders_per_day": "Recent order rate",
        "recent_sessions_per_day": "Recent visit rate",
        "visit_pause_ratio": "Longer pause than usual",
        "session_trend": "Fewer visits than usual",
        "recent_conversion": "Recent conversion rate",
        "expected_orders": "Few orders expected",
        "expected_orders_of_last_month": "Fewer orders than usual last month",
        "bgnbd_orders": "Purchase rhythm: few orders expected",
        "bgnbd_churn": "Purchase rhythm: likely inactive",
        "bgnbd_alive": "Purchase rhythm: may have left",
        "visits_alive": "Visit rhythm: may have left",
        "visits_churn": "Visits and orders: likely inactive",
        "visits_orders": "Visits and orders: few orders expected",
    }
)
"""Feature of the churn model -> its words as a reason of a high churn probability."""

_VALUES: Final[Mapping[str, Mapping[str, str]]] = {
    "channel": _CHANNELS,
    "acquisition_channel": _CHANNELS,
    "payment_method": {
        "bank_transfer": "Bank transfer", "card": "Card", "invoice": "Invoice", "paypal": "PayPal", "wallet": "Wallet",
    },
    "device": {"desktop": "Desktop", "mobile": "Mobile", "tablet": "Tablet"},
    "event_type": {
        "page_view": "Page view", "search": "Search", "product_view": "Product view", "add_to_cart": "Add to cart",
        "remove_from_cart": "Remove from cart", "checkout": "Checkout", "purchase": "Purchase",
    },
    "stage": {
        "visit": "Visit", "view": "Product view", "cart": "Add to cart", "checkout": "Checkout", "purchase": "Order",
    },
    "status": {"placed": "Placed", "cancelled": "Cancelled", "refunded": "Refunded", "void": "Void"},
    "churn_risk": {"low": "Low", "medium": "Medium", "high": "High", "critical": "Critical"},
    "churn_risk_before": {"low": "Low", "medium": "Medium", "high": "High", "critical": "Critical"},
    "gender": {"female": "Female", "male": "Male", "other": "Other"},
    "churn_reasons": DRIVER_LABELS,
    "feature": {**FEATURE_LABELS, **SCORE_LABELS},
    "state": {
        "starting": "Starting", "running": "Running", "at end": "Up to date", "stopping": "Stopping", "done": "Done",
        "waiting": "Waiting", "dead": "Failed", "snoozed": "Snoozed",
    },
    "role": {
        "features": "Features", "index": "Index", "archive": "Archive", "map": "Map", "producer": "Producer",
    },
}  # fmt: skip
_IDENTIFIERS: Final = frozenset({"recommended_action", "churn_reasons", "feature", "payment_method", "channel"})
"""Fields whose further values are identifiers: `personal_contact` is read `Personal contact`."""


def value_label(field: str, value: str) -> str:
    """Return the words for a value of a field; values without words, such as names of categories, are unchanged.

    Args:
        field: name of the field: `payment_method`.
        value: value of the field: `bank_transfer`.
    """
    known = _VALUES.get(field, {}).get(value) or _EVERYWHERE.get(value)
    if known is not None:
        return known
    if field in {"churn_reasons", "feature"} and value in FEATURE_LABELS:
        return FEATURE_LABELS[value]
    return sentence_case(value) if field in _IDENTIFIERS else value


def column_label(column: str) -> str:
    """Return the words for a column of customers: a feature, a score, an input of a model, or a part of the profile."""
    for labels in (FEATURE_LABELS, SCORE_LABELS, MODEL_INPUT_LABELS, PROFILE_LABELS):
        if column in labels:
            return labels[column]
    return sentence_case(column)


def sentence_case(identifier: str) -> str:
    """Return an identifier as words: `personal_contact` is `Personal contact`."""
    words = identifier.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def labels_of_values() -> dict[str, dict[str, str]]:
    """Return field -> value -> words, of all values that have words; the field "" has those of every field."""
    return {"": dict(_EVERYWHERE)} | {field: dict(values) for field, values in _VALUES.items()}
