"""The methods that are compared, each from a matrix and a setting to something that assigns any customer.

The rule of this file: what is quadratic sees a bounded sample, and everything random comes from the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.mixture import GaussianMixture

from training.clusters.assigners import Assigner, Centres, Float, Labels, Landmarks, Mixture, as_rows
from training.clusters.matrix import sample

QUADRATIC_ROWS_MAX: Final = 2_500
"""Rows that agglomerative clustering and HDBSCAN see."""
MIXTURE_ROWS_MAX: Final = 20_000
NEIGHBOURS: Final = 5
DENSITY_SHARES: Final = (0.01, 0.02, 0.05)
"""Least sizes of a cluster of HDBSCAN, in shares of its sample; it finds the number of clusters itself."""
_RIDGE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Fitted:
    """A clustering of a matrix.

    Attributes:
        assigner: gives any row its cluster.
        clusters: how many there are.
        noise: share of the rows it saw that belong nowhere; they are assigned to the nearest cluster.
    """

    assigner: Assigner
    clusters: int
    noise: float = 0.0


Fit = Callable[[Float, float, int], Fitted | None]


def _k_means(matrix: Float, k: float, seed: int) -> Fitted | None:
    found = KMeans(int(k), n_init=4, random_state=seed).fit(matrix)
    return Fitted(Centres(as_rows(found.cluster_centers_)), int(k))


def _mixture(matrix: Float, k: float, seed: int) -> Fitted | None:
    rows = matrix[sample(len(matrix), MIXTURE_ROWS_MAX, seed)]
    found = GaussianMixture(int(k), reg_covar=_RIDGE, random_state=seed, max_iter=200).fit(rows)
    factors = tuple(as_rows(one) for one in found.precisions_cholesky_)
    return Fitted(Mixture(tuple(float(one) for one in found.weights_), as_rows(found.means_), factors), int(k))


def _agglomerative(matrix: Float, k: float, seed: int) -> Fitted | None:
    rows = matrix[sample(len(matrix), QUADRATIC_ROWS_MAX, seed)]
    labels = AgglomerativeClustering(int(k), linkage="ward").fit_predict(rows)
    return Fitted(_landmarks(rows, labels), int(k))


def _hdbscan(matrix: Float, share: float, seed: int) -> Fitted | None:
    rows = matrix[sample(len(matrix), QUADRATIC_ROWS_MAX, seed)]
    labels = HDBSCAN(min_cluster_size=max(5, int(share * len(rows))), copy=True).fit_predict(rows)
    inside = labels >= 0
    clusters = int(labels.max()) + 1
    if clusters < 2:
        return None
    return Fitted(_landmarks(rows[inside], labels[inside]), clusters, float(1 - inside.mean()))


def _landmarks(rows: Float, labels: Labels) -> Landmarks:
    return Landmarks(as_rows(rows), tuple(int(one) for one in labels), NEIGHBOURS)


@dataclass(frozen=True, slots=True)
class Method:
    """A way to cluster.

    Attributes:
        title: for people.
        fit: None where it finds fewer than two clusters.
        by_k: the setting is the number of clusters; else a least share.
        seen: what of the customers it sees.
    """

    title: str
    fit: Fit
    by_k: bool
    seen: str


_SAMPLED: Final = f"a sample of at most {QUADRATIC_ROWS_MAX:,} customers"
METHODS: Final = MappingProxyType({
    "k-means": Method("k-means", _k_means, True, "all customers"),
    "mixture": Method("Gaussian mixture", _mixture, True, f"at most {MIXTURE_ROWS_MAX:,} customers"),
    "agglomerative": Method("agglomerative (Ward)", _agglomerative, True, _SAMPLED),
    "hdbscan": Method("HDBSCAN", _hdbscan, False, _SAMPLED),
})  # fmt: skip


def by_size(labels: Labels, clusters: int) -> Labels:
    """The new number of each cluster: 0 is the largest, ties by the old number."""
    counts = np.bincount(labels, minlength=clusters)
    order = np.argsort(-counts, kind="stable")
    place = np.empty(clusters, np.int64)
    place[order] = np.arange(clusters)
    return place
