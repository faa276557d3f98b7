"""Compares methods and numbers of clusters, and chooses one by a declared rule.

Each candidate is fitted to a sample and evaluated on another. Measures: three indices of shape, the agreement with
itself on bootstrap samples, and the size of its smallest cluster. The chosen one is then fitted to all customers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.metrics import (
    adjusted_rand_score,
    calinski_harabasz_score,
    davies_bouldin_score,
    pairwise_distances,
    silhouette_score,
)

from features.errors import ShopstreamError
from training.clusters.assigners import Float, Labels
from training.clusters.matrix import sample
from training.clusters.methods import METHODS, Fitted

NOISE_MAX: Final = 0.3
CRITERIA: Final = ("silhouette", "davies_bouldin", "calinski_harabasz", "stability")
"""Ranked criteria, with equal weights."""


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Plan of a clustering.

    Attributes:
        k: numbers of clusters to try.
        methods: names out of METHODS.
        seed: random seed.
        fit_rows: rows that a candidate is fitted to during the comparison.
        evaluation_rows: rows of the evaluation; the silhouette is quadratic in them.
        bootstraps: number of bootstrap samples for the stability.
        smallest_share: minimum share of the customers in each cluster.
        stability_min: minimum adjusted Rand index of a candidate.
        view_rows: number of customers in the plots.
        null_draws: number of tables without clusters to compare with, see `training.clusters.null`; 0: no comparison.
    """

    k: tuple[int, ...] = (3, 4, 5, 6, 7, 8)
    methods: tuple[str, ...] = tuple(METHODS)
    seed: int = 1
    fit_rows: int = 5_000
    evaluation_rows: int = 3_000
    bootstraps: int = 5
    smallest_share: float = 0.03
    stability_min: float = 0.6
    view_rows: int = 1_500
    null_draws: int = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """An evaluated method with one setting.

    Attributes:
        method: name of a method in METHODS.
        setting: number of clusters, or one of the method's settings.
        parameters: effective parameters on this table; empty if the setting is the number of clusters.
        clusters: number of clusters found.
        silhouette: -1 to 1, higher is better.
        davies_bouldin: from 0, lower is better.
        calinski_harabasz: higher is better.
        stability: mean adjusted Rand index between its labels and those of fits to bootstrap samples.
        smallest_share: share of the customers in the smallest cluster.
        noise: share of the fitted rows in no cluster.
        refused: reason of the exclusion; empty for a valid candidate.
    """

    method: str
    setting: float
    parameters: str
    clusters: int
    silhouette: float
    davies_bouldin: float
    calinski_harabasz: float
    stability: float
    smallest_share: float
    noise: float
    refused: str

    @property
    def title(self) -> str:
        """Display name."""
        method = METHODS[self.method]
        return f"{method.title}, {method.setting_text.format(self.setting)}" if method.settings else method.title


@dataclass(frozen=True, slots=True)
class Comparison:
    """All candidates with their mean ranks, and the chosen one.

    Attributes:
        candidates: candidates in the order of the trials.
        ranks: mean rank of each candidate over CRITERIA, among the valid ones; None for the others.
        chosen: position of the chosen candidate.
        reason: reason of the choice, in sentences.
    """

    candidates: tuple[Candidate, ...]
    ranks: tuple[float | None, ...]
    chosen: int
    reason: str


def compare(
    matrix: Float, plan: ClusterPlan, on_step: Callable[[str, float | None], None] = lambda *_: None
) -> Comparison:
    """Try every method and setting of a plan.

    Raises:
        ShopstreamError: there are too few customers, or no method finds two clusters.
    """
    if len(matrix) < 4 * max(plan.k):
        raise ShopstreamError(
            f"{len(matrix)} customers are too few for {max(plan.k)} clusters.", "Give a larger table, or a smaller --k."
        )
    settings = list(_settings(plan))
    samples = samples_of(matrix, plan)
    candidates = []
    for position, (method, setting) in enumerate(settings):
        on_step(f"trying {METHODS[method].title}", position / len(settings))
        candidate = evaluate(samples, method, setting, plan)
        if candidate is not None:
            candidates.append(candidate)
    if not candidates:
        raise ShopstreamError("No method found two clusters in this table.", "Map other columns.")
    ranks = mean_ranks(candidates)
    chosen = _chosen(candidates, ranks)
    return Comparison(tuple(candidates), ranks, chosen, _reason(candidates, ranks, chosen, plan))


