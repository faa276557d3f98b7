"""A bundle: what it says, alone and in the project; what is refused; that it is whole or not there."""

import csv
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from features.errors import ShopstreamError, UsageError
from features.scores.score import NEXT_PURCHASE, REASONS, RISKS, RiskThresholds, check_scores, trial_rows
from training import bundle as bundles
from training.bundle import load_bundle, point_current, program_fingerprint, resolve
from training.churn import train as churn
from training.churn.candidates import Candidate, Fitted
from training.predict import COLUMNS, PREPARATION, derived
from training.scorer import BundleScorer, numbers


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle.folder, tmp_path / "copy")


# --- scores -----------------------------------------------------------------------------------------------------------
def test_scorer_implements_its_protocol(bundle, training):
    scorer = bundle.scorer()
    for rows in (training.latest, training.latest.head(0), trial_rows()):
        check_scores(rows, scorer.score(rows))


def test_probabilities_need_an_order_and_reasons_need_a_high_risk(bundle, training):
    rows = training.latest
    scores = bundle.scorer().score(rows)
    bought = rows["orders_total"] > 0
    assert (scores["churn_probability"].is_not_null() == bought).all()
    assert (scores["churn_risk"].is_not_null() == bought).all()
    high = scores["churn_risk"].is_in(RISKS[2:]).fill_null(value=False)
    assert high.any()
    assert (scores["churn_reasons"].is_not_null() == high).all()
    assert scores["churn_reasons"].drop_nulls().list.len().unique().to_list() == [REASONS]


def test_score_of_a_row_does_not_depend_on_the_other_rows(bundle, training):
    scorer = bundle.scorer()
    whole = scorer.score(training.latest)
    parts = [scorer.score(training.latest[start : start + 7]) for start in range(0, 70, 7)]
    assert pl.concat(parts).equals(whole[:70])


def test_reasons_are_the_largest_exact_contributions(bundle, training):
    scorer = bundle.scorer()
    rows = training.latest.filter(pl.col("orders_total") > 0)
    prepared = scorer.model.matrix(numbers(rows))
    contributions = scorer.contributions(prepared)
    names = scorer.model.preparation["names"]
    said = scorer.score(rows)["churn_reasons"].to_list()
    place = next(i for i, reasons in enumerate(said) if reasons)
    assert said[place] == [names[k] for k in np.argsort(-contributions[place], kind="stable")[:REASONS]]
    if scorer.model.kind == "xgboost":  # they add up to the model's log odds, up to its bias
        raw = scorer.model.booster.inplace_predict(prepared, predict_type="margin")
        bias = raw - contributions.sum(axis=1)
        assert np.allclose(bias, bias[0], atol=1e-3)


def test_a_thousand_rows_are_scored_fast(bundle, training):
    """10 us a row on an idle core; this machine may be busy, so the best of many and room."""
    scorer = bundle.scorer()
    scorer = BundleScorer(scorer.model, scorer.breaks, RiskThresholds(0.99, 0.999, 0.9999), scorer.rules)
    rows = pl.concat([training.latest] * 3).head(1_000)
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        scorer.score(rows)
        best = min(best, time.perf_counter() - began)
    assert best / len(rows) < 30e-6


