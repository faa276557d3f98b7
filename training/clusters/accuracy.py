"""Compares clusters with known groups, and with the best result that the same columns allow."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from training.clusters.assigners import Float, Labels
from training.clusters.matrix import sample

ROWS_MAX: Final = 5_000
_FOLDS: Final = 3


def against(matrix: Float, labels: Labels, known: npt.NDArray[np.str_], seed: int) -> dict[str, Any]:
    """Return the adjusted Rand index of the clusters and of a supervised forest against the known groups.

    The forest is trained on the groups and predicts held-out customers (three folds). Clusters never see
    the groups, so they cannot be expected to score higher.

    Args:
        matrix: matrix of the customers.
        labels: clusters of the customers.
        known: known groups of the customers.
        seed: seed of the forest and the folds.
    """
    sampled = sample(len(matrix), ROWS_MAX, seed)
    rows, groups = matrix[sampled], known[sampled]
    names, counts = np.unique(groups, return_counts=True)
    frequent = np.isin(groups, names[counts >= _FOLDS])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    forest = RandomForestClassifier(100, min_samples_leaf=5, random_state=seed, n_jobs=1)
    predicted = cross_val_predict(forest, rows[frequent], groups[frequent], cv=folds)
    return {
        "groups": len(names),
        "customers": len(known),
        "adjusted_rand": round(float(adjusted_rand_score(known, labels)), 4),
        "taught_adjusted_rand": round(float(adjusted_rand_score(groups[frequent], predicted)), 4),
        "taught_accuracy": round(float(np.mean(groups[frequent] == predicted)), 4),
        "largest_group": round(float(counts.max() / len(groups)), 4),
    }
