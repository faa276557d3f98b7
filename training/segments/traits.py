"""Computes the traits of a group of customers: standardised differences from the others, strongest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.definitions import MONEY_FIELDS
from features.labels import column_label
from training.segments.themes import COLUMN_THEMES

Float = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TRAITS: Final = 5
SAME_CORRELATION: Final = 0.7
"""Correlation from which two columns are redundant; only the stronger one is reported."""
WORDS_MAX: Final = 12
WORD_SHARE_MIN: Final = 0.02
"""Minimum share of customers with a value of a text column for it to be a trait; the most frequent values only."""


@dataclass(frozen=True, slots=True)
class Trait:
    """A column, or one value of a text column, in which a group differs.

    Attributes:
        column: name of the column.
        value: counted value of a text column; None for numbers.
        inside: mean of the group, or its share with the value.
        outside: the same for all other customers.
        difference: (inside - outside) / standard deviation over all.
        money: format of amounts of money, which name their currency.
    """

    column: str
    value: str | None
    inside: float
    outside: float
    difference: float
    money: MoneyFormat = PLAIN_MONEY

    @property
    def name(self) -> str:
        """Display name of the trait."""
        return column_label(self.column) if self.value is None else f"{column_label(self.column)} {self.value}"

    def __str__(self) -> str:
        if self.value is not None:
            return f"{self.name}: {self.inside:.0%} against {self.outside:.0%} ({self.difference:+.1f} sd)"
        means = f"{self._figure(self.inside)} against {self._figure(self.outside)}"
        return f"{self.name}: {means} ({self.difference:+.1f} sd)"

    def _figure(self, value: float) -> str:
        return self.money.text(value) if self.money.currency and self.column in MONEY_FIELDS else figure(value)


def figure(value: float) -> str:
    """Format a number with as many decimals as its size needs."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:,.1f}" if size >= 10 else f"{value:,.2f}"


@dataclass(frozen=True, slots=True)
class Measured:
    """All traits of a table as numeric columns.

    Attributes:
        names: column and value of each trait.
        values: values, (customers, traits), NaN where unknown.
        spread: standard deviation of each trait, never 0.
        correlation: correlations, (traits, traits), with unknown values at the mean.
        money: format of amounts of money.
    """

    names: tuple[tuple[str, str | None], ...]
    values: Float
    spread: Float
    correlation: Float
    money: MoneyFormat = PLAIN_MONEY

    def of(self, inside: Mask, count: int = TRAITS) -> list[Trait]:
        """Return the strongest traits of a group, without redundant ones if there are enough others.

        Args:
            inside: flag for each customer of the group.
            count: number of traits.

        Returns:
            `count` traits, or fewer if fewer are known; none if the group is empty or holds every customer.
        """
        if inside.all() or not inside.any():
            return []
        within, others = means(self.values[inside]), means(self.values[~inside])
        difference = (within - others) / self.spread
        known = np.isfinite(difference)
        order = [int(i) for i in np.argsort(-np.abs(np.where(known, difference, 0.0)), kind="stable") if known[i]]
        chosen: list[int] = []
        for trait in order:
            kin = [other for other in chosen if self._redundant(trait, other)]
            if not kin:
                chosen.append(trait)
        chosen += [trait for trait in order if trait not in chosen]
        return [
            Trait(*self.names[i], float(within[i]), float(others[i]), float(difference[i]), self.money)
            for i in chosen[:count]
        ]

    def _redundant(self, trait: int, other: int) -> bool:
        """Return whether two traits are redundant: of one theme, or closely correlated."""
        themes = [None if value else COLUMN_THEMES.get(name) for name, value in (self.names[trait], self.names[other])]
        same = themes[0] is not None and themes[0] == themes[1]
        return same or abs(float(self.correlation[trait, other])) >= SAME_CORRELATION


def measure(frame: pl.DataFrame, numbers: Iterable[str], words: Iterable[str]) -> Measured:
    """Measure the possible traits of these customers.

    Args:
        frame: one row per customer.
        numbers: columns of numbers or flags; constant columns are left out.
        words: text columns; null is no value.
    """
    names: list[tuple[str, str | None]] = [(name, None) for name in numbers]
    columns = [frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name, _ in names]
    for name in words:
        for value in frequent(frame[name]):
            names.append((name, value))
            columns.append((frame[name] == value).cast(pl.Float64).fill_null(float("nan")).to_numpy())
    values = np.column_stack(columns) if columns else np.zeros((len(frame), 0))
    values = np.where(np.isfinite(values), values, np.nan)
    centred = values - means(values)
    spread = np.sqrt(means(centred**2))
    varies = np.isfinite(spread) & (spread > 1e-12 * np.maximum(1.0, np.abs(means(values))))
    scaled = np.nan_to_num(centred[:, varies] / spread[varies])
    size = np.sqrt((scaled**2).sum(axis=0))
    correlation = (scaled.T @ scaled) / np.maximum(np.outer(size, size), 1e-12)
    varied = tuple(name for name, use in zip(names, varies.tolist(), strict=True) if use)
    return Measured(varied, values[:, varies], spread[varies], correlation)


def frequent(values: pl.Series) -> list[str]:
    """Return the frequent values of a text column, most frequent first, ties in byte order."""
    counts = values.drop_nulls().value_counts(name="n").sort(["n", values.name], descending=[True, False])
    least = max(1, int(np.ceil(WORD_SHARE_MIN * len(values))))
    return counts.filter(pl.col("n") >= least)[values.name].head(WORDS_MAX).to_list()


def columns_of(frame: pl.DataFrame, without: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the numeric and the text columns of a frame, without some and without columns of nulls only."""
    present = [name for name in frame.columns if name not in without and frame[name].null_count() < len(frame)]
    numbers = [name for name in present if _is_number(frame.schema[name])]
    return numbers, [name for name in present if frame.schema[name] == pl.String]


def _is_number(dtype: Any) -> bool:
    return bool(dtype.is_numeric() or dtype == pl.Boolean)


def means(values: Float) -> Float:
    """Return the means of columns without NaN; NaN for a column of NaN only."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
