"""What can be known about a synthetic shop: the posterior, and the predictors that know the truth."""

import dataclasses
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from producers.archive.archive import day_start_ms
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.jobs import bayes_ceiling
from shopstream.jobs.bayes_ceiling import bounds_of, known_shop
from shopstream.jobs.shop_posterior import posterior_of
from shopstream.jobs.train import training_set
from training import bgnbd
from training.churn import evaluation
from training.churn.metrics import Predictions, measure
from training.dataset import LABEL
from training.options import Horizon
from training.predict import matrix
from training.scorer import numbers

DAY = 86_400_000
HORIZON = Horizon(horizon_days=60, history_days=100, spacing_days=20, cutoffs_max=2)
PATHS = 600


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("bounds") / "shop"
    generate(Shop(end_ms=day_start_ms(date(2025, 6, 1)), seed=11, customers=1_500, events=200_000, days=240), directory)
    return directory


@pytest.fixture(scope="module")
def model(shop):
    return known_shop(shop)


@pytest.fixture(scope="module")
def rows(shop) -> pl.DataFrame:
    return training_set(shop, HORIZON).rows


@pytest.fixture(scope="module")
def posterior(shop, model, rows) -> np.ndarray:
    return posterior_of(shop, model, rows, 60, seed=1, paths=PATHS)["posterior"].to_numpy()


def measured(rows, scores):
    return measure(rows[LABEL].to_numpy(), Predictions(scores, scores))


def test_posterior_is_calibrated(rows, posterior):
    found = measured(rows, posterior)
    assert found["ece"] < 0.035
    assert abs(posterior.mean() - rows[LABEL].mean()) < 0.025
    assert found["log_loss"] < 0.56


def test_posterior_beats_recency_and_bgnbd_and_the_truth_beats_it(shop, model, rows, posterior):
    fitted = bgnbd.fit(rows.sort("as_of").unique("customer_id", keep="last", maintain_order=True))
    inputs, names = matrix(numbers(rows), msgspec.to_builtins(fitted), 60)
    found = measured(rows, posterior)
    recency = rows["recency_days"].to_numpy()
    assert found["roc_auc"] > measured(rows, recency / recency.max())["roc_auc"] + 0.06
    assert found["roc_auc"] > measured(rows, inputs[:, names.index("bgnbd_churn")])["roc_auc"] + 0.04
    bounds = rows.join(bounds_of(shop, model, rows, 60), on=["customer_id", "as_of"], maintain_order="left")
    for name in ("knows_present", "knows_dropout"):
        truth = bounds[name].to_numpy()
        assert measured(rows, truth)["roc_auc"] > found["roc_auc"] + 0.02
        assert abs(truth.mean() - rows[LABEL].mean()) < 0.03