def _settings(plan: ClusterPlan) -> Iterator[tuple[str, float]]:
    for method in plan.methods:
        for setting in METHODS[method].settings or plan.k:
            yield method, setting


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of a matrix on which every candidate is tried.

    Attributes:
        fitted: rows to which candidates are fitted.
        evaluated: rows on which they are evaluated.
        distances: Euclidean distances between the evaluated rows.
    """

    fitted: Float
    evaluated: Float
    distances: Float


def samples_of(matrix: Float, plan: ClusterPlan) -> Samples:
    """Return the samples of a matrix by the plan."""
    evaluated = matrix[sample(len(matrix), plan.evaluation_rows, plan.seed + 1)]
    distances = pairwise_distances(evaluated)
    np.fill_diagonal(distances, 0.0)
    return Samples(matrix[sample(len(matrix), plan.fit_rows, plan.seed)], evaluated, distances)


def evaluate(samples: Samples, method: str, setting: float, plan: ClusterPlan) -> Candidate | None:
    """Evaluate a method with one setting; None if it finds fewer than two clusters."""
    rows, evaluated = samples.fitted, samples.evaluated
    fitted = METHODS[method].fit(rows, setting, plan.seed)
    if fitted is None:
        return None
    labels = fitted.assigner.labels(evaluated)
    if len(np.unique(labels)) < 2:
        return None
    stability = _stability(rows, evaluated, labels, (method, setting), plan)
    smallest = float(np.bincount(labels, minlength=fitted.clusters).min() / len(labels))
    return Candidate(
        method, setting, fitted.parameters, fitted.clusters,
        float(silhouette_score(samples.distances, labels, metric="precomputed")),
        float(davies_bouldin_score(evaluated, labels)), float(calinski_harabasz_score(evaluated, labels)), stability,
        smallest, fitted.noise, _refused(fitted, smallest, stability, plan),
    )  # fmt: skip


def _stability(rows: Float, evaluated: Float, labels: Labels, tried: tuple[str, float], plan: ClusterPlan) -> float:
    """Return the mean agreement with fits to bootstrap samples; a fit without clusters counts as no agreement."""
    method, setting = tried
    agreed = []
    for number in range(plan.bootstraps):
        drawn = np.random.default_rng([plan.seed, number]).integers(0, len(rows), len(rows))
        again = METHODS[method].fit(rows[drawn], setting, plan.seed + number)
        agreed.append(0.0 if again is None else float(adjusted_rand_score(labels, again.assigner.labels(evaluated))))
    return float(np.mean(agreed)) if agreed else float("nan")


def _refused(fitted: Fitted, smallest: float, stability: float, plan: ClusterPlan) -> str:
    if smallest < plan.smallest_share:
        return f"smallest cluster below {plan.smallest_share:.0%}"
    if stability < plan.stability_min:
        return f"stability below {plan.stability_min:g}"
    return f"noise above {NOISE_MAX:.0%}" if fitted.noise > NOISE_MAX else ""


def mean_ranks(candidates: Sequence[Candidate]) -> tuple[float | None, ...]:
    """Return mean ranks over CRITERIA among the valid candidates, 1 the best; equal values share their rank."""
    valid = [position for position, one in enumerate(candidates) if not one.refused]
    total = dict.fromkeys(valid, 0.0)
    for name in CRITERIA:
        sign = 1.0 if name == "davies_bouldin" else -1.0
        values = np.array([sign * float(getattr(candidates[position], name)) for position in valid])
        for position, value in zip(valid, values.tolist(), strict=True):
            total[position] += 1 + float((values < value).sum()) + (float((values == value).sum()) - 1) / 2
    return tuple(total[position] / len(CRITERIA) if position in total else None for position in range(len(candidates)))


def _chosen(candidates: Sequence[Candidate], ranks: Sequence[float | None]) -> int:
    """Choose the best mean rank (ties: fewer clusters, then the earlier one), or the most stable if none is valid."""
    valid = [(rank, candidates[position].clusters, position) for position, rank in enumerate(ranks) if rank is not None]
    if valid:
        return min(valid)[2]
    return max(
        range(len(candidates)),
        key=lambda index: (candidates[index].smallest_share > 0, candidates[index].stability, -index),
    )


def _reason(candidates: Sequence[Candidate], ranks: Sequence[float | None], chosen: int, plan: ClusterPlan) -> str:
    one, rank = candidates[chosen], ranks[chosen]
    shape = (
        f"silhouette {one.silhouette:.3f}, Davies-Bouldin {one.davies_bouldin:.3f}, Calinski-Harabasz "
        f"{one.calinski_harabasz:,.0f}, stability {one.stability:.2f}, smallest cluster {one.smallest_share:.1%}"
    )
    if rank is None:
        return (
            f"No candidate has clusters of at least {plan.smallest_share:.0%} and a stability of "
            f"{plan.stability_min:g}: the clusters are weak. {one.title} with {one.clusters} clusters is the most "
            f"stable candidate ({shape})."
        )
    refused = sum(bool(other.refused) for other in candidates)
    best = max((other for other in candidates if not other.refused), key=lambda other: other.silhouette)
    return (
        f"{one.title} with {one.clusters} clusters has the best mean rank, {rank:.2f}, over silhouette, "
        f"Davies-Bouldin, Calinski-Harabasz and stability among {len(candidates) - refused} candidates ({shape}). "
        f"{refused} candidates are excluded for small, unstable or noisy clusters. The highest silhouette among the "
        f"valid ones is {best.silhouette:.3f}, of {best.title} with {best.clusters} clusters."
    )
