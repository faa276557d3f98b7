"""Computes with amounts of money exactly and rounds once, at the end.

Amounts are whole units of a power of ten. They are int64 as long as all fit, and Python integers otherwise, so that no
amount overflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

_INT64_DIGITS: Final = 18
"""Most digits of which every number fits int64."""
_HALF_BITS: Final = 32
_EXACT_MAX: Final = 2**53
"""Up to here every integer is a float64."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Exact amounts: `units` / 10 ** `scale`.

    Attributes:
        units: int64, or Python integers if one does not fit; 0 where missing.
        scale: digits after the point, from 0.
        missing: which amounts are null.
    """

    units: npt.NDArray[Any]
    scale: int
    missing: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.units)


def amounts(text: pl.Series) -> Amounts:
    """Read plain decimals, such as the values of `read_decimals`. Null stays null.

    Raises:
        ValueError: a text is no plain decimal.
    """
    if not bool(text.str.contains(r"^-?[0-9]+(?:\.[0-9]*)?$").all()):
        raise ValueError("amounts are plain decimals such as -12.50")
    missing = text.is_null().to_numpy()
    point = text.str.find(".", literal=True)
    decimals = (text.str.len_bytes().cast(pl.Int64) - point.cast(pl.Int64) - 1).fill_null(0).to_numpy()
    scale = int(decimals.max(initial=0))
    bare = text.str.replace(".", "", literal=True).fill_null("0")
    longest = int((bare.str.len_bytes().cast(pl.Int64).to_numpy() + scale - decimals).max(initial=0))
    if longest <= _INT64_DIGITS:
        units = bare.cast(pl.Int64).to_numpy() * 10 ** (scale - decimals)
        return Amounts(units.astype(np.int64), scale, missing)
    values = [int(one) * 10 ** (scale - count) for one, count in zip(bare, decimals.tolist(), strict=True)]
    return Amounts(_narrow(np.array(values, dtype=object)), scale, missing)


def products(*factors: Amounts) -> Amounts:
    """Multiply amounts of equal length exactly. A factor of length 1, such as a rate, applies to all.

    Args:
        factors: quantities, prices and rates.

    Returns:
        Amounts that are null where a factor is null. The scale is the sum of the factors' scales.
    """
    result = factors[0]
    for factor in factors[1:]:
        left, right = result.units, factor.units
        if object not in (left.dtype, right.dtype) and _largest(left) * _largest(right) >= 2**63:
            left = left.astype(object)
        result = Amounts(_narrow(left * right), result.scale + factor.scale, result.missing | factor.missing)
    return result


def sums(groups: pl.Series, values: Amounts) -> tuple[pl.Series, Amounts]:
    """Add the amounts of each group exactly.

    Args:
        groups: integers, one for each amount.
        values: amounts.

    Returns:
        The different groups in ascending order, and the sum of each. A group with a null amount has a null sum.
    """
    table = pl.DataFrame({"group": groups, "missing": values.missing})
    if values.units.dtype == object:
        added: dict[int, int] = dict.fromkeys(groups.to_list(), 0)
        for group, units in zip(groups.to_list(), values.units.tolist(), strict=True):
            added[group] += units
        by_group = table.group_by("group").agg(pl.col("missing").any()).sort("group")
        exact = np.array([added[group] for group in by_group["group"]], dtype=object)
    else:
        # Two halves of the bits are added separately: neither sum overflows below 2^31 rows.
        low = values.units & (2**_HALF_BITS - 1)
        halves = table.with_columns(low=pl.Series(low), high=pl.Series(values.units >> _HALF_BITS))
        by_group = halves.group_by("group").agg(pl.col("missing").any(), pl.col("low", "high").sum()).sort("group")
        high, rest = by_group["high"].to_numpy(), by_group["low"].to_numpy()
        carried = high + (rest >> _HALF_BITS)
        if _largest(carried) < 2 ** (_HALF_BITS - 1):
            exact = (carried << _HALF_BITS) + (rest & (2**_HALF_BITS - 1))
        else:
            exact = high.astype(object) * 2**_HALF_BITS + rest.astype(object)
    missing = by_group["missing"].to_numpy()
    return by_group["group"], Amounts(_narrow(np.where(missing, 0, exact)), values.scale, missing)


def rounded(values: Amounts, digits: int = 2) -> pl.Series:
    """Round once, half to even, to the nearest float64 of the rounded decimal.

    Args:
        values: exact amounts.
        digits: number of digits after the point that remain.

    Returns:
        Float64; null where the amount is null.
    """
    units, scale = values.units, values.scale
    if scale > digits:
        if scale - digits > _INT64_DIGITS:
            units = units.astype(object)
        divisor = 10 ** (scale - digits)
        whole = units // divisor
        rest = units - whole * divisor
        up = (rest * 2 > divisor) | ((rest * 2 == divisor) & (whole % 2 == 1))
        units, scale = _narrow(whole + up.astype(np.int64)), digits
    factor = 10**scale
    if units.dtype != object and _largest(units) <= _EXACT_MAX and factor <= 10**_INT64_DIGITS:
        floats = units.astype(np.float64) / float(factor)  # both are exact, so the division rounds once
    else:
        floats = np.array([unit / factor for unit in units.tolist()], dtype=np.float64)  # Python's also rounds once
    result = pl.Series(floats, dtype=pl.Float64)
    return result.zip_with(
        pl.Series(~values.missing), pl.Series([None], dtype=pl.Float64).new_from_index(0, len(result))
    )


def texts(values: Amounts) -> pl.Series:
    """Return amounts as plain decimals, which `amounts` reads back exactly."""
    if values.scale == 0:
        plain = [str(unit) for unit in values.units.tolist()]
    else:
        width = values.scale + 1
        plain = []
        for unit in values.units.tolist():
            padded = str(abs(unit)).zfill(width)
            plain.append(f"{'-' if unit < 0 else ''}{padded[: -values.scale]}.{padded[-values.scale :]}")
    result = pl.Series(plain, dtype=pl.String)
    return result.zip_with(
        pl.Series(~values.missing), pl.Series([None], dtype=pl.String).new_from_index(0, len(result))
    )


def _largest(units: npt.NDArray[Any]) -> int:
    """Return the largest size of int64 numbers."""
    return max(abs(int(units.min(initial=0))), int(units.max(initial=0)))


def _narrow(units: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return Python integers as int64 if all fit."""
    if units.dtype == object and all(-(2**63) < unit < 2**63 for unit in units.tolist()):
        return units.astype(np.int64)
    return units
