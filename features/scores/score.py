"""Computes the scores of a row: RFM scores by fitted breaks and churn risk bands; defines the scorer protocol.

A scorer is a value: training creates one from a bundle, consumers receive one, and both call it on rows of
`definitions.evaluate`. This module is independent of how a probability is computed.
"""

from __future__ import annotations

import hashlib
import itertools
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Protocol

import msgspec
import polars as pl
from polars import col

from features.definitions import FEATURES, ROW_FIELDS, ROW_SCHEMA
from features.errors import ShopstreamError
from features.schema import SCHEMA_VERSION, Field, FieldKind
from features.scores.drift import Profile

Risk = Literal["low", "medium", "high", "critical"]
RISKS: Final[tuple[str, ...]] = typing.get_args(Risk)
"""Bands of churn risk, the lowest first."""
REASONED_RISKS: Final = RISKS[2:]
"""Bands in which a customer's score is explained."""
REASONS: Final = 3
QUANTILES: Final = 4
"""Number of breaks of a score from 1 to 5."""

Breaks = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """One column that a scorer adds to a row, with its definition in words."""

    name: str
    kind: FieldKind
    help: str


SCORES: Final[tuple[Score, ...]] = (
    Score("r_score", "int", "5 - the breaks of recency_days strictly below it; 1 without an order in 365 days"),
    Score("f_score", "int", "1 + the breaks of orders_365d strictly below it; 1 without an order in 365 days"),
    Score("m_score", "int", "1 + the breaks of revenue_365d strictly below it; 1 without an order in 365 days"),
    Score("rfm_code", "string", "the three scores as text, such as 545"),
    Score("segment", "string", "segment of the first matching rule of the rules file"),
    Score(
        "churn_probability", "float", "P(no order in (as_of, as_of + horizon]); null for customers without any order"
    ),
    Score("churn_risk", "string", "low, medium, high or critical; null if the probability is null"),
    Score(
        "churn_reasons",
        "strings",
        "the three features that increase the churn probability most; null unless the risk is high or critical",
    ),
    Score("purchase_probability_30d", "float", "P(an order in the next 30 days); null without its model"),
    Score(
        "expected_days_to_purchase",
        "float",
        "mean days to the next order, 90 if there is none within 90 days; null without its model",
    ),
    Score("expected_revenue_90d", "float", "mean revenue of the next 90 days; null without its model"),
    Score("recommended_action", "string", "action of the segment in the rules file"),
)
"""Columns of a scorer's result, in order."""

NEXT_PURCHASE: Final = ("purchase_probability_30d", "expected_days_to_purchase", "expected_revenue_90d")
"""Scores of the next purchase, for all customers."""
SCORE_FIELDS: Final[tuple[Field, ...]] = tuple(Field(score.name, score.kind) for score in SCORES)
BUNDLE_FIELD: Final = Field("bundle", "string")
"""Name of the bundle that gave a row its scores; absent without a bundle."""
SCORED_ROW_FIELDS: Final[tuple[Field, ...]] = (*ROW_FIELDS, *SCORE_FIELDS, BUNDLE_FIELD)
"""Fields of a row in the customers index and on the feature topic, before `version`."""

_DTYPES: Final[dict[str, pl.DataType]] = {
    "string": pl.String(),
    "strings": pl.List(pl.String),
    "int": pl.Int64(),
    "float": pl.Float64(),
}
SCORE_SCHEMA: Final[dict[str, pl.DataType]] = {score.name: _DTYPES[score.kind] for score in SCORES}


class Scorer(Protocol):
    """Adds scores to rows."""

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Score any number of rows, including none.

        Args:
            rows: rows with the columns of `definitions.ROW_SCHEMA`, optionally with profile columns
                (`segments.PROFILE_FIELDS`).

        Returns:
            SCORE_SCHEMA, one row for each, in their order. The scores of a row are independent of all other rows of the
            call.
        """
        ...


class SegmentRules(Protocol):
    """Assigns a segment and an action to each row."""

    def assign(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return `segment` and `recommended_action`, strings, one row for each of `rows`, in their order."""
        ...


# --- RFM --------------------------------------------------------------------------------------------------------------


