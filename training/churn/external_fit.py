"""Fits trees to the rows in memory, or delegates to a learner with more rows than fit in memory.

The rule of this file: the other rows are described as plain data. A learner that holds them needs no code of the
project but the preparation of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from polars import col

from training.churn.selection import TrainSplit
from training.predict import Float32, Float64, matrix
from training.scorer import numbers


@dataclass(frozen=True, slots=True)
class FitTask:
    """Specification of the training rows and the label, for rows held elsewhere.

    Attributes:
        label: label column; rows where it is null are ignored.
        unit: divisor of the label.
        train_split: selection of the training rows.
        bgnbd: parameters of BG/NBD for `predict.matrix`.
        horizon_days: horizon of the churn labels for `predict.matrix`.
    """

    label: str
    train_split: TrainSplit
    bgnbd: Mapping[str, float]
    horizon_days: int
    unit: float = 1.0

    def prepared(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Float32, Float64]:
        """Return the training rows among `rows`, their inputs (n, k) and their labels."""
        known = rows.filter(col(self.label).is_not_null())
        chosen = known.filter(self.train_split.of(known))
        inputs, _ = matrix(numbers(chosen), self.bgnbd, self.horizon_days)
        return chosen, inputs, chosen[self.label].cast(pl.Float64).to_numpy() / self.unit


class Learner(Protocol):
    """Fits trees to more rows than fit in memory.

    Methods that need all rows in memory are unavailable: SMOTE, and every other family of models.
    """

    def fit(self, model: Any, task: FitTask) -> Any:
        """Return a fitted XGBoost model with the settings of `model`, which is not fitted."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Description of the last fit for the model card, as JSON: where it ran and on how many rows."""


def fitted(
    model: Any, inputs: Float32, labels: npt.NDArray[np.number[Any]], task: FitTask, learner: Learner | None
) -> Any:
    """Fit a model to the rows in memory, or through a learner to all rows."""
    return model.fit(inputs, labels) if learner is None else learner.fit(model, task)
