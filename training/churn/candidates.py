"""Defines the competing models as scikit-learn pipelines: their steps, fit and search space."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline as SamplingPipeline
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from xgboost import XGBClassifier

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

Family = Literal["recency", "bgnbd", "logistic", "random_forest", "xgboost", "lightgbm", "paced_hazard"]
Treatment = Literal["none", "weights", "smote"]
BASELINES: Final[tuple[Family, ...]] = ("recency", "bgnbd", "logistic")
TREATMENTS: Final[tuple[Treatment, ...]] = ("none", "weights", "smote")
TITLES: Final[dict[Family, str]] = {
    "recency": "recency only",
    "bgnbd": "BG/NBD",
    "logistic": "logistic regression",
    "random_forest": "random forest",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "paced_hazard": "paced hazard",
}

_LIGHTGBM_TRIES: Final = 3
"""The search's time goes to XGBoost, which scores live; LightGBM is only for comparison."""

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model before it is fitted.

    Attributes:
        treatment: treatment of class imbalance: none, class weights, or SMOTE within the training folds.
        parameters: classifier parameters in addition to the fixed ones.
    """

    family: Family
    treatment: Treatment = "none"
    parameters: Parameters = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Display name, such as `XGBoost` or `logistic regression, weights`."""
        return TITLES[self.family] + ("" if self.treatment == "none" else f", {self.treatment}")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted candidate.

    Attributes:
        column: number of the input column, for a model of one column.
        pipeline: pipeline without the sampler, which plays no part in prediction. None for BG/NBD, whose column is the
            expected number of orders.
    """

    candidate: Candidate
    pipeline: Pipeline | None
    column: int | None = None

    def probability(self, rows: Float32) -> Float64:
        """Return P(churned) of each row, before calibration."""
        if self.column is not None:
            rows = rows[:, [self.column]]
        if self.pipeline is None:
            return np.exp(-rows[:, 0].astype(np.float64))
        return np.asarray(self.pipeline.predict_proba(rows)[:, 1], np.float64)

    @property
    def fill(self) -> list[float] | None:
        """Fill values for missing inputs, if a tree model was fitted on filled rows."""
        if self.pipeline is None or "fill" not in self.pipeline.named_steps:
            return None
        return [float(value) for value in self.pipeline.named_steps["fill"].statistics_]


def fit(
    candidate: Candidate,
    rows: Float32,
    labels: Labels,
    names: Sequence[str],
    *,
    seed: int,
    threads: int,
    trees: Callable[[Any], Any] | None = None,
) -> Fitted:
    """Fit a candidate.

    Args:
        candidate: candidate to fit.
        rows: rows, (n, k), NaN for missing values.
        labels: labels, 1 for churned; both classes must occur.
        names: names of the k columns.
        seed: random seed.
        threads: number of threads.
        trees: function that fits XGBoost by other means than on these rows.
    """
    if trees is not None and candidate.family == "xgboost":
        ((_, model),) = _steps(candidate, labels, seed, threads)
        return Fitted(candidate, Pipeline([("model", trees(model))]))
    if candidate.family == "bgnbd":
        return Fitted(candidate, None, list(names).index("bgnbd_orders"))
    column = list(names).index("recency_days") if candidate.family == "recency" else None
    steps = _steps(candidate, labels, seed, threads)
    chosen = rows if column is None else rows[:, [column]]
    pipeline = (SamplingPipeline if candidate.treatment == "smote" else Pipeline)(steps)
    pipeline.fit(chosen, labels)
    return Fitted(candidate, Pipeline([step for step in pipeline.steps if step[0] != "smote"]), column)


def lightgbm_available() -> bool:
    """Return whether LightGBM can be imported: it is optional, and its wheel needs an extra system library."""
    if importlib.util.find_spec("lightgbm") is None:
        return False
    try:
        importlib.import_module("lightgbm")
    except OSError:
        return False
    return True


def families() -> tuple[Family, ...]:
    """Return the families that can be fitted on this machine."""
    every: tuple[Family, ...] = ("recency", "bgnbd", "logistic", "random_forest", "xgboost", "paced_hazard")
    return (*every, "lightgbm") if lightgbm_available() else every


def search_space(family: Family, tries: int, rng: np.random.Generator) -> list[Parameters]:
    """Return at most `tries` settings of a family, the default first; sampled if there are more."""
    if family == "logistic":
        return [{"C": c} for c in (0.1, 0.01, 1.0)[:tries]]
    if family == "random_forest":
        return [{"min_samples_leaf": leaf} for leaf in (30, 80)[:tries]]
    if family == "paced_hazard":
        settings: list[Parameters] = [{"visits": 1}, {}, {"visits": 1, "max_depth": 2, "n_estimators": 250}]
        return settings[:tries]
    if family not in ("xgboost", "lightgbm"):
        return [{}]
    if family == "lightgbm":
        tries = min(tries, _LIGHTGBM_TRIES)
    settings = [{}]
    while len(settings) < tries:
        rounds = int(rng.choice([150, 200, 300]))
        setting: dict[str, Any] = {
            "max_depth": int(rng.integers(1, 5)),
            "n_estimators": rounds,
            "learning_rate": float(rng.choice([0.03, 0.05, 0.08])),
            "reg_lambda": float(rng.choice([1.0, 10.0, 30.0])),
            "colsample_bytree": float(rng.choice([0.25, 0.4, 0.7])),
        }
        leaf = int(rng.choice([20, 50, 120]))
        setting["min_child_weight" if family == "xgboost" else "min_child_samples"] = leaf
        settings.append(setting)
    return settings


def _steps(candidate: Candidate, labels: Labels, seed: int, threads: int) -> list[tuple[str, Any]]:
    balanced = candidate.treatment == "weights"
    steps: list[tuple[str, Any]] = []
    if candidate.family in ("recency", "logistic"):
        steps += [
            ("log", FunctionTransformer(np.log1p)),
            ("fill", SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=True)),
            ("scale", StandardScaler()),
        ]
    elif candidate.family == "random_forest" or candidate.treatment == "smote":
        steps.append(("fill", SimpleImputer(strategy="median", keep_empty_features=True)))
    if candidate.treatment == "smote":
        neighbours = max(1, min(5, int(np.bincount(labels, minlength=2).min()) - 1))
        steps.append(("smote", SMOTE(random_state=seed, k_neighbors=neighbours)))
    return [*steps, ("model", _classifier(candidate, labels, balanced=balanced, seed=seed, threads=threads))]


def _classifier(candidate: Candidate, labels: Labels, *, balanced: bool, seed: int, threads: int) -> Any:
    class_weight = "balanced" if balanced else None
    parameters = dict(candidate.parameters)
    if candidate.family in ("recency", "logistic"):
        return LogisticRegression(**{"C": 0.1, "max_iter": 2_000} | parameters, class_weight=class_weight)
    if candidate.family == "random_forest":
        fixed = {"n_estimators": 100, "min_samples_leaf": 30, "max_samples": 0.5, "max_features": 0.3}
        return RandomForestClassifier(
            **fixed | parameters, class_weight=class_weight, random_state=seed, n_jobs=threads
        )
    trees = {"max_depth": 2, "n_estimators": 250, "learning_rate": 0.05, "subsample": 0.7, "colsample_bytree": 0.4}
    if candidate.family == "xgboost":
        counts = np.bincount(labels, minlength=2)
        weight = float(counts[0] / max(counts[1], 1)) if balanced else 1.0
        fixed = trees | {"min_child_weight": 20, "reg_lambda": 10.0} | parameters
        return XGBClassifier(**fixed, scale_pos_weight=weight, random_state=seed, n_jobs=threads, tree_method="hist")
    lightgbm = importlib.import_module("lightgbm")
    fixed = trees | {"min_child_samples": 20, "reg_lambda": 10.0, "subsample_freq": 1} | parameters
    return lightgbm.LGBMClassifier(
        **fixed, class_weight=class_weight, random_state=seed, n_jobs=threads, verbose=-1, deterministic=True
    )
