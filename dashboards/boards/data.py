"""Declares the document sets that panels show, and the measures and filters that several dashboards share."""

from __future__ import annotations

from typing import Final

from dashboards.conditions import Is, Where
from dashboards.panels import Control, Data, Measure, Ratio
from features.schema import RETURNED_STATUSES, STAGES, STATUSES
from features.scores.score import REASONED_RISKS

CUSTOMERS: Final = Data("customers", None, "the newest row of a customer")
SESSIONS: Final = Data("sessions", "start_ts", "a session, at its beginning")
ORDERS: Final = Data("orders", "ts", "an order, at the time it was placed", monthly=True)
ORDER_ITEMS: Final = Data("order-items", "ts", "a line of an order, at the time it was placed", monthly=True)
EVENTS: Final = Data("events", "ts", "a click", monthly=True)
ALERTS: Final = Data("alerts", "ts", "a rise of a customer's churn risk")
PIPELINE: Final = Data("pipeline", "at", "a measurement of a worker, or of a feature's drift", wall=True)
SEGMENT_DAYS: Final = Data("segments-daily", "ts", "a segment, country and channel on a day", whole=True)
COHORTS: Final = Data(
    "cohorts", None, "the customers of a first-order month in a later month, by country and channel", whole=True
)
MOVEMENT: Final = Data("movement", "ts", "a week", whole=True)
FORECAST: Final = Data("forecast", "ts", "a day of sales, past or forecast", whole=True)

DATA: Final = (
    CUSTOMERS, SESSIONS, ORDERS, ORDER_ITEMS, EVENTS, ALERTS, PIPELINE, SEGMENT_DAYS, COHORTS, MOVEMENT, FORECAST,
)  # fmt: skip

STANDING: Final = STATUSES[0]
"""Status of the orders and lines that count as revenue: neither cancelled, refunded nor void."""
SOLD: Final[Where] = (Is("status", (STANDING,)),)
RETURNED: Final[Where] = (Is("status", RETURNED_STATUSES),)
ORDERED: Final[Where] = (Is("status", (STANDING, *RETURNED_STATUSES)),)
"""Orders and lines, whatever became of them. A void order is none, nor is a line that its order has no longer."""
AT_RISK: Final[Where] = (Is("churn_risk", REASONED_RISKS),)
"""Customers of the two highest bands of churn risk."""

REVENUE: Final = Measure("Revenue", "sum", "total", SOLD, "money")
ORDER_COUNT: Final = Measure("Orders", "count", where=SOLD)
AVERAGE_ORDER: Final = Ratio("Average order", REVENUE, ORDER_COUNT, unit="money")
SESSION_COUNT: Final = Measure("Sessions", "count")
SALES: Final = Measure("Revenue", "sum", "amount", SOLD, "money")
"""Revenue of order lines."""

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
