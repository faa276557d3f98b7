"""Tests forecasts from rolling origins and derives intervals from their errors. Pure.

    days known  ├──────────────────────────┤ origin 1 → horizon
                ├────────────────────────────────┤ origin 2 → horizon
                ├──────────────────────────────────────┤ …
                ├──────────────────────────────────────────────────┤ all known → forecast

The rule of this file: reported forecasts use only days before their origin. That includes the effects of special days
and the width of an interval, which at each origin comes from the errors known by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.calendar import day_name
from features.errors import ShopstreamError, UsageError
from training.forecast.day_effects import WEEK, Bool, Bounds, Effect, Float64, Outlook, contradictions, outlook
from training.forecast.models import LEVELS, MEAN, NAIVE, PARTS, Forecaster, mean_of_parts, naive_bounds, predict
from training.forecast.special_days import NO_SPECIAL_DAYS, SpecialDays

DAYS_MIN: Final = 2 * WEEK
"""Minimum history of a forecast: each weekday twice."""
TRAIN_DAYS_MIN: Final = 4 * WEEK
ORIGINS_MAX: Final = 16
SCORES_MIN: Final = 60
"""Minimum known errors at an origin whose interval is measured; with fewer it depends on two or three of them."""
SCALE_MIN: Final = 0.01
"""Least forecast that scales an error, as a share of the mean sales: a day without sales has errors too."""


@dataclass(frozen=True, slots=True)
class BackTest:
    """Forecasts of every model from every origin.

    Attributes:
        origins: number of days known at each of the k origins, ascending.
        first: position of the first origin that is tested; the errors of those before it are known there.
        actual: actual sales, [k, h].
        means: model -> forecast means, [k, h]; a model that failed at a tested origin is left out, NaN
            where it failed before.
        ordinary: model -> forecast means before the effects of special days, [k, h].
        outlooks: what was known at each origin besides the sales.
        scales: mean absolute error of seasonal naive one week ahead, within the ordinary days known, [k].
        sizes: mean ordinary sales of the 28 days before the origin, [k].
    """

    origins: tuple[int, ...]
    first: int
    actual: Float64
    means: dict[str, Float64]
    ordinary: dict[str, Float64]
    outlooks: tuple[Outlook, ...]
    scales: Float64
    sizes: Float64

    @property
    def plain(self) -> Bool:
        """Ordinary open days, [k, h]; their errors teach the width of intervals."""
        return np.array([one.plain for one in self.outlooks])

    @property
    def counted(self) -> Bool:
        """Days whose errors count: not those marked closed, nor those without a known effect, [k, h]."""
        return np.array([~one.marked & ~one.untested for one in self.outlooks])

    @property
    def shut(self) -> Bool:
        """Days that are forecast without sales, which count in no coverage, [k, h]."""
        return np.array([one.shut for one in self.outlooks])

    @property
    def tested(self) -> slice:
        """Positions of the origins whose errors count in measures."""
        return slice(self.first, None)

    def known(self, origin: int) -> Bool:
        """Return which forecasts, [k, h], have a day that was over at an origin, and begin in the history used there.

        Args:
            origin: number of days known.
        """
        leads = np.arange(1, self.actual.shape[1] + 1)
        starts = np.asarray(self.origins)[:, None]
        over: Bool = (starts + leads <= origin) & (starts >= first_origin(origin))
        return over


@dataclass(frozen=True, slots=True)
class Measures:
    """Errors of a forecast over the tested origins and counted days of the horizon.

    Attributes:
        rmse: root mean squared error, in the currency.
        mae: mean absolute error, in the currency.
        mape: mean absolute error of the days with sales, as a share; None without such a day.
        mase: mae relative to seasonal naive within the days known before; the mean over the origins.
        against_naive: mae relative to seasonal naive on the very same days; below 1 is better.
        coverage: level -> share of the days inside the interval, over origins with enough known errors; may be empty.
    """

    rmse: float
    mae: float
    mape: float | None
    mase: float
    against_naive: float
    coverage: dict[int, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Result of the back-test.

    Attributes:
        origins: number of tested origins.
        models: measures of each model over them, with intervals from its own errors before each origin.
        interval_origins: number of those at which enough errors were known for an interval.
    """

    origins: int
    models: dict[str, Measures]
    interval_origins: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Sales of the days after the last known day.

    Attributes:
        model: MEAN, or NAIVE without a back-test.
        interval: `conformal`, or `own` for the bounds of the seasonal naive model.
        mean: forecast means, [h].
        bounds: bounds by level, at least 0.
        evaluation: result of the back-test; None if the history is too short for one.
        test: forecasts of the back-test.
        effects: name of a special day ahead -> its effect.
        closed_weekdays: numbers of the days ahead on a closed weekday.
        failed: models that fail on the known days, or diverge.
    """

    model: str
    interval: str
    mean: Float64
    bounds: Bounds
    evaluation: Evaluation | None
    test: BackTest | None
    effects: dict[str, Effect]
    closed_weekdays: tuple[int, ...]
    failed: tuple[str, ...] = ()


def plan_origins(days: int, horizon: int) -> tuple[int, ...]:
    """Return the known days at each tested origin, ascending, one or two weeks apart.

    Args:
        days: number of known days.
        horizon: number of days to forecast.
    """
    last, earliest = days - horizon, first_origin(days)
    return tuple(sorted(range(last, earliest - 1, -_spacing(days, horizon))[:ORIGINS_MAX]))


def warm_up(days: int, horizon: int) -> tuple[int, ...]:
    """Return the known days at the origins before the tested ones, whose errors give the first tested intervals."""
    tested, spacing = plan_origins(days, horizon), _spacing(days, horizon)
    earliest = first_origin(tested[0])
    return tuple(sorted(range(tested[0] - spacing, earliest - 1, -spacing)[:ORIGINS_MAX]))


def first_origin(days: int) -> int:
    """Return the known days at the first origin of a history."""
    return max(TRAIN_DAYS_MIN, days // 3)


def _spacing(days: int, horizon: int) -> int:
    return 2 * WEEK if days - horizon - first_origin(days) >= ORIGINS_MAX // 2 * 2 * WEEK else WEEK


def forecast(
    sales: Float64,
    horizon: int,
    models: Mapping[str, Forecaster],
    on_origin: Callable[[], None] = lambda: None,
    first_day: int = 0,
    special: SpecialDays = NO_SPECIAL_DAYS,
) -> Forecast:
    """Back-test the models and forecast by the mean of the parts.

    Args:
        sales: one value a day without gaps, at least 0, [n].
        horizon: number of days to forecast.
        models: models including NAIVE.
        on_origin: callback after each origin.
        first_day: number of the first day.
        special: special days, past and future.

    Raises:
        ShopstreamError: fewer than DAYS_MIN days.
        UsageError: a day that is marked closed has sales, or a special day ahead has too few past ones.
    """
    if len(sales) < DAYS_MIN:
        raise ShopstreamError(
            f"{len(sales)} complete days are too few for a forecast.", f"Give an archive of at least {DAYS_MIN} days."
        )
    check_closed(sales, first_day, special)
    ahead = outlook(sales, first_day, horizon, special)
    check_effects(ahead, first_day + len(sales), special)
    days_ahead = np.arange(first_day + len(sales), first_day + len(sales) + horizon)
    effects = {special.names[int(days_ahead[step])]: effect for step, effect in ahead.effects.items()}
    closed = tuple(days_ahead[ahead.shut & ~ahead.marked].tolist())
    origins = plan_origins(len(sales), horizon)
    known = ahead.ordinary
    if not origins or not known.any():
        mean = models[NAIVE](known, horizon)
        bounds = ahead.apply_bounds(mean, naive_bounds(known, horizon))
        return Forecast(NAIVE, "own", ahead.apply(mean), bounds, None, None, effects, closed)
    early = warm_up(len(sales), horizon)
    test = back_test(sales, horizon, (*early, *origins), models, on_origin, first_day, special, len(early))
    parts = {name: predict(models[name], known, horizon) for name in [NAIVE, *PARTS] if name in models}
    mean = mean_of_parts(parts)
    made = interval(test, test.known(len(sales)), MEAN, mean, size_of(known))
    bounds = ahead.apply_bounds(mean, naive_bounds(known, horizon) if made is None else made)
    kind = "own" if made is None else "conformal"
    failed = tuple(name for name, one in parts.items() if one is None)
    return Forecast(MEAN, kind, ahead.apply(mean), bounds, evaluate(test), test, effects, closed, failed)


def check_closed(sales: Float64, first_day: int, special: SpecialDays) -> None:
    """Raise UsageError if a day that is marked closed has sales."""
    sold = contradictions(sales, first_day, special)
    if sold:
        days = ", ".join(day_name(day) for day in sold[:3])
        raise UsageError(
            f"Days that are marked closed have sales: {days}{' ...' if len(sold) > 3 else ''} "
            f"({special.names[sold[0]]}).",
            "Correct the file of special days, or give these days the effect `measured` or `none`.",
        )


def check_effects(ahead: Outlook, last_day: int, special: SpecialDays) -> None:
    """Raise UsageError if a special day ahead has too few past days of its name.

    Args:
        ahead: what is known of the days ahead.
        last_day: number of the first day ahead.
        special: special days.
    """
    if not ahead.unknown:
        return
    step, name = next(iter(ahead.unknown.items()))
    past = sum(last_day - len(ahead.ordinary) <= day < last_day for day, one in special.names.items() if one == name)
    count = "no past day" if past == 0 else f"only {past} past day"
    raise UsageError(
        f"The effect of {name!r} on {day_name(last_day + step)} cannot be measured: the archive has {count} of this "
        "name.",
        "Add at least two past days of the name, or give it `effect: none`: then the day is forecast as an ordinary "
        "one.",
    )


def size_of(known: Float64) -> float:
    """Return the mean sales of the last 28 known days, of all if these have none."""
    recent = float(known[-4 * WEEK :].mean())
    return recent if recent > 0 else max(float(known.mean()), 1e-9)


def back_test(
    sales: Float64,
    horizon: int,
    origins: Sequence[int],
    models: Mapping[str, Forecaster],
    on_origin: Callable[[], None] = lambda: None,
    first_day: int = 0,
    special: SpecialDays = NO_SPECIAL_DAYS,
    first: int = 0,
) -> BackTest:
    """Return the forecasts of every model, and of MEAN, from every origin.

    Args:
        sales: one value a day, [n].
        horizon: number of days to forecast.
        origins: number of days known at each origin, ascending.
        models: models including NAIVE.
        on_origin: callback after each origin.
        first_day: number of the first day.
        special: special days, past and future.
        first: position of the first tested origin.
    """
    ordinary: dict[str, list[Float64 | None]] = {name: [] for name in [*models, MEAN]}
    outlooks = []
    for origin in origins:
        one = outlook(sales[:origin], first_day, horizon, special)
        means = {name: predict(model, one.ordinary, horizon) for name, model in models.items()}
        if means[NAIVE] is None:
            means[NAIVE] = np.zeros(horizon)
        for name, mean in {**means, MEAN: mean_of_parts(means)}.items():
            ordinary[name].append(mean)
        outlooks.append(one)
        on_origin()
    nothing = np.full(horizon, np.nan)
    rows_of = {name: np.array([nothing if row is None else row for row in rows]) for name, rows in ordinary.items()}
    sound = {name: rows for name, rows in rows_of.items() if np.isfinite(rows[first:]).all()}
    known = [one.ordinary for one in outlooks]
    return BackTest(
        tuple(origins),
        first,
        np.array([sales[o : o + horizon] for o in origins]),
        {name: _with_effects(outlooks, rows) for name, rows in sound.items()},
        sound,
        tuple(outlooks),
        np.array([max(float(np.abs(days[WEEK:] - days[:-WEEK]).mean()), 1e-9) for days in known]),
        np.array([size_of(days) for days in known]),
    )


# --- intervals --------------------------------------------------------------------------------------------------------
def interval(test: BackTest, known: Bool, model: str, mean: Float64, size: float) -> Bounds | None:
    """Return bounds [h] around means of ordinary days; None without a known error.

    The bounds are quantiles of the known errors of ordinary days, split-conformal (Lei et al., Journal of the American
    Statistical Association 113, 2018). Errors are relative to the root of forecast x mean sales: the variance of sales
    grows as their mean does.

    Args:
        test: back-test.
        known: forecasts whose day is over, [k, h].
        model: name of the model.
        mean: means of ordinary days, [h].
        size: mean sales of a day.
    """
    chosen = known & test.plain & np.isfinite(test.ordinary[model])
    if not chosen.any():
        return None
    scales = _scale(test.ordinary[model], test.sizes[:, None])
    errors = np.sort(((test.actual - test.ordinary[model]) / scales)[chosen])
    bounds: Bounds = {}
    for level in LEVELS:
        tail = (1 - level / 100) / 2
        # rank below which a further exchangeable error lies with at most that probability
        rank = max(int(np.floor((len(errors) + 1) * tail)) - 1, 0)
        low, high = (mean + error * _scale(mean, size) for error in (errors[rank], errors[len(errors) - 1 - rank]))
        bounds[level] = (np.maximum(low, 0.0), np.maximum(high, 0.0))
    return bounds


def _with_effects(outlooks: Sequence[Outlook], rows: Float64) -> Float64:
    return np.array([one.apply(row) for one, row in zip(outlooks, rows, strict=True)])


def _scale(mean: Float64, size: Float64 | float) -> Float64:
    return np.sqrt(np.maximum(mean, SCALE_MIN * size) * size)


# --- evaluation -------------------------------------------------------------------------------------------------------
def evaluate(test: BackTest) -> Evaluation:
    """Measure every model at the tested origins."""
    tested = range(len(test.origins))[test.tested]
    later = [o for o in tested if int((test.known(test.origins[o]) & test.plain).sum()) >= SCORES_MIN]
    models = {name: measure(test, mean, _bounds(test, name, later), later) for name, mean in test.means.items()}
    return Evaluation(len(tested), models, len(later))


def _bounds(test: BackTest, name: str, later: Sequence[int]) -> Bounds:
    """Return the bounds [m, h] of a model from some origins, each from the errors known there."""
    made = []
    for origin in later:
        mean = test.ordinary[name][origin]
        bounds = interval(test, test.known(test.origins[origin]), name, mean, float(test.sizes[origin])) or {}
        made.append(test.outlooks[origin].apply_bounds(mean, bounds))
    return {
        level: (np.array([one[level][0] for one in made]), np.array([one[level][1] for one in made]))
        for level in (LEVELS if made else ())
    }


def measure(test: BackTest, mean: Float64, bounds: Bounds, later: Sequence[int]) -> Measures:
    """Measure forecasts.

    Args:
        test: back-test with the actual sales.
        mean: forecast means from all origins, [k, h].
        bounds: level -> bounds, [m, h] each; empty without an origin that has an interval.
        later: positions of the origins with an interval, [m].
    """
    counted = test.counted[test.tested]
    actual = test.actual[test.tested]
    errors = np.where(counted, np.abs(mean[test.tested] - actual), 0.0)
    days = np.maximum(counted.sum(axis=1), 1)
    total = max(int(counted.sum()), 1)
    sold = counted & (actual > 0)
    naive = float(np.where(counted, np.abs(test.means[NAIVE][test.tested] - actual), 0.0).sum())
    inside = (test.counted & ~test.shut)[list(later)]
    happened = test.actual[list(later)]
    return Measures(
        rmse=float(np.sqrt((errors**2).sum() / total)),
        mae=float(errors.sum()) / total,
        mape=float((errors[sold] / actual[sold]).mean()) if sold.any() else None,
        mase=float((errors.sum(axis=1) / days / test.scales[test.tested]).mean()),
        against_naive=float(errors.sum()) / naive if naive > 0 else 1.0,
        coverage={
            level: float(((low <= happened) & (happened <= high))[inside].mean())
            for level, (low, high) in bounds.items()
            if inside.any()
        },
    )
