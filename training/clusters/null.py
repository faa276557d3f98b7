"""Draws tables without groups: Gaussian copulas with the margins and the rank correlations of the customers.

Whatever a method finds in such a table is a slice of a continuum. The values of each column are put in the order of
correlated normal draws (R. L. Iman, W. J. Conover: A distribution-free approach to inducing rank correlation among
input variables, Communications in Statistics 11 (3), 1982).

Customers who share a value, such as those without an order, are no continuum. A second kind of table therefore keeps
which customers have the most frequent value of which columns, and is a copula within each such pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from training.clusters.assigners import Float
from training.clusters.matrix import Category, Preparation, sample

ROWS_MAX: Final = 20_000
"""Rows of a null table; of more customers, a sample."""
SHARED_MIN: Final = 0.1
"""Minimum share of the customers with the most frequent value of a column, for its pattern to count."""
PATTERN_ROWS_MIN: Final = 50
"""Patterns of fewer customers are drawn together."""
_ROUNDS: Final = 5
_EIGENVALUE_MIN: Final = 1e-6

Index = npt.NDArray[np.int64]
Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Copula:
    """Copula of some rows of a matrix.

    Attributes:
        rows: positions of the rows in the matrix, (n,).
        ascending: these positions in ascending order of each group's values, (n, groups).
        correlation: correlation of the normal draws, (groups, groups).
    """

    rows: Index
    ascending: Index
    correlation: Float


@dataclass(frozen=True, slots=True)
class NullTables:
    """Source of null tables.

    Attributes:
        matrix: matrix of the customers, (n, columns).
        groups: positions of the columns; the flags of a category are one group.
        copulas: copulas of disjoint rows, together all of them.
    """

    matrix: Float
    groups: Groups
    copulas: tuple[Copula, ...]

    def draw(self, seed: int | Sequence[int]) -> Float:
        """Return a null matrix of the same shape."""
        rng = np.random.default_rng(seed)
        drawn = np.empty_like(self.matrix)
        for copula in self.copulas:
            normal = _normal(len(copula.rows), copula.correlation, rng)
            order = np.argsort(normal, axis=0, kind="stable")
            for number, columns in enumerate(self.groups):
                cells = copula.rows[order[:, number], None], np.asarray(columns)
                drawn[cells] = self.matrix[copula.ascending[:, number, None], np.asarray(columns)]
        return drawn


def null_tables(matrix: Float, preparation: Preparation, seed: int, *, keep_shared: bool = False) -> NullTables:
    """Fit null tables to a matrix.

    Args:
        matrix: matrix of the customers by `preparation`.
        preparation: preparation of the matrix.
        seed: seed of the sample and of the fit.
        keep_shared: whether each row keeps which of its values are shared, see `shared_values`.
    """
    rows = matrix[sample(len(matrix), ROWS_MAX, seed)]
    groups = _groups(preparation)
    values = _values(rows, groups)
    patterns = _patterns(rows, preparation) if keep_shared else np.zeros(len(rows), np.int64)
    rng = np.random.default_rng([seed, int(keep_shared)])
    copulas = [_copula(values, np.flatnonzero(patterns == pattern), rng) for pattern in np.unique(patterns)]
    return NullTables(rows, groups, tuple(copulas))


def shared_values(matrix: Float, preparation: Preparation) -> dict[str, float]:
    """Return the columns of numbers of which at least SHARED_MIN of the customers have the same value -> that share."""
    shares = {}
    for part, columns in zip(preparation.parts, _groups(preparation), strict=True):
        if not isinstance(part, Category):
            _, counts = np.unique(matrix[:, columns[0]], return_counts=True)
            if counts.max() >= SHARED_MIN * len(matrix):
                shares[part.name] = round(float(counts.max() / len(matrix)), 4)
    return shares


def rank_correlation(values: Float) -> Float:
    """Return the Spearman correlations of columns, (columns, columns); 0 with a constant column."""
    ranks = rankdata(values, axis=0)
    centred = ranks - ranks.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    correlation: Float = scaled.T @ scaled
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _copula(values: Float, rows: Index, rng: np.random.Generator) -> Copula:
    """Fit a copula. Ties shrink the rank correlations of a draw; a few rounds add what is missing."""
    own = values[rows]
    ascending = np.argsort(own, axis=0, kind="stable")
    ordered = np.take_along_axis(own, ascending, axis=0)
    target = 2 * np.sin(np.pi * rank_correlation(own) / 6)  # of normal draws with these rank correlations
    latent = target.copy()
    for _ in range(_ROUNDS):
        normal = _normal(len(rows), _correlation(latent), rng)
        ranks = np.argsort(np.argsort(normal, axis=0, kind="stable"), axis=0)
        reached = rank_correlation(np.take_along_axis(ordered, ranks, axis=0))
        latent = np.clip(latent + target - 2 * np.sin(np.pi * reached / 6), -0.999, 0.999)
    return Copula(rows, rows[ascending], _correlation(latent))


def _groups(preparation: Preparation) -> Groups:
    groups, start = [], 0
    for part in preparation.parts:
        width = len(part.values) if isinstance(part, Category) else 1
        groups.append(tuple(range(start, start + width)))
        start += width
    return tuple(groups)


def _values(rows: Float, groups: Groups) -> Float:
    """Return a column of values for each group, (n, groups).

    A category has no order. Its values are ordered by their means on the first principal component of the numbers, so
    that most of their dependence is kept.
    """
    single = [columns[0] for columns in groups if len(columns) == 1]
    centred = rows[:, single] - rows[:, single].mean(axis=0)
    component = centred @ np.linalg.svd(centred, full_matrices=False)[2][0] if single else np.zeros(len(rows))
    columns = []
    for group in groups:
        if len(group) == 1:
            columns.append(rows[:, group[0]])
            continue
        _, value = np.unique(rows[:, group], axis=0, return_inverse=True)
        value = value.reshape(-1)
        means = np.bincount(value, component) / np.bincount(value)
        columns.append(rankdata(means, method="ordinal")[value].astype(np.float64))
    return np.column_stack(columns)


def _patterns(rows: Float, preparation: Preparation) -> Index:
    """Return the number of each row's pattern of shared values; 0 for the patterns of few rows."""
    shared = shared_values(rows, preparation)
    flags = []
    for part, columns in zip(preparation.parts, _groups(preparation), strict=True):
        if part.name in shared:
            values, counts = np.unique(rows[:, columns[0]], return_counts=True)
            flags.append(rows[:, columns[0]] == values[np.argmax(counts)])
    if not flags:
        return np.zeros(len(rows), np.int64)
    _, pattern = np.unique(np.column_stack(flags), axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    frequent = np.bincount(pattern)[pattern] >= PATTERN_ROWS_MIN
    numbers: Index = np.where(frequent, pattern + 1, 0)
    return numbers


def _correlation(latent: Float) -> Float:
    """Return a correlation matrix near a symmetric matrix, by clipping eigenvalues."""
    symmetric = (latent + latent.T) / 2
    np.fill_diagonal(symmetric, 1.0)
    eigenvalues, vectors = np.linalg.eigh(symmetric)
    positive = (vectors * np.maximum(eigenvalues, _EIGENVALUE_MIN)) @ vectors.T
    spread = np.sqrt(np.diagonal(positive))
    correlation: Float = positive / np.outer(spread, spread)
    return correlation


def _normal(rows: int, correlation: Float, rng: np.random.Generator) -> Float:
    normal: Float = rng.standard_normal((rows, len(correlation))) @ np.linalg.cholesky(correlation).T
    return normal
