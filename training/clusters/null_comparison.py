"""Compares the measures of the clusters with those that the same method reaches in tables without groups.

The rule of this file: the verdict is declared. Clusters are better than null tables if four measures are outside of the
95 % prediction interval of the draws: silhouette, Davies-Bouldin and Calinski-Harabasz of the chosen setting, and the
best silhouette over all settings. The silhouettes must also differ by GAP_MIN. Stability is shown and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from scipy.stats import t as student

from training.clusters.assigners import Float
from training.clusters.comparison import CRITERIA, Candidate, ClusterPlan, Comparison, evaluate, samples_of
from training.clusters.matrix import Preparation
from training.clusters.null import NullTables, null_tables, shared_values

Verdict = Literal["slices", "shared", "groups"]

GAP_MIN: Final = 0.02
"""Smallest difference of silhouettes that counts."""
BOOTSTRAPS: Final = 2
_SHAPES: Final = CRITERIA[:3]
LIMITS: Final = (
    (
        "Silhouette, Davies-Bouldin and Calinski-Harabasz measure how compact and how far apart the parts are. Any "
        "cloud can be cut into such parts: a long or skewed one scores well without a gap. So no value is good by "
        "itself."
    ),
    "Stability measures whether a method finds the same parts again. It also does so where it cuts a continuum.",
    "No index confirms that a number of clusters is the true one, or that the clusters matter for the shop.",
    (
        "A table without groups keeps the values of each column, so groups that one column separates are in it too. "
        "Better clusters than there mean a dependence beyond rank correlations: groups, a bend or a tail."
    ),
)
"""What the measures cannot say."""
SLICE: Final = "a slice of a continuum: customers on both sides of its border are alike"
SHARED_SLICE: Final = (
    "separate by shared values at most, otherwise a slice of a continuum: customers near its border are alike"
)


@dataclass(frozen=True, slots=True)
class NullRow:
    """Measures of one setting of the chosen method.

    Attributes:
        setting: setting of the method, see `Candidate`.
        clusters: number of clusters found in the customers.
        measures: measure of CRITERIA -> value for the customers.
        draws: measure -> values for each null table, NaN where the method finds no clusters.
    """

    setting: float
    clusters: int
    measures: dict[str, float]
    draws: dict[str, tuple[float, ...]]

    def spread(self, name: str) -> tuple[float, float]:
        """Return mean and standard deviation of a measure over the null tables; NaN if none has clusters."""
        values = np.asarray(self.draws[name])
        known = values[np.isfinite(values)]
        if not len(known):
            return float("nan"), float("nan")
        return float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class NullTest:
    """Comparison with null tables of one kind.

    Attributes:
        rows: settings of the chosen method, the chosen one among them.
        better: whether the clusters of the customers are better, by the rule of this file.
    """

    rows: tuple[NullRow, ...]
    better: bool


@dataclass(frozen=True, slots=True)
class NullComparison:
    """Comparison of the clusters with tables without groups.

    Attributes:
        method: chosen method.
        setting: chosen setting.
        plain: null tables with the margins and rank correlations.
        within: null tables that also keep shared values; None if the first ones are as good already.
        shared: column -> share of the customers with its most frequent value, see `null.shared_values`.
        verdict: `slices` of a continuum, `shared` values separate the clusters, or `groups`.
        text: the verdict in sentences.
    """

    method: str
    setting: float
    plain: NullTest
    within: NullTest | None
    shared: dict[str, float]
    verdict: Verdict
    text: str

    @property
    def note(self) -> str:
        """Note on every persona; empty for groups."""
        return {"slices": SLICE, "shared": SHARED_SLICE, "groups": ""}[self.verdict]


def compare_with_null(
    matrix: Float,
    preparation: Preparation,
    comparison: Comparison,
    plan: ClusterPlan,
    on_step: Callable[[str, float | None], None] = lambda *_: None,
) -> NullComparison | None:
    """Compare the chosen method with itself on null tables; None if the plan draws none.

    Args:
        matrix: matrix of the customers by `preparation`.
        preparation: preparation of the matrix.
        comparison: comparison of the methods on this matrix.
        plan: plan of the clustering.
        on_step: callback with the current step, and the completed share or None.
    """
    if plan.null_draws == 0:
        return None
    chosen = comparison.candidates[comparison.chosen]
    own = [one for one in comparison.candidates if one.method == chosen.method]
    shared = shared_values(matrix, preparation)
    on_step("tables without groups", None)
    plain = _test(null_tables(matrix, preparation, plan.seed), own, chosen, plan)
    within = None
    if plain.better and shared:
        on_step("tables without groups, with shared values", None)
        within = _test(null_tables(matrix, preparation, plan.seed, keep_shared=True), own, chosen, plan)
    verdict: Verdict = "slices" if not plain.better else "groups" if within is None or within.better else "shared"
    text = _text(verdict, chosen, plain, within, shared)
    return NullComparison(chosen.method, chosen.setting, plain, within, shared, verdict, text)


def _test(tables: NullTables, own: Sequence[Candidate], chosen: Candidate, plan: ClusterPlan) -> NullTest:
    draws: dict[float, list[Candidate | None]] = {one.setting: [] for one in own}
    fewer = replace(plan, bootstraps=min(plan.bootstraps, BOOTSTRAPS))
    for number in range(plan.null_draws):
        samples = samples_of(tables.draw([plan.seed, number]), fewer)
        for one in own:
            draws[one.setting].append(evaluate(samples, one.method, one.setting, fewer))
    rows = tuple(
        NullRow(
            one.setting,
            one.clusters,
            {name: float(getattr(one, name)) for name in CRITERIA},
            {name: tuple(_measure(drawn, name) for drawn in draws[one.setting]) for name in CRITERIA},
        )
        for one in own
    )
    row = next(row for row in rows if row.setting == chosen.setting)
    best = [max(values) for values in zip(*(_lowest(each.draws["silhouette"]) for each in rows), strict=True)]
    better = (
        all(is_better(name, row.measures[name], row.draws[name]) for name in _SHAPES)
        and is_better("silhouette", max(each.measures["silhouette"] for each in rows), best)
        and not row.measures["silhouette"] - row.spread("silhouette")[0] < GAP_MIN
    )
    return NullTest(rows, better)


def _measure(candidate: Candidate | None, name: str) -> float:
    return float("nan") if candidate is None else float(getattr(candidate, name))


def _lowest(silhouettes: Sequence[float]) -> list[float]:
    """Return silhouettes with the lowest possible one where no clusters exist."""
    return [value if np.isfinite(value) else -1.0 for value in silhouettes]


def is_better(name: str, value: float, draws: Sequence[float]) -> bool:
    """Return whether a measure is better than the 95 % prediction interval of its values on null tables.

    Args:
        name: measure of CRITERIA.
        value: measure of the customers.
        draws: measure of each null table; NaN where no clusters exist, which any clusters beat.
    """
    known = np.asarray([one for one in draws if np.isfinite(one)])
    if not len(known):
        return True
    gain = (known.mean() - value) if name == "davies_bouldin" else (value - known.mean())
    if len(known) == 1:
        return bool(gain > 0)
    reach = student.ppf(0.975, len(known) - 1) * known.std(ddof=1) * np.sqrt(1 + 1 / len(known))
    return bool(gain > reach)


def _text(
    verdict: Verdict, chosen: Candidate, plain: NullTest, within: NullTest | None, shared: Mapping[str, float]
) -> str:
    first = (
        f"In {len(plain.rows[0].draws['silhouette'])} tables without groups, with the same columns and rank "
        f"correlations, {chosen.title} reaches {_reached(chosen, plain)}."
    )
    if verdict == "slices":
        return (
            f"{first} So the clusters are slices of a continuum: they help to address customers differently, and are "
            "no natural groups."
        )
    names = ", ".join(f"{name} {share:.0%}" for name, share in shared.items())
    if within is None:
        return f"{first} So these clusters are more than slices of a continuum."
    second = f"In tables that also keep which customers share a value ({names}) it reaches {_reached(chosen, within)}."
    if verdict == "shared":
        return (
            f"{first} {second} So shared values, such as those of customers without an order, separate these clusters. "
            "Apart from that they are slices of a continuum."
        )
    return f"{first} {second} So these clusters are more than slices of a continuum."


def _reached(chosen: Candidate, test: NullTest) -> str:
    row = next(row for row in test.rows if row.setting == chosen.setting)
    mean, spread = row.spread("silhouette")
    if not np.isfinite(mean):
        return f"no clusters (here a silhouette of {row.measures['silhouette']:.3f})"
    best = max(_lowest([each.spread("silhouette")[0] for each in test.rows]))
    most = max(each.measures["silhouette"] for each in test.rows)
    return (
        f"a silhouette of {mean:.3f} ± {spread:.3f} against {row.measures['silhouette']:.3f} here, and at best "
        f"{best:.3f} against {most:.3f}"
    )
