"""Predicts churn and the next purchase from a bundle. Each bundle holds a copy, independent of the project.

    python predict.py rows.csv scores.csv

The CSV has a header and at least the columns that `preparation.json` lists under `columns` (what `shopstream features
DIR --as-of T --out rows.csv` writes). An empty field is a missing value. The result has customer_id, as_of,
churn_probability and the columns of NEXT_COLUMNS. The probability is empty for customers without an order, and a column
of NEXT_COLUMNS is empty if the bundle has no model for it. Libraries: those of `requirements.txt` in the same folder;
NumPy and xgboost for the usual models.

The rule of this file: the project itself predicts with this code, so a bundle and the live path cannot disagree.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Columns = Mapping[str, Float64]

PREPARATION = 1
"""Version of the preparation, raised when `derived` changes its meaning; part of the fingerprint."""

COLUMNS = (
    "tenure_days", "recency_days", "orders_total", "revenue_total", "orders_7d", "orders_30d", "orders_90d",
    "orders_365d", "revenue_7d", "revenue_30d", "revenue_90d", "revenue_365d", "avg_order_value_365d",
    "order_gap_mean_days", "recency_ratio", "returns_365d", "days_since_visit", "sessions_7d", "sessions_30d",
    "sessions_90d", "events_30d", "events_per_session_30d", "session_duration_mean_30d", "product_views_30d",
    "searches_30d", "add_to_carts_30d", "cart_sessions_30d", "abandoned_carts_30d", "cart_abandon_rate_30d",
    "converted_sessions_30d", "conversion_rate_30d", "mobile_share_30d", "visit_trend", "top_category_share_90d",
)  # fmt: skip
"""Input features of the models: all numeric columns of a row that are not times. NaN for null."""

NEXT_COLUMNS = ("purchase_probability_30d", "expected_days_to_purchase", "expected_revenue_90d")
"""Predictions of the next-purchase models, for any customer."""

TRUSTED = ("numpy.dtype", "sklearn.tree._tree.Tree")
"""Types that a scikit-learn model may contain in addition to those that skops trusts; a file with others is rejected.
A damaged tree could crash the process, so `check_sklearn` checks the trees before use."""
DEPTH_MAX = 1_000
"""Maximum depth of a tree: contributions are computed by recursion, on a stack of fixed size."""
_SKLEARN = (
    "sklearn.pipeline", "sklearn.preprocessing", "sklearn.impute", "sklearn.linear_model", "sklearn.tree",
    "sklearn.ensemble._forest", "sklearn.calibration", "sklearn.isotonic", "sklearn.utils",
)  # fmt: skip
"""Modules whose compiled code follows no pointers other than trees."""
_XGBOOST_NODES = (
    "left_children", "right_children", "parents", "split_indices", "split_conditions", "split_type", "default_left",
    "base_weights", "loss_changes", "sum_hessian",
)  # fmt: skip
_NO_PARENT = 2**31 - 1
_GAUSS = np.polynomial.legendre.leggauss(16)
_NODES, _WEIGHTS = ((_GAUSS[0] + 1) / 2).tolist(), (_GAUSS[1] / 2).tolist()
"""Gauss-Legendre quadrature on [0, 1]."""
_LIGHTGBM_NODES = {
    "num_leaves": None, "num_cat": None, "is_linear": None, "shrinkage": None,
    "split_feature": 1, "split_gain": 1, "threshold": 1, "decision_type": 1, "left_child": 1, "right_child": 1,
    "internal_value": 1, "internal_weight": 1, "internal_count": 1,
    "leaf_value": 0, "leaf_weight": 0, "leaf_count": 0,
}  # fmt: skip
"""Field of a tree -> how many fewer values than leaves it has; None for a single value."""


def bgnbd(columns: Columns, parameters: Mapping[str, float], horizon_days: float) -> dict[str, Float64]:
    """Return the BG/NBD predictions: P(no order within the horizon), P(alive), expected orders within the horizon.

    The first two are exact. The expected orders use the posterior mean of the dropout probability, which avoids the
    hypergeometric function of the exact formula. They differ by some per cent and hardly in their order.

    Args:
        columns: orders_total, order_gap_mean_days and recency_days; results without an order are meaningless.
        parameters: r, alpha, a, b; times in days.
        horizon_days: horizon in days from as_of on.
    """
    r, alpha, a, b = (parameters[name] for name in ("r", "alpha", "a", "b"))
    repeats = np.maximum(columns["orders_total"] - 1, 0)
    last = np.nan_to_num(columns["order_gap_mean_days"]) * repeats
    age = last + np.nan_to_num(columns["recency_days"])
    odds = np.log(a) - np.log(b + np.maximum(repeats, 1) - 1) + (r + repeats) * np.log((alpha + age) / (alpha + last))
    alive = np.where(repeats > 0, 1 / (1 + np.exp(np.minimum(odds, 700))), 1.0)
    quiet = np.exp(-(r + repeats) * np.log((alpha + age + horizon_days) / (alpha + age)))
    drop = a / (a + b + repeats)
    spent = np.exp(-(r + repeats) * np.log((alpha + age + drop * horizon_days) / (alpha + age)))
    return {
        "bgnbd_churn": 1 - alive * (1 - quiet),
        "bgnbd_alive": alive,
        "bgnbd_orders": alive * (1 - spent) / drop,
    }


def log_left(parameters: Mapping[str, float], counts: Float64, last: Float64, age: Float64) -> Float64:
    """Return the logarithm of the integral of s (alpha + t)^-(r + counts) (beta + t)^-(s + 1) over t from last to age.

    It is a part of the Pareto/NBD likelihood (`training.pareto_nbd`). A customer with `counts` events left between the
    `last` one and as_of, at `age`; both in days. The integrand is smooth in log(min(alpha, beta) + t).
    """
    r, alpha, s, beta = (parameters[name] for name in ("r", "alpha", "s", "beta"))
    shift = min(alpha, beta)
    low, high = np.log(shift + last), np.log(shift + np.maximum(age, last))
    powers = -(r + counts)
    terms = []
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        at = low + (high - low) * node
        time = np.exp(at) - shift
        terms.append(powers * np.log(alpha + time) - (s + 1) * np.log(beta + time) + at + math.log(weight))
    total = np.asarray(terms)
    most = total.max(axis=0)
    width = np.log(np.maximum(high - low, 1e-300))
    left: Float64 = math.log(s) + width + most + np.log(np.exp(total - most).sum(axis=0))
    return left


def still_there(parameters: Mapping[str, float], counts: Float64, last: Float64, age: Float64) -> Float64:
    """Return the Pareto/NBD probability that each customer has not left; arguments as for `log_left`."""
    r, alpha, s, beta = (parameters[name] for name in ("r", "alpha", "s", "beta"))
    stayed = -(r + counts) * np.log(alpha + age) - s * np.log(beta + age)
    odds = log_left(parameters, counts, last, age) - stayed
    alive: Float64 = 1 / (1 + np.exp(np.clip(odds, -700, 700)))
    return alive


def visit_counts(columns: Columns) -> tuple[Float64, Float64, Float64]:
    """Return the visits of 90 days, and the days from the start of this window to the last visit and to as_of."""
    visits = np.nan_to_num(columns["sessions_90d"])
    age = np.minimum(90.0, np.nan_to_num(columns["tenure_days"]) + 1)
    pause = np.clip(np.nan_to_num(columns["days_since_visit"], nan=90.0), 0.0, age)
    return visits, np.where(visits > 0, age - pause, 0.0), age


def visit_posterior(columns: Columns, parameters: Mapping[str, float], horizon_days: float) -> dict[str, Float64]:
    """Return the empirical-Bayes posterior of visits times conversion: orders and their absence within the horizon.

    A customer who has not left visits at a Gamma distributed rate. A Beta distributed share of visits has an order; it
    enters by its posterior mean. The parameters are a `training.pareto_nbd.VisitParameters`.
    """
    visits, last, age = visit_counts(columns)
    alive = still_there(parameters, visits, last, age)
    orders = np.minimum(np.nan_to_num(columns["orders_90d"]), visits)
    share = (parameters["orders"] + orders) / (parameters["orders"] + parameters["misses"] + visits)
    rate, exposure = parameters["r"] + visits, parameters["alpha"] + age
    none = np.exp(-rate * np.log1p(share * horizon_days / exposure))
    return {
        "visits_alive": alive,
        "visits_churn": 1 - alive * (1 - none),
        "visits_orders": alive * share * rate / exposure * horizon_days,
    }


def derived(columns: Columns, parameters: Mapping[str, Any], horizon_days: float) -> dict[str, Float64]:
    """Return the model inputs in addition to COLUMNS: rates and trends that would cost a tree many splits.

    Pauses are relative to the customer's own pace, and small counts are shrunk towards a common prior. Where
    validation chose the `visit_posterior`, its parameters are among those of BG/NBD, as `visits`.
    """
    orders, sessions = columns["orders_total"], columns["sessions_90d"]
    seen_90 = np.minimum(90.0, columns["tenure_days"] + 1)
    age = np.nan_to_num(columns["order_gap_mean_days"]) * np.maximum(orders - 1, 0) + columns["recency_days"]
    conversion = (columns["orders_90d"] + 1) / (sessions + 9)
    inputs = {
        "days_since_first_order": age,
        **bgnbd(columns, parameters, horizon_days),
        "orders_per_day": orders / (age + 30),
        "recent_orders_per_day": columns["orders_90d"] / seen_90,
        "recent_sessions_per_day": sessions / seen_90,
        "visit_pause_ratio": columns["days_since_visit"] * (sessions + 1) / 90,
        "session_trend": (columns["sessions_30d"] + 0.5) / (sessions + 1.5),
        "recent_conversion": conversion,
        "expected_orders": conversion * sessions / seen_90 * horizon_days,
        "expected_orders_of_last_month": conversion * (columns["sessions_30d"] + 0.3) / 30 * horizon_days,
    }
    return inputs | (visit_posterior(columns, parameters["visits"], horizon_days) if "visits" in parameters else {})


def matrix(columns: Columns, parameters: Mapping[str, Any], horizon_days: float) -> tuple[Float32, list[str]]:
    """Return rows as model input, (n, k) float32 with NaN for missing values, and the names of the columns."""
    with np.errstate(invalid="ignore", divide="ignore"):
        more = derived(columns, parameters, horizon_days)
    every = [*(columns[name] for name in COLUMNS), *more.values()]
    inputs = np.empty((len(every[0]), len(every)), np.float32)
    for position, values in enumerate(every):
        inputs[:, position] = values
    return inputs, [*COLUMNS, *more]


def calibrated(probability: Float64, calibration: Mapping[str, Any]) -> Float64:
    """Calibrate a model's probability: `kind` none, sigmoid or isotonic, then a power.

    `level` is the power. P(no order) of a Poisson process is exp(-rate). So p ** level multiplies every customer's rate
    by the same factor, as a busier or quieter season does.
    """
    if calibration["kind"] == "sigmoid":
        inside = np.clip(probability, 1e-9, 1 - 1e-9)
        logit = np.log(inside / (1 - inside))
        probability = 1 / (1 + np.exp(-(calibration["slope"] * logit + calibration["intercept"])))
    elif calibration["kind"] == "isotonic":
        probability = np.interp(probability, calibration["x"], calibration["y"])
    powered: Float64 = np.clip(probability, 1e-6, 1 - 1e-6) ** calibration.get("level", 1.0)
    return powered


def linear_inputs(rows: Float32, fill: Sequence[float], missing: Sequence[int]) -> Float64:
    """Return the inputs of the linear part of a hazard.

    They are log(1 + value) of each column, or `fill` without a logarithm, and an indicator of this for each column in
    `missing`: (n, k + len(missing)).
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log1p(rows.astype(np.float64))
    unknown = ~np.isfinite(logs)
    filled = np.where(unknown, np.asarray(fill, np.float64), logs)
    return np.concatenate([filled, unknown[:, list(missing)]], axis=1)


