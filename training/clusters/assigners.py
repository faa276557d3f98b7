"""Assigns new customers to clusters by the parameters of a fitted method.

Each assigner is a value that is stored as JSON. It labels every row of a matrix, in blocks of bounded size.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Float = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

BLOCK_ROWS: Final = 20_000
Rows = tuple[tuple[float, ...], ...]


class Centres(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Assigns the nearest centre."""

    centres: Rows

    def labels(self, matrix: Float) -> Labels:
        """Return the cluster of each row."""
        centres = np.asarray(self.centres)
        squares = (centres**2).sum(axis=1)
        return _blocks(matrix, lambda rows: np.argmin(squares - 2 * rows @ centres.T, axis=1))


class Mixture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Assigns the most likely Gaussian; `factors` are Cholesky factors of the precisions, (k, d, d)."""

    weights: tuple[float, ...]
    means: Rows
    factors: tuple[Rows, ...]

    def labels(self, matrix: Float) -> Labels:
        """Return the cluster of each row."""
        weights, means, factors = np.asarray(self.weights), np.asarray(self.means), np.asarray(self.factors)
        level = np.log(weights) + np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)

        def likeliest(rows: Float) -> Labels:
            far = [(((rows - mean) @ factor) ** 2).sum(axis=1) for mean, factor in zip(means, factors, strict=True)]
            nearest: Labels = np.argmax(level - 0.5 * np.column_stack(far), axis=1)
            return nearest

        return _blocks(matrix, likeliest)


class Landmarks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Assigns the majority cluster among the nearest customers of the sample; a tie: the smallest number."""

    points: Rows
    members: tuple[int, ...]
    neighbours: int

    def labels(self, matrix: Float) -> Labels:
        """Return the cluster of each row."""
        tree = cKDTree(np.asarray(self.points))
        members = np.asarray(self.members)
        near = min(self.neighbours, len(members))

        def voted(rows: Float) -> Labels:
            _, nearest = tree.query(rows, k=near)
            votes = members[np.asarray(nearest).reshape(len(rows), near)]
            counts = np.column_stack([(votes == one).sum(axis=1) for one in range(int(members.max()) + 1)])
            majority: Labels = np.argmax(counts, axis=1)
            return majority

        return _blocks(matrix, voted)


Assigner = Centres | Mixture | Landmarks


def _blocks(matrix: Float, of: object) -> Labels:
    assert callable(of)
    parts = [of(matrix[start : start + BLOCK_ROWS]) for start in range(0, len(matrix), BLOCK_ROWS)]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def as_rows(values: Float) -> Rows:
    """Return a matrix in its stored form."""
    return tuple(tuple(float(one) for one in row) for row in values)
