"""The paced hazard: what teaches it, the pace of its windows, and one curve for every prediction of its bundle."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import xgboost

from features.errors import ShopstreamError
from features.schema import DAY_MS
from features.scores.score import NEXT_PURCHASE, check_scores, trial_rows
from shopstream.jobs.train import train_bundle, training_set
from training.bundle import load_bundle
from training.churn import hazard as hazard_module
from training.churn import selection
from training.churn import train as churn
from training.churn.candidates import Candidate
from training.churn.hazard import Periods, fit_hazard, present_pace
from training.churn.metrics import METRICS
from training.churn.selection import TrainSplit
from training.labels import BOUGHT_DAYS, STEP, step_ends
from training.options import Horizon
from training.predict import calibrated, calibrated_curve, mean_days, survival
from training.scorer import BundleScorer, numbers

HORIZON = Horizon(horizon_days=90, history_days=40, spacing_days=15, cutoffs_max=6)
FAST = {"n_estimators": 60}
STEP_MS = BOUGHT_DAYS * DAY_MS


@pytest.fixture(scope="module")
def quarter(archive):
    """The small shop with the usual horizon."""
    return training_set(archive, HORIZON)


@pytest.fixture(scope="module")
def curved(archive, quarter, plans, tmp_path_factory):
    """A bundle whose churn model is a paced hazard, by the whole way of a training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hazard_module, "TREES", hazard_module.TREES | FAST)
        patch.setattr(selection, "TRIED_TREATMENTS", ())
        patch.setattr(churn, "families", lambda: ("recency", "bgnbd", "logistic", "xgboost", "paced_hazard"))
        patch.setattr(churn, "chosen", lambda choices, *_: next(c for c in choices if c.candidate.family[0] == "p"))
        out = tmp_path_factory.mktemp("curved") / "bundle"
        return train_bundle(archive, out, HORIZON, plans[1], gather=lambda *_: quarter)[0]


def periods_of(times, step, known, rows=None, ends=3):
    count = len(times)
    inputs = np.zeros((count, 1)) if rows is None else rows
    return Periods(
        np.asarray(inputs, np.float32), np.asarray(times, np.int64), np.asarray(step, np.int8), np.asarray(known),
        [STEP_MS * (n + 1) for n in range(ends)], np.arange(count), np.arange(count) % 3,
    )  # fmt: skip


# --- what teaches -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("horizon", "expected"),
    [(7, [7]), (30, [30]), (45, [45]), (60, [30, 60]), (90, [30, 60, 90]), (100, [100 / 3, 200 / 3, 100]),
     (273, [91, 182, 273])],
)  # fmt: skip
def test_steps_divide_the_horizon(horizon, expected):
    assert [end / DAY_MS for end in step_ends(horizon)] == pytest.approx(expected, abs=1e-7)


#  customer   step 1   step 2   step 3      known steps
#  0          order                         3
#  1          -        -        order       3
#  2          -        -        -           3
#  3          -        (later)              1
def test_a_row_teaches_until_its_order_or_the_present():
    row, step, ordered = periods_of([0] * 4, [1, 3, 0, 2], [3, 3, 3, 1]).expanded()
    assert sorted(zip(row.tolist(), step.tolist(), ordered.tolist(), strict=True)) == [
        (0, 0, 1), (1, 0, 0), (1, 1, 0), (1, 2, 1), (2, 0, 0), (2, 1, 0), (2, 2, 0), (3, 0, 0),
    ]  # fmt: skip


def test_cutoffs_up_to_one_step_before_the_present_teach_it(quarter, plans):
    fold, _ = churn._train_fold(quarter, TrainSplit(), plans[1])
    assert fold.periods.times.max() == quarter.end_ms - STEP_MS > max(quarter.cutoffs)
    until = quarter.cutoffs[-1] - 40 * DAY_MS
    split = TrainSplit(until_ms=until)
    now = until + 90 * DAY_MS
    rows = churn.period_rows(quarter, now, split)
    assert now - STEP_MS - 15 * DAY_MS < rows["as_of"].max() <= now - STEP_MS


def test_outcomes_after_the_present_change_nothing(quarter, plans):
    _, parameters = churn._train_fold(quarter, TrainSplit(), plans[1])
    now = quarter.end_ms - 40 * DAY_MS
    rows = churn.period_rows(quarter, now, TrainSplit())
    numbers_of = np.arange(len(rows))

    def expanded(rows):
        periods = churn.periods_of(rows, parameters, 90, now, numbers_of, 1)
        return [values.tolist() for values in periods.expanded()]

    late = rows["as_of"] + 2 * STEP_MS > now
    assert late.any()
    changed = rows.with_columns(pl.when(late & (pl.col(STEP) != 1)).then(3).otherwise(pl.col(STEP)).alias(STEP))
    assert not changed.equals(rows)
    assert expanded(changed.cast({STEP: pl.Int8})) == expanded(rows)


