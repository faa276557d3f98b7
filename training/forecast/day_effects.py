"""Separates ordinary days from special ones, and measures how days of a name change sales. Pure.

    sales of known days ─> ordinary series ─> models ─> forecast of ordinary days ─> with effects: the forecast
                  └──────> effects by name, closed weekdays ────────────────────────────┘

The rule of this file: everything comes from the days before an origin. Only the dates of special days are known ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from training.forecast.special_days import NO_SPECIAL_DAYS, SpecialDays

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Bounds = dict[int, tuple[Float64, Float64]]
"""Level in per cent -> lower and upper bounds."""

WEEK: Final = 7
NEIGHBOURS: Final = 8
"""Ordinary days of the same weekday that stand for a special day, the nearest ones."""
EFFECT_DAYS_MIN: Final = 2
"""Minimum past days of a name: one day cannot separate an effect from the noise of a day."""
ZEROS_MIN: Final = 4
ZEROS_PROBABILITY_MAX: Final = 0.001
"""Highest probability of days without sales on a closed weekday, or in a silence, if the shop were open."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Measured effect of the days of a name: `ratio` x ordinary sales + `added`.

    Attributes:
        days: number of past days of the name.
        ratio: sales of these days relative to ordinary days of their weekdays.
        added: sales of a day where ordinary days have none, in the currency; 0 otherwise.
        error: standard error of a further day: of its ratio, or of its added sales.
    """

    days: int
    ratio: float
    added: float
    error: float


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known at an origin besides the sales.

    Attributes:
        ordinary: sales of the known days, with an ordinary day in place of each special one, [n].
        shut: days ahead that are forecast without sales: marked closed, or a closed weekday, [h].
        marked: days ahead that are marked closed, [h].
        untested: days ahead without a measured effect, and days that say nothing about ordinary ones, [h].
        effects: position of a day ahead -> its effect.
        unknown: position of a day ahead -> its name, for names without enough past days.
        closed_weekdays: closed weekdays, by position modulo 7, [7].
    """

    ordinary: Float64
    shut: Bool
    marked: Bool
    untested: Bool
    effects: dict[int, Effect] = field(default_factory=dict)
    unknown: dict[int, str] = field(default_factory=dict)
    closed_weekdays: Bool = field(default_factory=lambda: np.zeros(WEEK, np.bool_))

    @property
    def plain(self) -> Bool:
        """Days ahead that are ordinary and open: their errors teach the width of intervals, [h]."""
        plain = ~self.shut & ~self.untested
        plain[list(self.effects)] = False
        return plain

    def apply(self, mean: Float64) -> Float64:
        """Return the forecast means [h] from those of ordinary days."""
        result = np.where(self.shut, 0.0, mean)
        for position, effect in self.effects.items():
            result[position] = self._basis(mean, position) * effect.ratio + effect.added
        return result

    def apply_bounds(self, mean: Float64, bounds: Bounds) -> Bounds:
        """Return the bounds [h] of the forecast from means and bounds of ordinary days, at least 0.

        On a day with an effect, an interval has at least the width of that of the ordinary day times the ratio. It also
        has at least the width of the t interval of a further day of the name.
        """
        result: Bounds = {}
        centre = self.apply(mean)
        for level, sides in bounds.items():
            low, high = (np.where(self.shut, 0.0, side) for side in sides)
            for position, effect in self.effects.items():
                basis = self._basis(mean, position)
                spread = stats.t.ppf(0.5 + level / 200, effect.days - 1) * effect.error
                spread *= 1.0 if effect.added else basis
                gaps = (abs(self._basis(side, position) - basis) for side in sides)
                below, above = (max(effect.ratio * gap, spread) for gap in gaps)
                low[position], high[position] = centre[position] - below, centre[position] + above
            result[level] = (np.maximum(low, 0.0), np.maximum(high, 0.0))
        return result

    def _basis(self, values: Float64, position: int) -> float:
        """Return the value of the ordinary day that an effect refers to: on a closed weekday, of a mean open day."""
        start = len(self.ordinary)
        weekdays = np.arange(start, start + len(values)) % WEEK
        if not self.closed_weekdays[weekdays[position]]:
            return float(values[position])
        return float(values[~self.closed_weekdays[weekdays]].mean())


def outlook(sales: Float64, first_day: int, horizon: int, special: SpecialDays = NO_SPECIAL_DAYS) -> Outlook:
    """Return what the known days and the special days say about the days ahead.

    Args:
        sales: sales of the known days, [n].
        first_day: number of the first known day.
        horizon: number of days ahead, h.
        special: special days, past and future.
    """
    known = len(sales)
    positions = special.positions(first_day, known + horizon)
    kinds = list(special.effects.values())
    special_past = positions[:known] >= 0
    closed_weekdays = _closed_weekdays(sales, ~special_past)
    ordinary = sales.copy()
    for day in np.flatnonzero(special_past):
        ordinary[day] = _ordinary_value(sales, ~special_past, int(day), closed_weekdays, as_open=False)
    ahead = np.arange(known, known + horizon)
    marked = np.array([positions[day] >= 0 and kinds[positions[day]] == "closed" for day in ahead], np.bool_)
    none = np.array([positions[day] >= 0 and kinds[positions[day]] == "none" for day in ahead], np.bool_)
    shut = marked | closed_weekdays[ahead % WEEK]
    effects: dict[int, Effect] = {}
    unknown: dict[int, str] = {}
    measured: dict[tuple[int, bool], Effect | None] = {}
    names = list(special.effects)
    for step, day in enumerate(ahead):
        name = int(positions[day])
        if name < 0 or kinds[name] != "measured":
            continue
        on_closed = bool(closed_weekdays[day % WEEK])
        if (name, on_closed) not in measured:
            days = np.flatnonzero((positions[:known] == name) & (closed_weekdays[np.arange(known) % WEEK] == on_closed))
            basis = [_ordinary_value(sales, ~special_past, int(d), closed_weekdays, as_open=True) for d in days]
            measured[name, on_closed] = measure_effect(sales[days], np.array(basis, np.float64))
        effect = measured[name, on_closed]
        if effect is not None:
            effects[step], shut[step] = effect, False
        elif not on_closed:  # a campaign on a closed weekday changes nothing unless past ones did
            unknown[step] = names[name]
    untested = none | np.isin(np.arange(horizon), list(unknown))
    return Outlook(ordinary, shut, marked, untested, effects, unknown, closed_weekdays)


