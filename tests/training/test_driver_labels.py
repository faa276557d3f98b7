"""Every input of the churn model has words: as a column, and as a reason."""

from __future__ import annotations

import numpy as np

from features.labels import DRIVER_LABELS, FEATURE_LABELS, MODEL_INPUT_LABELS
from training.predict import COLUMNS, matrix

VISITS = {"r": 1.0, "alpha": 9.0, "s": 0.5, "beta": 40.0, "orders": 1.0, "misses": 8.0}
PARAMETERS = {"r": 1.0, "alpha": 30.0, "a": 1.0, "b": 3.0, "visits": VISITS}


def test_every_input_of_the_churn_model_has_words_as_a_column_and_as_a_reason():
    columns = {name: np.ones(2) for name in COLUMNS}
    _, names = matrix(columns, PARAMETERS, 90.0)
    assert "visits_alive" in names
    assert set(names) <= DRIVER_LABELS.keys()
    assert set(names) <= FEATURE_LABELS.keys() | MODEL_INPUT_LABELS.keys()


def test_two_reasons_never_read_the_same():
    assert len(set(DRIVER_LABELS.values())) == len(DRIVER_LABELS)
