"""Declares the retention board: whether customers return, and whether gains exceed losses."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import CHANNEL, COHORTS, CUSTOMERS, MOVEMENT, channel, country
from dashboards.conditions import AtLeast, Is
from dashboards.panels import Dashboard, Measure, Panel, Position, Ratio, Terms, Time, Window

MONTHS: Final = 13
"""Months shown after the first order, including the month of that order."""
COHORT_MONTHS: Final = 18

_COMPLETE: Final = (Is("complete", (True,)),)
_SIZE: Final = Measure("Customers", "sum", "customers")
_RETAINED: Final = Ratio("Retained", Measure("Active", "sum", "active"), _SIZE)
_PER_CUSTOMER: Final = Ratio(
    "Revenue per customer", Measure("Revenue", "sum", "revenue", unit="money"), _SIZE, unit="money"
)
_MONTHS_SINCE: Final = Terms("Months since first order", "months_since", MONTHS, numeric=True)
_COHORT: Final = Terms("First order", "cohort", COHORT_MONTHS, last_first=True)
_LATER: Final = (*_COMPLETE, AtLeast("months_since", 1))
_BY_CHANNEL: Final = Terms("Channel", CHANNEL, 8, by="Customers")
_CURVE: Final = Terms("Channel", CHANNEL, 8)

_ONE_OR_MORE: Final = Measure("Buyers", "count", where=(AtLeast("orders_total", 1),))
_TWO_OR_MORE: Final = Measure("Repeat buyers", "count", where=(AtLeast("orders_total", 2),))

RETENTION: Final = Dashboard(
    "retention",
    "Retention",
    "Do customers come back, and do gains exceed losses?",
    days=365,
    controls=(country(COHORTS), channel(COHORTS)),
    panels=(
        Panel(
            "retention-repeat", "Repeat rate", "What share of the buyers bought twice or more?",
            CUSTOMERS, "metric", Position(0, 0, 12, 6),
            (Ratio("Repeat rate", _TWO_OR_MORE, _ONE_OR_MORE),), whole_shop=True,
        ),
        Panel(
            "retention-second", "Time to second order", "How long does the second order take at the median?",
            CUSTOMERS, "metric", Position(12, 0, 12, 6),
            (Measure("Days, median", "percentile", "order_gap_mean_days", unit="days"),),
            where=(Is("orders_total", (2,)),), whole_shop=True,
            note="Only customers with exactly two orders.",
        ),
        Panel(
            "retention-once", "Bought once", "How many customers have ordered only once?",
            CUSTOMERS, "metric", Position(24, 0, 12, 6),
            (Measure("Bought once", "count", where=(Is("orders_total", (1,)),)),), whole_shop=True,
        ),
        Panel(
            "retention-next-month", "Back in the next month", "What share orders in the month after the first order?",
            COHORTS, "metric", Position(36, 0, 12, 6), (_RETAINED,),
            where=(*_COMPLETE, Is("months_since", (1,))),
        ),
        Panel(
            "retention-cohorts", "Customers who ordered again",
            "What share of a month's new customers ordered in later months?",
            COHORTS, "heatmap", Position(0, 6, 24, 18), (_RETAINED,), (_MONTHS_SINCE, _COHORT), where=_LATER,
            note="Complete months only.",
        ),
        Panel(
            "retention-cohort-revenue", "Revenue per customer of the cohort",
            "How much did they spend in later months?",
            COHORTS, "heatmap", Position(24, 6, 24, 18), (_PER_CUSTOMER,), (_MONTHS_SINCE, _COHORT), where=_COMPLETE,
        ),
        Panel(
            "retention-curve", "Retention by channel", "Which channels bring customers who stay?",
            COHORTS, "line", Position(0, 24, 24, 13), (_RETAINED,), (_MONTHS_SINCE, _CURVE), where=_LATER,
        ),
        Panel(
            "retention-revenue-curve", "Revenue per customer by channel", "Which channels bring customers who spend?",
            COHORTS, "line", Position(24, 24, 24, 13), (_PER_CUSTOMER,), (_MONTHS_SINCE, _CURVE), where=_COMPLETE,
        ),
        Panel(
            "retention-channels", "Channels after a quarter",
            "How many are active after three months, and what are they worth?",
            COHORTS, "table", Position(0, 37, 24, 12),
            (_SIZE, _RETAINED, _PER_CUSTOMER), (_BY_CHANNEL,),
            where=(*_COMPLETE, Is("months_since", (3,))),
        ),
        Panel(
            "retention-movement", "Customers coming and going", "Do gains exceed losses?",
            MOVEMENT, "bar_stacked", Position(24, 37, 24, 12),
            tuple(Measure(name.capitalize(), "sum", name) for name in ("new", "returning", "reactivated", "lost")),
            (Time("Week", "ts", "week"),),
            where=_COMPLETE, window=Window(back_days=365), whole_shop=True,
        ),
    ),
)  # fmt: skip
