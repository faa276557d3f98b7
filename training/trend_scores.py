"""Scores complete histories without reasons, which cost a hundred times as much as a probability."""

from __future__ import annotations

import polars as pl

from features.rules.segments import Rules
from features.scores.score import SCORE_SCHEMA, Scorer
from training.predict import Float32
from training.scorer import BundleScorer

REASONS = "churn_reasons"


class QuickScorer(BundleScorer):
    """Scores like the bundle's scorer, but leaves REASONS null."""

    __slots__ = ()

    def _reasons(self, prepared: Float32, asked: object) -> pl.Series:
        del asked
        return pl.Series([None] * len(prepared), dtype=SCORE_SCHEMA[REASONS])


def trend_scorer(scorer: BundleScorer, rules: Rules) -> Scorer:
    """Return the same scorer without reasons, unless the segment rules use them."""
    if REASONS in rules.columns:
        return scorer
    return QuickScorer(scorer.model, scorer.breaks, scorer.thresholds, scorer.rules)
