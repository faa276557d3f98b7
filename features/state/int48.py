"""Stores times and cents in 48 bits: the low 32 in a field `NAME_low`, the high 16 in `NAME_high`.

Valid times (up to the year 9999) and valid amounts (10^14 cents) are below 2^48 - 1, so nothing is rounded or cut.
For "never", minima use the highest number and maxima use 0, which is no valid time.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

INT48_MAX: Final = (1 << 48) - 1
"""Highest number that fits."""
NEVER_MIN: Final = INT48_MAX
"""Value for "no time yet" in minima."""
NEVER_MAX: Final = 0
"""Value for "no time yet" in maxima."""


def read_int48(rows: npt.NDArray[np.void], name: str) -> npt.NDArray[np.int64]:
    """Return the numbers `name` of rows, as a new int64 array."""
    return rows[f"{name}_high"].astype(np.int64) << 32 | rows[f"{name}_low"]


def fill_int48(rows: npt.NDArray[np.void], name: str, value: int) -> None:
    """Set the same number in all given rows."""
    rows[f"{name}_low"] = value & 0xFFFF_FFFF
    rows[f"{name}_high"] = value >> 32


@numba.njit(inline="always")
def joined(low, high):
    """Return the number in NAME_low and NAME_high, as int64."""
    return np.int64(low) | (np.int64(high) << np.int64(32))


@numba.njit(inline="always")
def low_part(value):
    """Return the value of the field NAME_low for an int64."""
    return np.uint32(value & np.int64(0xFFFF_FFFF))


@numba.njit(inline="always")
def high_part(value):
    """Return the value of the field NAME_high for an int64."""
    return np.uint16(value >> np.int64(32))
