"""From a table of customers to a matrix in which distances mean something, learnt once and applied to new customers."""

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
"""In standard deviations: a single customer far out does not make a cluster."""


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A column of numbers: filled, logarithm of 1 + x where asked, standardised, clipped, weighted."""

    name: str
    log: bool
    fill: float
    mean: float
    spread: float
    weight: float


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A column of words: a flag for each frequent value, scaled so that all of them together vary like one number."""

    name: str
    values: tuple[str, ...]
    shares: tuple[float, ...]
    spread: float
    weight: float


class Preparation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How rows become a matrix."""

    parts: tuple[Number | Category, ...]

    @property
    def names(self) -> list[str]:
        """Of the matrix's columns."""
        return [
            name
            for part in self.parts
            for name in ([part.name] if isinstance(part, Number) else [f"{part.name}={value}" for value in part.values])
        ]

    def matrix(self, table: pl.DataFrame) -> Float:
        """The matrix of a mapped table, (rows, columns), float64 without NaN."""
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
    """The preparation of a table's columns; those that never vary are left out.

    Raises:
        ShopstreamError: none varies.
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
        found = _numbers(table[name], fills[one.fill], log=one.log)
        mean, spread = float(found.mean()), float(found.std())
        if spread > 1e-12 * max(1.0, abs(mean)):
            parts.append(Number(name, one.log, fills[one.fill], mean, spread, one.weight))
    if not parts:
        raise ShopstreamError("No column of the table varies: there is nothing to cluster.", "Map other columns.")
    return Preparation(tuple(parts))


def _numbers(values: pl.Series, fill: float, *, log: bool) -> Float:
    found = values.fill_null(fill).to_numpy()
    return np.log1p(np.maximum(found, 0.0)) if log else np.asarray(found, np.float64)


def sample(rows: int, limit: int, seed: int | Sequence[int]) -> npt.NDArray[np.int64]:
    """Places of at most `limit` rows, drawn by a seed, ascending."""
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
