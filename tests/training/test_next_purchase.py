"""The next purchase: what the models say, what they are compared with, and how they are judged."""

import msgspec
import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error

from features.definitions import ROW_SCHEMA
from features.schema import DAY_MS
from features.scores.score import NEXT_PURCHASE
from training import bgnbd as bgnbd_module
from training import gamma_gamma
from training.churn.metrics import Predictions
from training.churn.train import TrainingPlan
from training.labels import BOUGHT, DAYS, DAYS_MAX, REVENUE, WINDOWS
from training.next_purchase import train as next_purchase
from training.next_purchase.baselines import BASELINES, TITLES, buyers_once, recency, rfm_cell
from training.next_purchase.metrics import described, drawn, gain, measured
from training.predict import NEXT_COLUMNS, bgnbd, matrix, next_from
from training.scorer import numbers

RNG = np.random.default_rng(11)


def target(outcome):
    return next(one for one in next_purchase.TARGETS if one.outcome == outcome)


# --- the models -------------------------------------------------------------------------------------------------------
def test_prediction_columns_are_the_same_in_every_module():
    assert tuple(one.column for one in next_purchase.TARGETS) == NEXT_PURCHASE == NEXT_COLUMNS
    assert set(WINDOWS) == {one.outcome for one in next_purchase.TARGETS} == set(BASELINES)


def test_every_customer_has_three_predictions_within_bounds(bundle, training):
    scores = bundle.scorer().score(training.latest)
    assert training.latest["orders_total"].min() == 0
    for name, (least, most) in zip(NEXT_PURCHASE, ((0, 1), (0, DAYS_MAX), (0, 1e6)), strict=True):
        assert scores[name].null_count() == 0
        assert scores[name].is_between(least, most).all()
        assert scores[name].n_unique() > 100
    soon, late = (scores.sort("purchase_probability_30d")[part] for part in (slice(-50, None), slice(0, 50)))
    assert soon["expected_days_to_purchase"].mean() < late["expected_days_to_purchase"].mean() - 10
    assert soon["expected_revenue_90d"].mean() > 2 * late["expected_revenue_90d"].mean()


def test_predictions_of_the_bundle_equal_its_trees(bundle, training):
    """The way from trees to scores, taken by hand."""
    model = bundle.scorer().model
    inputs, _ = matrix(numbers(training.latest), model.preparation["bgnbd"], bundle.horizon_days)
    scores = bundle.scorer().score(training.latest)
    for column, (booster, about) in model._next.items():
        said = booster.inplace_predict(inputs).astype(np.float64)
        assert scores[column].to_numpy() == pytest.approx(next_from(said, about), abs=1e-9)


def test_held_out_rows_follow_every_training_window_or_are_other_customers(training):
    for outcome, window in WINDOWS.items():
        rows = training.followed.filter(pl.col(outcome).is_not_null())
        found = next_purchase._tested(rows, target(outcome), 30, TrainingPlan(tries=1, test_cutoffs=2, seed=3))
        assert all(np.isfinite(said).all() for said in found.predictions.values())
        if found.kind == "time":
            taught = rows.filter(pl.col("as_of") <= found.rows["as_of"].min() - window * DAY_MS)
            assert len(taught) == found.train_rows > 0
        else:
            assert len(np.unique(found.folds)) == 5
            assert len(found.rows) == len(rows)


def test_revenue_adds_up_and_the_trees_order_customers(bundle):
    report = bundle.metrics["next_purchase"]
    assert list(report) == list(NEXT_PURCHASE)
    assert 0.7 < report["expected_revenue_90d"]["models"]["xgboost"]["metrics"]["total"] < 1.4
    assert abs(report["expected_days_to_purchase"]["models"]["xgboost"]["metrics"]["bias"]) < 8
    assert report["purchase_probability_30d"]["models"]["xgboost"]["metrics"]["roc_auc"] > 0.65
    for one in report.values():
        assert {TITLES[name] for name in one["models"]} == {model["title"] for model in one["models"].values()}
        assert sum(one["models"]["xgboost"]["tenths"]["rows"]) == one["rows"]