def test_customers_left_out_teach_nothing(quarter, plans):
    split = TrainSplit(left_out=2, seed=4)
    rows = churn.period_rows(quarter, quarter.end_ms, split)
    assert 0 < len(rows) < len(churn.period_rows(quarter, quarter.end_ms, TrainSplit()))
    assert split.of(rows).all()


def test_a_followed_step_is_the_first_with_an_order_at_its_end(quarter):
    """The label at the horizon says the same of the last step, but for orders that were cancelled between."""
    joined = quarter.rows.join(quarter.followed, on=["customer_id", "as_of"], validate="1:1")
    same = (joined["churned"] == 1) == (joined[STEP] == 0)
    assert same.mean() > 0.98
    assert joined.filter(~same)["churned"].unique().to_list() in ([], [1])


def test_one_class_of_outcomes_leaves_the_hazard_out(quarter, plans):
    nothing = replace(quarter, followed=quarter.followed.with_columns(pl.lit(0, pl.Int8).alias(STEP)))
    fold, _ = churn._train_fold(nothing, TrainSplit(), plans[1])
    assert fold.periods is None


# --- the pace ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def simulated():
    """Customers whose odds double in the last two of eight windows, with a known effect of one input."""
    rng = np.random.default_rng(4)
    paces = np.array([0.3, 0.3, 0, 0, 0, 0, 0.7, 0.7])
    cutoffs, each = 8, 2_500
    times = np.repeat(np.arange(cutoffs), each)
    inputs = rng.gamma(1.0, 3.0, (len(times), 1))
    step, known = np.zeros(len(times), int), np.minimum(cutoffs - times, 3)
    for at in range(3):
        log_odds = -1.5 + 0.8 * np.log1p(inputs[:, 0]) + paces[np.minimum(times + at, 7)]
        ordered = (rng.random(len(times)) < 1 / (1 + np.exp(-log_odds))) & (step == 0) & (known > at)
        step[ordered] = at + 1
    return periods_of(times * STEP_MS, step, known, inputs), paces


def test_the_pace_of_each_window_is_recovered(simulated):
    periods, paces = simulated
    hazard = fit_hazard(Candidate("paced_hazard", "none", FAST), periods, seed=1, threads=1)
    found = np.array([hazard.paces[start] for start in sorted(hazard.paces)])
    assert sorted(hazard.paces) == [n * STEP_MS for n in range(8)]
    assert found - found.mean() == pytest.approx(paces - paces.mean(), abs=0.12)
    row, step, _ = periods.expanded()
    assert np.mean([hazard.paces[start] for start in periods.starts(row, step).tolist()]) == pytest.approx(0, abs=1e-9)


def test_a_hazard_at_the_present_pace_predicts_the_present_odds(simulated):
    periods, _ = simulated
    hazard = fit_hazard(Candidate("paced_hazard", "none", FAST), periods, seed=1, threads=1)
    now = hazard.at_present(8 * STEP_MS)
    inputs = np.array([[1.0], [3.0], [8.0]], np.float32)
    truth = 1 / (1 + np.exp(-(-1.5 + 0.8 * np.log1p(inputs[:, 0]) + 0.7)))
    assert 1 - now.survival(inputs)[:, 0] == pytest.approx(truth, abs=0.03)
    assert np.abs(1 - hazard.survival(inputs)[:, 0] - truth).max() > 0.05
    assert now.level == pytest.approx(np.exp(now.pace))
    assert now.level > 1.3
    assert now.at_present(8 * STEP_MS).about == now.about


def test_one_cutoff_has_no_pace(simulated):
    periods, _ = simulated
    one = periods.where(periods.times == 0)
    hazard = fit_hazard(Candidate("paced_hazard", "none", FAST), one, seed=1, threads=1)
    assert hazard.paces == {}
    assert hazard.at_present(STEP_MS).about == hazard.about


@pytest.mark.parametrize(
    ("paces", "now", "expected"),
    [
        ([0.0, 0.1, -0.4], 3, -0.4),  # a fall counts immediately
        ([0.0, 0.1, 0.15], 3, 0.15),
        ([0.0, 0.1, 0.5], 3, 0.1),  # a campaign passes
        ([-0.3, -0.2, 0.1], 3, 0.1),  # a slow month passes too
        ([-0.3, -0.2, 0.5], 3, 0.0),
        ([0.0, 0.1, -0.4], 4.1, 0.0),  # no window is recent
        ([-3.0], 1, np.log(0.5)),  # no season
        ([], 1, 0.0),
    ],
)
def test_present_pace(paces, now, expected):
    known = {n * STEP_MS: pace for n, pace in enumerate(paces)}
    assert present_pace(known, STEP_MS, int(now * STEP_MS)) == pytest.approx(expected)


