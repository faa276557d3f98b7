"""Corrects predictions for the season: how much busier the shop is now than in the training horizons.

A model trained on one Christmas has seen no full year. Its ranking of customers holds in any season, but its
probabilities are those of the training horizons. The newest of these ends long after it began. Shorter windows end
sooner: purchases within 30 days of a cut-off show the present pace, relative to what the model expects of exactly these
customers. P(no order) of a Poisson process is exp(-rate), so a factor on everybody's rate is a power of the
probability. The ranking of the customers is unchanged; the level shifts.

    training horizons      |---30---|---30---|---30---|         the factor of each window, on average: 1
    now                                                 |---30---|now
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from features.schema import DAY_MS
from training.labels import BOUGHT_DAYS

Float64 = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

WINDOW_MS: Final = BOUGHT_DAYS * DAY_MS
PACE_WINDOWS: Final = 3
"""Number of windows whose median is the recent pace."""
CAMPAIGN_FACTOR: Final = 1.15
"""A window busier by more than this factor is a campaign: it passes and predicts nothing about the next windows. A
falling pace counts immediately, because customers are few after a campaign."""
LEVEL_RANGE: Final = (0.5, 1.6)
"""A change of pace beyond this range is no season; retrain the model."""
_FACTOR_RANGE: Final = (0.01, 100.0)


def factor(probability: Float64, bought: npt.NDArray[np.int8], horizon_days: int) -> float | None:
    """Return how many times faster customers bought within BOUGHT_DAYS than at a constant rate over the horizon.

    Args:
        probability: P(no order within the horizon) of each customer.
        bought: 1 for customers who bought within BOUGHT_DAYS.
        horizon_days: horizon of the probabilities.

    Returns:
        None if no customer or every customer has bought.
    """
    stayed = len(bought) - int(bought.sum())
    share = probability ** (BOUGHT_DAYS / horizon_days)

    def surplus(power: float) -> float:
        return float((share**power).sum()) - stayed

    least, most = _FACTOR_RANGE
    if not surplus(most) < 0 < surplus(least):
        return None
    return float(brentq(surplus, least, most, xtol=1e-4))


def expected_level(
    times: Times,
    probability: Float64,
    bought: npt.NDArray[np.int8],
    train_cutoffs: Sequence[int],
    horizon_days: int,
    now: int,
) -> float:
    """Return the power that moves probabilities from the season of the training horizons to the present one.

    Args:
        times: cut-off of each row, epoch ms.
        probability: predicted probability of each row.
        bought: 1 for a purchase within BOUGHT_DAYS of the cut-off; ignored where this window ends after `now`.
        train_cutoffs: cut-offs of the training rows, epoch ms.
        horizon_days: horizon of the labels.
        now: present time, epoch ms; later data are ignored.

    Returns:
        1 if there are too few data to compare.
    """
    factors = {}
    for cutoff in np.unique(times[times + WINDOW_MS <= now]).tolist():
        at_cutoff = times == cutoff
        if (value := factor(probability[at_cutoff], bought[at_cutoff], horizon_days)) is not None:
            factors[cutoff] = value
    late = sorted(factors)[-PACE_WINDOWS:]
    if not late or late[-1] <= now - 2 * WINDOW_MS:
        return 1.0
    known = np.array(sorted(factors))
    inside = [
        cutoff + window * WINDOW_MS for cutoff in train_cutoffs for window in range(max(1, horizon_days // BOUGHT_DAYS))
    ]
    train_pace = np.mean([factors[int(known[np.abs(known - start).argmin()])] for start in inside])
    usual = float(np.median([factors[cutoff] for cutoff in late]))
    latest = factors[late[-1]]
    pace = usual if latest > CAMPAIGN_FACTOR * usual else latest
    return float(np.clip(pace / train_pace, *LEVEL_RANGE))