def hazard_margin(trees: Float64, rows: Float32, hazard: Mapping[str, Any]) -> Float64:
    """Return the log odds of an order within a step, up to the step's own offset: the mean of trees and linear part.

    The linear part has `intercept`, `coefficients`, `fill` and `missing` of `hazard`, see `linear_inputs`.
    """
    inputs = linear_inputs(rows, hazard["fill"], hazard["missing"])
    # not a matrix product, whose last digits depend on the number of rows
    linear = (inputs * np.asarray(hazard["coefficients"], np.float64)).sum(axis=1) + float(hazard["intercept"])
    margin: Float64 = (trees + linear) / 2
    return margin


def survival(margin: Float64, hazard: Mapping[str, Any]) -> Float64:
    """Return P(no order by the end of each step), (n, steps), descending within a row.

    The probability of an order within a step, given none before it, has the log odds margin + offset of the step. The
    offset holds the present pace of the shop.
    """
    stays = -np.logaddexp(0.0, margin[:, None] + np.asarray(hazard["offsets"], np.float64))
    curve: Float64 = np.exp(np.cumsum(stays, axis=1))
    return curve


def calibrated_curve(curve: Float64, calibration: Mapping[str, Any]) -> Float64:
    """Return a survival curve whose last column is calibrated, see `calibrated`.

    Where a calibration moves the last probability from p to q, it multiplies the cumulative hazard of the row by
    log q / log p. So the values still descend, and all are of one curve.
    """
    logs = np.log(np.clip(curve, 1e-300, 1 - 1e-12))
    last = calibrated(curve[:, -1], calibration)
    moved: Float64 = np.exp(logs * (np.log(last) / logs[:, -1])[:, None])
    moved[:, -1] = last
    return moved


