"""A bundle whose models point outside themselves: refused with words before a library follows them."""

import copy
import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import skops.io
import structlog
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from consumers.features.scoring import LiveScoring
from features.errors import ShopstreamError
from features.scores.score import trial_rows
from shopstream.runtime.bundles import FolderBundles
from training.bundle import load_bundle
from training.predict import DEPTH_MAX, Model, check_lightgbm, check_sklearn, check_tree, check_xgboost, matrix
from training.scorer import numbers

RNG = np.random.default_rng(1)
ROWS = RNG.random((200, 4)).astype(np.float32)
LABELS = (ROWS[:, 0] + ROWS[:, 1] > 1).astype(np.int8)


# --- a tree -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("left", "right", "feature", "said"),
    [
        ([1, -1, -1], [2, -1, -1], [3, -2, -2], None),
        ([-1], [-1], [-2], None),
        ([], [], [], "lacks nodes"),
        ([1, -1, -1], [2, -1], [3, -2, -2], "lacks nodes"),
        ([1, -1, -1], [3, -1, -1], [3, -2, -2], "outside"),
        ([-7, -1, -1], [2, -1, -1], [3, -2, -2], "outside"),
        ([1, -1, -1], [-1, -1, -1], [3, -2, -2], "outside"),
        ([1, -1, -1], [2, -1, -1], [4, -2, -2], "a missing column"),
        ([1, -1, -1], [2, -1, -1], [-2, -2, -2], "a missing column"),
        ([1, -1, -1], [1, -1, -1], [3, -2, -2], "does not end"),
        ([1, 0, -1], [2, 2, -1], [3, 3, -2], "does not end"),
    ],
)
def test_tree_with_children_outside_its_nodes_or_loops_is_refused(left, right, feature, said):
    if said is None:
        assert len(check_tree(left, right, feature, 4)) == len(left) - 1
        return
    with pytest.raises(ValueError, match=said):
        check_tree(left, right, feature, 4)


def test_a_tree_deeper_than_a_stack_is_refused():
    inner = DEPTH_MAX + 1
    left = [*range(1, inner + 1), *[-1] * (inner + 1)]
    right = [*range(inner + 1, 2 * inner + 1), *[-1] * (inner + 1)]
    with pytest.raises(ValueError, match="does not end"):
        check_tree(left, right, [0] * len(left), 1)


# --- XGBoost ----------------------------------------------------------------------------------------------------------
def set_tree(name, place, value):
    def change(model):
        model["learner"]["gradient_booster"]["model"]["trees"][1][name][place] = value

    return change


def set_shape(name, value):
    def change(model):
        model["learner"]["learner_model_param"][name] = value

    return change


def set_booster(name, value):
    def change(model):
        model["learner"]["gradient_booster"]["model"][name] = value

    return change


XGBOOST_DAMAGE = {
    "a child out of range": set_tree("left_children", 0, 1_000_000),
    "a negative child": set_tree("right_children", 0, -1_000_000),
    "a feature out of range": set_tree("split_indices", 0, 100_000_000),
    "a loop": set_tree("left_children", 1, 0),
    "a parent out of range": set_tree("parents", 1, 100_000_000),
    "a root with a parent": set_tree("parents", 0, 1),
    "a categorical split": set_tree("split_type", 0, 1),
    "fewer features than it uses": set_shape("num_feature", "1"),
    "many classes": set_shape("num_class", "1000"),
    "many targets": set_shape("num_target", "1000"),
    "a tree of another class": set_booster("tree_info", [7] * 10_000),
    "rounds that hold no trees": set_booster("iteration_indptr", [0, 100_000_000]),
    "no trees": set_booster("trees", []),
}


@pytest.fixture
def own(bundle, tmp_path):
    return shutil.copytree(bundle.folder, tmp_path / "own")