# --- the choice -------------------------------------------------------------------------------------------------------
def test_log_loss_and_gap_of_a_choice_are_of_the_same_out_of_fold_probabilities(quarter, plans):
    fold, _ = churn._train_fold(quarter, TrainSplit(), plans[1])
    for candidate in (Candidate("paced_hazard", "none", FAST), Candidate("logistic")):
        choice = fold.evaluate(candidate)
        ones = np.ones(len(fold.labels))
        assert METRICS["log_loss"](fold.labels, choice.scores, ones) == pytest.approx(choice.log_loss, abs=1e-12)
        assert set(np.unique(fold.periods.folds)) == set(np.unique(fold.folds)) == {0, 1, 2}


def test_customers_of_a_fold_are_out_of_it_in_both_sets_of_rows(quarter, plans):
    fold, _ = churn._train_fold(quarter, TrainSplit(), plans[1])
    fold_of = dict(zip(fold.customers.tolist(), fold.folds.tolist(), strict=True))
    pairs = zip(fold.periods.customers.tolist(), fold.periods.folds.tolist(), strict=True)
    common = [(fold_of[customer], number) for customer, number in pairs if customer in fold_of]
    assert len(common) > 100
    assert all(one == other for one, other in common)
    small = fold.limited(len(fold.labels) // 2)
    assert set(small.customers.tolist()) <= set(small.periods.customers.tolist())
    assert len(small.periods.times) < 0.7 * len(fold.periods.times)


# --- one curve --------------------------------------------------------------------------------------------------------
def test_mean_days_are_the_area_below_the_curve():
    curve = np.array([[0.9, 0.6, 0.5], [1e-9, 1e-9, 1e-9], [1.0, 1.0, 1.0], [0.5, 0.25, 0.125]])
    days = np.linspace(0, 90, 900_001)
    for row, found in zip(curve, mean_days(curve, [30.0, 60.0, 90.0]), strict=True):
        logs = np.interp(days, [0, 30, 60, 90], np.log(np.maximum([1.0, *row], 1e-300)))
        assert found == pytest.approx(np.trapezoid(np.exp(logs), days), rel=1e-6)


@pytest.mark.parametrize(
    "calibration",
    [{"kind": "none"}, {"kind": "sigmoid", "slope": 0.7, "intercept": -0.2},
     {"kind": "isotonic", "x": [0.1, 0.5, 0.9], "y": [0.05, 0.6, 0.8]}],
)  # fmt: skip
def test_calibration_moves_the_whole_curve(calibration):
    before = survival(np.linspace(-6, 3, 41), {"offsets": [0.0, -0.5, 0.4]})
    curve = calibrated_curve(before, calibration)
    assert curve[:, -1].tolist() == calibrated(before[:, -1], calibration).tolist()
    assert (np.diff(np.column_stack([np.ones(41), curve]), axis=1) <= 0).all()
    # a factor on the cumulative hazard
    ratio = np.log(curve) / np.log(before)
    assert ratio == pytest.approx(np.repeat(ratio[:, -1:], 3, axis=1))
    if calibration["kind"] == "none":
        assert curve == pytest.approx(before, abs=1e-6)


def test_churn_probability_and_days_agree(curved, quarter):
    assert curved.about["model"]["family"] == "paced_hazard"
    scores = curved.scorer().score(quarter.latest)
    check_scores(quarter.latest, scores)
    assert scores["expected_days_to_purchase"].null_count() == 0
    bought = scores.filter(pl.col("churn_probability").is_not_null())
    soon, days, stays = (
        bought[name].to_numpy()
        for name in ("purchase_probability_30d", "expected_days_to_purchase", "churn_probability")
    )
    assert (soon < 1 - stays).all()
    # the area of a curve that falls from 1 by `soon` after 30 days and to `stays` after 90
    assert (days < 30 + 60 * (1 - soon)).all()
    assert (days > 30 * (1 - soon) + 60 * stays).all()
    order = np.argsort(stays)
    assert (np.diff(soon[order]) <= 1e-12).all()
    assert (np.diff(days[order]) >= -1e-9).all()


def test_model_and_scorer_and_file_give_the_same_values(curved, quarter, tmp_path):
    folder = shutil.copytree(curved.folder, tmp_path / "copy")
    quarter.latest.write_csv(tmp_path / "rows.csv")
    words = [sys.executable, "-I", folder / "predict.py", tmp_path / "rows.csv", tmp_path / "out.csv"]
    subprocess.run(words, check=True, cwd=tmp_path, timeout=120)
    with (tmp_path / "out.csv").open() as file:
        found = list(csv.DictReader(file))
    scorer = curved.scorer()
    scores = scorer.score(quarter.latest)
    for name in ("churn_probability", *NEXT_PURCHASE):
        theirs = pl.Series([float(row[name]) if row[name] else None for row in found])
        assert theirs.is_null().equals(scores[name].is_null())
        assert (theirs - scores[name]).abs().max() < 1e-9
    parts = [scorer.score(quarter.latest[start : start + 7]) for start in range(0, 70, 7)]
    assert pl.concat(parts).equals(scores[:70])
    check_scores(trial_rows(), scorer.score(trial_rows()))
    model = scorer.model
    inputs = model.inputs(numbers(quarter.latest))
    probability, following = model.scores(inputs)
    assert model.of_matrix(inputs) == pytest.approx(probability, abs=1e-12)
    assert {name: values.tolist() for name, values in model.next_purchase(inputs).items()} == {
        name: values.tolist() for name, values in following.items()
    }
    assert [len(values) for values in model.next_purchase(inputs[:0]).values()] == [0, 0, 0]


def test_bundle_has_no_separate_models_of_the_curve(curved):
    assert (curved.folder / "next_revenue.json").is_file()
    assert not (curved.folder / "next_purchase.json").exists()
    assert not (curved.folder / "next_days.json").exists()
    assert "xgboost-cpu" in (curved.folder / "requirements.txt").read_text()
    for name in NEXT_PURCHASE[:2]:
        report = curved.metrics["next_purchase"][name]
        assert report["chosen"] == "paced_hazard"
        assert {one["against"] for one in report["differences"]} >= {"rfm_cell", "bgnbd"}
        assert report["rows"] == sum(report["models"]["paced_hazard"]["tenths"]["rows"])
    assert load_bundle(curved.folder).name == curved.name
    assert "paced hazard" in (curved.folder / "card.html").read_text("utf-8")


def test_contributions_add_up_to_the_log_odds_of_churn(curved, quarter):
    scorer = curved.scorer()
    rows = quarter.latest.filter(pl.col("orders_total") > 0)
    inputs = scorer.model.matrix(numbers(rows))
    contributions = scorer.contributions(inputs)
    hazard = scorer.model.preparation["hazard"]
    stays = survival(scorer.model.margin(inputs), hazard)[:, -1]
    rest = np.log(stays / (1 - stays)) - contributions.sum(axis=1)
    # the log odds of a customer with mean inputs, the same for all
    assert rest == pytest.approx(np.full(len(rest), rest[0]), abs=1e-3)
    assert np.abs(contributions).sum() > 10


def test_a_contribution_is_the_mean_of_tree_shap_and_the_linear_distance_from_the_mean(curved, quarter):
    scorer = curved.scorer()
    inputs = scorer.model.matrix(numbers(quarter.latest.filter(pl.col("orders_total") > 0).head(20)))
    hazard, names = scorer.model.preparation["hazard"], scorer.model.preparation["names"]
    trees = scorer.model.booster.predict(xgboost.DMatrix(inputs), pred_contribs=True)
    shares = scorer.contributions(inputs)
    slopes = []
    for name in ("recency_days", "orders_total", "order_gap_mean_days"):
        column = names.index(name)
        known = np.nan_to_num(inputs[:, column].astype(float))
        value = np.where(np.isnan(inputs[:, column]), hazard["fill"][column], np.log1p(known))
        linear = (value - hazard["means"][column]) * hazard["coefficients"][column]
        if column in hazard["missing"]:
            place = len(names) + hazard["missing"].index(column)
            linear += (np.isnan(inputs[:, column]) - hazard["means"][place]) * hazard["coefficients"][place]
        slopes.append(shares[:, column] / ((linear + trees[:, column]) / 2))
    # more orders mean less churn; the slope belongs to the row
    assert (slopes[0] < 0).all()
    assert slopes[1] == pytest.approx(slopes[0], rel=1e-4)
    assert slopes[2] == pytest.approx(slopes[0], rel=1e-4)


def test_high_risks_have_reasons(curved, quarter):
    scores = BundleScorer.score(curved.scorer(), quarter.latest)
    reasons = scores["churn_reasons"].drop_nulls()
    assert reasons.len() > 0
    assert set(reasons.explode()) <= set(curved.scorer().model.preparation["names"])


# --- refused ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "damage",
    [{"coefficients": [1.0]}, {"offsets": [0.0]}, {"ends_days": [30.0, 20.0, 90.0]}, {"missing": [999]}, {"fill": []},
     {"intercept": float("nan")}],
)  # fmt: skip
def test_damaged_hazard_is_refused(curved, tmp_path, damage):
    folder = shutil.copytree(curved.folder, tmp_path / "copy")
    preparation = json.loads((folder / "preparation.json").read_text())
    preparation["hazard"] |= damage
    (folder / "preparation.json").write_text(json.dumps(preparation))
    with pytest.raises(ShopstreamError, match="cannot be used"):
        replace(curved, folder=folder).scorer()
