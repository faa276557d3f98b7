"""The live path: rows to scores in one vectorised call, with reasons where the risk is high."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.scores.score import REASONS, RfmBreaks, RiskThresholds, SegmentRules, scored
from training.predict import COLUMNS, Float32, Float64, Model

DRIVER_ROWS_MAX: Final = 5_000


def numbers(rows: pl.DataFrame) -> dict[str, Float64]:
    """The columns of rows as `training.predict` takes them, NaN for null."""
    whole = rows.select(pl.col(COLUMNS).cast(pl.Float64).fill_null(float("nan")))
    return {name: whole[name].to_numpy() for name in COLUMNS}


@dataclass(frozen=True, slots=True)
class BundleScorer:
    """A `features.scores.score.Scorer` out of a bundle.

    Attributes:
        model: of churn and the next purchase.
        breaks: of the RFM scores.
        thresholds: of the bands of risk.
        rules: of the segments.
    """

    model: Model
    breaks: RfmBreaks
    thresholds: RiskThresholds
    rules: SegmentRules

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        """As the protocol says."""
        inputs = self.model.inputs(numbers(rows))
        prepared = self.model.filled(inputs)
        probability = self.model.of_matrix(prepared)
        asked = (probability >= self.thresholds.high) & (rows["orders_total"].to_numpy() > 0)
        return scored(
            rows,
            self.breaks,
            self.rules,
            churn_probability=pl.Series(probability, dtype=pl.Float64),
            thresholds=self.thresholds,
            churn_reasons=self._reasons(prepared, asked),
            next_purchase={name: pl.Series(values) for name, values in self.model.next_purchase(inputs).items()},
        )

    def drivers(self, rows: pl.DataFrame) -> dict[str, float]:
        """Mean size of each input's contribution, in log odds, over rows of customers with an order; largest first."""
        buyers = rows.filter(pl.col("orders_total") > 0).head(DRIVER_ROWS_MAX)
        if buyers.is_empty():
            return {}
        sizes = np.abs(self.contributions(self.model.matrix(numbers(buyers)))).mean(axis=0)
        names = self.model.preparation["names"]
        order = np.argsort(-sizes, kind="stable")
        return {names[place]: float(sizes[place]) for place in order if sizes[place] > 0}

    def contributions(self, prepared: Float32) -> Float64:
        """How much each input of each row pushes the log odds of churn up, (n, k).

        Exact tree SHAP for XGBoost and LightGBM; for the others the change of the log odds when the input is replaced
        by its median, which for a logistic regression is the exact contribution against the median customer.
        """
        if self.model.kind == "xgboost":
            import xgboost  # noqa: PLC0415 - of the kinds of model only one is needed

            found = self.model.booster.predict(xgboost.DMatrix(prepared), pred_contribs=True)
            return np.asarray(found[:, :-1], np.float64)
        if self.model.kind == "lightgbm":
            return np.asarray(self.model.booster.predict(prepared, pred_contrib=True)[:, :-1], np.float64)
        typical = np.asarray(self.model.preparation["typical"], np.float32)
        base = _log_odds(self.model.of_matrix(prepared))
        found = np.zeros(prepared.shape)
        for place in range(prepared.shape[1]) if self.model.column is None else [self.model.column]:
            replaced = prepared.copy()
            replaced[:, place] = typical[place]
            found[:, place] = base - _log_odds(self.model.of_matrix(replaced))
        return found

    def _reasons(self, prepared: Float32, asked: npt.NDArray[np.bool_]) -> pl.Series:
        """The names of the REASONS inputs with the highest contributions where `asked`, null elsewhere."""
        found: list[Any] = [None] * len(asked)
        places = np.flatnonzero(asked)
        if len(places):
            names = self.model.preparation["names"]
            order = np.argsort(-self.contributions(prepared[places]), axis=1, kind="stable")[:, :REASONS]
            for place, best in zip(places.tolist(), order.tolist(), strict=True):
                found[place] = [names[column] for column in best]
        return pl.Series(found, dtype=pl.List(pl.String))


def _log_odds(probability: Float64) -> Float64:
    found: Float64 = np.log(probability / (1 - probability))
    return found
