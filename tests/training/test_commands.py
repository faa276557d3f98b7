"""`train`, `evaluate` and `score`, as a user calls them."""

import json
import re
import shutil

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from features.scores.score import NEXT_PURCHASE, SCORE_SCHEMA
from shopstream.cli.app import build_app
from shopstream.jobs.history import History
from shopstream.jobs.train import train_bundle
from training.bundle import load_bundle
from training.options import Costs, Effort, Horizon


@pytest.fixture
def app():
    return build_app()


def run(app, *arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_score_writes_rows_and_scores_as_parquet_and_csv(app, bundle, training, archive, tmp_path):
    for name in ("scores.parquet", "scores.csv"):
        done = run(
            app, "score", archive, "--bundle", bundle.folder, "--as-of", training.end_ms, "--out", tmp_path / name
        )
        assert done.exit_code == 0, done.output
    rows = pl.read_parquet(tmp_path / "scores.parquet")
    expected = bundle.scorer().score(training.latest)
    unruled = [name for name in SCORE_SCHEMA if name not in ("segment", "recommended_action")]  # they know the profiles
    assert rows.select(unruled).equals(expected.select(unruled))
    assert rows.select(list(SCORE_SCHEMA)).schema == expected.schema
    assert rows["bundle"].unique().to_list() == [bundle.name]
    again = pl.read_csv(tmp_path / "scores.csv")
    assert again["churn_probability"].equals(expected["churn_probability"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.csv", "scores.parquet"]


def test_no_csv_cell_begins_a_formula(app, bundle, archive, tmp_path):
    """An id is what somebody typed: a spreadsheet must not compute it. Parquet keeps it as it is."""
    shop = tmp_path / "shop"
    shutil.copytree(archive, shop)
    file = next((shop / "events").rglob("*.parquet"))
    ids = ["=1+1", "+1", "-1", "@SUM(A1)", "\tcmd", "\rcmd"]
    rows = pl.read_parquet(file, hive_partitioning=False)
    hostile = rows.head(len(ids)).with_columns(customer_id=pl.Series(ids), event_id=pl.Series([f"e{i}" for i in ids]))
    pl.concat([rows, hostile]).write_parquet(file)
    for name, *options in (("features",), ("score", "--bundle", str(bundle.folder))):
        for ending in ("csv", "parquet"):
            out = tmp_path / f"{name}.{ending}"
            done = CliRunner().invoke(app, [name, str(shop), "--as-of", "2025-06-01", "--out", str(out), *options])
            assert done.exit_code == 0, (done.output, done.exception)
        assert set(ids) < set(pl.read_parquet(tmp_path / f"{name}.parquet")["customer_id"])
        texts = pl.read_csv(tmp_path / f"{name}.csv", infer_schema=False)
        assert {f"'{one}" for one in ids} < set(texts["customer_id"])
        assert not texts["customer_id"].str.contains(r"^[=+@\t\r-]").any()


def test_evaluate_separates_training_rows_from_held_out_rows(app, bundle, archive, tmp_path):
    done = run(app, "evaluate", bundle.folder, archive, "--history", 40, "--cutoffs", 2, "--out", tmp_path / "e.json")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "e.json").read_text())
    assert list(report["parts"]) == ["learnt"]
    assert report["parts"]["learnt"]["metrics"]["roc_auc"] > 0.6
    assert max(report["psi"].values()) < 0.01  # the rows are those of the profile
    bought = report["next_purchase"]["purchase_probability_30d"]["learnt"]
    assert bought["metrics"]["roc_auc"] > 0.6
    low, high = bought["intervals"]["roc_auc"]
    assert low < bought["metrics"]["roc_auc"] < high


def test_the_same_seed_gives_the_same_bundle(bundle, archive, plans, tmp_path):
    again, _ = train_bundle(archive, tmp_path / "again", *plans)
    assert again.name == bundle.name
    for file in ("metrics.json", "card.html", "model.json", "profile.json", "next_revenue.json"):
        if (bundle.folder / file).exists():
            assert (again.folder / file).read_bytes() == (bundle.folder / file).read_bytes(), file


def test_train_makes_its_bundle_current_in_the_data_folder(app, archive, tmp_path, monkeypatch):
    def quick(directory, out, *_, rename, history):
        assert history.limit_ms is None
        out.mkdir(parents=True)
        (out / "bundle.json").write_text("{}")
        seen.append((directory, rename))
        return type("B", (), {"folder": out, "name": "b", "metrics": None}), (1.0, 2.0)

    seen = []
    monkeypatch.setenv("SHOPSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("shopstream.jobs.train.train_bundle", quick)
    monkeypatch.setattr("shopstream.cli.train.print_models", lambda *_: None)
    assert run(app, "train", archive).exit_code == 0
    assert (tmp_path / "home" / "bundles" / "current").exists()
    assert run(app, "train", archive, "--out", tmp_path / "mine").exit_code == 0
    assert not (tmp_path / "current").exists()
    assert seen == [(archive, True), (archive, False)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--costs", "nowhere.json"], "nowhere.json"),
        (["--rules", "nowhere"], "nowhere"),
        (["--horizon", "200"], "days after it"),
    ],
)
def test_train_refuses_impossible_options(app, archive, tmp_path, arguments, said):
    done = run(app, "train", archive, "--out", tmp_path / "b", *arguments)
    assert isinstance(done.exception, ShopstreamError)
    assert said in str(done.exception)
    assert not (tmp_path / "b").exists()


def test_an_unknown_validation_is_a_usage_error(app, archive, tmp_path):
    done = run(app, "train", archive, "--out", tmp_path / "b", "--validation", "never")
    assert done.exit_code == 2
    assert "--validation" in done.output


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What training was asked for, without training."""
    seen = []

    def quick(_, out, horizon, plan, *__, rename, history):
        seen.append((horizon, plan))
        return type("B", (), {"folder": out, "name": "b", "metrics": None}), (1.0, 2.0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shopstream.jobs.history.known_history", lambda *_: History(0, 1))
    monkeypatch.setattr("shopstream.jobs.train.train_bundle", quick)
    monkeypatch.setattr("shopstream.cli.train.print_models", lambda *_: None)
    return seen


def test_horizon_cutoffs_history_and_costs_are_settings_that_options_override(app, asked, tmp_path, monkeypatch):
    words = ("train", tmp_path, "--out", tmp_path / "b")
    assert run(app, *words).exit_code == 0
    (tmp_path / "shopstream.toml").write_text(
        "[training]\nhorizon_days = 60\nhistory_days = 50\n[training.costs]\nmedium_cost = 0.006\n"
    )
    monkeypatch.setenv("SHOPSTREAM_TRAINING__CUTOFFS_MAX", "7")
    assert run(app, *words).exit_code == 0
    (tmp_path / "costs.json").write_text(msgspec.json.encode(Costs(medium=Effort(0.02, 0.04))).decode())
    assert run(app, *words, "--history", 40, "--cutoffs", 8, "--costs", tmp_path / "costs.json").exit_code == 0
    assert [horizon for horizon, _ in asked] == [Horizon(), Horizon(60, 50, 15, 7), Horizon(60, 40, 15, 8)]
    assert [plan.costs for _, plan in asked] == [
        Costs(),
        Costs(medium=Effort(0.006, 0.03)),
        Costs(medium=Effort(0.02, 0.04)),
    ]


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("HORIZON_DAYS", "0", "training.horizon_days"),
        ("CUTOFFS_MAX", "many", "training.cutoffs_max"),
        ("COSTS__HIGH_SAVED", "2", "training.costs.high_saved"),
        ("COSTS__HIGH_SAVED", "0.01", "high risk retains no more"),
        ("COSTS__HIGH_PRICE", "1", "training.costs.high_price"),
    ],
)
def test_impossible_settings_are_refused_by_name(app, asked, tmp_path, monkeypatch, setting, value, said):
    monkeypatch.setenv(f"SHOPSTREAM_TRAINING__{setting}", value)
    done = run(app, "train", tmp_path, "--out", tmp_path / "b")
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert asked == []


def test_model_card_is_one_file_with_the_required_content(bundle):
    card = (bundle.folder / "card.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(http|//)", card)
    for said in (
        "PR-AUC",
        "Calibration",
        "What can be known",
        "posterior",
        "Recent buyers and the rest",
        "hold the chance of these customers",
        "By segment",
        "Candidates",
        "smote",
        "weights",
        "BG/NBD",
        *NEXT_PURCHASE,
    ):
        assert said in card
    report = bundle.metrics
    assert {"recency", "bgnbd", "logistic", "random_forest", "xgboost"} <= set(report["models"])
    for one in report["models"].values():
        low, high = one["intervals"]["pr_auc"]
        assert low <= one["metrics"]["pr_auc"] <= high


def test_folder_that_is_not_a_bundle_is_an_error(app, archive, tmp_path):
    done = run(app, "evaluate", tmp_path, archive)
    assert isinstance(done.exception, UsageError)
    with pytest.raises(UsageError):
        load_bundle(tmp_path)