class RfmBreaks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The 20, 40, 60 and 80 % quantiles, ascending."""

    recency_days: Breaks
    orders_365d: Breaks
    revenue_365d: Breaks

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            breaks = getattr(self, name)
            if any(a > b for a, b in itertools.pairwise(breaks)):
                raise ValueError(f"the breaks of {name} are not in ascending order: {breaks}")


NO_BREAKS: Final = RfmBreaks((0.0,) * 4, (0.0,) * 4, (0.0,) * 4)
"""Breaks of a shop without orders in 365 days: every score is then 1 by definition."""


def learn_breaks(rows: pl.DataFrame) -> RfmBreaks:
    """Return the breaks of the rows whose customers have an order in the last 365 days.

    A break is the inverted CDF: the smallest value with at least that share of the values at or below it.

    Args:
        rows: rows with recency_days, orders_365d and revenue_365d.

    Raises:
        ShopstreamError: no customer has an order in the last 365 days.
    """
    buyers = rows.filter(col("orders_365d") > 0)
    if buyers.is_empty():
        raise ShopstreamError(
            "RFM breaks cannot be computed: no customer has an order in the 365 days before the cut-off.",
            "Choose a cut-off inside the history, or an archive with orders.",
        )
    return RfmBreaks(**{name: _inverted_cdf(buyers[name]) for name in RfmBreaks.__struct_fields__})


def _inverted_cdf(values: pl.Series) -> Breaks:
    ordered = values.cast(pl.Float64).sort()
    # ceil(k * n / 5) in integers: a float product could round to the next position
    a, b, c, d = (float(ordered[-(-k * len(ordered) // (QUANTILES + 1)) - 1]) for k in range(1, QUANTILES + 1))
    return a, b, c, d


def rfm_scores(rows: pl.DataFrame, breaks: RfmBreaks) -> pl.DataFrame:
    """Return r_score, f_score, m_score (int64, 1-5) and rfm_code of rows, in their order."""
    bought = col("orders_365d") > 0
    scores = {
        "r_score": QUANTILES + 1 - _below("recency_days", breaks.recency_days),
        "f_score": 1 + _below("orders_365d", breaks.orders_365d),
        "m_score": 1 + _below("revenue_365d", breaks.revenue_365d),
    }
    one = pl.lit(1, pl.Int64)
    scored = rows.select(pl.when(bought).then(score).otherwise(one).alias(name) for name, score in scores.items())
    return scored.with_columns(pl.concat_str(list(scores)).alias("rfm_code"))


def _below(name: str, breaks: Sequence[float]) -> pl.Expr:
    """Return the number of breaks strictly below the value."""
    return pl.sum_horizontal((col(name) > value).cast(pl.Int64) for value in breaks)


# --- risk -------------------------------------------------------------------------------------------------------------


class RiskThresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The churn probability at which each band above `low` begins."""

    medium: float
    high: float
    critical: float

    def __post_init__(self) -> None:
        if not 0 < self.medium <= self.high <= self.critical <= 1:
            raise ValueError(f"thresholds of risk must ascend within (0, 1]: {self.values}")

    @property
    def values(self) -> tuple[float, float, float]:
        """Thresholds in the order of RISKS without the first."""
        return self.medium, self.high, self.critical


def risk_of(probability: pl.Expr, thresholds: RiskThresholds) -> pl.Expr:
    """Return the band of a probability: the highest whose threshold is at or below it; null for null."""
    band = pl.when(probability.is_not_null()).then(pl.lit(RISKS[0]))
    for name, threshold in zip(RISKS[1:], thresholds.values, strict=True):
        band = pl.when(probability >= threshold).then(pl.lit(name)).otherwise(band)  # type: ignore[assignment]
    return band


# --- a whole result ---------------------------------------------------------------------------------------------------


