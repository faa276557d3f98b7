"""When a customer's churn risk rises: bands with hysteresis, and the message that says so. Pure.

A band is entered at its threshold and left only well below it, so a probability that wavers around a threshold rises
once:

    probability   0.55  0.61  0.58  0.62  0.53  0.60      threshold of high: 0.60, left below 0.54
    band held     med   high  high  high  med   high
    alert               *                       *
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from features.schema import Field, record_fields
from features.scores.score import RiskThresholds

MARGIN: Final = 0.1
"""A band is left downwards only when the probability is this share of its threshold below it."""
UNKNOWN: Final = -1
"""The band of a customer who has had no score yet."""

Bands = npt.NDArray[np.int8]
"""Places in score.RISKS, or UNKNOWN."""


class Alert(msgspec.Struct, frozen=True):
    """A customer's risk has risen; told apart by customer_id, churn_risk and day.

    It holds no field of the profile: a topic that is not compacted could not forget it.

    Attributes:
        customer_id: whose.
        churn_risk: the band risen to.
        day: UTC day of `ts`, YYYY-MM-DD.
        ts: as_of of the row that rose, epoch ms.
        churn_risk_before: the band held until then.
        bundle: the name of what gave the scores.
    """

    customer_id: str
    churn_risk: str
    day: str
    ts: int
    churn_risk_before: str
    churn_probability: float
    churn_reasons: list[str] | None
    segment: str
    recommended_action: str
    revenue_365d: float
    bundle: str


ALERT_FIELDS: Final[tuple[Field, ...]] = record_fields(Alert)


@dataclass(frozen=True, slots=True)
class Moved:
    """The bands of customers after new probabilities.

    Attributes:
        held: the bands to remember.
        risen: where they are higher than before.
    """

    held: Bands
    risen: npt.NDArray[np.bool_]


def move(held: Bands, probability: npt.NDArray[np.float64], thresholds: RiskThresholds) -> Moved:
    """Follow customers whose bands were `held` to new probabilities.

    Args:
        held: int8, UNKNOWN for a first score, which is a beginning and no rise.
        probability: float64; NaN where there is no score, which changes nothing.
        thresholds: of the bands.
    """
    borders = np.array(thresholds.values)
    scored = ~np.isnan(probability)
    reached = np.searchsorted(borders, probability, side="right")
    kept = np.minimum(np.searchsorted(borders * (1 - MARGIN), probability, side="right"), held)
    after = np.where(scored, np.maximum(reached, kept), held).astype(np.int8)
    return Moved(after, (after > held) & (held != UNKNOWN))