def mean_days(curve: Float64, ends: Sequence[float]) -> Float64:
    """Return the mean of min(days to the order, last end): the area below the survival curve.

    Within a step, which ends at one of `ends`, the hazard is constant and the curve exponential.
    """
    before = np.concatenate([np.ones((len(curve), 1)), curve[:, :-1]], axis=1)
    logs = np.log(np.maximum(before, 1e-300)) - np.log(np.maximum(curve, 1e-300))
    # (1 - exp(-x)) / x, and its limit of 1
    share = np.where(logs > 1e-9, -np.expm1(-logs) / np.maximum(logs, 1e-9), 1.0)
    area: Float64 = (before * share * np.diff(np.concatenate([[0.0], np.asarray(ends, np.float64)]))).sum(axis=1)
    return area


def of_curve(curve: Float64, value: str, ends: Sequence[float]) -> Float64:
    """Return the `probability` of an order within the first step, or the `mean_days` to the order: `days`."""
    if value == "probability":
        return 1 - curve[:, 0]
    if value == "days":
        return mean_days(curve, ends)
    raise ValueError(f"a curve has no {value}")


def check_hazard(hazard: Mapping[str, Any], columns: int) -> None:
    """Reject parameters of a hazard that do not match the rows. Raises ValueError."""
    fill, missing, ends = hazard["fill"], hazard["missing"], hazard["ends_days"]
    if len(fill) != columns or any(not 0 <= column < columns for column in missing):
        raise ValueError("the linear part has other columns than the rows")
    if len(hazard["coefficients"]) != columns + len(missing) or len(hazard["offsets"]) != len(ends) or not ends:
        raise ValueError("the linear part or the steps lack values")
    values = [*fill, *hazard["coefficients"], *hazard["offsets"], *ends, hazard["intercept"]]
    if not np.isfinite(np.asarray(values, np.float64)).all() or sorted({0.0, *ends})[1:] != list(ends):
        raise ValueError("the linear part or the steps have invalid values")


