"""Defines the compared methods: each maps a matrix and a setting to an assigner of any customer.

The rule of this file: quadratic methods see a bounded sample, and all randomness comes from the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from training.clusters.assigners import Assigner, Centres, Float, Labels, Landmarks, Mixture, as_rows
from training.clusters.matrix import sample

QUADRATIC_ROWS_MAX: Final = 2_500
"""Maximum rows for agglomerative clustering, DBSCAN and HDBSCAN."""
MIXTURE_ROWS_MAX: Final = 20_000
NEIGHBOURS: Final = 5
DENSITY_SHARES: Final = (0.01, 0.02, 0.05)
"""Minimum cluster sizes of HDBSCAN, in shares of its sample; it finds the number of clusters itself."""
CORE_NEIGHBOURS: Final = (1.0, 2.0, 4.0)
"""Minimum neighbours of a core point of DBSCAN per column of the matrix; its authors recommend 2."""
_RIDGE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Fitted:
    """A clustering of a matrix.

    Attributes:
        assigner: assigner of any row to its cluster.
        clusters: number of clusters.
        noise: share of the fitted rows in no cluster; they are assigned to the nearest cluster.
        parameters: effective parameters on this matrix, as text; empty if the setting is the number of clusters.
    """

    assigner: Assigner
    clusters: int
    noise: float = 0.0
    parameters: str = ""


Fit = Callable[[Float, float, int], Fitted | None]


def _k_means(matrix: Float, k: float, seed: int) -> Fitted | None:
    model = KMeans(int(k), n_init=4, random_state=seed).fit(matrix)
    return Fitted(Centres(as_rows(model.cluster_centers_)), int(k))


def _mixture(matrix: Float, k: float, seed: int) -> Fitted | None:
    rows = matrix[sample(len(matrix), MIXTURE_ROWS_MAX, seed)]
    model = GaussianMixture(int(k), reg_covar=_RIDGE, random_state=seed, max_iter=200).fit(rows)
    factors = tuple(as_rows(one) for one in model.precisions_cholesky_)
    return Fitted(Mixture(tuple(float(one) for one in model.weights_), as_rows(model.means_), factors), int(k))


def _agglomerative(matrix: Float, k: float, seed: int) -> Fitted | None:
    rows = matrix[sample(len(matrix), QUADRATIC_ROWS_MAX, seed)]
    labels = AgglomerativeClustering(int(k), linkage="ward").fit_predict(rows)
    return Fitted(_landmarks(rows, labels), int(k))


def _dbscan(matrix: Float, neighbours: float, seed: int) -> Fitted | None:
    rows = matrix[sample(len(matrix), QUADRATIC_ROWS_MAX, seed)]
    least = max(NEIGHBOURS, round(neighbours * rows.shape[1]))
    radius = knee(neighbour_distances(rows, least)) if least < len(rows) else 0.0
    if radius == 0.0:
        return None
    labels = DBSCAN(eps=radius, min_samples=least).fit_predict(rows)
    return _of_density(rows, labels, f"eps {radius:.4g}, min_samples {least}")


def neighbour_distances(rows: Float, neighbours: int) -> Float:
    """Return the distance of each row to its n-th nearest row, counting the row itself; ascending."""
    distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(rows).kneighbors(rows)
    return np.sort(distances[:, -1])


def knee(ascending: Float) -> float:
    """Return the knee of a curve that ends steeply: the value farthest below the line from its first to its last point.

    Points of clusters have their neighbours within that distance, stray points do not.
    """
    first, last = float(ascending[0]), float(ascending[-1])
    line = np.linspace(first, last, len(ascending))
    return float(ascending[int(np.argmax(line - ascending))])


def _hdbscan(matrix: Float, share: float, seed: int) -> Fitted | None:
    rows = matrix[sample(len(matrix), QUADRATIC_ROWS_MAX, seed)]
    least = max(NEIGHBOURS, int(share * len(rows)))
    labels = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(rows)
    return _of_density(rows, labels, f"min_cluster_size {least}")


def _of_density(rows: Float, labels: Labels, parameters: str) -> Fitted | None:
    """Return clusters that leave some rows outside, labelled -1; None for fewer than two clusters."""
    inside = labels >= 0
    clusters = int(labels.max()) + 1
    if clusters < 2:
        return None
    return Fitted(_landmarks(rows[inside], labels[inside]), clusters, float(1 - inside.mean()), parameters)


def _landmarks(rows: Float, labels: Labels) -> Landmarks:
    return Landmarks(as_rows(rows), tuple(int(one) for one in labels), NEIGHBOURS)


@dataclass(frozen=True, slots=True)
class Method:
    """A clustering method.

    Attributes:
        title: display name.
        fit: fit function; returns None for fewer than two clusters.
        fit_sample: description of the customers that it sees.
        settings: settings to try; empty if the setting is the number of clusters.
        setting_text: format of the setting in words, with one number.
    """

    title: str
    fit: Fit
    fit_sample: str
    settings: tuple[float, ...] = ()
    setting_text: str = ""


_SAMPLED: Final = f"a sample of at most {QUADRATIC_ROWS_MAX:,} customers"
METHODS: Final = MappingProxyType({
    "k-means": Method("k-means", _k_means, "all customers"),
    "mixture": Method("Gaussian mixture", _mixture, f"at most {MIXTURE_ROWS_MAX:,} customers"),
    "agglomerative": Method("agglomerative (Ward)", _agglomerative, _SAMPLED),
    "dbscan": Method("DBSCAN", _dbscan, _SAMPLED, CORE_NEIGHBOURS, "{:g} neighbours per column"),
    "hdbscan": Method("HDBSCAN", _hdbscan, _SAMPLED, DENSITY_SHARES, "clusters of at least {:.0%}"),
})  # fmt: skip


def by_size(labels: Labels, clusters: int) -> Labels:
    """Return the new number of each cluster: 0 is the largest, ties by the old number."""
    counts = np.bincount(labels, minlength=clusters)
    order = np.argsort(-counts, kind="stable")
    number = np.empty(clusters, np.int64)
    number[order] = np.arange(clusters)
    return number
