"""Defines features and scores in the words of a shop, for people who read figures.

The exact definitions, with fields and formulas, are `Feature.help` and `Score.help`. The documentation lists those.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_SPANS: Final = {7: "last 7 days", 30: "last 30 days", 90: "last 90 days", 365: "last 12 months"}
_REVENUE: Final = "excluding cancelled and refunded orders"

PLAIN_DEFINITIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "first_seen_ts": "Time of the customer's first event or order.",
        "tenure_days": "Days since the customer's first event or order.",
        "last_order_ts": "Time of the last order.",
        "recency_days": "Time since the last order. Empty without an order.",
        "orders_total": "Number of all orders, excluding cancelled and refunded ones.",
        "revenue_total": f"Total of all orders, {_REVENUE}.",
        **{f"orders_{days}d": f"Orders in the {text}, excluding cancelled and refunded ones."
           for days, text in _SPANS.items()},
        **{f"revenue_{days}d": f"Revenue in the {text}, {_REVENUE}." for days, text in _SPANS.items()},
        "avg_order_value_365d": "Revenue per order in the last 12 months.",
        "order_gap_mean_days": "Average time between two orders. Empty below two orders.",
        "recency_ratio": "Time since the last order, compared with the typical order gap: 2 is twice as long as usual.",
        "returns_365d": "Orders of the last 12 months that were cancelled or refunded.",
        "last_seen_ts": "Time of the customer's last event.",
        "days_since_visit": "Time since the customer's last event. Empty without an event.",
        **{f"sessions_{days}d": f"Visits that started in the {_SPANS[days]}." for days in (7, 30, 90)},
        "events_30d": "Events of the visits in the last 30 days.",
        "events_per_session_30d": "Average number of events per visit in the last 30 days.",
        "session_duration_mean_30d": "Average length of a visit in the last 30 days.",
        "product_views_30d": "Product views in the visits of the last 30 days.",
        "searches_30d": "Searches in the visits of the last 30 days.",
        "add_to_carts_30d": "Times a product was added to the cart, in the visits of the last 30 days.",
        "cart_sessions_30d": "Visits of the last 30 days in which a product was added to the cart.",
        "abandoned_carts_30d": "Visits of the last 30 days with a cart and no order, 30 minutes after the last event.",
        "cart_abandon_rate_30d": "Abandoned carts as a share of the visits with a cart, last 30 days.",
        "converted_sessions_30d": "Visits of the last 30 days with an order.",
        "conversion_rate_30d": "Visits with an order as a share of all visits, last 30 days.",
        "mobile_share_30d": "Visits on a mobile phone as a share of all visits, last 30 days.",
        "visit_trend": "Visits of the last 7 days, compared with an average week of the last 30 days: 1 is as usual.",
        "top_category_90d": "Category whose products the customer viewed most often in the last 90 days.",
        "top_category_share_90d": "Share of the top category in the customer's product views, last 90 days.",
        "r_score": "1 to 5: how recent the last order is. 5 is the most recent fifth of the customers.",
        "f_score": "1 to 5: how many orders in the last 12 months. 5 is the most frequent fifth of the customers.",
        "m_score": "1 to 5: how much revenue in the last 12 months. 5 is the highest fifth of the customers.",
        "rfm_code": "The scores for recency, frequency and revenue, each from 1 to 5.",
        "segment": "Group of customers by recency, frequency and revenue.",
        "churn_probability": "Probability that the customer does not order within the horizon of the model.",
        "churn_risk": "Low, medium, high or critical, by the churn probability. Empty without an order.",
        "churn_reasons": "The three inputs that increase the churn probability most, for high and critical risk.",
        "purchase_probability_30d": "Probability that the customer orders within the next 30 days.",
        "expected_days_to_purchase": "Expected time until the next order, at most 90 days.",
        "expected_revenue_90d": "Expected revenue of the next 90 days.",
        "recommended_action": "What to do for the customer, by the segment and the risk.",
    }
)  # fmt: skip
"""Feature or score -> its definition as sentences. A test requires one for each of them."""