def check_tree(left: Sequence[int], right: Sequence[int], feature: Sequence[int], columns: int) -> dict[int, int]:
    """Reject a tree whose nodes point outside it: the libraries follow them unchecked.

    Args:
        left: left child of each node by its number, from the root, 0; a leaf has -1 on both sides.
        right: right child of each node, likewise.
        feature: column that each inner node splits on.
        columns: number of columns of the rows.

    Returns:
        The parent of each reachable node except the root.

    Raises:
        ValueError: the tree does not end, or refers to a missing node or column.
    """
    if not len(left) == len(right) == len(feature) > 0:
        raise ValueError("a tree lacks nodes")
    parents: dict[int, int] = {}
    waiting = [(0, 0)]
    while waiting:
        node, depth = waiting.pop()
        if left[node] == right[node] == -1:
            continue
        if not 0 <= feature[node] < columns:
            raise ValueError("a node splits on a missing column")
        for child in (left[node], right[node]):
            if not 0 <= child < len(left):
                raise ValueError("a node points outside of its tree")
            if child in parents or child == 0 or depth == DEPTH_MAX:
                raise ValueError("a tree does not end")
            parents[child] = node
            waiting.append((child, depth + 1))
    return parents


def check_xgboost(model: Mapping[str, Any]) -> None:
    """Reject the JSON of an XGBoost model other than plain trees with one output. Raises ValueError."""
    learner = model["learner"]
    shape, trees = learner["learner_model_param"], learner["gradient_booster"]
    if trees["name"] != "gbtree" or int(shape["num_class"]) > 1 or int(shape.get("num_target", 1)) > 1:
        raise ValueError("it has more than one output, or is no tree model")
    forest = trees["model"]
    count = int(forest["gbtree_model_param"]["num_trees"])
    rounds = forest.get("iteration_indptr", [0, count])
    if len(forest["trees"]) != count or forest["tree_info"] != [0] * count or any(forest.get("cats", {}).values()):
        raise ValueError("it lacks trees, or has categories")
    if rounds[0] != 0 or rounds[-1] != count or sorted(rounds) != rounds:
        raise ValueError("its rounds do not match its trees")
    for number, tree in enumerate(forest["trees"]):
        left, right, columns = tree["left_children"], tree["right_children"], int(shape["num_feature"])
        parents = {0: _NO_PARENT} | check_tree(left, right, tree["split_indices"], columns)
        parameters = tree["tree_param"]
        if {int(parameters["num_nodes"])} != {len(tree[name]) for name in _XGBOOST_NODES} or tree["id"] != number:
            raise ValueError("a tree lacks nodes")
        if any(tree["split_type"]) or tree["categories_nodes"] or int(parameters.get("size_leaf_vector", 1)) > 1:
            raise ValueError("a tree has categories or more than one output")
        for node, parent in enumerate(tree["parents"]):
            # pruned nodes remain, unreachable
            if parent != parents.get(node, parent) or not (0 <= parent < len(left) or parent == _NO_PARENT):
                raise ValueError("a node has a wrong parent")


