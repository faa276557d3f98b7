"""Declares the document sets that panels show, and the measures and filters that several dashboards share."""

from __future__ import annotations

from typing import Final

from dashboards.conditions import AtMost, Is, Not, Where
from dashboards.panels import Control, Data, Measure, Ratio
from features.schema import RETURNED_STATUSES, STAGES, STATUSES
from features.scores.score import REASONED_RISKS
from features.workspace import INACTIVE_AFTER_DAYS

CUSTOMERS: Final = Data("customers", None, "the newest row of a customer")
SESSIONS: Final = Data("sessions", "start_ts", "a visit, at its start")
ORDERS: Final = Data("orders", "ts", "an order, at the time it was placed", monthly=True)
ORDER_ITEMS: Final = Data("order-items", "ts", "a line of an order, at the time it was placed", monthly=True)
EVENTS: Final = Data("events", "ts", "a click", monthly=True)
ALERTS: Final = Data("alerts", "ts", "a rise of a customer's churn risk")
PIPELINE: Final = Data("pipeline", "at", "a measurement of a worker, or of a feature's drift", wall=True)
SEGMENT_DAYS: Final = Data("segments-daily", "ts", "a segment, country and channel on a day", whole=True)
COHORTS: Final = Data(
    "cohorts", None, "the customers of a first-order month in a later month, by country and channel", whole=True
)
SECOND_ORDERS: Final = Data("second-orders", "ts", "the second order of a customer")
MOVEMENT: Final = Data("movement", "ts", "a week", whole=True)
FORECAST: Final = Data("forecast", "ts", "a day of sales, past or forecast", whole=True)

DATA: Final = (
    CUSTOMERS, SESSIONS, ORDERS, ORDER_ITEMS, EVENTS, ALERTS, PIPELINE, SEGMENT_DAYS, COHORTS, SECOND_ORDERS, MOVEMENT,
    FORECAST,
)  # fmt: skip

STANDING: Final = STATUSES[0]
"""Status of the orders and lines that count as revenue: neither cancelled, refunded nor void."""
SOLD: Final[Where] = (Is("status", (STANDING,)),)
RETURNED: Final[Where] = (Is("status", RETURNED_STATUSES),)
ORDERED: Final[Where] = (Is("status", (STANDING, *RETURNED_STATUSES)),)
"""Orders and lines, whatever became of them. A void order is none, nor is a line that its order has no longer."""
WITHIN_HORIZON: Final = "within the horizon of the model"
"""The time of a churn probability, which is that of no order. `horizons` replaces it by `within 90 days`."""
CHURN_LABEL: Final = "Churn probability"
AVERAGE_CHURN_LABEL: Final = "Average churn probability"
CHURN_LABELS: Final = frozenset({CHURN_LABEL, AVERAGE_CHURN_LABEL})
"""Labels to which `horizons` appends the horizon: `Churn probability, 90 days`."""
SEEN_DAYS: Final = INACTIVE_AFTER_DAYS
"""Days since the last visit up to which a customer is active."""
HIGH_RISK: Final[Where] = (Is("churn_risk", REASONED_RISKS),)
"""Customers of the two highest bands of churn risk."""
SEEN: Final = AtMost("days_since_visit", SEEN_DAYS)
AT_RISK: Final[Where] = (*HIGH_RISK, SEEN)
"""Customers of a high churn risk who still visit the shop."""
INACTIVE: Final[Where] = (*HIGH_RISK, Not(SEEN))
"""Customers of a high churn risk who no longer visit the shop. With `AT_RISK` they are all of a high risk."""

REVENUE: Final = Measure("Revenue", "sum", "total", SOLD, "money")
ORDER_COUNT: Final = Measure("Orders", "count", where=SOLD)
AVERAGE_ORDER: Final = Ratio("Average order value", REVENUE, ORDER_COUNT, unit="money")
VISIT_COUNT: Final = Measure("Visits", "count")
SALES: Final = Measure("Revenue", "sum", "amount", SOLD, "money")
"""Revenue of order lines."""
REVENUE_YEAR: Final = Measure("Revenue, last 12 months", "sum", "revenue_365d", unit="money")
"""Revenue of customers in the year before their newest row."""

COUNTRY: Final = "country"
CHANNEL: Final = "channel"


def reached(stage: str) -> Where:
    """Return the condition for sessions that reached a stage or a later one."""
    return (Is("stage", STAGES[STAGES.index(stage) :]),)


def country(data: Data) -> Control:
    """Return the country filter."""
    return Control("Country", COUNTRY, data)


def channel(data: Data) -> Control:
    """Return the acquisition channel filter."""
    return Control("Channel", CHANNEL, data)
