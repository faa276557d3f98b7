"""Declares the churn board: which customers are about to leave, what they are worth, and what to do."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import (
    ALERTS,
    AT_RISK,
    AVERAGE_CHURN_LABEL,
    CHURN_LABEL,
    CUSTOMERS,
    INACTIVE,
    REVENUE_YEAR,
    SEEN_DAYS,
    SEGMENT_DAYS,
    WITHIN_HORIZON,
    country,
)
from dashboards.conditions import Exists, Is
from dashboards.panels import Control, Dashboard, Measure, Panel, Position, Ratio, Terms, Time, Window
from features.scores.score import RISKS

_CUSTOMERS: Final = Measure("Customers", "count")
_SCORED: Final = (Exists("churn_probability"),)
_AVERAGE: Final = Measure(AVERAGE_CHURN_LABEL, "avg", "churn_probability", unit="percent")
_AVERAGE_OF_SCORED: Final = Ratio(
    _AVERAGE.label,
    Measure("Sum", "sum", "churn_probability", unit="number"),
    Measure("Scored", "count", where=_SCORED),
)
"""The same figure as a quotient, which the bucket of all further values can have too."""
_EXPECTED: Final = Measure("Expected revenue, next 90 days", "max", "expected_revenue_90d", unit="money")
_FREQUENCY: Final = Terms("Frequency score (5 = often)", "f_score", 5, numeric=True)
_RECENCY: Final = Terms("Recency score (5 = recent)", "r_score", 5, last_first=True, numeric=True)


def _mean(label: str, *, in_training: bool) -> Ratio:
    where = (Is("in_training", (in_training,)),)
    return Ratio(
        label, Measure("Sum", "sum", "churn_sum", where, "number"), Measure("Scored", "sum", "churn_customers", where)
    )


CHURN: Final = Dashboard(
    "churn",
    "At-risk customers",
    "Who is likely to stop buying, what they are worth, and what to do.",
    days=90,
    controls=(Control("Segment", "segment", CUSTOMERS), country(CUSTOMERS)),
    panels=(
        Panel(
            "churn-customers", "Customers at risk",
            f"Visited in the last {SEEN_DAYS} days, with a high or critical risk of no order {WITHIN_HORIZON}.",
            CUSTOMERS, "metric", Position(0, 0, 16, 6), (Measure("Customers at risk", "count", where=AT_RISK),),
        ),
        Panel(
            "churn-revenue", "Revenue at risk", "Revenue of customers at risk in the last 12 months.",
            CUSTOMERS, "metric", Position(16, 0, 16, 6),
            (Measure("Revenue at risk", "sum", "revenue_365d", AT_RISK, "money"),),
        ),
        Panel(
            "churn-share", "Share of 12-month revenue at risk",
            "Revenue of customers at risk as a share of the revenue of all customers.",
            CUSTOMERS, "metric", Position(32, 0, 16, 6),
            (
                Ratio(
                    "Share of 12-month revenue at risk",
                    Measure("Revenue at risk", "sum", "revenue_365d", AT_RISK, "money"),
                    REVENUE_YEAR,
                ),
            ),
        ),
        Panel(
            "churn-inactive", "Already inactive",
            f"High or critical risk, and no visit in the last {SEEN_DAYS} days. Not counted as at risk.",
            CUSTOMERS, "metric", Position(0, 6, 16, 6), (Measure("Already inactive", "count", where=INACTIVE),),
        ),
        Panel(
            "churn-inactive-revenue", "Revenue of inactive customers",
            "Revenue of already inactive customers in the last 12 months.",
            CUSTOMERS, "metric", Position(16, 6, 16, 6),
            (Measure("Revenue of inactive customers", "sum", "revenue_365d", INACTIVE, "money"),),
        ),
        Panel(
            "churn-expected", "Expected churn",
            f"Sum of the probabilities of no order {WITHIN_HORIZON}. Includes customers already inactive.",
            CUSTOMERS, "metric", Position(32, 6, 16, 6),
            (Measure("Expected churn", "sum", "churn_probability", unit="whole"),),
        ),
        Panel(
            "churn-segments", "Customers by segment and risk",
            f"Risk of no order {WITHIN_HORIZON}, of all customers with a score.",
            CUSTOMERS, "bar_stacked", Position(0, 12, 24, 13),
            (_CUSTOMERS,),
            (
                Terms("Segment", "segment", 12, by="Customers", other=True),
                Terms("Risk", "churn_risk", len(RISKS), by="Customers"),
            ),
            where=_SCORED,
        ),
        Panel(
            "churn-worth", "Revenue by segment and risk",
            "Revenue of the last 12 months, of all customers with a score.",
            CUSTOMERS, "bar_stacked", Position(24, 12, 24, 13),
            (REVENUE_YEAR,),
            (
                Terms("Segment", "segment", 12, by=REVENUE_YEAR.label, other=True),
                Terms("Risk", "churn_risk", len(RISKS), by=REVENUE_YEAR.label),
            ),
            where=_SCORED,
        ),
        Panel(
            "churn-trend", "Average churn probability",
            f"Probability of no order {WITHIN_HORIZON}, of customers with orders.",
            SEGMENT_DAYS, "line", Position(0, 25, 24, 12),
            (_mean("Out of sample", in_training=False), _mean("Training period", in_training=True)),
            (Time("Day", "ts", "day"),),
            window=Window(back_days=180),
            note="The model looks better than it is on the days it was trained on.",
        ),
        Panel(
            "churn-segment-trend", "Expected churn by segment",
            f"Sum of the probabilities of no order {WITHIN_HORIZON}.",
            SEGMENT_DAYS, "area", Position(24, 25, 24, 12),
            (Measure("Expected churn", "sum", "churn_sum", unit="whole"),),
            (Time("Day", "ts", "day"), Terms("Segment", "segment", 12, by="Expected churn", other=True)),
            window=Window(back_days=180),
        ),
        Panel(
            "churn-reasons", "Main churn drivers", "Features that increase the scores of customers at risk most often.",
            CUSTOMERS, "bar_horizontal", Position(0, 37, 24, 12),
            (_CUSTOMERS,), (Terms("Driver", "churn_reasons", 12, by="Customers"),), where=AT_RISK,
            note="Every at-risk customer has three drivers.",
        ),
        Panel(
            "churn-actions", "Recommended actions", "",
            CUSTOMERS, "table", Position(24, 37, 24, 12),
            (_CUSTOMERS, Measure("At risk", "count", where=AT_RISK), REVENUE_YEAR, _AVERAGE_OF_SCORED),
            (Terms("Action", "recommended_action", 15, by=REVENUE_YEAR.label, other=True),),
        ),
        Panel(
            "churn-list", "Customers at risk by expected revenue",
            "The 50 customers at risk with the highest expected revenue of the next 90 days.",
            CUSTOMERS, "table", Position(0, 49, 48, 16),
            (
                _EXPECTED,
                Measure(CHURN_LABEL, "max", "churn_probability", unit="percent"),
                Measure(REVENUE_YEAR.label, "max", "revenue_365d", unit="money"),
                Measure("Days since last visit", "max", "days_since_visit", unit="days"),
                Measure("Days since last order", "max", "recency_days", unit="days"),
                Measure("Typical order gap", "max", "order_gap_mean_days", unit="days"),
            ),
            (
                Terms("Customer", "customer_id", 50, by=_EXPECTED.label),
                Terms("Segment", "segment", 1),
                Terms("Risk", "churn_risk", 1),
                Terms("Action", "recommended_action", 1),
            ),
            where=AT_RISK,
            sort=(_EXPECTED.label, True),
        ),
        Panel(
            "churn-rfm", "RFM grid: customers", "Customers with a churn score.",
            CUSTOMERS, "heatmap", Position(0, 65, 24, 14), (_CUSTOMERS,), (_FREQUENCY, _RECENCY), where=_SCORED,
        ),
        Panel(
            "churn-rfm-risk", "RFM grid: churn probability",
            f"Average probability of no order {WITHIN_HORIZON}, of customers with a churn score.",
            CUSTOMERS, "heatmap", Position(24, 65, 24, 14), (_AVERAGE,), (_FREQUENCY, _RECENCY), where=_SCORED,
        ),
        Panel(
            "churn-alerts", "Churn alerts per day", "An alert is raised when the risk of a customer rises.",
            ALERTS, "bar_stacked", Position(0, 79, 48, 10),
            (Measure("Alerts", "count"),),
            (Time("Day", "ts", "day"), Terms("Risk", "churn_risk", len(RISKS), by="Alerts")),
            may_be_empty=True, whole_shop=True,
        ),
    ),
)  # fmt: skip
