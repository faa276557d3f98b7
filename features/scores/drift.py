"""Measures drift of a column against the training set of a model, as population stability index (PSI).

PSI = sum over bins of (share now - share then) * ln(share now / share then). Below 0.1 the column has not moved, above
0.25 it has moved far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

BINS: Final = 10
WORDS_MAX: Final = 20
SHARE_MIN: Final = 1e-4
"""Share assumed for an empty bin: the logarithm of zero would dominate the sum."""
MOVED: Final = 0.25
"""PSI from which a column has moved so far that an older model needs a review before use."""

Counts = npt.NDArray[np.int64]


class ColumnProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bins of one column and their shares.

    Attributes:
        shares: share of each bin; together 1. The last bin holds nulls. Numbers have len(edges) + 2 bins. Words have
            len(words) + 2 bins, the last but one for all other words.
        edges: edges of a numeric column, ascending: bin i holds edges[i - 1] < value <= edges[i].
        words: words of a string column.
    """

    shares: tuple[float, ...]
    edges: tuple[float, ...] = ()
    words: tuple[str, ...] = ()


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Distribution of the rows of a training set, by column."""

    rows: int
    columns: dict[str, ColumnProfile]


def learn_profile(rows: pl.DataFrame, columns: Sequence[str], *, bins: int = BINS) -> Profile:
    """Return the profile of columns; needs at least one row. Strings are binned by word, others by equal shares."""
    return Profile(len(rows), {name: _learn_column(rows[name], bins) for name in columns})


def _learn_column(values: pl.Series, bins: int) -> ColumnProfile:
    known = values.drop_nulls()
    if values.dtype == pl.String:
        counted = known.value_counts().sort("count", known.name, descending=[True, False]).head(WORDS_MAX)
        empty = ColumnProfile((), words=tuple(sorted(counted[known.name].to_list())))
    else:
        ordered = known.cast(pl.Float64).sort()
        cuts = {float(ordered[-(-k * len(ordered) // bins) - 1]) for k in range(1, bins)} if len(ordered) else set()
        empty = ColumnProfile((), edges=tuple(sorted(cuts)))
    counts = count(empty, values)
    return msgspec.structs.replace(empty, shares=tuple((counts / max(1, counts.sum())).tolist()))


def count(profile: ColumnProfile, values: pl.Series) -> Counts:
    """Return the number of values in each bin of a profile; int64."""
    known = values.drop_nulls()
    if values.dtype == pl.String:
        words = list(profile.words)
        bin_numbers = known.replace_strict(
            words, range(len(words)), default=len(words), return_dtype=pl.Int64
        ).to_numpy()
        bins = len(words) + 2
    else:
        bin_numbers = np.searchsorted(np.array(profile.edges), known.cast(pl.Float64).to_numpy(), side="left")
        bins = len(profile.edges) + 2
    counts = np.bincount(bin_numbers, minlength=bins).astype(np.int64)
    counts[-1] = values.null_count()
    return counts


@dataclass(frozen=True, slots=True)
class Drift:
    """Drift of the columns.

    Attributes:
        day: UTC day of the rows, as days since the epoch.
        rows: number of rows counted.
        psi: population stability index of each column of the profile.
    """

    day: int
    rows: int
    psi: Mapping[str, float]

    @property
    def most(self) -> tuple[str, float]:
        """Column that has moved most, with its PSI."""
        return max(self.psi.items(), key=lambda item: item[1], default=("", 0.0))


class DriftWindow:
    """Counts rows in the bins of a profile.

    Args:
        profile: profile of the training set.
        day: UTC day of the rows, as days since the epoch.
    """

    def __init__(self, profile: Profile, day: int) -> None:
        self.day = day
        self.rows = 0
        self._profile = profile
        self._counts = {name: np.zeros(len(c.shares), np.int64) for name, c in profile.columns.items()}

    def add(self, rows: pl.DataFrame) -> None:
        """Count rows, which must have every column of the profile."""
        self.rows += len(rows)
        for name, column in self._profile.columns.items():
            self._counts[name] += count(column, rows[name])

    def drift(self) -> Drift:
        """Return the drift of the counted rows against the profile."""
        columns = self._profile.columns
        return Drift(self.day, self.rows, {name: psi(c.shares, self._counts[name]) for name, c in columns.items()})


def drift_of(profile: Profile, rows: pl.DataFrame, day: int) -> Drift:
    """Return the drift of rows against a profile in batch. Each row is one customer, all at the same time."""
    window = DriftWindow(profile, day)
    window.add(rows)
    return window.drift()


def psi(then: Sequence[float], now: Counts) -> float:
    """Return the population stability index of counts against shares; 0 if nothing was counted."""
    total = int(now.sum())
    if total == 0:
        return 0.0
    expected = np.maximum(np.asarray(then, np.float64), SHARE_MIN)
    actual = np.maximum(now / total, SHARE_MIN)
    return float(((actual - expected) * np.log(actual / expected)).sum())