def test_rows_without_outcomes_give_no_model(training):
    unknown = training.followed.with_columns(pl.lit(None, pl.Float64).alias(REVENUE), pl.lit(90.0).alias(DAYS))
    few = training.followed["customer_id"].unique().sort().head(8)
    small = unknown.filter(pl.col("customer_id").is_in(few.implode()))
    for rows, left in ((unknown, {BOUGHT}), (small, set())):
        found = {
            one.outcome
            for one in next_purchase.TARGETS
            if next_purchase.testable(rows.filter(pl.col(one.outcome).is_not_null()), one)
        }
        assert found == left


def test_share_is_limited_to_its_range():
    assert next_from(np.array([-0.1, 0.5, 1.2]), {"scale": 90.0, "most": 90.0}).tolist() == [0, 45, 90]
    assert next_from(np.array([2.0, 1e9]), {"scale": 1.5}).tolist() == [3, 1.5e9]


def test_quieter_season_lowers_revenue_and_raises_days():
    """Of customers who buy at a constant rate: a share of the waiting, and revenue in proportion."""
    quiet = {"level": 0.7}
    assert next_from(np.array([100.0]), {"scale": 1.0} | quiet) == pytest.approx(70)
    for rate in (0.001, 0.01, 0.03):
        full, slow = ((1 - np.exp(-each * 90)) / each for each in (rate, 0.7 * rate))
        said = next_from(np.array([full / 90]), {"scale": 90.0, "most": 90.0} | quiet)
        assert full < said < 90
        assert said == pytest.approx(slow, rel=0.06)


# --- baselines --------------------------------------------------------------------------------------------------------
def rows_of(**columns):
    count = len(next(iter(columns.values())))
    empty = {name: [None] * count for name in ROW_SCHEMA}
    known = {"customer_id": [str(n) for n in range(count)], "as_of": [DAY_MS] * count}
    return pl.DataFrame(empty | known | columns, schema=ROW_SCHEMA)


def test_mean_of_a_cell_is_shrunk_to_the_overall_mean():
    lesson = rows_of(
        orders_total=[1] * 40 + [0] * 60, orders_365d=[1] * 40 + [0] * 60, recency_days=[1.0] * 40 + [None] * 60,
        revenue_365d=[5.0] * 40 + [0.0] * 60,
    )  # fmt: skip
    truth = np.array([1.0] * 30 + [0.0] * 70)
    buyer, never = rfm_cell(lesson, truth, lesson[[0, 50]])
    assert buyer == pytest.approx((30 + 20 * 0.3) / 60)
    assert never == pytest.approx((0 + 20 * 0.3) / 80)


def test_recency_baseline_falls_with_the_days_and_covers_non_buyers():
    days = RNG.uniform(1, 300, 2_000)
    truth = (RNG.random(2_000) < 30 / (30 + days)).astype(float)
    lesson = rows_of(recency_days=[None] * 500 + days[500:].tolist())
    truth[:500] = RNG.random(500) < 0.02
    said = recency(lesson, truth, rows_of(recency_days=[None, 2.0, 200.0]))
    assert said[0] == pytest.approx(0.02, abs=0.02)
    assert said[1] > 0.7
    assert said[2] < 0.3


def test_expected_days_are_the_area_below_the_survival_curve():
    rows = rows_of(
        orders_total=[1, 3, 9], order_gap_mean_days=[None, 20.0, 5.0], recency_days=[40.0, 10.0, 1.0],
        orders_365d=[1, 3, 9], revenue_365d=[9.0, 9.0, 9.0], revenue_total=[9.0, 9.0, 9.0],
    )  # fmt: skip
    lesson = pl.concat([rows.with_columns(customer_id=pl.lit(str(n)) + pl.col("customer_id")) for n in range(20)])
    said = BASELINES[DAYS]["bgnbd"](lesson, np.full(60, 50.0), rows)
    parameters = msgspec.to_builtins(bgnbd_module.fit(buyers_once(lesson)))
    columns = numbers(rows)
    steps = [bgnbd(columns, parameters, day + 0.5)["bgnbd_churn"] for day in range(DAYS_MAX)]
    assert said == pytest.approx(np.sum(steps, axis=0), rel=5e-3)
    assert said[2] < said[0]