def scored(
    rows: pl.DataFrame,
    breaks: RfmBreaks,
    rules: SegmentRules,
    *,
    churn_probability: pl.Series | None = None,
    thresholds: RiskThresholds | None = None,
    churn_reasons: pl.Series | None = None,
    next_purchase: Mapping[str, pl.Series] = MappingProxyType({}),
) -> pl.DataFrame:
    """Return the result of a scorer from the output of its models; missing output is null.

    Args:
        rows: rows, as in `Scorer.score`.
        breaks: fitted breaks of the bundle.
        rules: rules that may use every feature, every other score and, if present, the profile columns.
        churn_probability: float64 of the rows in their order. Values for customers without an order are dropped.
        thresholds: thresholds of the bands, required with churn_probability.
        churn_reasons: lists of feature names, the strongest first; kept only where the risk is in REASONED_RISKS.
        next_purchase: any of NEXT_PURCHASE, float64 of the rows in their order.

    Returns:
        SCORE_SCHEMA, one row for each of `rows`, in their order.
    """
    frame = rows.hstack(rfm_scores(rows, breaks)).with_columns(
        _given("churn_probability", churn_probability),
        _given("churn_reasons", churn_reasons),
        *(_given(name, next_purchase.get(name)) for name in NEXT_PURCHASE),
    )
    probability = pl.when(col("orders_total") > 0).then(col("churn_probability"))
    frame = frame.with_columns(probability.alias("churn_probability"))
    risk = pl.lit(None, pl.String) if thresholds is None else risk_of(col("churn_probability"), thresholds)
    frame = frame.with_columns(risk.alias("churn_risk"))
    reasoned = col("churn_risk").is_in(REASONED_RISKS)
    frame = frame.with_columns(pl.when(reasoned).then(col("churn_reasons").list.head(REASONS)).alias("churn_reasons"))
    return frame.hstack(rules.assign(frame)).select(list(SCORE_SCHEMA))


def _given(name: str, values: pl.Series | None) -> pl.Expr | pl.Series:
    if values is None:
        return pl.lit(None, SCORE_SCHEMA[name]).alias(name)
    return values.cast(SCORE_SCHEMA[name]).alias(name)


@dataclass(frozen=True, slots=True)
class RfmScorer:
    """RFM scores and segments without a model: churn and purchase columns are null."""

    breaks: RfmBreaks
    rules: SegmentRules

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Score rows as defined by the protocol `Scorer`."""
        return scored(rows, self.breaks, self.rules)


@dataclass(frozen=True, slots=True)
class Scoring:
    """The parts of a bundle that a consumer needs for live scoring.

    Attributes:
        name: name of the bundle, written to every row that it scored.
        scorer: scorer of the rows.
        thresholds: thresholds of the bands, for alerts; None: no alerts.
        profile: profile of the training rows, for drift monitoring; None: no monitoring.
        profile_columns: profile columns that its rules test (`segments.Rules.profile_columns`).
    """

    name: str
    scorer: Scorer
    thresholds: RiskThresholds | None = None
    profile: Profile | None = None
    profile_columns: tuple[str, ...] = ()


def fingerprint() -> str:
    """Return the fingerprint that a bundle must match to score rows: schema version, feature names and types."""
    signature = [str(SCHEMA_VERSION), *(f"{feature.name}:{feature.kind}" for feature in FEATURES)]
    return hashlib.sha256("\n".join(signature).encode()).hexdigest()[:16]


def trial_rows() -> pl.DataFrame:
    """Return a few extreme rows: nothing known, one of everything, much of everything."""
    schema = pl.Schema(ROW_SCHEMA)
    values: dict[type[pl.DataType], list[object]] = {
        pl.String: [None, "a", "b"],
        pl.Int64: [0, 1, 10_000],
        pl.Float64: [None, 1.0, 1e9],
    }
    columns = {name: values[dtype.base_type()] for name, dtype in schema.items()}
    columns["customer_id"] = ["1", "2", "3"]
    return pl.DataFrame(columns, schema=schema).with_columns(col("^revenue_.*d$").fill_null(0.0))


def check_scores(rows: pl.DataFrame, scores: pl.DataFrame) -> None:
    """Check a scorer's result against its protocol.

    Raises:
        ShopstreamError: the result has unexpected columns, types or number of rows.
    """
    schema: Mapping[str, pl.DataType] = scores.schema
    if dict(schema) != SCORE_SCHEMA or len(scores) != len(rows):
        other = sorted(set(schema.items()) ^ set(SCORE_SCHEMA.items()), key=str)
        raise ShopstreamError(
            f"A scorer returned {len(scores)} rows for {len(rows)}, or unexpected columns: {other}.",
            "Train the bundle again with this version of the program.",
        )
