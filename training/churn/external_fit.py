"""Where trees learn: from the rows at hand, or from rows that are too many to be at hand.

The rule of this file: what is told of the other rows is plain data, so that whoever has them needs nothing of ours but
the code that prepares a row.
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
class Wanted:
    """Which rows teach what, for rows that are elsewhere.

    Attributes:
        label: the column that is learnt; a row where it is null has no part.
        unit: what the label is divided by.
        teaching: which of the rows.
        bgnbd: parameters of BG/NBD, as `predict.matrix` takes them.
        horizon_days: of the churn labels, as `predict.matrix` takes it.
    """

    label: str
    teaching: TrainSplit
    bgnbd: Mapping[str, float]
    horizon_days: int
    unit: float = 1.0

    def prepared(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Float32, Float64]:
        """The rows that teach among some, their inputs (n, k), and what is learnt of each."""
        known = rows.filter(col(self.label).is_not_null())
        chosen = known.filter(self.teaching.of(known))
        inputs, _ = matrix(numbers(chosen), self.bgnbd, self.horizon_days)
        return chosen, inputs, chosen[self.label].cast(pl.Float64).to_numpy() / self.unit


class Learner(Protocol):
    """Fits trees to more rows than are at hand.

    What cannot be done without them at hand is left out: SMOTE, and every other family of models.
    """

    def fit(self, model: Any, wanted: Wanted) -> Any:
        """An XGBoost model with the settings of one that is not fitted, fitted."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Where the last model learnt and from how many rows, for people: JSON."""


def fitted(
    model: Any, inputs: Float32, labels: npt.NDArray[np.number[Any]], wanted: Wanted, learner: Learner | None
) -> Any:
    """A model fitted to the rows at hand, or by a learner to all."""
    return model.fit(inputs, labels) if learner is None else learner.fit(model, wanted)