def alter(folder, name, change):
    """Changes a JSON file of a bundle, checksum and all."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    about = json.loads((folder / "bundle.json").read_text())
    about["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(about))


@pytest.mark.parametrize("file", ["model.json", "next_purchase.json"])
@pytest.mark.parametrize("damage", XGBOOST_DAMAGE)
def test_an_xgboost_model_that_points_outside_itself_is_refused(own, file, damage):
    load_bundle(own).scorer()
    alter(own, file, XGBOOST_DAMAGE[damage])
    with pytest.raises(ShopstreamError, match="cannot be used") as caught:
        load_bundle(own).scorer()
    assert "shopstream train" in caught.value.remedy


def test_pruned_nodes_of_xgboost_are_accepted():
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBClassifier(n_estimators=20, max_depth=6, gamma=0.7, tree_method="exact").fit(
        ROWS, RNG.permutation(LABELS)
    )
    found = json.loads(model.get_booster().save_raw("json"))
    assert any(int(t["tree_param"]["num_deleted"]) for t in found["learner"]["gradient_booster"]["model"]["trees"])
    check_xgboost(found)


# --- LightGBM ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def lightgbm():
    return pytest.importorskip("lightgbm", exc_type=ImportError)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("left_child=", "left_child=1000000 "),
        ("right_child=", "right_child=-1000000 "),
        ("split_feature=", "split_feature=100000000 "),
        ("left_child=", "left_child=0 "),
        ("num_leaves=4", "num_leaves=4000000"),
        ("decision_type=", "decision_type=1 "),
        ("num_cat=0", "num_cat=9"),
        ("is_linear=0", "is_linear=1"),
        ("max_feature_idx=3", "max_feature_idx=0"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=9"),
        ("num_class=1", "num_class=9"),
        ("Tree=1", "Three=1"),
    ],
)
def test_a_lightgbm_model_that_points_outside_itself_is_refused(lightgbm, before, after):
    model = lightgbm.LGBMClassifier(n_estimators=3, num_leaves=4, verbose=-1).fit(ROWS, LABELS).booster_
    text = model.model_to_string()
    read = lightgbm.Booster(model_str=check_lightgbm(text))
    assert np.array_equal(read.predict(ROWS), model.predict(ROWS))
    place = text.index(before)
    rest = text[place + len(before) :]
    # a value that is put in takes the place of the first one
    changed = text[:place] + after + (rest.partition(" ")[2] if after.endswith(" ") else rest)
    with pytest.raises((ValueError, KeyError)):
        check_lightgbm(changed)


def test_lightgbm_model_is_read_without_its_table_of_offsets(lightgbm):
    model = lightgbm.LGBMClassifier(n_estimators=3, num_leaves=4, verbose=-1).fit(ROWS, LABELS).booster_
    text = model.model_to_string()
    sizes = text[text.index("tree_sizes=") :].partition("\n")[0]
    assert "tree_sizes" not in check_lightgbm(text.replace(sizes, "tree_sizes=100000000 9 9"))


def test_lightgbm_tree_of_one_leaf_is_accepted(lightgbm):
    model = lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=10_000, verbose=-1).fit(ROWS, LABELS).booster_
    check_lightgbm(model.model_to_string())


# --- scikit-learn -----------------------------------------------------------------------------------------------------
def damaged(tree, field, place, value):
    state = tree.tree_.__getstate__()
    state["nodes"][field][place] = value
    tree.tree_.__setstate__(state)


ESTIMATORS = {
    "tree": (DecisionTreeClassifier(max_depth=3), lambda model: model),
    "forest": (RandomForestClassifier(3), lambda model: model.estimators_[-1]),
    "extra trees": (ExtraTreesClassifier(3), lambda model: model.estimators_[-1]),
    "calibrated tree": (
        CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3), cv=2),
        lambda model: model.calibrated_classifiers_[-1].estimator,
    ),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 1_000_000), ("right_child", -9), ("left_child", 0), ("feature", 4)]
)
def test_a_scikit_learn_tree_that_points_outside_itself_is_refused(kind, field, value):
    model, tree_of = ESTIMATORS[kind]
    pipeline = Pipeline([("fill", SimpleImputer()), ("model", copy.deepcopy(model))]).fit(ROWS, LABELS)
    check_sklearn(pipeline)
    damaged(tree_of(pipeline.named_steps["model"]), field, 0, value)
    with pytest.raises(ValueError, match=r"a node|does not end"):
        check_sklearn(pipeline)


def test_tree_that_uses_more_columns_than_given_is_refused():
    forest = RandomForestClassifier(2).fit(np.tile(ROWS, 5), LABELS)
    forest.n_features_in_ = 4
    with pytest.raises(ValueError, match="other columns"):
        check_sklearn(Pipeline([("model", forest)]))


@pytest.mark.parametrize("model", [SVC(), GradientBoostingClassifier(n_estimators=2)])
def test_unknown_kind_of_model_is_refused(model):
    with pytest.raises(ValueError, match="which no bundle has"):
        check_sklearn(Pipeline([("model", model.fit(ROWS, LABELS))]))


def test_a_sparse_matrix_is_refused():
    with pytest.raises(ValueError, match="sparse"):
        check_sklearn(Pipeline([("model", LogisticRegression().fit(ROWS, LABELS).sparsify())]))


def test_a_bundle_with_a_damaged_decision_tree_is_refused(own):
    rows = matrix(numbers(trial_rows()), Model(own).preparation["bgnbd"], 30)[0]
    rows = np.tile(np.nan_to_num(rows), (40, 1)) + RNG.random((40 * len(rows), rows.shape[1]), np.float32)
    pipeline = Pipeline([("model", DecisionTreeClassifier(max_depth=3))]).fit(rows, rows[:, 0] > np.median(rows[:, 0]))
    damaged(pipeline.named_steps["model"], "left_child", 0, 1_000_000)
    skops.io.dump(pipeline, own / "model.skops")
    about = json.loads((own / "bundle.json").read_text())
    about["model"] |= {"kind": "skops", "file": "model.skops"}
    (own / "bundle.json").write_text(json.dumps(about))
    with pytest.raises(ShopstreamError, match="a node points outside of its tree"):
        load_bundle(own).scorer()


# --- running ----------------------------------------------------------------------------------------------------------
def test_bundle_damaged_under_a_running_consumer_is_refused_and_the_previous_stays(own):
    now_s = [0.0]
    with structlog.testing.capture_logs() as said:
        scoring = LiveScoring(FolderBundles(own), check_every_s=1.0, clock=lambda: now_s[0])
        kept = scoring.current
        assert kept is not None
        before = kept.scorer.score(trial_rows())
        alter(own, "model.json", XGBOOST_DAMAGE["a child out of range"])
        for now_s[0] in (2.0, 4.0):
            scoring.poll()
            if scoring._loading is not None:
                scoring._loading.result()
            assert not scoring.poll()
        scoring.close()
    (refused,) = [line for line in said if "refused" in line["event"]]
    assert (refused["current"], refused["log_level"]) == (kept.name, "warning")
    assert "outside of its tree" in refused["error"]
    assert scoring.current is kept
    assert kept.scorer.score(trial_rows()).equals(before)


def test_predict_script_refuses_a_damaged_model(own, training, tmp_path):
    training.latest.write_csv(tmp_path / "rows.csv")
    alter(own, "model.json", XGBOOST_DAMAGE["a loop"])
    words = [sys.executable, "-I", own / "predict.py", tmp_path / "rows.csv", tmp_path / "out.csv"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "does not end" in done.stderr
