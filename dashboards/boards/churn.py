"""Declares the churn board: which customers are about to leave, what they are worth, and what to do."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import ALERTS, AT_RISK, CUSTOMERS, SEGMENT_DAYS, country
from dashboards.conditions import Exists, Is
from dashboards.panels import Control, Dashboard, Measure, Panel, Position, Ratio, Terms, Time, Window
from features.scores.score import RISKS

_CUSTOMERS: Final = Measure("Customers", "count")
_WORTH: Final = Measure("Revenue of a year", "sum", "revenue_365d", unit="money")
_SCORED: Final = (Exists("churn_probability"),)


def _mean(label: str, *, in_training: bool) -> Ratio:
    where = (Is("in_training", (in_training,)),)
    return Ratio(
        label, Measure("Sum", "sum", "churn_sum", where, "number"), Measure("Scored", "sum", "churn_customers", where)
    )


CHURN: Final = Dashboard(
    "churn",
    "Churn risk",
    "Which customers are likely to leave, what are they worth, and what should be done?",
    days=90,
    controls=(Control("Segment", "segment", CUSTOMERS), country(CUSTOMERS)),
    panels=(
        Panel(
            "churn-customers", "Customers at risk", "How many are likely to leave (high or critical)?",
            CUSTOMERS, "metric", Position(0, 0, 12, 6), (Measure("Customers at risk", "count", where=AT_RISK),),
        ),
        Panel(
            "churn-revenue", "Revenue at risk", "How much did they spend in the last year?",
            CUSTOMERS, "metric", Position(12, 0, 12, 6),
            (Measure("Revenue at risk", "sum", "revenue_365d", AT_RISK, "money"),),
        ),
        Panel(
            "churn-share", "Share of revenue at risk", "What share of the yearly revenue do they make up?",
            CUSTOMERS, "metric", Position(24, 0, 12, 6),
            (Ratio("Share of revenue at risk", Measure("At risk", "sum", "revenue_365d", AT_RISK, "money"), _WORTH),),
        ),
        Panel(
            "churn-expected", "Expected to leave", "How many customers does the model expect to leave?",
            CUSTOMERS, "metric", Position(36, 0, 12, 6),
            (Measure("Expected to leave", "sum", "churn_probability", unit="whole"),),
            note="The sum of the probabilities.",
        ),
        Panel(
            "churn-segments", "Customers by segment and risk", "Which segments do they belong to?",
            CUSTOMERS, "bar_stacked", Position(0, 6, 24, 13),
            (_CUSTOMERS,),
            (Terms("Segment", "segment", 12, by="Customers"), Terms("Risk", "churn_risk", len(RISKS), by="Customers")),
            where=_SCORED,
        ),
        Panel(
            "churn-worth", "Revenue by segment and risk", "What are they worth?",
            CUSTOMERS, "bar_stacked", Position(24, 6, 24, 13),
            (_WORTH,),
            (
                Terms("Segment", "segment", 12, by="Revenue of a year"),
                Terms("Risk", "churn_risk", len(RISKS), by="Revenue of a year"),
            ),
            where=_SCORED,
        ),
        Panel(
            "churn-trend", "Mean churn probability", "Does the risk rise or fall?",
            SEGMENT_DAYS, "line", Position(0, 19, 24, 12),
            (_mean("Days outside its training", in_training=False), _mean("Days of its training", in_training=True)),
            (Time("Day", "ts", "day"),),
            window=Window(back_days=180),
            note="Customers with orders only. On the days of its training, a model looks better than it is.",
        ),
        Panel(
            "churn-segment-trend", "Expected to leave, by segment", "Which segments contribute to it?",
            SEGMENT_DAYS, "area", Position(24, 19, 24, 12),
            (Measure("Expected to leave", "sum", "churn_sum", unit="whole"),),
            (Time("Day", "ts", "day"), Terms("Segment", "segment", 12, by="Expected to leave")),
            window=Window(back_days=180),
        ),
        Panel(
            "churn-reasons", "Why", "Which features push the scores of customers at risk up most often?",
            CUSTOMERS, "bar_horizontal", Position(0, 31, 24, 12),
            (_CUSTOMERS,), (Terms("Feature", "churn_reasons", 12, by="Customers"),), where=AT_RISK,
            note="Each customer at risk has three reasons.",
        ),
        Panel(
            "churn-actions", "What to do",
            "Which actions are recommended for how many customers, and what are they worth?",
            CUSTOMERS, "table", Position(24, 31, 24, 12),
            (
                _CUSTOMERS,
                Measure("At risk", "count", where=AT_RISK),
                _WORTH,
                Measure("Mean churn probability", "avg", "churn_probability", unit="percent"),
            ),
            (Terms("Action", "recommended_action", 15, by="Revenue of a year"),),
        ),
        Panel(
            "churn-list", "Customers to act on", "Which customers come first?",
            CUSTOMERS, "table", Position(0, 43, 48, 16),
            (
                Measure("Revenue of a year", "max", "revenue_365d", unit="money"),
                Measure("Churn probability", "max", "churn_probability", unit="percent"),
                Measure("Days since order", "max", "recency_days", unit="days"),
                Measure("Usual days between orders", "max", "order_gap_mean_days", unit="days"),
            ),
            (
                Terms("Customer", "customer_id", 50, by="Revenue of a year"),
                Terms("Segment", "segment", 1),
                Terms("Risk", "churn_risk", 1),
                Terms("Action", "recommended_action", 1),
            ),
            where=AT_RISK,
            sort=("Revenue of a year", True),
            note="The fifty customers at risk with the highest revenue.",
        ),
        Panel(
            "churn-rfm", "Recency and frequency", "How many customers have each pair of scores (5 is best)?",
            CUSTOMERS, "heatmap", Position(0, 59, 24, 14),
            (_CUSTOMERS,),
            (
                Terms("Frequency", "f_score", 5, numeric=True),
                Terms("Recency", "r_score", 5, last_first=True, numeric=True),
            ),
        ),
        Panel(
            "churn-rfm-risk", "Churn probability by recency and frequency", "Where is the risk?",
            CUSTOMERS, "heatmap", Position(24, 59, 24, 14),
            (Measure("Mean churn probability", "avg", "churn_probability", unit="percent"),),
            (
                Terms("Frequency", "f_score", 5, numeric=True),
                Terms("Recency", "r_score", 5, last_first=True, numeric=True),
            ),
            where=_SCORED,
        ),
        Panel(
            "churn-alerts", "Alerts", "For how many customers was an alert raised?",
            ALERTS, "bar_stacked", Position(0, 73, 48, 10),
            (Measure("Customers", "unique", "customer_id"),),
            (Time("Day", "ts", "day"), Terms("Risk", "churn_risk", len(RISKS), by="Customers")),
            may_be_empty=True, whole_shop=True,
        ),
    ),
)  # fmt: skip
