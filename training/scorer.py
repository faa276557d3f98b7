"""Scores rows in one vectorised call on the live path, with reasons for high risks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.rules.segments import Rules
from features.scores.score import REASONS, SCORE_SCHEMA, RfmBreaks, RiskThresholds, Scorer, SegmentRules, scored
from training.predict import COLUMNS, Float32, Float64, Model

DRIVER_ROWS_MAX: Final = 5_000
_REASONS_COLUMN: Final = "churn_reasons"


def numbers(rows: pl.DataFrame) -> dict[str, Float64]:
    """Return the columns of rows as input of `training.predict`, NaN for null."""
    filled = rows.select(pl.col(COLUMNS).cast(pl.Float64).fill_null(float("nan")))
    return {name: filled[name].to_numpy() for name in COLUMNS}


@dataclass(frozen=True, slots=True)
class BundleScorer:
    """A `features.scores.score.Scorer` from a bundle.

    Attributes:
        model: models of churn and the next purchase.
        breaks: breaks of the RFM scores.
        thresholds: thresholds of the risk bands.
        rules: segment rules.
    """

    model: Model
    breaks: RfmBreaks
    thresholds: RiskThresholds
    rules: SegmentRules

    def score(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Score rows as the protocol defines."""
        inputs = self.model.inputs(numbers(rows))
        prepared = self.model.filled(inputs)
        probability = self.model.of_matrix(prepared)
        high_risk = (probability >= self.thresholds.high) & (rows["orders_total"].to_numpy() > 0)
        return scored(
            rows,
            self.breaks,
            self.rules,
            churn_probability=pl.Series(probability, dtype=pl.Float64),
            thresholds=self.thresholds,
            churn_reasons=self._reasons(prepared, high_risk),
            next_purchase={name: pl.Series(values) for name, values in self.model.next_purchase(inputs).items()},
        )

    def drivers(self, rows: pl.DataFrame) -> dict[str, float]:
        """Return the mean absolute contribution per input, in log odds, over customers with an order, largest first."""
        buyers = rows.filter(pl.col("orders_total") > 0).head(DRIVER_ROWS_MAX)
        if buyers.is_empty():
            return {}
        sizes = np.abs(self.contributions(self.model.matrix(numbers(buyers)))).mean(axis=0)
        names = self.model.preparation["names"]
        order = np.argsort(-sizes, kind="stable")
        return {names[column]: float(sizes[column]) for column in order if sizes[column] > 0}

    def contributions(self, prepared: Float32) -> Float64:
        """Return the contribution of each input of each row to the log odds of churn, (n, k).

        Exact tree SHAP for XGBoost and LightGBM. For other models, the change of the log odds when the median replaces
        the input. For a logistic regression, that is the exact contribution against the median customer.
        """
        if self.model.kind == "xgboost":
            import xgboost  # noqa: PLC0415 - of the kinds of model only one is needed

            changes = self.model.booster.predict(xgboost.DMatrix(prepared), pred_contribs=True)
            return np.asarray(changes[:, :-1], np.float64)
        if self.model.kind == "lightgbm":
            return np.asarray(self.model.booster.predict(prepared, pred_contrib=True)[:, :-1], np.float64)
        typical = np.asarray(self.model.preparation["typical"], np.float32)
        base = _log_odds(self.model.of_matrix(prepared))
        changes = np.zeros(prepared.shape)
        for column in range(prepared.shape[1]) if self.model.column is None else [self.model.column]:
            replaced = prepared.copy()
            replaced[:, column] = typical[column]
            changes[:, column] = base - _log_odds(self.model.of_matrix(replaced))
        return changes

    def _reasons(self, prepared: Float32, high_risk: npt.NDArray[np.bool_]) -> pl.Series:
        """Return the names of the REASONS inputs with the highest contributions where `high_risk`, null elsewhere."""
        reasons: list[Any] = [None] * len(high_risk)
        rows = np.flatnonzero(high_risk)
        if len(rows):
            names = self.model.preparation["names"]
            order = np.argsort(-self.contributions(prepared[rows]), axis=1, kind="stable")[:, :REASONS]
            for row, best in zip(rows.tolist(), order.tolist(), strict=True):
                reasons[row] = [names[column] for column in best]
        return pl.Series(reasons, dtype=pl.List(pl.String))


class QuickScorer(BundleScorer):
    """Scores like the bundle's scorer, but leaves the reasons null: they cost a hundred times as much as a score."""

    __slots__ = ()

    def _reasons(self, prepared: Float32, high_risk: npt.NDArray[np.bool_]) -> pl.Series:
        del high_risk
        return pl.Series([None] * len(prepared), dtype=SCORE_SCHEMA[_REASONS_COLUMN])


def trend_scorer(scorer: BundleScorer, rules: Rules) -> Scorer:
    """Return the same scorer without reasons, unless the segment rules use them."""
    if _REASONS_COLUMN in rules.columns:
        return scorer
    return QuickScorer(scorer.model, scorer.breaks, scorer.thresholds, scorer.rules)


def _log_odds(probability: Float64) -> Float64:
    odds: Float64 = np.log(probability / (1 - probability))
    return odds
