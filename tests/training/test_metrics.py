"""Metrics, calibration, costs, seasons and BG/NBD, against figures worked out by other means."""

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, log_loss, roc_auc_score

from features.errors import UsageError
from features.schema import DAY_MS
from training import bgnbd as bgnbd_module
from training.churn import metrics
from training.churn.calibration import choose_calibration, fit_calibration, thresholds
from training.churn.metrics import METRICS, Predictions, fold_ranks, measure, paired_difference, resampled
from training.churn.seasonality import expected_level, factor
from training.options import Costs, Effort
from training.predict import bgnbd, calibrated

RNG = np.random.default_rng(7)
LABELS = (RNG.random(400) < 0.4).astype(np.int8)
SCORES = np.clip(0.4 + 0.3 * (LABELS - 0.4) + RNG.normal(0, 0.2, 400), 0.01, 0.99)
BOTH = Predictions(SCORES, SCORES)


# --- metrics ----------------------------------------------------------------------------------------------------------
def test_metrics_equal_those_of_the_library_and_a_plain_count():
    found = measure(LABELS, BOTH)
    assert found["brier"] == pytest.approx(brier_score_loss(LABELS, SCORES))
    assert found["log_loss"] == pytest.approx(log_loss(LABELS, SCORES))
    assert found["f1"] == pytest.approx(f1_score(LABELS, SCORES >= 0.5))
    top = np.argsort(-SCORES)[:40]
    assert found["lift_10"] == pytest.approx(LABELS[top].mean() / LABELS.mean())


def test_calibration_error_equals_a_value_worked_out_by_hand():
    labels = np.array([1, 0, 1, 1], np.int8)
    scores = np.array([0.12, 0.18, 0.91, 0.95])
    # bin 1: said 0.15, happened 0.5; bin 9: said 0.93, happened 1
    assert measure(labels, Predictions(scores, scores))["ece"] == pytest.approx(0.5 * 0.35 + 0.5 * 0.07)


def test_weight_of_two_equals_the_row_twice():
    weights = RNG.integers(0, 3, len(LABELS)).astype(float)
    times = weights.astype(int)
    twice = Predictions(np.repeat(SCORES, times), np.repeat(SCORES, times))
    once = measure(LABELS, BOTH, weights)
    assert once == pytest.approx(measure(np.repeat(LABELS, times), twice))


