"""Models on whole logs, the demo's shop and two real shops: minutes, so `make models` and not `make test`."""

from datetime import date
from pathlib import Path

import pytest
from oracle.real_logs import shared_file

from producers.archive.archive import day_start_ms
from producers.importing.importer import import_logs
from producers.importing.mapping import load_mapping
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.jobs.train import train_bundle
from training.churn.candidates import BASELINES
from training.churn.train import TrainingPlan
from training.options import Horizon

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1_800)]
PLAN = TrainingPlan(threads=2)


def train(archive: Path, horizon: Horizon, plan: TrainingPlan, out: Path):
    return train_bundle(archive, out, horizon, plan)[0].metrics


def import_shared(name: str, mapping: str, out: Path) -> None:
    import_logs([(shared_file(name), *load_mapping(mapping))], out)


def show(report):
    """The figures of the documents; `pytest -s` prints them."""
    print(report["chosen"], "level", round(report["level"], 2))
    parts = {"churn": report, **report["next_purchase"]}
    for title, part in parts.items():
        for name, one in part["models"].items():
            spans = (f"{key} {value:.3f} ({one['intervals'][key][0]:.3f}-{one['intervals'][key][1]:.3f})"
                     for key, value in one["metrics"].items())  # fmt: skip
            print(f"{title:26} {name:14}", *spans)


def of_the_bundle(report, metric):
    """A metric of the model that the bundle got, which no baseline beats in the same folds."""
    found = {name: one["metrics"][metric] for name, one in report["models"].items()}
    assert found[report["chosen"]] >= max(found[name] for name in BASELINES)
    return found[report["chosen"]]


@pytest.mark.parametrize("seed", [1, 2])
def test_churn_model_of_the_demo_shop_beats_the_baselines(seed, tmp_path):
    generate(Shop(end_ms=day_start_ms(date(2026, 11, 7)), seed=seed), tmp_path / "shop")
    report = train(tmp_path / "shop", Horizon(), PLAN, tmp_path / "bundle")
    show(report)
    found = report["models"][report["chosen"]]["metrics"]
    assert report["validation"] == "time"
    assert found["roc_auc"] > 0.81
    assert found["ece"] <= 0.03
    against = {(one["model"], one["metric"], one["against"]): one["interval"][0] for one in report["differences"]}
    chosen = report["chosen"]
    assert chosen == "paced_hazard"
    assert against[chosen, "pr_auc", "recency"] > 0
    assert against[chosen, "pr_auc", "bgnbd"] > 0
    posterior, truth = report["bounds"]["posterior"], report["bounds"]["knows_present"]
    assert posterior["metrics"]["ece"] < 0.03  # knows the process, so it is calibrated
    assert truth["metrics"]["ece"] < 0.03
    assert 0.82 < posterior["metrics"]["roc_auc"] < truth["metrics"]["roc_auc"]
    assert truth["way"]["xgboost"] < posterior["way"]["xgboost"] < 1
    assert posterior["way"][chosen] > 0.6
    for column, one in report["next_purchase"].items():
        assert one["validation"] == "time"
        better = {(each["metric"], each["against"]): each["interval"][0] > 0 for each in one["differences"]}
        assert all(better.values()), (column, better)
    assert report["next_purchase"]["purchase_probability_30d"]["models"]["paced_hazard"]["metrics"]["ece"] <= 0.03
    assert 0.9 <= report["next_purchase"]["expected_revenue_90d"]["models"]["xgboost"]["metrics"]["total"] <= 1.1


def test_cdnow_churn_of_39_weeks_is_predicted_from_39_weeks(tmp_path):
    import_shared("cdnow_sample.txt", "cdnow", tmp_path / "cdnow")
    report = train(tmp_path / "cdnow", Horizon(273, 270, 15, 1), PLAN, tmp_path / "bundle")
    show(report)
    assert report["validation"] == "customers"
    assert report["rows"] == 2_357
    assert of_the_bundle(report, "roc_auc") >= 0.775
    assert report["models"]["recency"]["metrics"]["roc_auc"] == pytest.approx(0.771, abs=0.004)
    assert report["models"]["bgnbd"]["metrics"]["roc_auc"] == pytest.approx(0.7725, abs=0.005)


def test_online_retail_churn_of_90_days_is_predicted(tmp_path):
    import_shared("online_retail_lines.parquet", "online-retail", tmp_path / "retail")
    plan = TrainingPlan(validation="customers", threads=2)
    report = train(tmp_path / "retail", Horizon(90, 90, 15, 1), plan, tmp_path / "bundle")
    show(report)
    assert of_the_bundle(report, "roc_auc") >= 0.738
    assert report["models"]["recency"]["metrics"]["roc_auc"] == pytest.approx(0.683, abs=0.004)