def check_lightgbm(text: str) -> str:
    """Return the text of a LightGBM model of plain trees with one output, without its table of tree offsets.

    LightGBM seeks to these offsets unchecked; without the table it reads the trees in sequence.

    Raises:
        ValueError: the model is damaged or of another kind.
    """
    head, *trees = text.split("\nTree=")
    about = dict(line.partition("=")[::2] for line in head.split("\n"))
    if about["num_class"] != "1" or about["num_tree_per_iteration"] != "1" or not trees:
        raise ValueError("it has more than one output, or no trees")
    for tree in trees:
        block, _, rest = tree.partition("\n\n")
        fields = dict(line.partition("=")[::2] for line in block.split("\n")[1:])
        leaves = int(fields["num_leaves"])
        kinds = {int(kind) & 1 for kind in fields["decision_type"].split()} | {int(fields["num_cat"])}
        if fields.keys() != _LIGHTGBM_NODES.keys() or kinds != {0} or fields["is_linear"] != "0":
            raise ValueError("a tree has categories or unknown fields")
        if rest.strip("\n") and (tree is not trees[-1] or not rest.lstrip("\n").startswith("end of trees")):
            raise ValueError("there is text between two trees")
        many = {name: fields[name].split() for name, fewer in _LIGHTGBM_NODES.items() if fewer is not None}
        if leaves > 1 and any(len(many[name]) != leaves - (_LIGHTGBM_NODES[name] or 0) for name in many):
            raise ValueError("a tree lacks nodes")
        if leaves == 1:
            continue
        # LightGBM numbers leaves from -1 downwards: here they follow the inner nodes
        left, right = (
            [int(child) if int(child) >= 0 else leaves - 2 - int(child) for child in many[side]] + [-1] * leaves
            for side in ("left_child", "right_child")
        )
        looked_at = [int(column) for column in many["split_feature"]] + [0] * leaves
        check_tree(left, right, looked_at, int(about["max_feature_idx"]) + 1)
    return "\n".join(line for line in text.split("\n") if not line.startswith("tree_sizes="))


