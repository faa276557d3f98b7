"""Defines the options of a training: cut-offs, horizon of the labels and costs of churn.

The rule of this file: it imports no numerical library, so that the settings can take defaults and bounds from here.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

DAYS_MAX: Final = 400

Days = Annotated[int, Meta(ge=1, le=DAYS_MAX)]
Validation = Literal["auto", "time", "customers"]
"""Test data of a training: later cut-offs or folds of customers; `auto` takes time if there are enough cut-offs."""


class Horizon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cut-offs of the rows and horizon of their labels.

    Attributes:
        horizon_days: days after the cut-off without an order that count as churn.
        history_days: minimum days between the first record and the first cut-off.
        spacing_days: days between two cut-offs; a smaller value gives more rows, which are more alike.
        cutoffs_max: maximum number of cut-offs, the latest ones.
    """

    horizon_days: Days = 90
    history_days: Days = 90
    spacing_days: Days = 15
    cutoffs_max: Days = 24


class Effort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Effort for a customer of one risk band, in shares of the value of a retained customer.

    Attributes:
        cost: cost of the effort, whether or not the customer would have left.
        saved: share of the leaving customers that it retains.
    """

    cost: Annotated[float, Meta(ge=0)]
    saved: Annotated[float, Meta(gt=0, le=1)]


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Costs that determine the risk bands; the low band has no effort.

    The defaults give bands from 0.33, 0.60 and 0.80: a reminder (1 % of a customer's value, retains 3 % of the
    leaving), a voucher (4 %, 8 %), a call (10 %, 15.5 %).
    """

    medium: Effort = Effort(0.01, 0.03)
    high: Effort = Effort(0.04, 0.08)
    critical: Effort = Effort(0.10, 0.155)