# --- alone ------------------------------------------------------------------------------------------------------------
ALONE = """
import runpy, sys
for name in ("training", "features", "shopstream", "polars", "pandas", "scipy.optimize"):
    sys.modules[name] = None  # importing it is an error
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_predict_scores_a_csv_without_the_project(bundle, training, copy, tmp_path):
    training.latest.write_csv(tmp_path / "rows.csv")
    words = [sys.executable, "-I", "-c", ALONE, copy / "predict.py", tmp_path / "rows.csv", tmp_path / "out.csv"]
    subprocess.run(words, check=True, cwd=tmp_path, timeout=120)
    with (tmp_path / "out.csv").open() as file:
        found = list(csv.DictReader(file))
    scores = bundle.scorer().score(training.latest)
    assert [row["customer_id"] for row in found] == training.latest["customer_id"].to_list()
    for name in ("churn_probability", *NEXT_PURCHASE):
        ours = scores[name]
        theirs = pl.Series([float(row[name]) if row[name] else None for row in found])
        assert theirs.is_null().equals(ours.is_null())
        assert (theirs - ours).abs().max() < 1e-9
        assert ours.null_count() < len(ours)


def test_predict_names_the_missing_columns(copy, tmp_path):
    (tmp_path / "rows.csv").write_text("customer_id,as_of\na,1\n")
    words = [sys.executable, "-I", copy / "predict.py", tmp_path / "rows.csv", tmp_path / "out.csv"]
    said = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    assert said.returncode != 0
    assert "lacks the columns tenure_days" in said.stderr
    assert not (tmp_path / "out.csv").exists()


def test_bundle_holds_no_pickle_and_lists_its_requirements(bundle):
    names = {path.name for path in bundle.folder.iterdir()}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    assert {"bundle.json", "card.html", "metrics.json", "predict.py", "profile.json", "rules.yaml"} <= names
    listed = (bundle.folder / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in listed)
    assert "numpy" in listed[0]


# --- every kind of model ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", ["recency", "bgnbd", "logistic", "random_forest", "lightgbm"])
def test_bundle_of_each_model_scores_rows(family, bundle, training, tmp_path):
    if family == "lightgbm":
        pytest.importorskip("lightgbm", exc_type=ImportError)
    train_fold, parameters = churn._train_fold(training, churn.TrainSplit(), churn.TrainingPlan())
    few = {"n_estimators": 15} if family in ("random_forest", "lightgbm") else {}
    model = churn.fit(
        Candidate(family, "none", few), train_fold.rows, train_fold.labels, train_fold.names, seed=1, threads=1
    )
    trained = churn.Trained(
        model, churn.preparation(train_fold, parameters, 30, {"kind": "none"}, model), bundle.thresholds, None
    )
    written = bundles.write_bundle(
        tmp_path / "b", trained, training, bundle.breaks, bundle.rules, bundle.metrics | {"chosen": family}, 1
    )
    scores = load_bundle(written.folder).scorer().score(training.latest)
    check_scores(training.latest, scores)
    assert scores["churn_reasons"].drop_nulls().len() > 0
    assert all(scores[name].is_null().all() for name in NEXT_PURCHASE)  # it has no models for them
    raw = model.probability(train_fold.rows[:50])
    again = written.scorer().model.of_matrix(train_fold.rows[:50])
    assert np.allclose(np.clip(raw, 1e-6, 1 - 1e-6), again, atol=1e-6)


# --- refused ----------------------------------------------------------------------------------------------------------
def change(folder, **values):
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(about | values))


def test_bundle_with_another_fingerprint_is_refused_with_the_remedy(copy):
    change(copy, fingerprint="0" * 16)
    with pytest.raises(ShopstreamError, match="trained on other features") as caught:
        load_bundle(copy)
    assert "shopstream train" in caught.value.remedy


def test_a_bundle_of_an_older_preparation_is_refused_with_the_remedy(copy, monkeypatch):
    load_bundle(copy)
    monkeypatch.setattr(bundles, "PREPARATION", PREPARATION + 1)
    with pytest.raises(ShopstreamError, match="trained on other features") as caught:
        load_bundle(copy)
    assert "shopstream train" in caught.value.remedy


PREPARED = {
    1: {
        "days_since_first_order": [1.1, 39.9, 1056],
        "bgnbd_churn": [0.4985899, 0.33766862, 0.45630204],
        "bgnbd_alive": [1, 0.77072923, 0.90666458],
        "bgnbd_orders": [0.93005529, 1.7115371, 0.83916403],
        "orders_per_day": [0.032154341, 0.042918455, 0.011049724],
        "recent_orders_per_day": [0.8, 1.4, 1.5609756],
        "recent_sessions_per_day": [1.45, 2.5375, 2.8292683],
        "visit_pause_ratio": [0.11266667, 4.3073333, 135.2],
        "session_trend": [0.75, 0.92201835, 0.95744681],
        "recent_conversion": [0.21848739, 0.41638225, 0.52],
        "expected_orders": [28.512605, 95.091297, 132.40976],
        "expected_orders_of_last_month": [2.0319328, 24.85802, 175.188],
    },
}
"""PREPARATION -> what `derived` says of three rows. Another meaning needs another number, so that bundles that learnt
from the old one are refused."""


def test_preparation_of_a_version_is_unchanged():
    columns = {name: np.array([1.0, 7.0, 40.0]) * (1 + 0.1 * place) for place, name in enumerate(COLUMNS)}
    columns["order_gap_mean_days"][0] = np.nan
    columns["orders_total"] = np.array([1.0, 3.0, 12.0])
    found = derived(columns, {"r": 0.6, "alpha": 40.0, "a": 0.8, "b": 2.5}, 90)
    assert list(found) == list(PREPARED[PREPARATION])
    for name, values in PREPARED[PREPARATION].items():
        assert found[name] == pytest.approx(values, rel=1e-6), name


def test_the_fingerprint_changes_with_a_feature(monkeypatch):
    before = program_fingerprint()
    monkeypatch.setattr("features.scores.score.FEATURES", bundles.score.FEATURES[:-1])
    assert program_fingerprint() != before


@pytest.mark.parametrize("file", ["model.json", "preparation.json", "rules.yaml", "predict.py"])
def test_bundle_with_a_changed_or_missing_file_is_refused(copy, file):
    if not (copy / file).exists():
        pytest.skip("this model has another file")
    content = (copy / file).read_bytes()
    (copy / file).write_bytes(content[:-2])
    with pytest.raises(ShopstreamError, match=f"damaged: {file}"):
        load_bundle(copy)
    (copy / file).unlink()
    with pytest.raises(ShopstreamError, match=f"damaged: {file}"):
        load_bundle(copy)
    (copy / file).write_bytes(content)
    load_bundle(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fingerprint": 1}'])
def test_bundle_with_a_damaged_description_is_refused(copy, content):
    (copy / "bundle.json").write_text(content)
    with pytest.raises(ShopstreamError, match="damaged"):
        load_bundle(copy)


def test_folder_that_is_not_a_bundle_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="is not a bundle"):
        load_bundle(tmp_path)


# --- current ----------------------------------------------------------------------------------------------------------
def test_current_pointer_names_a_sibling_and_is_replaced_atomically(copy):
    other = shutil.copytree(copy, copy.with_name("other"))
    point_current(copy)
    assert resolve(copy.parent) == copy
    point_current(other)
    assert resolve(copy.parent) == other
    assert load_bundle(copy.parent).folder == other
    assert [path.name for path in copy.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["", "gone", "../copy", "/etc"])
def test_current_pointer_to_a_missing_sibling_is_refused(copy, name):
    (copy.parent / "current").write_text(name)
    with pytest.raises(UsageError, match="not a bundle in the same folder"):
        load_bundle(copy.parent)


# --- whole or not there -----------------------------------------------------------------------------------------------
def test_bundle_does_not_overwrite_another(bundle, training):
    with pytest.raises(ShopstreamError, match="exists already"):
        bundles.write_bundle(bundle.folder, None, training, None, None, {}, 1)


def test_failed_write_leaves_no_bundle(bundle, training, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles, "render", full)
    model = Fitted(Candidate("bgnbd"), None, 0)
    preparation = json.loads((bundle.folder / "preparation.json").read_text())
    trained = churn.Trained(model, preparation, bundle.thresholds, None)
    with pytest.raises(ShopstreamError, match="No space left"):
        bundles.write_bundle(tmp_path / "b", trained, training, bundle.breaks, bundle.rules, {}, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def writes(bundle, training):
    """Writes a small bundle into a folder; again, the same one."""
    preparation = json.loads((bundle.folder / "preparation.json").read_text()) | {"next": {}}
    about = json.loads((bundle.folder / "bundle.json").read_text())["model"]
    model = churn.Fitted(Candidate("bgnbd"), None, about["column"] or 0)
    trained = churn.Trained(model, preparation, bundle.thresholds, None)
    report = bundle.metrics | {"chosen": "bgnbd"}

    def write(folder, **options):
        return bundles.write_bundle(folder, trained, training, bundle.breaks, bundle.rules, report, 1, **options)

    return write


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_name_of_a_bundle_follows_its_content(writes, tmp_path):
    first = writes(tmp_path / "new", own_name=True)
    assert first.folder.name == first.name
    assert writes(tmp_path / "new", own_name=True).folder == first.folder
    assert names(tmp_path) == [first.name]
    (first.folder / "rules.yaml").write_text("damaged")
    assert load_bundle(writes(tmp_path / "new", own_name=True).folder).name == first.name


@pytest.mark.parametrize("phase", ["_write_parts", "render", "_write_json", "publish_folder", "load_bundle"])
def test_training_killed_in_any_phase_leaves_current_and_the_next_one_completes(
    writes, copy, tmp_path, monkeypatch, phase
):
    point_current(copy)
    with monkeypatch.context() as patch:
        patch.setattr(bundles, phase, lambda *_: sys.exit(143))  # as SIGTERM does
        with pytest.raises(SystemExit):
            writes(tmp_path / "new", own_name=True)
    assert names(tmp_path) == ["copy", "current"]
    assert load_bundle(tmp_path).folder == copy
    written = writes(tmp_path / "new", own_name=True)
    point_current(written.folder)
    assert load_bundle(tmp_path).folder == written.folder
    assert names(tmp_path) == sorted(["copy", "current", written.name])


def test_remains_of_a_killed_training_do_not_stop_a_later_one(writes, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / ".new.partial").mkdir()
    assert load_bundle(writes(tmp_path / "new", own_name=True).folder)