def test_gamma_gamma_recovers_its_parameters_and_shrinks_few_orders_to_the_mean():
    customers = 20_000
    rng = np.random.default_rng(3)
    orders = rng.integers(1, 12, customers)
    scale = rng.gamma(4.0, 1 / 60.0, customers)
    mean = np.array([rng.gamma(3.0 * n, 1 / rate) / n for n, rate in zip(orders, scale, strict=True)])
    found = gamma_gamma.fit(pl.DataFrame({"orders_total": orders, "revenue_total": mean * orders}))
    assert (found.p, found.q, found.gamma) == pytest.approx((3.0, 4.0, 60.0), rel=0.15)
    everybody = found.p * found.gamma / (found.q - 1)
    said = found.expected(np.array([0.0, 1.0, 100.0]), np.array([np.nan, 300.0, 300.0]))
    assert said[0] == pytest.approx(everybody)
    assert everybody < said[1] < 200
    assert said[2] == pytest.approx(300, rel=0.03)
    true = 3.0 / scale
    assert found.expected(orders.astype(float), mean).mean() == pytest.approx(true.mean(), rel=0.03)


# --- how they are judged ----------------------------------------------------------------------------------------------
TRUTH = np.where(RNG.random(400) < 0.3, RNG.gamma(2, 50, 400), 0.0)
SAID = np.clip(0.5 * TRUTH + RNG.gamma(2, 10, 400), 0.1, None)


def test_metrics_of_amounts_equal_those_of_the_libraries():
    found = measured(REVENUE, TRUTH, Predictions(SAID, SAID), np.ones(400))
    assert found["mae"] == pytest.approx(mean_absolute_error(TRUTH, SAID))
    assert found["spearman"] == pytest.approx(spearmanr(TRUTH, SAID).statistic)
    assert found["total"] == pytest.approx(SAID.sum() / TRUTH.sum())
    assert measured(DAYS, TRUTH, Predictions(SAID, SAID), np.ones(400))["bias"] == pytest.approx((SAID - TRUTH).mean())


def test_deciles_equal_values_worked_out_by_hand():
    said = np.arange(20.0)
    came = said.copy()
    came[[18, 19]] += [5, 5]  # the last tenth said 37 and brought 47
    found = described(REVENUE, came, Predictions(said, said), [])
    assert found["tenths"]["rows"] == [2] * 10
    assert (found["tenths"]["said"][-1], found["tenths"]["came"][-1]) == (18.5, 23.5)
    assert found["metrics"]["tenths_gap"] == pytest.approx(10 / 200)


@pytest.mark.parametrize("outcome", [BOUGHT, DAYS, REVENUE])
def test_weight_of_two_equals_the_row_twice(outcome):
    truth = (TRUTH > 0).astype(float) if outcome == BOUGHT else TRUTH
    said = SAID / SAID.max()
    times = RNG.integers(0, 3, 400)
    once = measured(outcome, truth, Predictions(said, said), times.astype(float))
    twice = np.repeat(said, times)
    again = measured(outcome, np.repeat(truth, times), Predictions(twice, twice), np.ones(len(twice)))
    assert {name: once[name] for name in once if name != "tenths_gap"} == pytest.approx(
        {name: again[name] for name in again if name != "tenths_gap"}
    )
    assert once.get("tenths_gap", 0) == pytest.approx(again.get("tenths_gap", 0), abs=0.05)  # a row stands in one tenth


def test_lower_error_is_a_positive_gain():
    noise = 40 + SAID.max() * RNG.random(400)
    weights = [RNG.integers(0, 3, 400).astype(float) for _ in range(20)]
    model, worse = (
        (measured(REVENUE, TRUTH, one, np.ones(400)), drawn(REVENUE, TRUTH, one, weights))
        for one in (Predictions(SAID, SAID), Predictions(noise, noise))
    )
    for name in ("mae", "spearman"):
        gap, (low, high) = gain(REVENUE, name, model, worse)
        assert 0 < low < gap < high