def check_sklearn(part: Any) -> None:
    """Reject a scikit-learn model with a damaged tree, or of a kind that `train` does not make. Raises ValueError."""
    kind = type(part)
    if kind.__module__.startswith("scipy.sparse"):
        raise ValueError("it has a sparse matrix, which no bundle has")
    if isinstance(part, dict | list | tuple) or (isinstance(part, np.ndarray) and part.dtype == object):
        for one in part.values() if isinstance(part, dict) else part:
            check_sklearn(one)
        return
    if not kind.__module__.startswith("sklearn."):
        return
    if not kind.__module__.startswith(_SKLEARN):
        raise ValueError(f"it has a {kind.__name__}, which no bundle has")
    attributes = getattr(part, "__dict__", {})
    trees = [attributes["tree_"]] if "tree_" in attributes else [one.tree_ for one in attributes.get("estimators_", ())]
    for tree in trees:
        if tree.n_features != attributes.get("n_features_in_"):
            raise ValueError("a tree splits on other columns than its inputs")
        left, right = tree.children_left.tolist(), tree.children_right.tolist()
        check_tree(left, right, tree.feature.tolist(), tree.n_features)
    check_sklearn(attributes)


class Model:
    """Models of a bundle: churn and, if present, the next purchase.

    Args:
        folder: folder of the bundle.
        threads: threads for xgboost and LightGBM.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.preparation = json.loads((folder / "preparation.json").read_text("utf-8"))
        chosen = json.loads((folder / "bundle.json").read_text("utf-8"))["model"]
        self.kind: str = chosen["kind"]
        self.booster: Any = None
        """Native model of xgboost or LightGBM."""
        self.column: int | None = chosen.get("column")
        self._raw = self._loaded(folder / chosen["file"], threads)
        following = self.preparation.get("next", {})
        self._next = {
            column: (_booster(folder / about["file"], threads), about)
            for column, about in following.items()
            if "curve" not in about
        }
        self._of_curve: dict[str, str] = {
            column: about["curve"] for column, about in following.items() if "curve" in about
        }

    def _loaded(self, path: Path, threads: int) -> Callable[[Float32], Float64]:
        if self.kind == "xgboost":
            self.booster = _booster(path, threads)
            return lambda rows: np.asarray(self.booster.inplace_predict(rows), np.float64)
        if self.kind == "paced_hazard":
            check_hazard(self.preparation["hazard"], len(self.preparation["names"]))
            self.booster = _booster(path, threads)
            return lambda rows: survival(self.margin(rows), self.preparation["hazard"])[:, -1]
        if self.kind == "bgnbd":  # every model's matrix has a column with its expected orders
            return lambda rows: np.exp(-rows[:, 0].astype(np.float64))
        if self.kind == "lightgbm":
            import lightgbm  # noqa: PLC0415

            self.booster = lightgbm.Booster(model_str=check_lightgbm(path.read_text("utf-8")))
            return lambda rows: np.asarray(self.booster.predict(rows, num_threads=threads), np.float64)
        import skops.io  # noqa: PLC0415

        pipeline = skops.io.load(path, trusted=list(TRUSTED))
        check_sklearn(pipeline)
        return lambda rows: np.asarray(pipeline.predict_proba(rows)[:, 1], np.float64)

    def inputs(self, columns: Columns) -> Float32:
        """Return rows as input of the next-purchase models; `filled` makes them input of the churn model."""
        return matrix(columns, self.preparation["bgnbd"], self.preparation["horizon_days"])[0]

    def matrix(self, columns: Columns) -> Float32:
        """Return rows as input of the churn model."""
        return self.filled(self.inputs(columns))

    def filled(self, rows: Float32) -> Float32:
        """Fill missing values if the churn model was fitted on filled rows."""
        fill = self.preparation.get("fill")
        return rows if fill is None else np.where(np.isnan(rows), np.asarray(fill, np.float32), rows)

    def of_matrix(self, rows: Float32) -> Float64:
        """Return calibrated probabilities, float64 in (0, 1), of rows from `matrix`."""
        if not len(rows):
            return np.zeros(0)
        inputs = rows if self.column is None else rows[:, [self.column]]
        return calibrated(self._raw(inputs), self.preparation["calibration"])

    def probability(self, columns: Columns) -> Float64:
        """Return P(no order within the horizon) of each row; NaN for customers without an order."""
        probability = self.of_matrix(self.matrix(columns))
        return np.where(columns["orders_total"] > 0, probability, np.nan)

    def margin(self, rows: Float32) -> Float64:
        """Return the log odds of an order of rows from `matrix`, see `hazard_margin`."""
        trees = np.asarray(self.booster.inplace_predict(rows, predict_type="margin"), np.float64)
        return hazard_margin(trees, rows, self.preparation["hazard"])

    def curve(self, rows: Float32) -> Float64:
        """Return the calibrated survival curve of rows from `matrix`, (n, steps); the last column is churn.

        Only a bundle of the kind `paced_hazard` has one.
        """
        hazard = self.preparation["hazard"]
        if not len(rows):
            return np.zeros((0, len(hazard["offsets"])))
        return calibrated_curve(survival(self.margin(rows), hazard), self.preparation["calibration"])

    def scores(self, rows: Float32) -> tuple[Float64, dict[str, Float64]]:
        """Return what `of_matrix` and `next_purchase` return for rows from `inputs`, with one evaluation of a curve."""
        if self.kind != "paced_hazard":
            return self.of_matrix(self.filled(rows)), self.next_purchase(rows)
        curve = self.curve(rows)
        return curve[:, -1], self.next_purchase(rows, curve)

    def next_purchase(self, rows: Float32, curve: Float64 | None = None) -> dict[str, Float64]:
        """Return the NEXT_COLUMNS that the bundle has a model for.

        Args:
            rows: rows from `inputs`.
            curve: their survival curve, if it is known.
        """
        predictions: dict[str, Float64] = {}
        if self._of_curve:
            ends = self.preparation["hazard"]["ends_days"]
            curve = self.curve(rows) if curve is None else curve
            predictions = {column: of_curve(curve, value, ends) for column, value in self._of_curve.items()}
        for column, (booster, about) in self._next.items():
            # its inputs are the first ones; a churn model may have more
            inputs = rows[:, : booster.num_features()]
            raw = np.asarray(booster.inplace_predict(inputs), np.float64) if len(rows) else np.zeros(0)
            predictions[column] = next_from(raw, about)
        return predictions


def next_from(raw: Float64, about: Mapping[str, Any]) -> Float64:
    """Convert the output of the trees to a prediction: a calibrated probability, or an amount times `scale`.

    `level` is the factor on everybody's rate of `calibrated`: an amount is multiplied by it. An amount with the upper
    bound `most` is a share of waiting time. Waiting means no order, so `level` is the power of that share.
    """
    if "calibration" in about:
        return 1 - calibrated(1 - raw, about["calibration"])
    level = about.get("level", 1.0)
    amount: Float64 = np.maximum(raw, 0) * float(about["scale"])
    if "most" in about:
        most = float(about["most"])
        amount = np.clip(amount / most, 0, 1) ** level * most
    else:
        amount = amount * level
    return amount


def _booster(path: Path, threads: int) -> Any:
    import xgboost  # noqa: PLC0415 - a bundle of another kind does without

    model = json.loads(path.read_bytes())
    check_xgboost(model)
    # load what was checked, in case the two parsers differ
    return xgboost.Booster({"nthread": threads}, model_file=bytearray(json.dumps(model).encode()))


def read_columns(path: Path) -> tuple[list[dict[str, str]], dict[str, Float64]]:
    """Return the rows of a CSV as text, and the columns that a model needs as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in COLUMNS if rows and name not in rows[0]]
    if missing:
        raise SystemExit(f"{path} lacks the columns {', '.join(missing)}.")
    return rows, {name: np.asarray([float(row[name] or "nan") for row in rows], np.float64) for name in COLUMNS}


def main(arguments: list[str]) -> int:
    """Run `predict.py ROWS.csv OUT.csv`; return exit code 2 for other arguments."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python predict.py ROWS.csv OUT.csv\n")
        return 2
    rows, columns = read_columns(Path(arguments[0]))
    model = Model(Path(__file__).resolve().parent)
    unknown = np.full(len(rows), np.nan)
    probability, following = model.scores(model.inputs(columns))
    churn = np.where(columns["orders_total"] > 0, probability, np.nan)
    scores = {"churn_probability": churn, **dict.fromkeys(NEXT_COLUMNS, unknown)} | following
    with Path(arguments[1]).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["customer_id", "as_of", *scores])
        for row, *values in zip(rows, *(column.tolist() for column in scores.values()), strict=True):
            cells = ["" if math.isnan(value) else repr(value) for value in values]
            writer.writerow([row.get("customer_id", ""), row.get("as_of", ""), *cells])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
