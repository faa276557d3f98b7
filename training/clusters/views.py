"""Projects clusters to two dimensions: PCA keeps the variance, t-SNE keeps the neighbourhoods.

The second view is t-SNE from scikit-learn on a bounded sample. It keeps neighbours together like UMAP, without another
dependency. Distances between its islands have no meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from training.clusters.assigners import Float, Labels
from training.clusters.matrix import sample

PERPLEXITY: Final = 30.0


@dataclass(frozen=True, slots=True)
class View:
    """A sample of customers in two projections.

    Attributes:
        positions: positions of the sample within the matrix.
        labels: clusters of the sample.
        pca: principal components, (n, 2).
        explained: share of the variance on each PCA axis.
        loadings: weights of the columns on the PCA axes, (2, columns).
        neighbours: t-SNE, (n, 2).
    """

    positions: Labels
    labels: Labels
    pca: Float
    explained: tuple[float, float]
    loadings: Float
    neighbours: Float


def view(matrix: Float, labels: Labels, seed: int, rows: int) -> View:
    """Return the view of at most `rows` rows of a matrix; both projections are fitted to this sample alone."""
    positions = sample(len(matrix), rows, seed)
    drawn = matrix[positions]
    if matrix.shape[1] == 1:
        drawn = np.column_stack([drawn, np.zeros(len(drawn))])
    pca = PCA(2, random_state=seed, svd_solver="full").fit(drawn)
    perplexity = min(PERPLEXITY, (len(drawn) - 1) / 3)
    near = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(drawn)
    first, second = (float(one) for one in pca.explained_variance_ratio_)
    flat = np.round(pca.transform(drawn), 3)
    return View(
        positions, labels[positions], flat, (first, second), pca.components_, np.round(near.astype(np.float64), 2)
    )
