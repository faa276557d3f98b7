"""Declares the themes of traits once for all groups: their words, actions and risks.

The columns in which a group of customers differs most describe it. Each column belongs to a theme, which has words for
high and low values. Segments, personas and reports take their words and advice from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from features.labels import column_label


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a theme.

    Attributes:
        word: adjective for a name.
        action: action for such customers, an imperative.
        risk: possible risk; empty if there is none.
    """

    word: str
    action: str
    risk: str = ""


@dataclass(frozen=True, slots=True)
class Theme:
    """Subject of some columns, with a high and a low end."""

    much: Side
    little: Side

    def side(self, difference: float) -> Side:
        """Return the end for the sign of a standardised difference."""
        return self.much if difference >= 0 else self.little


THEMES: Final = MappingProxyType({
    "spend": Theme(
        Side("High-spending", "give them first choice and a person to talk to; no discounts",
             "much revenue depends on them: one loss equals several others"),
        Side("Small-spending", "raise the basket: bundles, free delivery from a little above their usual order",
             "an offer can cost more than their margin"),
    ),
    "basket": Theme(
        Side("Big-basket", "show what goes with what they buy", "one return takes back much revenue"),
        Side("Small-basket", "offer bundles and a delivery threshold just above their usual basket"),
    ),
    "frequency": Theme(
        Side("Frequent", "offer a subscription or points for what they buy regularly"),
        Side("Occasional", "give a reason for the next order within their usual gap",
             "too few orders to know their rhythm: predictions are uncertain"),
    ),
    "lapse": Theme(
        Side("Lapsed", "win back once with what they bought before, and stop if that fails",
             "they may have left for good: contact costs without return"),
        Side("Recent", "follow up on the last order while it is remembered"),
    ),
    "gap": Theme(
        Side("Slow-cycle", "time the contact by their own gap between orders", "long gaps are normal and hide churn"),
        Side("Fast-cycle", "make reordering one click"),
    ),
    "visits": Theme(
        Side("Often-visiting", "personalise what they see: they look often"),
        Side("Seldom-visiting", "reach them outside the shop: e-mail and retargeting",
             "visits have become rare, an early sign of churn"),
    ),
    "engagement": Theme(
        Side("Deep-browsing", "help to decide: comparisons, reviews, advice", "interest without orders"),
        Side("Quick", "shorten the way: saved carts, one-click checkout"),
    ),
    "conversion": Theme(
        Side("Decided", "keep the way to the checkout short; cross-sell after the order"),
        Side("Undecided", "find out what stops them: delivery cost, trust, choice", "visits end without orders"),
    ),
    "abandonment": Theme(
        Side("Cart-leaving", "remind of the cart within a day; show delivery cost before the checkout",
             "abandoned carts: revenue that was nearly earned"),
        Side("Cart-keeping", "recommend at the cart: they finish what they begin"),
    ),
    "returns": Theme(
        Side("Often-returning", "better sizes, pictures and reviews; ask why goods come back",
             "returns take back revenue and cost handling"),
        Side("Seldom-returning", "offer longer trial periods: they cost little here"),
    ),
    "mobile": Theme(
        Side("Mobile", "app or wallet payment; push instead of e-mail"),
        Side("Desktop", "e-mail with room for detail; large pictures and tables"),
    ),
    "loyalty": Theme(
        Side("Established", "thank for the years, ask for referrals", "habits age: look for the first gap"),
        Side("New", "welcome series: the second order decides", "most of what they will do is unknown"),
    ),
    "churn": Theme(
        Side("Leaving", "act before they are gone: an offer worth the margin of an order",
             "the model expects them to stay away"),
        Side("Staying", "no retention offers: they would only cost"),
    ),
    "promise": Theme(
        Side("Promising", "be there at the next purchase: stock, delivery and reminders in time"),
        Side("Unpromising", "low-cost contact only", "hardly any order is expected soon"),
    ),
    "focus": Theme(
        Side("One-category", "cross-sell from the neighbouring category", "a rival in their one category takes them"),
        Side("All-round", "recommendations across the range"),
    ),
    "deals": Theme(
        Side("Deal-seeking", "offers that end, outlet first; no discounts on what they buy anyway",
             "they buy by price: margins are thin"),
        Side("Full-price", "news and quality instead of discounts"),
    ),
    "membership": Theme(
        Side("Premium", "early access and service that others do not get", "expectations are higher than elsewhere"),
        Side("Non-member", "show what membership would have saved them"),
    ),
    "consent": Theme(
        Side("Reachable", "use the consent with care: one message a week at most"),
        Side("Unreachable", "ask for consent at the checkout, with a benefit", "they cannot be written to"),
    ),
    "age": Theme(
        Side("Older", "clear pages, service by telephone"), Side("Younger", "social channels and instalments"),
    ),
    "family": Theme(
        Side("Family", "family packs and school-year timing"), Side("Childless", "products for one or two"),
    ),
    "income": Theme(
        Side("Well-off", "the upper range first"), Side("Thrifty", "good value and small packs", "rising prices"),
    ),
    "response": Theme(
        Side("Responsive", "campaigns first to them: they answer"),
        Side("Unmoved", "other channels than campaigns: they have not answered", "campaign money is lost on them"),
    ),
})  # fmt: skip