def test_posterior_at_a_cutoff_ignores_all_later_records(shop, model, rows, posterior, tmp_path):
    first = int(rows["as_of"].min())
    changed = tmp_path / "changed"
    shutil.copytree(shop, changed)
    for folder in (changed / "events").iterdir():
        start = int(datetime.strptime(folder.name[5:], "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
        for file in folder.glob("*.parquet") if start + DAY > first else ():
            table = pl.DataFrame(pl.from_arrow(pq.read_table(file)))
            table.filter(pl.col("ts").dt.epoch("ms") <= first).write_parquet(file)
    wanted = rows.filter(pl.col("as_of") == first)
    again = posterior_of(changed, model, wanted, 60, seed=1, paths=PATHS)["posterior"].to_numpy()
    assert np.array_equal(again, posterior[(rows["as_of"] == first).to_numpy()])
    assert measured(wanted, again)["roc_auc"] > 0.75  # the earlier records are there


def test_posterior_uses_no_latent_value_of_a_customer(shop, model, rows, posterior):
    order = np.random.default_rng(1).permutation(len(model.population))
    shuffled = dataclasses.replace(model, population=model.population.take(order))
    again = posterior_of(shop, shuffled, rows, 60, seed=1, paths=PATHS)["posterior"].to_numpy()
    assert np.array_equal(again, posterior)


def test_posterior_depends_little_on_its_seed(shop, model, rows, posterior):
    other = posterior_of(shop, model, rows, 60, seed=2, paths=PATHS)["posterior"].to_numpy()
    assert not np.array_equal(other, posterior)
    assert np.abs(other - posterior).mean() < 0.03


def test_posterior_rises_while_a_customer_stays_away(shop, model, rows):
    busiest = rows.filter(pl.col("as_of") == rows["as_of"].min()).sort("sessions_90d")["customer_id"][-1]
    last = int(rows.filter(pl.col("customer_id") == busiest)["last_order_ts"].max())
    end = last + 100 * DAY
    quiet = shop.parent / "quiet"
    shutil.copytree(shop, quiet)
    for file in (quiet / "events").rglob("*.parquet"):
        table = pl.DataFrame(pl.from_arrow(pq.read_table(file)))
        mine = (pl.col("customer_id") == busiest) & (pl.col("ts").dt.epoch("ms") > last)
        table.filter(~mine).write_parquet(file)
    wanted = pl.DataFrame({"customer_id": busiest, "as_of": list(range(last + DAY, end, 25 * DAY))})
    scores = posterior_of(quiet, model, wanted, 60, seed=1, paths=PATHS)["posterior"].to_list()
    assert scores == sorted(scores)
    assert scores[0] < 0.5 < scores[-1]


def test_bounds_of_a_large_shop_are_those_of_a_sample_of_customers(shop, model, rows, monkeypatch):
    monkeypatch.setattr(bayes_ceiling, "CUSTOMERS_MAX", 40)
    found = bounds_of(shop, model, rows, 60)
    assert found["customer_id"].n_unique() == 40
    assert not found.select("posterior", "knows_present", "knows_dropout").to_numpy().max() > 1


def test_a_shop_of_too_many_events_has_no_posterior(shop, model, rows, monkeypatch):
    monkeypatch.setattr(bayes_ceiling, "EVENTS_MAX", 1_000)
    found = bounds_of(shop, model, rows, 60)
    assert "posterior" not in found.columns
    assert len(found) == len(rows)
    known = evaluation.bound_probabilities(rows, lambda keys, days: bounds_of(shop, model, keys, days), 60)
    assert list(known) == ["knows_present", "knows_dropout"]


def test_archive_without_truth_files_is_no_known_shop(tmp_path):
    assert known_shop(tmp_path) is None


def test_archive_of_another_truth_is_no_known_shop(shop, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(shop / "shop.json", copy)
    truth = pl.read_parquet(shop / "truth.parquet")
    truth.with_columns(pl.col("dropout_ts").dt.offset_by("1d")).write_parquet(copy / "truth.parquet")
    assert known_shop(copy) is None


# --- in the report ----------------------------------------------------------------------------------------------------
def test_recent_buyers_have_an_order_within_one_horizon():
    rows = pl.DataFrame({"as_of": [100 * DAY] * 3, "last_order_ts": [41 * DAY, 40 * DAY, None]})
    assert evaluation.recent_buyers(rows, 60).tolist() == [True, False, False]


def test_overlapping_horizons_count_their_days_once():
    assert evaluation.overlap([0, 15 * DAY, 30 * DAY], 90) == {"covered_days": 120.0, "summed_days": 270}
    assert evaluation.overlap([0], 30) == {"covered_days": 30.0, "summed_days": 30}
    assert evaluation.overlap([0, 50 * DAY], 30)["covered_days"] == 60.0


def test_report_measures_recent_buyers_and_the_rest_apart(bundle):
    report = bundle.metrics
    groups = report["groups"]
    assert sum(one["rows"] for one in groups.values()) == report["rows"]
    churned = sum(one["rows"] * one["churned"] for one in groups.values())
    assert churned == pytest.approx(report["rows"] * report["churned"])
    assert groups["recent"]["churned"] < groups["rest"]["churned"]
    for one in groups.values():
        assert set(one["models"]) in (set(), set(report["models"]))
    assert set(groups["recent"]["bounds"]) == set(evaluation.BOUNDS)
    for each in [*groups["recent"]["models"].values(), *groups["recent"]["bounds"].values()]:
        low, high = each["intervals"]["roc_auc"]
        assert low <= each["metrics"]["roc_auc"] <= high


def test_report_gives_each_models_share_of_the_way_to_the_posterior(bundle):
    report = bundle.metrics
    posterior, truth = report["bounds"]["posterior"], report["bounds"]["knows_present"]
    least = report["models"]["recency"]["metrics"]["roc_auc"]
    room = posterior["metrics"]["roc_auc"] - least
    for family, way in posterior["way"].items():
        assert way == pytest.approx((report["models"][family]["metrics"]["roc_auc"] - least) / room)
        low, high = posterior["way_intervals"][family]
        assert low <= way <= high
    assert posterior["way"]["recency"] == 0
    assert posterior["metrics"]["roc_auc"] < truth["metrics"]["roc_auc"]


def test_report_measures_each_cutoff_by_itself(bundle):
    report = bundle.metrics
    assert list(report["cutoffs"]) == report["tested"]
    assert sum(one["rows"] for one in report["cutoffs"].values()) == report["rows"]
    card = (bundle.folder / "card.html").read_text()
    assert f"cover only {report['overlap']['covered_days']:.0f} days" in card
