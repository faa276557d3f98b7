"""Declares the retention board: whether customers return, and whether gains exceed losses."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import CHANNEL, COHORTS, CUSTOMERS, MOVEMENT, SECOND_ORDERS, channel, country
from dashboards.conditions import AtLeast, Is
from dashboards.panels import Dashboard, Measure, Panel, Position, Ratio, Terms, Time, Window

MONTHS: Final = 13
"""Months shown after the first order, including the month of that order."""
COHORT_MONTHS: Final = 18

_KNOWN: Final = (Is("known", (True,)),)
"""Customers whose first order is known to be their first: a history may begin after it."""
_COMPLETE: Final = (Is("complete", (True,)),)
_SIZE: Final = Measure("Customers", "sum", "customers")
_RETAINED: Final = Ratio("Retained", Measure("Active", "sum", "active"), _SIZE)
_PER_CUSTOMER: Final = Ratio(
    "Revenue per customer", Measure("Revenue", "sum", "revenue", unit="money"), _SIZE, unit="money"
)
_MONTHS_SINCE: Final = Terms("Months since first order", "months_since", MONTHS, numeric=True)
_COHORT: Final = Terms("First order in", "cohort", COHORT_MONTHS, last_first=True)
_SHOWN: Final = (*_COMPLETE, *_KNOWN)
_LATER: Final = (*_SHOWN, AtLeast("months_since", 1))
_CURVE: Final = Terms("Channel", CHANNEL, 8)
_NOTE: Final = "Complete months only, of customers whose first order is known."

_ONE_OR_MORE: Final = Measure("Buyers", "count", where=(AtLeast("orders_total", 1),))
_TWO_OR_MORE: Final = Measure("Repeat buyers", "count", where=(AtLeast("orders_total", 2),))

RETENTION: Final = Dashboard(
    "retention",
    "Retention",
    "Whether customers come back, and whether the shop grows.",
    days=365,
    controls=(country(COHORTS), channel(COHORTS)),
    panels=(
        Panel(
            "retention-repeat", "Repeat purchase rate", "Share of buyers with two or more orders.",
            CUSTOMERS, "metric", Position(0, 0, 12, 6),
            (Ratio("Repeat purchase rate", _TWO_OR_MORE, _ONE_OR_MORE),), whole_shop=True,
        ),
        Panel(
            "retention-second", "Median days to second order",
            "Of all second orders in the period, where the first order is known.",
            SECOND_ORDERS, "metric", Position(12, 0, 12, 6),
            (Measure("Median days to second order", "percentile", "days", unit="days"),), where=_KNOWN,
        ),
        Panel(
            "retention-once", "One-time buyers", "Customers with one order.",
            CUSTOMERS, "metric", Position(24, 0, 12, 6),
            (Measure("One-time buyers", "count", where=(Is("orders_total", (1,)),)),), whole_shop=True,
        ),
        Panel(
            "retention-next-month", "Month-1 retention",
            "Share of customers who order in the month after that of their first order.",
            COHORTS, "metric", Position(36, 0, 12, 6), (_RETAINED,),
            where=(*_SHOWN, Is("months_since", (1,))), note=_NOTE,
        ),
        Panel(
            "retention-cohorts", "Retention by first-order month",
            "Share of the customers of a first-order month who order in a later month.",
            COHORTS, "heatmap", Position(0, 6, 24, 18), (_RETAINED, _SIZE), (_MONTHS_SINCE, _COHORT),
            where=_LATER, note=_NOTE,
        ),
        Panel(
            "retention-cohort-revenue", "Revenue per customer by first-order month",
            "Revenue in a month, divided by all customers of the first-order month.",
            COHORTS, "heatmap", Position(24, 6, 24, 18), (_PER_CUSTOMER, _SIZE), (_MONTHS_SINCE, _COHORT),
            where=_SHOWN, note=_NOTE,
        ),
        Panel(
            "retention-curve", "Retention by acquisition channel",
            "Share of customers who order again, by months since their first order.",
            COHORTS, "line", Position(0, 24, 24, 13), (_RETAINED,), (_MONTHS_SINCE, _CURVE), where=_LATER, note=_NOTE,
        ),
        Panel(
            "retention-revenue-curve", "Revenue per customer by acquisition channel",
            "Revenue per customer in each month since the first order.",
            COHORTS, "line", Position(24, 24, 24, 13), (_PER_CUSTOMER,), (_MONTHS_SINCE, _CURVE),
            where=_SHOWN, note=_NOTE,
        ),
        Panel(
            "retention-channels", "Channels in month 3",
            "Customers and their revenue in the third month after that of their first order.",
            COHORTS, "table", Position(0, 37, 24, 12),
            (_SIZE, _RETAINED, _PER_CUSTOMER), (Terms("Channel", CHANNEL, 8, by="Customers", other=True),),
            where=(*_SHOWN, Is("months_since", (3,))), note=_NOTE,
        ),
        Panel(
            "retention-movement", "Growth accounting",
            "Customers per week. A customer is lost after a fixed time without an order.",
            MOVEMENT, "bar_stacked", Position(24, 37, 24, 12),
            (
                *(Measure(name.capitalize(), "sum", name) for name in ("new", "returning", "reactivated")),
                Measure("Lost", "sum", "lost", below=True),
                Measure("Net", "sum", "net", line=True),
            ),
            (Time("Week", "ts", "week"),),
            where=_COMPLETE, window=Window(back_days=365), whole_shop=True,
            note="Net is new and reactivated customers, less lost ones.",
        ),
        Panel(
            "retention-sizes", "Customers by first-order month", "The customers whom both heat maps divide by.",
            COHORTS, "bar_horizontal", Position(0, 49, 48, 14), (_SIZE,), (_COHORT,),
            where=(*_SHOWN, Is("months_since", (0,))), note=_NOTE,
        ),
    ),
)  # fmt: skip