def test_metrics_of_resamples_equal_those_of_the_library_in_each():
    rounded = np.round(SCORES, 1)  # many ties
    weights = resampled(np.arange(400) // 4, 7, seed=2)
    found = metrics.drawn(tuple(METRICS), LABELS, Predictions(rounded, rounded), weights)
    for position, each in enumerate(weights):
        assert found["roc_auc"][position] == pytest.approx(roc_auc_score(LABELS, rounded, sample_weight=each))
        assert found["pr_auc"][position] == pytest.approx(average_precision_score(LABELS, rounded, sample_weight=each))
        single = measure(LABELS, Predictions(rounded, rounded), each)
        assert {name: draws[position] for name, draws in found.items()} == pytest.approx(single)


def test_resample_of_one_class_has_no_metrics(monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_WEIGHTS", 1)  # one resample at a time
    weights = [np.ones(400), (LABELS == 1).astype(float), np.zeros(400)]
    found = metrics.drawn(("roc_auc", "ece"), LABELS, BOTH, weights)
    assert np.isnan(found["roc_auc"]).tolist() == [False, True, True]
    assert found["ece"][0] == pytest.approx(measure(LABELS, BOTH)["ece"])


def test_single_class_has_no_metrics():
    assert np.isnan(list(measure(np.ones(5, np.int8), Predictions(SCORES[:5], SCORES[:5])).values())).all()


def test_bootstrap_draws_whole_customers():
    groups = np.arange(400) // 4
    for weights in resampled(groups, 5, seed=1):
        assert (weights.reshape(-1, 4) == weights.reshape(-1, 4)[:, :1]).all()
        assert weights.sum() == pytest.approx(400)


def test_paired_difference_ranks_a_noisy_model_lower():
    weights = resampled(np.arange(400), 100, seed=1)
    noise = RNG.random(400)
    gap, (low, high) = paired_difference("roc_auc", LABELS, BOTH, Predictions(noise, noise), weights)
    assert low > 0
    assert low < gap < high


def test_ranks_compare_within_a_fold_only():
    folds = np.array([0, 0, 1, 1])
    assert fold_ranks(np.array([0.1, 0.2, 0.8, 0.9]), folds).tolist() == [0.5, 1.0, 0.5, 1.0]


def test_curves_have_their_end_points():
    found = metrics.curves(LABELS, BOTH)
    assert (found["roc"]["x"][-1], found["roc"]["y"][-1]) == (1, 1)
    assert found["gain"]["y"][-1] == 1
    assert sum(found["calibration"]["rows"]) == len(LABELS)


# --- calibration ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["none", "sigmoid", "isotonic"])
def test_calibration_preserves_the_order_and_gives_probabilities(kind):
    found = calibrated(SCORES, fit_calibration(kind, SCORES, LABELS))
    order = np.argsort(SCORES)
    assert (np.diff(found[order]) >= 0).all()
    assert found.min() > 0
    assert found.max() < 1


def test_overconfident_scores_are_calibrated_and_good_ones_unchanged():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.05, 0.95, 6_000)
    labels = (rng.random(6_000) < truth).astype(np.int8)
    folds = np.arange(6_000) % 3
    assert choose_calibration(truth, labels, folds)[0]["kind"] == "none"
    loud = 1 / (1 + np.exp(-3 * np.log(truth / (1 - truth))))
    mended, losses = choose_calibration(loud, labels, folds)
    assert mended["kind"] == "sigmoid"
    assert losses["sigmoid"] < losses["none"]
    found = calibrated(loud, mended)
    assert measure(labels, Predictions(found, found))["ece"] < 0.03


def test_a_level_is_a_factor_on_the_rate_of_orders():
    found = calibrated(np.array([0.5]), {"kind": "none", "level": 2.0})
    assert found == pytest.approx(0.25)


# --- costs ------------------------------------------------------------------------------------------------------------
def test_bands_start_where_the_next_action_pays():
    bands = thresholds(Costs())
    assert bands.values == pytest.approx((1 / 3, 0.6, 0.8))
    efforts = [(0.0, 0.0), *((e.cost, e.saved) for e in (Costs().medium, Costs().high, Costs().critical))]
    for probability in np.linspace(0.013, 0.987, 197):
        best = max(range(4), key=lambda k: probability * efforts[k][1] - efforts[k][0])
        assert best == sum(probability >= value for value in bands.values)


@pytest.mark.parametrize(
    "costs",
    [Costs(high=Effort(0.04, 0.02)), Costs(medium=Effort(0.03, 0.03)), Costs(critical=Effort(0.05, 0.155))],
    ids=["saves less", "never pays", "pays before the one below"],
)
def test_costs_that_give_no_bands_are_refused(costs):
    with pytest.raises(UsageError):
        thresholds(costs)


# --- seasons ----------------------------------------------------------------------------------------------------------
HORIZON_DAYS = 90
NOW = 20_000 * DAY_MS


def seasons(paces, customers=4_000):
    """Rows at cut-offs 15 days apart, the last one 30 days before NOW; customers buy at `pace` times their rate."""
    rng = np.random.default_rng(4)
    probability = np.tile(rng.uniform(0.2, 0.95, customers), len(paces))
    times = np.repeat([NOW - (30 + 15 * place) * DAY_MS for place in range(len(paces))][::-1], customers)
    stays = probability ** (np.repeat(paces, customers) * 30 / HORIZON_DAYS)
    return times, probability, (rng.random(len(times)) >= stays).astype(np.int8)


def level_of(paces, taught=5, now=NOW):
    times, probability, bought = seasons(paces)
    return expected_level(times, probability, bought, np.unique(times)[:taught].tolist(), HORIZON_DAYS, now)


def test_level_factor_is_the_ratio_of_order_rates():
    for pace in (0.5, 1.0, 2.0):
        _, probability, bought = seasons([pace], 40_000)
        assert factor(probability, bought, HORIZON_DAYS) == pytest.approx(pace, rel=0.03)
    assert factor(np.array([0.5]), np.array([0], np.int8), HORIZON_DAYS) is None
    assert factor(np.array([0.5]), np.array([1], np.int8), HORIZON_DAYS) is None


#  cut-offs of 15 days: five taught, whose horizons reach over the next four windows; then the newest ones
def test_level_falls_immediately_after_a_busy_season():
    assert level_of([1.25] * 9 + [1.0] * 4) == pytest.approx(0.8, rel=0.05)
    assert level_of([1.25] * 12 + [1.0]) == pytest.approx(0.8, rel=0.05)
    assert level_of([1.0] * 13) == pytest.approx(1.0, rel=0.05)


def test_lasting_rise_changes_the_level_and_a_campaign_does_not():
    assert level_of([1.0] * 10 + [1.3] * 3) == pytest.approx(1.3, rel=0.05)
    assert level_of([1.0] * 12 + [1.4]) == pytest.approx(1.0, rel=0.05)


def test_level_uses_no_later_window():
    times, probability, bought = seasons([1.0] * 13)
    now = NOW - 40 * DAY_MS
    later = np.where(times + 30 * DAY_MS > now, 1 - bought, bought)
    taught = np.unique(times)[:5].tolist()
    one, two = (expected_level(times, probability, each, taught, HORIZON_DAYS, now) for each in (bought, later))
    assert one == two


def test_level_without_a_recent_window_is_one():
    times, probability, bought = seasons([1.3] * 9)
    assert expected_level(times, probability, bought, times[:1].tolist(), HORIZON_DAYS, NOW + 60 * DAY_MS) == 1.0
    assert expected_level(times[:0], probability[:0], bought[:0], [1], HORIZON_DAYS, NOW) == 1.0


# --- BG/NBD -----------------------------------------------------------------------------------------------------------
TRUE = bgnbd_module.Parameters(r=0.6, alpha=40.0, a=0.8, b=2.5)


def simulated(customers, seed, days=300.0):
    """First orders at day 0: rows after `days`, and orders in the 90 days after them, by the model's own story."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(TRUE.r, 1 / TRUE.alpha, customers)
    drop = rng.beta(TRUE.a, TRUE.b, customers)
    repeats, last, later = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    now, alive = np.zeros(customers), np.ones(customers, bool)
    while alive.any():
        now = np.where(alive, now + rng.exponential(1 / rate), now)
        seen, coming = alive & (now <= days), alive & (now > days) & (now <= days + 90)
        repeats[seen] += 1
        last[seen] = now[seen]
        later[coming] += 1
        alive &= (now <= days + 90) & (rng.random(customers) >= drop)
    rows = pl.DataFrame(
        {
            "orders_total": (repeats + 1).astype(np.int64),
            "order_gap_mean_days": np.divide(last, repeats, out=np.full(customers, np.nan), where=repeats > 0),
            "recency_days": days - last,
        }
    )
    return rows.with_columns(pl.col("order_gap_mean_days").fill_nan(None)), later


def test_bgnbd_recovers_its_parameters_and_probabilities_equal_frequencies():
    rows, later = simulated(30_000, seed=2)
    found = bgnbd_module.fit(rows)
    assert found.r == pytest.approx(TRUE.r, rel=0.15)
    assert found.alpha == pytest.approx(TRUE.alpha, rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(TRUE.a / (TRUE.a + TRUE.b), rel=0.2)
    columns = {name: rows[name].fill_null(np.nan).to_numpy().astype(float) for name in rows.columns}
    said = bgnbd(columns, msgspec.to_builtins(found), 90)
    assert said["bgnbd_churn"].mean() == pytest.approx((later == 0).mean(), abs=0.01)
    churned = (later == 0).astype(np.int8)
    assert measure(churned, Predictions(said["bgnbd_churn"], said["bgnbd_churn"]))["ece"] < 0.015
    assert said["bgnbd_orders"].mean() == pytest.approx(later.mean(), rel=0.05)


@given(
    st.integers(1, 300), st.floats(0, 400), st.floats(0, 4_000), st.floats(1e-4, 50), st.floats(1e-3, 1e4),
    st.floats(1e-3, 1e3), st.floats(1e-3, 1e3),
)  # fmt: skip
def test_bgnbd_gives_finite_probabilities_everywhere(orders, gap, recency, r, alpha, a, b):
    columns = {
        "orders_total": np.array([float(orders)]),
        "order_gap_mean_days": np.array([gap if orders > 1 else np.nan]),
        "recency_days": np.array([recency]),
    }
    said = bgnbd(columns, {"r": r, "alpha": alpha, "a": a, "b": b}, 90)
    assert 0 <= said["bgnbd_churn"][0] <= 1
    assert 0 <= said["bgnbd_alive"][0] <= 1
    assert said["bgnbd_orders"][0] >= 0
    assert np.isfinite(said["bgnbd_orders"][0])
