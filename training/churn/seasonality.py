"""Seasons: how much busier the shop is now than it was in the horizons that the model has learnt from.

A model that has seen one Christmas has seen no year. What it learns about a customer holds in any season, but its
probabilities are those of the horizons it was taught with, and the newest horizon is over only long after it began.
Shorter windows are over sooner: who bought within 30 days of a cut-off says how fast customers go now, measured by what
the model expects of exactly these customers. P(no order) of a Poisson process is exp(-rate), so a factor on everybody's
rate is a power of the probability: the order of customers stays, the level moves.

    horizons that taught   |---30---|---30---|---30---|         the factor of each window, on average: 1
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
USUAL: Final = 3
"""Windows whose median is the pace of late."""
JUMP: Final = 1.15
"""A window so much busier than that is a campaign: it passes, and says nothing of the next ones. A pace that falls is
believed at once: after a campaign customers are few."""
LEVEL_RANGE: Final = (0.5, 1.6)
"""Beyond this a change of pace is no season; the model should be taught anew."""
_FACTOR_RANGE: Final = (0.01, 100.0)


def factor(probability: Float64, bought: npt.NDArray[np.int8], horizon_days: int) -> float | None:
    """How many times faster customers bought within BOUGHT_DAYS than a constant rate over the horizon would make them.

    Args:
        probability: P(no order within the horizon) of each.
        bought: 1 for who bought within BOUGHT_DAYS.
        horizon_days: of the probabilities.

    Returns:
        None where nobody has bought, or everybody.
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
    taught: Sequence[int],
    horizon_days: int,
    now: int,
) -> float:
    """The power that moves probabilities from the season of the lessons to that of today.

    Args:
        times: cut-off of each row, epoch ms.
        probability: what the model says of each row.
        bought: within BOUGHT_DAYS of the cut-off; means nothing where they end after `now`.
        taught: cut-offs that the model has learnt from, epoch ms.
        horizon_days: of its labels.
        now: epoch ms; nothing later is looked at.

    Returns:
        1 where there is not enough to compare.
    """
    found = {}
    for cutoff in np.unique(times[times + WINDOW_MS <= now]).tolist():
        here = times == cutoff
        if (value := factor(probability[here], bought[here], horizon_days)) is not None:
            found[cutoff] = value
    late = sorted(found)[-USUAL:]
    if not late or late[-1] <= now - 2 * WINDOW_MS:
        return 1.0
    known = np.array(sorted(found))
    inside = [cutoff + place * WINDOW_MS for cutoff in taught for place in range(max(1, horizon_days // BOUGHT_DAYS))]
    lessons = np.mean([found[int(known[np.abs(known - start).argmin()])] for start in inside])
    usual = float(np.median([found[cutoff] for cutoff in late]))
    latest = found[late[-1]]
    pace = usual if latest > JUMP * usual else latest
    return float(np.clip(pace / lessons, *LEVEL_RANGE))
