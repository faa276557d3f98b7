"""Prepares a table of customers as a matrix with meaningful distances; fitted once, applied to new customers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from features.errors import ShopstreamError
from training.clusters.mapping import TableMapping
from training.segments.traits import frequent

Float = npt.NDArray[np.float64]

CLIP: Final = 4.0
"""Clipping limit in standard deviations: a single outlier makes no cluster."""


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A numeric column: filled, optionally log(1 + x), standardised, clipped, weighted."""

    name: str
    log: bool
    fill: float
    mean: float
    spread: float
    weight: float


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A text column: a flag for each frequent value, scaled so that all flags together vary like one number."""

    name: str
    values: tuple[str, ...]
    shares: tuple[float, ...]
    spread: float
    weight: float


class Preparation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Converts rows to a matrix."""

    parts: tuple[Number | Category, ...]

    @property
    def names(self) -> list[str]:
        """Return the names of the matrix's columns."""
        return [
            name
            for part in self.parts
            for name in ([part.name] if isinstance(part, Number) else [f"{part.name}={value}" for value in part.values])
        ]

    def matrix(self, table: pl.DataFrame) -> Float:
        """Return the matrix of a mapped table, (rows, columns), float64 without NaN."""
        columns = []
        for part in self.parts:
            if isinstance(part, Number):
                scaled = (_numbers(table[part.name], part.fill, log=part.log) - part.mean) / part.spread
                columns.append(np.clip(scaled, -CLIP, CLIP) * part.weight)
            else:
                for value, share in zip(part.values, part.shares, strict=True):
                    flag = (table[part.name] == value).fill_null(value=False).cast(pl.Float64).to_numpy()
                    columns.append((flag - share) / part.spread * part.weight)
        return np.column_stack(columns)


def learn(table: pl.DataFrame, mapping: TableMapping) -> Preparation:
    """Fit the preparation to a table's columns; constant columns are left out.

    Raises:
        ShopstreamError: every column is constant.
    """
    parts: list[Number | Category] = []
    for name, one in mapping.columns.items():
        if one.kind == "category":
            values = frequent(table[name])
            shares = [float((table[name] == value).sum()) / len(table) for value in values]
            spread = float(np.sqrt(sum(share * (1 - share) for share in shares)))
            if spread > 0:
                parts.append(Category(name, tuple(values), tuple(shares), spread, one.weight))
            continue
        known = table[name].drop_nulls()
        if known.is_empty():
            continue
        fills = {"median": float(np.median(known.to_numpy())), "highest": float(known.to_numpy().max()), "zero": 0.0}
        filled = _numbers(table[name], fills[one.fill], log=one.log)
        mean, spread = float(filled.mean()), float(filled.std())
        if spread > 1e-12 * max(1.0, abs(mean)):
            parts.append(Number(name, one.log, fills[one.fill], mean, spread, one.weight))
    if not parts:
        raise ShopstreamError("All columns of the table are constant.", "Map other columns.")
    return Preparation(tuple(parts))


def unused(table: pl.DataFrame, mapping: TableMapping, preparation: Preparation) -> dict[str, str]:
    """Return the columns that the preparation leaves out, with the reason of each."""
    used = {part.name for part in preparation.parts}
    return {name: _why_unused(table[name]) for name in mapping.columns if name not in used}


def _why_unused(values: pl.Series) -> str:
    known = values.drop_nulls()
    if known.is_empty():
        return "it has no values"
    if known.n_unique() > 1:
        return "none of its values is frequent" if known.dtype == pl.String else "it hardly varies"
    return f"it is constant, {known[0]}" + (
        f", with {values.null_count():,} missing" if len(known) < len(values) else ""
    )


def _numbers(values: pl.Series, fill: float, *, log: bool) -> Float:
    numbers = values.fill_null(fill).to_numpy()
    return np.log1p(np.maximum(numbers, 0.0)) if log else np.asarray(numbers, np.float64)


def sample(rows: int, limit: int, seed: int | Sequence[int]) -> npt.NDArray[np.int64]:
    """Return positions of at most `limit` random rows, ascending."""
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
