"""The terms of a training: when rows are taken, how far their labels look, and what churn costs.

The rule of this file: it imports no library of numbers, so that the settings take their defaults and bounds from here.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

DAYS_MAX: Final = 400

Days = Annotated[int, Meta(ge=1, le=DAYS_MAX)]


class Horizon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When rows are taken and how far their labels look.

    Attributes:
        horizon_days: a customer without an order in so many days after the cut-off has churned.
        history_days: the first cut-off lies at least so long after the first record.
        spacing_days: between two cut-offs; shorter gives more rows, and rows that are more alike.
        cutoffs_max: how many cut-offs at most, the latest ones.
    """

    horizon_days: Days = 90
    history_days: Days = 90
    spacing_days: Days = 15
    cutoffs_max: Days = 24


class Effort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done for a customer of a band, in shares of what a kept customer is worth.

    Attributes:
        cost: of doing it, whether the customer would have left or not.
        saved: share of the leaving customers whom it keeps.
    """

    cost: Annotated[float, Meta(ge=0)]
    saved: Annotated[float, Meta(gt=0, le=1)]


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The declared costs that the bands of risk follow from; low means that nothing is done.

    The defaults: a reminder (1 % of a customer's worth, keeps 3 % of the leaving), a voucher (4 %, 8 %), a call (10 %,
    15.5 %), which give bands from 0.33, 0.60 and 0.80.
    """

    medium: Effort = Effort(0.01, 0.03)
    high: Effort = Effort(0.04, 0.08)
    critical: Effort = Effort(0.10, 0.155)