def measure_effect(sales: Float64, ordinary: Float64) -> Effect | None:
    """Return the effect of days from their sales [m] and ordinary sales [m]; None below EFFECT_DAYS_MIN days.

    The ratio is that of the sums (Cochran, Sampling Techniques, 3rd ed., 1977, chapter 6). The error of a further day
    comes from the residuals and holds the error of the ratio. Days of one campaign count as independent.
    """
    count = len(sales)
    if count < EFFECT_DAYS_MIN:
        return None
    further = (1 + 1 / count) ** 0.5
    total = float(ordinary.sum())
    if total <= 0:
        return Effect(count, 1.0, float(sales.mean()), further * float(sales.std(ddof=1)))
    ratio = float(sales.sum()) / total
    deviation = float(((sales - ratio * ordinary) ** 2).sum() / (count - 1)) ** 0.5
    return Effect(count, ratio, 0.0, further * deviation * count / total)


def _ordinary_value(sales: Float64, ordinary: Bool, day: int, closed_weekdays: Bool, *, as_open: bool) -> float:
    """Return the mean of the nearest ordinary days of the same weekday, 0 without one.

    Args:
        sales: sales of the known days, [n].
        ordinary: whether a known day is ordinary, [n].
        day: position of the day.
        closed_weekdays: closed weekdays, [7].
        as_open: whether the ordinary days of a closed weekday are those of all open weekdays.
    """
    weekdays = np.arange(len(sales)) % WEEK
    same = weekdays == day % WEEK
    if as_open and closed_weekdays[day % WEEK]:
        same = ~closed_weekdays[weekdays]
    candidates = np.flatnonzero(same & ordinary)
    nearest = candidates[np.argsort(np.abs(candidates - day), kind="stable")[:NEIGHBOURS]]
    return float(sales[nearest].mean()) if len(nearest) else 0.0


def _closed_weekdays(sales: Float64, ordinary: Bool) -> Bool:
    """Return which weekdays are closed: without sales for improbably long, [7].

    A weekday is closed if its last ordinary days, at least ZEROS_MIN, have no sales. The share of days without sales
    among the other weekdays of these weeks gives the probability of this number of zeros. It is at most
    ZEROS_PROBABILITY_MAX.
    """
    closed = np.zeros(WEEK, np.bool_)
    weekdays = np.arange(len(sales)) % WEEK
    runs = {}
    for weekday in range(WEEK):
        own = np.flatnonzero((weekdays == weekday) & ordinary)
        sold = np.flatnonzero(sales[own] > 0)
        runs[weekday] = own[sold[-1] + 1 :] if len(sold) else own
    long = [weekday for weekday, run in runs.items() if len(run) >= ZEROS_MIN]
    for weekday in long:
        since = int(runs[weekday][0])
        others = np.flatnonzero(ordinary & ~np.isin(weekdays, long) & (np.arange(len(sales)) >= since))
        zeros = int((sales[others] == 0).sum())
        closed[weekday] = (
            len(others) > 0 and ((zeros + 1) / (len(others) + 2)) ** len(runs[weekday]) < ZEROS_PROBABILITY_MAX
        )
    return closed


def silences(sales: Float64, first_day: int, special: SpecialDays = NO_SPECIAL_DAYS) -> list[tuple[int, int]]:
    """Return spells of two or more open, ordinary days without sales that are improbable, as first and last day.

    Args:
        sales: sales of the known days, [n].
        first_day: number of the first known day.
        special: special days, which are no silences.
    """
    ordinary = special.positions(first_day, len(sales)) < 0
    weekdays = np.arange(len(sales)) % WEEK
    open_days = np.flatnonzero(ordinary & ~_closed_weekdays(sales, ordinary)[weekdays])
    share = (int((sales[open_days] == 0).sum()) + 1) / (len(open_days) + 2)
    spells: list[tuple[int, int]] = []
    run: list[int] = []
    for day in [*open_days.tolist(), None]:
        if day is not None and sales[day] == 0:
            run.append(day)
            continue
        if len(run) > 1 and len(open_days) * share ** len(run) < ZEROS_PROBABILITY_MAX:
            spells.append((first_day + run[0], first_day + run[-1]))
        run = []
    return spells


def contradictions(sales: Float64, first_day: int, special: SpecialDays) -> Sequence[int]:
    """Return the numbers of the known days that are marked closed but have sales, ascending."""
    positions = special.positions(first_day, len(sales))
    kinds = np.array([kind == "closed" for kind in special.effects.values()] + [False])
    return (first_day + np.flatnonzero(kinds[positions] & (sales > 0))).tolist()
