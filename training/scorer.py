"""Scores rows in one vectorised call on the live path, with reasons for high risks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.rules.segments import Rules
from features.scores.score import REASONS, SCORE_SCHEMA, RfmBreaks, RiskThresholds, Scorer, SegmentRules, scored
from training.predict import COLUMNS, Float32, Float64, Model, linear_inputs

DRIVER_ROWS_MAX: Final = 5_000
_MARGIN_STEP: Final = 1e-6
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
        probability, next_purchase = self.model.scores(inputs)
        high_risk = (probability >= self.thresholds.high) & (rows["orders_total"].to_numpy() > 0)
        return scored(
            rows,
            self.breaks,
            self.rules,
            churn_probability=pl.Series(probability, dtype=pl.Float64),
            thresholds=self.thresholds,
            churn_reasons=self._reasons(inputs, high_risk),
            next_purchase={name: pl.Series(values) for name, values in next_purchase.items()},
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

        Exact tree SHAP for XGBoost and LightGBM. For a paced hazard, see `_of_hazard`. For other models, the change of
        the log odds when the median replaces the input. For a logistic regression, that is the exact contribution
        against the median customer.
        """
        if self.model.kind == "paced_hazard":
            return self._of_hazard(prepared)
        if self.model.kind == "xgboost":
            return self._tree_shap(prepared)[:, :-1]
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

    def _tree_shap(self, prepared: Float32) -> Float64:
        """Return the tree SHAP values of the inputs of each row, and their mean as the last column, (n, k + 1)."""
        import xgboost  # noqa: PLC0415 - of the kinds of model only one is needed

        return np.asarray(self.model.booster.predict(xgboost.DMatrix(prepared), pred_contribs=True), np.float64)

    def _of_hazard(self, prepared: Float32) -> Float64:
        """Return the contributions of a paced hazard: the mean of exact tree SHAP and exact linear contributions.

        Both are of the log odds of an order, which are a sum, against their mean over the training rows. Churn is a
        falling function of this sum. So each input has the same share of the change of churn as of the sum. This is the
        method of Aumann and Shapley on the line from the mean to the row. All contributions of a row add up to
        the change of its log odds of churn, before calibration.
        """
        hazard = self.model.preparation["hazard"]
        shap = self._tree_shap(prepared)
        columns = prepared.shape[1]
        linear = linear_inputs(prepared, hazard["fill"], hazard["missing"]) - np.asarray(hazard["means"])
        linear *= np.asarray(hazard["coefficients"])
        of_order = shap[:, :columns] + linear[:, :columns]
        of_order[:, hazard["missing"]] += linear[:, columns:]
        usual = hazard["intercept"] + float(np.dot(hazard["coefficients"], hazard["means"]))
        start = (shap[:, -1] + usual) / 2
        end = start + of_order.sum(axis=1) / 2
        # a mean slope; of two equal ends, that of a short way between them
        apart = np.where(np.abs(end - start) < _MARGIN_STEP, start + _MARGIN_STEP, end)
        slope = (_churn_log_odds(apart, hazard) - _churn_log_odds(start, hazard)) / (apart - start)
        contributions: Float64 = of_order / 2 * slope[:, None]
        return contributions

    def _reasons(self, inputs: Float32, high_risk: npt.NDArray[np.bool_]) -> pl.Series:
        """Return the names of the REASONS inputs with the highest contributions where `high_risk`, null elsewhere."""
        reasons: list[Any] = [None] * len(high_risk)
        rows = np.flatnonzero(high_risk)
        if len(rows):
            names = self.model.preparation["names"]
            order = np.argsort(-self.contributions(self.model.filled(inputs[rows])), axis=1, kind="stable")[:, :REASONS]
            for row, best in zip(rows.tolist(), order.tolist(), strict=True):
                reasons[row] = [names[column] for column in best]
        return pl.Series(reasons, dtype=pl.List(pl.String))


class QuickScorer(BundleScorer):
    """Scores like the bundle's scorer, but leaves the reasons null: they cost a hundred times as much as a score."""

    __slots__ = ()

    def _reasons(self, inputs: Float32, high_risk: npt.NDArray[np.bool_]) -> pl.Series:
        del high_risk
        return pl.Series([None] * len(inputs), dtype=SCORE_SCHEMA[_REASONS_COLUMN])


def trend_scorer(scorer: BundleScorer, rules: Rules) -> Scorer:
    """Return the same scorer without reasons, unless the segment rules use them."""
    if _REASONS_COLUMN in rules.columns:
        return scorer
    return QuickScorer(scorer.model, scorer.breaks, scorer.thresholds, scorer.rules)


def _churn_log_odds(margin: Float64, hazard: Mapping[str, Any]) -> Float64:
    """Return the log odds of churn before calibration; exact where the probability is near 1."""
    stays = -np.logaddexp(0.0, margin[:, None] + np.asarray(hazard["offsets"])).sum(axis=1)
    odds: Float64 = stays - np.log(-np.expm1(stays))
    return odds


def _log_odds(probability: Float64) -> Float64:
    odds: Float64 = np.log(probability / (1 - probability))
    return odds
