"""Detects rises of a customer's churn risk in bands with hysteresis, and defines the alert message. Pure.

A band is entered at its threshold and left only well below it, so a probability that fluctuates around a threshold
rises once:

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
"""Share of a band's threshold by which the probability must fall below it before the customer leaves the band."""
UNKNOWN: Final = -1
"""Band of a customer without any score so far."""

Bands = npt.NDArray[np.int8]
"""Positions in score.RISKS, or UNKNOWN."""


class Alert(msgspec.Struct, frozen=True):
    """A rise of a customer's risk, identified by customer_id, churn_risk and day.

    It contains no profile field, since a topic that is not compacted could not forget it.

    Attributes:
        customer_id: id of the customer.
        churn_risk: band after the rise.
        day: UTC day of `ts`, YYYY-MM-DD.
        ts: as_of of the row with the rise, epoch ms.
        churn_risk_before: band before the rise.
        bundle: name of the bundle that gave the scores.
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


def decode_alert(value: bytes) -> Alert | None:
    """Return the alert of a message; None if the message is none."""
    try:
        return msgspec.json.decode(value, type=Alert)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


ALERT_FIELDS: Final[tuple[Field, ...]] = record_fields(Alert)


@dataclass(frozen=True, slots=True)
class Moved:
    """The bands of customers after new probabilities.

    Attributes:
        held: bands to store.
        risen: mask of the customers whose band is higher than before.
    """

    held: Bands
    risen: npt.NDArray[np.bool_]


def move(held: Bands, probability: npt.NDArray[np.float64], thresholds: RiskThresholds) -> Moved:
    """Update the bands `held` by customers with new probabilities.

    Args:
        held: int8; UNKNOWN before the first score, which is never a rise.
        probability: float64; NaN without a score, which leaves the band unchanged.
        thresholds: thresholds of the bands.
    """
    borders = np.array(thresholds.values)
    scored = ~np.isnan(probability)
    reached = np.searchsorted(borders, probability, side="right")
    lowest = np.minimum(np.searchsorted(borders * (1 - MARGIN), probability, side="right"), held)
    after = np.where(scored, np.maximum(reached, lowest), held).astype(np.int8)
    return Moved(after, (after > held) & (held != UNKNOWN))
