"""Which rows teach and which test, and which model is chosen."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.errors import ShopstreamError
from features.schema import DAY_MS
from training.churn import selection
from training.churn.candidates import Candidate, fit, search_space
from training.churn.selection import Choice, chosen, customer_folds, splits


def rows_of(days, customers=20):
    return pl.DataFrame(
        [(f"c{number}", day * DAY_MS) for day in days for number in range(customers)],
        schema={"customer_id": pl.String, "as_of": pl.Int64},
        orient="row",
    )


#  cut-offs   100   115   130   145   160   175   190   205     horizon 60
#  teach       x     x     x                                    (130 + 60 = 190: its horizon ends where the test begins)
#  test                                            x     x
def test_every_training_horizon_ends_before_the_first_test():
    rows = rows_of(range(100, 206, 15))
    kind, (split,) = splits(rows, 60, "auto", 2, seed=1)
    times = rows["as_of"].to_numpy() // DAY_MS
    assert kind == "time"
    assert sorted(set(times[split.train])) == [100, 115, 130]
    assert sorted(set(times[split.test])) == [190, 205]


def test_fewer_cutoffs_test_when_none_would_remain_for_training():
    _, (split,) = splits(rows_of([100, 130, 160]), 60, "time", 3, seed=1)
    assert (split.train.sum(), split.test.sum()) == (20, 20)


def test_customers_are_held_out_when_cutoffs_are_too_few():
    rows = rows_of([100, 110])
    kind, parts = splits(rows, 60, "auto", 2, seed=1)
    assert kind == "customers"
    customers = rows["customer_id"].to_numpy()
    for split in parts:
        assert not set(customers[split.train]) & set(customers[split.test])
    assert np.sum([split.test for split in parts], axis=0).tolist() == [1] * len(rows)
    with pytest.raises(ShopstreamError, match="No two cut-offs"):
        splits(rows, 60, "time", 2, seed=1)


def test_fold_of_a_customer_does_not_depend_on_the_others():
    every = customer_folds(rows_of([1, 2])["customer_id"], 3, seed=4)
    assert every[:20].tolist() == every[20:].tolist()
    assert customer_folds(pl.Series(["c7"]), 3, seed=4).tolist() == [every[7]]
    assert set(every.tolist()) == {0, 1, 2}


def choice(family, scores, labels, roc_auc=0.7):
    loss = float(selection._losses(scores, labels).mean())
    return Choice(Candidate(family), {"kind": "none"}, scores, loss, 0.5, roc_auc)


def test_xgboost_stays_unless_another_is_clearly_better():
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.1, 0.9, 2_000)
    labels = (rng.random(2_000) < truth).astype(np.int8)
    customers = np.arange(2_000) // 2
    guesses = [np.clip(truth + rng.normal(0, 0.05, 2_000), 0.02, 0.98) for _ in range(2)]
    near = choice("xgboost", guesses[0], labels)
    luck = choice("logistic", guesses[1], labels)
    far = choice("xgboost", np.full(2_000, 0.5), labels)
    best = choice("logistic", truth, labels)
    assert chosen([near, luck], labels, customers) is near
    assert chosen([far, best], labels, customers) is best
    # as good in probability, and worse at putting customers in order
    assert near.log_loss > luck.log_loss
    for lacks, expected in ((0.004, "xgboost"), (0.006, "logistic")):
        behind = replace(near, roc_auc=luck.roc_auc - lacks)
        assert chosen([behind, luck], labels, customers).candidate.family == expected


def test_the_search_is_bounded_and_repeatable():
    one = search_space("xgboost", 6, np.random.default_rng(1))
    assert len(one) == 6
    assert one == search_space("xgboost", 6, np.random.default_rng(1))
    assert one[0] == {}


@pytest.mark.parametrize("family", ["recency", "bgnbd", "logistic", "random_forest", "xgboost", "lightgbm"])
@pytest.mark.parametrize("treatment", ["none", "weights", "smote"])
def test_every_candidate_fits_and_accepts_missing_values(family, treatment):
    if family == "lightgbm":
        pytest.importorskip("lightgbm", exc_type=ImportError)
    if family in ("recency", "bgnbd") and treatment != "none":
        pytest.skip("not treated")
    rng = np.random.default_rng(1)
    names = ["recency_days", "bgnbd_orders", "other"]
    rows = rng.uniform(0, 5, (300, 3)).astype(np.float32)
    labels = (rows[:, 0] > 3 + rng.normal(0, 0.5, 300)).astype(np.int8)
    rows[:, 1] = np.where(labels == 1, 0.1, 2.0)
    rows[::7, 2] = np.nan
    parameters = {"n_estimators": 20} if family not in ("recency", "bgnbd", "logistic") else {}
    model = fit(Candidate(family, treatment, parameters), rows, labels, names, seed=1, threads=1)
    said = model.probability(rows)
    assert said.min() >= 0
    assert said.max() <= 1
    assert said[labels == 1].mean() > said[labels == 0].mean() + 0.2
    again = fit(Candidate(family, treatment, parameters), rows, labels, names, seed=1, threads=1)
    assert again.probability(rows).tolist() == said.tolist()
