"""Converts amounts of money to whole cents: int64 inside the system, floats only on the wire and in files."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

import numpy as np
import numpy.typing as npt

from features.records.columns import Int64
from features.schema import AMOUNT_MAX

_CENT: Final = Decimal("0.01")

# Let D be the shortest decimal that reads as the float x, and y = fl(100 * x). D lies within half a spacing of x, so
# |100 D - 100 x| <= 100 x * 2^-53; the product is rounded once, so |y - 100 x| <= y * 2^-53. Together
# |100 D - y| <= y * 2^-52 * (1 + 2^-53) < y * 2^-51. The half nearest to y is floor(y) + 0.5; if it is further away
# than y * 2^-51, no half lies between y and 100 D, and both round to the same integer. For x <= 1e12 that is at most
# 0.045; y - floor(y) and y * 2^-51 are exact in float64. Below the normal range (x < 2^-1022) y is near 0, far from
# any half. So only amounts that look like a half are read as decimals.
_HALF_DOUBT: Final = 2.0**-51


def to_cents(amount: npt.NDArray[np.float64]) -> Int64:
    """Convert amounts to whole cents: the shortest decimal that reads as the float64, rounded half-even to 2 decimals.

    1.015 is 102, 0.005 is 0, 0.015 is 2.

    Args:
        amount: float64 of any shape, each from -AMOUNT_MAX to AMOUNT_MAX.

    Returns:
        int64 of the same shape.

    Raises:
        ValueError: an amount is not a number or out of bounds.
    """
    amount = np.asarray(amount, np.float64)
    if not np.all(np.abs(amount) <= AMOUNT_MAX):
        raise ValueError(f"amounts must be finite and at most {AMOUNT_MAX:g}")
    hundredfold = amount * 100.0
    cents = np.rint(hundredfold).astype(np.int64)
    size = np.abs(hundredfold)
    doubtful = np.abs(size - np.floor(size) - 0.5) <= size * _HALF_DOUBT
    if doubtful.any():
        cents[doubtful] = [_decimal_cents(x) for x in amount[doubtful].tolist()]
    return cents


def _decimal_cents(amount: float) -> int:
    return int(Decimal(repr(amount)).quantize(_CENT, ROUND_HALF_EVEN).scaleb(2))
