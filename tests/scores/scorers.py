"""Scorers and rows for tests: small enough to be reckoned by hand."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from connectors.formats.rules_file import default_rules
from features.definitions import ROW_SCHEMA
from features.rules.segments import Rules
from features.scores.score import RfmBreaks, RiskThresholds, Scoring, scored

BREAKS = RfmBreaks((10.0, 20.0, 30.0, 40.0), (1.0, 2.0, 3.0, 4.0), (10.0, 20.0, 30.0, 40.0))
THRESHOLDS = RiskThresholds(0.3, 0.6, 0.9)


def rows_of(*rows: dict) -> pl.DataFrame:
    """Rows of features; what is not given is 0 for counts and sums, and null for all else."""
    zero = [name for name in ROW_SCHEMA if ROW_SCHEMA[name] == pl.Int64 or name.startswith("revenue")]
    blank = dict.fromkeys(ROW_SCHEMA) | dict.fromkeys(zero, 0)
    made = [{**blank, "customer_id": f"c{i}", **row} for i, row in enumerate(rows)]
    return pl.DataFrame(made, schema=ROW_SCHEMA, orient="row")


@dataclass
class ByTenure:
    """Churn grows with the days since a customer was first seen: it never falls."""

    full_days: float
    rules: Rules
    shift: float = 0.0

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        probability = (rows["tenure_days"] / self.full_days + self.shift).clip(0.0, 1.0)
        reasons = pl.Series([["tenure_days", "recency_days", "visit_trend", "orders_total"]] * len(rows))
        # every customer is scored, those without an order too, so that each test stream has many
        bought = rows.with_columns(orders_total=pl.lit(1, pl.Int64))
        return scored(
            bought,
            BREAKS,
            self.rules,
            churn_probability=probability,
            thresholds=THRESHOLDS,
            churn_reasons=reasons.cast(pl.List(pl.String)),
        )


def by_tenure(name: str, full_days: float, shift: float = 0.0) -> Scoring:
    rules = default_rules()
    return Scoring(name, ByTenure(full_days, rules, shift), THRESHOLDS, None, rules.profile_columns)
