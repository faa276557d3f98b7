"""Clusters against groups that are known, and how much of these the same columns could show at best."""

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
    """The adjusted Rand index of clusters and known groups, and of a forest that is taught the groups.

    The forest is asked about customers that did not teach it (three folds): clusters that have never seen the groups
    cannot be expected to find more of them than it does.

    Args:
        matrix: of the customers.
        labels: their clusters.
        known: their groups.
        seed: of the forest and the folds.
    """
    places = sample(len(matrix), ROWS_MAX, seed)
    rows, groups = matrix[places], known[places]
    names, counts = np.unique(groups, return_counts=True)
    kept = np.isin(groups, names[counts >= _FOLDS])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    forest = RandomForestClassifier(100, min_samples_leaf=5, random_state=seed, n_jobs=1)
    said = cross_val_predict(forest, rows[kept], groups[kept], cv=folds)
    return {
        "groups": len(names),
        "customers": len(known),
        "adjusted_rand": round(float(adjusted_rand_score(known, labels)), 4),
        "taught_adjusted_rand": round(float(adjusted_rand_score(groups[kept], said)), 4),
        "taught_accuracy": round(float(np.mean(groups[kept] == said)), 4),
        "largest_group": round(float(counts.max() / len(groups)), 4),
    }
