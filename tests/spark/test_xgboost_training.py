"""`spark train --learn cluster` on a real Spark: XGBoost over rows that stay there, the same bundle comes out."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
from spark.clusters import MEMORY, SHOPSTREAM

from features.definitions import ROW_SCHEMA
from shopstream.jobs.train import train_bundle, training_set
from shopstream.spark.archive_scan import archive_files
from shopstream.spark.session import session
from shopstream.spark.xgboost_training import ClusterTraining
from training.bundle import load_bundle
from training.churn import train as churn
from training.churn.metrics import measure
from training.churn.train import TrainingPlan
from training.dataset import LABEL, TrainingSet
from training.options import Horizon
from training.predict import matrix
from training.scorer import numbers

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]
pytest.importorskip(
    "pyspark", reason="the extra [spark] is not installed; `make test-spark` has an environment with it"
)

HORIZON = Horizon(horizon_days=60, history_days=90, spacing_days=45, cutoffs_max=3)
PLAN = TrainingPlan("auto", tries=1, seed=1, threads=1, repeats=20)
SAME = 1e-5
"""Of scores of one worker and of this machine: the same trees, whose float32 sums were made in another order."""
METRICS_APART = 0.01
"""Of metrics of two workers and of this machine: other rows are drawn for each tree."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shop") / "archive"
    command = [SHOPSTREAM, "generate", "--customers", "1500", "--events", "150000", "--days", "330", "--seed", "5"]
    subprocess.run([*command, "--end", "2026-01-01", "--out", str(directory)], check=True, capture_output=True)
    return directory


@dataclass
class AtHand:
    """A learner whose rows are here: plain XGBoost with the same settings, as the measure of the cluster's."""

    training: TrainingSet
    about: dict = field(default_factory=dict)

    def fit(self, model, task):
        rows = self.training.rows if task.label == LABEL else self.training.followed
        chosen, inputs, labels = task.prepared(rows)
        self.about = {"rows": len(chosen), "workers": 0}
        return model.fit(inputs, labels)


@pytest.fixture(scope="module")
def rows(shop):
    return training_set(shop, HORIZON)


@pytest.fixture(scope="module")
def alone(shop, rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "bundle"
    return train_bundle(shop, out, HORIZON, PLAN, gather=lambda *_: rows, learner=lambda: AtHand(rows))[0]


def learnt(spark, shop, out, workers, sample_rows=1_000_000):
    learning = ClusterTraining(spark, "cluster", workers, sample_rows)
    files, work = archive_files(spark, shop.as_uri()), (out / "rows").as_uri()
    bundle, _ = train_bundle(
        shop,
        out / "bundle",
        HORIZON,
        PLAN,
        gather=lambda _, wishes, told: learning.gather(files, wishes, work, 1.0, told),
        learner=lambda: learning.learner,
    )
    return load_bundle(bundle.folder)


def scores(bundle, rows):
    return bundle.scorer().score(rows).select("churn_probability", *NEXT)


NEXT = ("purchase_probability_30d", "expected_days_to_purchase", "expected_revenue_90d")


def test_one_worker_trains_the_model_of_a_single_machine(shop, rows, alone, tmp_path):
    with session("tests", "local[2]", MEMORY) as spark:
        bundle = learnt(spark, shop, tmp_path, workers=1)
    for name in ("churn_probability", *NEXT):
        got, expected = (scores(one, rows.latest)[name].to_numpy() for one in (bundle, alone))
        np.testing.assert_allclose(got, expected, rtol=SAME, atol=SAME, err_msg=name)
    assert bundle.about["window"]["learnt"] == {"rows": len(rows.rows), "workers": 1}
    assert bundle.fingerprint == alone.fingerprint
    assert sorted(bundle.about["files"]) == sorted(alone.about["files"])
    assert bundle.about["model"] == alone.about["model"]
    assert bundle.about["model"]["family"] == "xgboost"


@pytest.mark.parametrize("master", ["local[2]", "local-cluster[2,1,1536]"])
def test_two_workers_train_an_equally_good_model(shop, rows, alone, tmp_path, master):
    with session("tests", master, MEMORY) as spark:
        learning = ClusterTraining(spark, "cluster", 2, 1_000_000)
        files = archive_files(spark, shop.as_uri())
        sample = learning.gather(files, HORIZON, (tmp_path / "rows").as_uri(), 1.0, lambda *_: None)
        trained = churn.train(sample, PLAN, learner=learning.learner)
    assert trained.external_fit == {"rows": len(rows.rows), "workers": 2}
    expected = alone.metrics["models"]["xgboost"]["metrics"]
    got = measure(trained.tested.labels, trained.tested.predictions["xgboost"])
    for metric in ("roc_auc", "pr_auc", "brier"):
        assert got[metric] == pytest.approx(expected[metric], abs=METRICS_APART), metric
    inputs, _ = matrix(numbers(rows.rows), trained.preparation["bgnbd"], HORIZON.horizon_days)
    of_two, of_one = trained.model.probability(inputs), alone.scorer().model.booster.inplace_predict(inputs)
    assert np.corrcoef(of_two, of_one)[0, 1] > 0.98
    assert not np.allclose(of_two, of_one, atol=1e-4)


def test_command_trains_on_all_rows_and_stores_a_sample(shop, tmp_path):
    out = tmp_path / "bundle"
    options = ["--horizon=60", "--history=90", "--spacing=45", "--tries=1", "--learn=cluster", "--sample-rows=3000"]
    command = [SHOPSTREAM, "spark", "train", str(shop), *options, "--out", str(out), "--master", "local[2]"]
    message = subprocess.run(command, capture_output=True, text=True, check=False)
    assert message.returncode == 0, message.stderr[-3000:]
    bundle = load_bundle(out)
    window = bundle.about["window"]
    assert window["learnt"]["rows"] > 2 * window["rows"] > 500
    assert f"{window['learnt']['rows']:,}" in (out / "card.html").read_text("utf-8")
    assert "by 2 workers" in " ".join(message.stderr.split())
    requests = [SHOPSTREAM, "score", str(shop), "--bundle", str(out), "--as-of", "2026-01-01"]
    subprocess.run([*requests, "--out", str(tmp_path / "scores.parquet")], check=True, capture_output=True)
    scored = pl.read_parquet(tmp_path / "scores.parquet")
    assert scored["churn_probability"].null_count() < scored.height
    judged = [SHOPSTREAM, "evaluate", str(out), str(shop), "--history=90", "--spacing=45"]
    subprocess.run(judged, check=True, capture_output=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    # as the consumers take it
    live = bundle.scoring().scorer.score(scored.select(*ROW_SCHEMA))
    assert live["churn_probability"].to_list() == scored["churn_probability"].to_list()
