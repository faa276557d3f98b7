"""Seasons: how much busier the shop will be than it was in the horizons that the model has learnt from.

A model that has seen one Christmas has seen no year. What it learns about a customer holds in any season, but its
probabilities are those of the horizons it was taught with. P(no order) of a Poisson process is exp(-rate), so a factor
on everybody's rate is a power of the probability: the order of customers stays, the level moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from polars import col

from features.schema import DAY_MS

ORDINARY_DAYS: Final = 90
"""The season that is expected to go on: the median week of so many days, which no campaign moves."""
LEVEL_RANGE: Final = (0.6, 1.6)
"""Beyond this a change of pace is no season; the model should be taught anew."""


def expected_level(paces: pl.DataFrame, cutoffs: Sequence[int], horizon_days: int, now: int) -> float:
    """The power that moves probabilities from the season of the lessons to that of an ordinary week of today.

    Args:
        paces: `time` (end of a week, epoch ms) and `pace`.
        cutoffs: of the rows that taught, one for each row or each cut-off, epoch ms.
        horizon_days: of their labels.
        now: epoch ms; nothing later is looked at.

    Returns:
        1 where there is not enough to compare.
    """
    known = paces.filter(col("time") <= now)
    recent = known.filter(col("time") > now - ORDINARY_DAYS * DAY_MS)["pace"]
    taught = []
    for cutoff in cutoffs:
        within = known.filter(col("time").is_between(cutoff, cutoff + horizon_days * DAY_MS, closed="right"))
        if within.height:
            taught.append(float(within["pace"].to_numpy().mean()))
    if recent.len() < ORDINARY_DAYS // 14 or not taught or np.mean(taught) <= 0:
        return 1.0
    return float(np.clip(np.median(recent.to_numpy()) / np.mean(taught), *LEVEL_RANGE))
