"""The Scores section of the contract, line by line."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scores.scorers import BREAKS, THRESHOLDS, rows_of

from connectors.formats.rules_file import default_rules
from features.definitions import ROW_SCHEMA
from features.errors import ShopstreamError
from features.scores.score import (
    NEXT_PURCHASE,
    RISKS,
    SCORE_SCHEMA,
    RfmBreaks,
    RfmScorer,
    RiskThresholds,
    check_scores,
    fingerprint,
    learn_breaks,
    rfm_scores,
    risk_of,
    scored,
    trial_rows,
)


def buyer(recency: float = 5.0, orders: int = 1, revenue: float = 15.0, **more) -> dict:
    return {"recency_days": recency, "orders_365d": orders, "orders_total": orders, "revenue_365d": revenue, **more}


def rfm(*rows: dict) -> list[tuple]:
    return rfm_scores(rows_of(*rows), BREAKS).rows()


# --- breaks -----------------------------------------------------------------------------------------------------------
@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=40))
def test_a_break_is_the_smallest_value_with_at_least_that_share_at_or_below_it(values):
    result = learn_breaks(rows_of(*(buyer(orders=value) for value in values))).orders_365d
    for k, value in enumerate(result, start=1):
        candidates = [v for v in sorted(values) if 5 * sum(w <= v for w in values) >= k * len(values)]
        assert value == candidates[0]


def test_breaks_are_fitted_to_customers_with_an_order_in_the_last_365_days():
    rows = rows_of(*(buyer(recency=float(n), orders=n, revenue=10.0 * n) for n in range(1, 6)))
    lapsed = rows_of(*({"recency_days": 400.0 + n, "orders_total": 9, "revenue_total": 9e9} for n in range(100)))
    result = learn_breaks(pl.concat([rows, lapsed]))
    assert result == RfmBreaks((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0), (10.0, 20.0, 30.0, 40.0))


def test_breaks_without_customers_are_an_error():
    with pytest.raises(ShopstreamError, match="no customer has an order"):
        learn_breaks(rows_of({"recency_days": 400.0, "orders_total": 1}))


def test_breaks_that_do_not_ascend_are_refused():
    with pytest.raises(ValueError, match="not in ascending order"):
        RfmBreaks((1.0, 2.0, 4.0, 3.0), (1.0,) * 4, (1.0,) * 4)


# --- scores -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("orders", "score"),
    [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (600, 5)],
    ids=["at 1", "at 2", "at 3", "at 4", "above", "far"],
)
def test_f_is_one_and_the_breaks_strictly_below(orders, score):
    assert rfm(buyer(orders=orders))[0][1] == score


@pytest.mark.parametrize(("revenue", "score"), [(0.0, 1), (10.0, 1), (10.01, 2), (40.0, 4), (40.01, 5)])
def test_m_is_one_and_the_breaks_strictly_below(revenue, score):
    assert rfm(buyer(revenue=revenue))[0][2] == score


@pytest.mark.parametrize(("recency", "score"), [(0.0, 5), (10.0, 5), (10.1, 4), (20.0, 4), (40.0, 2), (40.1, 1)])
def test_r_is_five_less_the_breaks_strictly_below(recency, score):
    assert rfm(buyer(recency=recency))[0][0] == score


def test_all_scores_are_one_without_an_order_in_the_last_365_days():
    lapsed = {"recency_days": 365.0, "orders_total": 50, "revenue_total": 1e6}
    assert rfm(lapsed, {}) == [(1, 1, 1, "111")] * 2


def test_rfm_code_is_the_three_scores_in_order():
    assert rfm(buyer(recency=1.0, orders=4, revenue=99.0))[0] == (5, 4, 5, "545")


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=30))
def test_equal_values_score_equal_and_higher_ones_not_lower(values):
    rows = rows_of(*(buyer(orders=value) for value in values))
    scores = rfm_scores(rows, learn_breaks(rows))["f_score"].to_list()
    for value, score in zip(values, scores, strict=True):
        assert all(score >= s for v, s in zip(values, scores, strict=True) if v <= value)


# --- churn ------------------------------------------------------------------------------------------------------------
def full(rows: pl.DataFrame, probability: list, reasons: list | None = None) -> pl.DataFrame:
    return scored(
        rows,
        BREAKS,
        default_rules(),
        churn_probability=pl.Series(probability, dtype=pl.Float64),
        thresholds=THRESHOLDS,
        churn_reasons=None if reasons is None else pl.Series(reasons, dtype=pl.List(pl.String)),
    )


def test_churn_is_null_for_customers_without_an_order():
    result = full(rows_of(buyer(), {}, {"returns_365d": 3}, {"orders_total": 1}), [0.95, 0.95, 0.95, 0.95], [["a"]] * 4)
    assert result["churn_probability"].to_list() == [0.95, None, None, 0.95]
    assert result["churn_risk"].to_list() == ["critical", None, None, "critical"]
    assert result["churn_reasons"].to_list() == [["a"], None, None, ["a"]]


@pytest.mark.parametrize(
    ("probability", "risk"),
    [
        (0.0, "low"),
        (math.nextafter(0.3, 0), "low"),
        (0.3, "medium"),
        (0.59, "medium"),
        (0.6, "high"),
        (0.9, "critical"),
    ],
)
def test_a_band_begins_at_its_threshold(probability, risk):
    frame = pl.DataFrame({"p": [probability]})
    assert frame.select(risk_of(pl.col("p"), THRESHOLDS)).item() == risk


def test_three_reasons_are_given_for_high_risk_or_above_only():
    rows = rows_of(*[buyer()] * 4)
    result = full(rows, [0.1, 0.5, 0.7, 0.95], [list("abcd")] * 4)
    assert result["churn_reasons"].to_list() == [None, None, list("abc"), list("abc")]


@pytest.mark.parametrize("values", [(0.0, 0.5, 0.9), (0.6, 0.5, 0.9), (0.5, 0.6, 1.1)])
def test_thresholds_that_do_not_ascend_are_refused(values):
    with pytest.raises(ValueError, match="must ascend"):
        RiskThresholds(*values)


# --- the whole --------------------------------------------------------------------------------------------------------
def test_without_a_model_there_are_scores_and_segments_and_no_churn():
    rows = rows_of(buyer(1.0, 9, 99.0), {})
    result = RfmScorer(BREAKS, default_rules()).score(rows)
    check_scores(rows, result)
    assert result["segment"].to_list() == ["Champions", "Prospect"]
    for name in ("churn_probability", "churn_risk", "churn_reasons", *NEXT_PURCHASE):
        assert result[name].to_list() == [None, None]


def test_score_of_a_row_does_not_depend_on_the_other_rows():
    rows = rows_of(*(buyer(float(n), n % 7, 7.0 * n) for n in range(50)), {})
    scorer = RfmScorer(BREAKS, default_rules())
    whole = scorer.score(rows)
    for n in range(len(rows)):
        assert scorer.score(rows[n]).equals(whole[n])


def test_scoring_no_rows_gives_the_declared_columns():
    rows = rows_of().head(0)
    assert dict(RfmScorer(BREAKS, default_rules()).score(rows).schema) == SCORE_SCHEMA


def test_scorer_with_wrong_columns_or_rows_is_refused():
    rows = rows_of(buyer(), buyer())
    good = RfmScorer(BREAKS, default_rules()).score(rows)
    for bad in (good.head(1), good.drop("segment"), good.with_columns(pl.col("r_score").cast(pl.Float64))):
        with pytest.raises(ShopstreamError, match="unexpected columns"):
            check_scores(rows, bad)


def test_trial_rows_have_the_row_schema():
    rows = trial_rows()
    assert dict(rows.schema) == ROW_SCHEMA
    assert rows["revenue_365d"].null_count() == 0


def test_fingerprint_changes_with_names_and_types(monkeypatch):
    before = fingerprint()
    monkeypatch.setattr("features.scores.score.FEATURES", ())
    assert fingerprint() != before


def test_risks_are_sorted_by_severity():
    assert RISKS == ("low", "medium", "high", "critical")