_COLUMNS: Final = {
    "spend": ("revenue_total", "revenue_7d", "revenue_30d", "revenue_90d", "revenue_365d", "expected_revenue_90d"),
    "basket": ("avg_order_value_365d",),
    "frequency": ("orders_total", "orders_7d", "orders_30d", "orders_90d", "orders_365d"),
    "lapse": ("recency_days", "recency_ratio"),
    "gap": ("order_gap_mean_days",),
    "visits": ("sessions_7d", "sessions_30d", "sessions_90d", "events_30d", "visit_trend"),
    "engagement": ("events_per_session_30d", "session_duration_mean_30d", "product_views_30d", "searches_30d",
                   "add_to_carts_30d", "cart_sessions_30d"),
    "conversion": ("conversion_rate_30d", "converted_sessions_30d"),
    "abandonment": ("abandoned_carts_30d", "cart_abandon_rate_30d"),
    "returns": ("returns_365d",),
    "mobile": ("mobile_share_30d",),
    "loyalty": ("tenure_days",),
    "churn": ("churn_probability",),
    "promise": ("purchase_probability_30d",),
    "focus": ("top_category_share_90d",),
    "membership": ("premium",),
    "consent": ("marketing_opt_in",),
    "age": ("age",),
}  # fmt: skip
COLUMN_THEMES: Final = MappingProxyType({name: theme for theme, names in _COLUMNS.items() for name in names})
"""Column of a feature row -> its theme."""
REVERSED: Final = frozenset({"days_since_visit"})
"""Columns where a high value means less of the theme."""


@dataclass(frozen=True, slots=True)
class Themed:
    """Themes of a table's columns.

    Attributes:
        themes: column -> name of a theme; a column without one uses its own name.
    """

    themes: Mapping[str, str] = field(default_factory=lambda: COLUMN_THEMES)

    def side(self, column: str, value: str | None, difference: float) -> Side:
        """Return the words and advice for a trait: a column, its value if it holds words, and the difference."""
        name = _within(column_label(column)) if value is None else f"{_within(column_label(column))} {value}"
        if value is None and column in REVERSED:
            return THEMES["visits"].side(-difference)
        if value is None and column in self.themes:
            return THEMES[self.themes[column]].side(difference)
        if value is not None:
            other = f"Not {value}"
            return Side(
                value if difference >= 0 else other, f"speak to {name}" if difference >= 0 else f"look beyond {name}"
            )
        word = f"High {name}" if difference >= 0 else f"Low {name}"
        return Side(word, f"test one offer that fits {word.lower()}")


def _within(words: str) -> str:
    """Return words for the middle of a sentence; an abbreviation stays as it is."""
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]
