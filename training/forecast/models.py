"""Sales of the days to come: candidates back-tested from rolling origins, intervals from what they missed by. Pure.

    days known  ├──────────────────────────┤ origin 1 → horizon
                ├────────────────────────────────┤ origin 2 → horizon
                ├──────────────────────────────────────┤ …
                ├──────────────────────────────────────────────────┤ all known → forecast

The rule of this file: what is reported was forecast from days before its origin alone. That holds for the choice of a
model and the width of an interval too (`Judged.nested`): at each origin both come from the errors known by then.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.errors import ShopstreamError

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

WEEK: Final = 7
DAYS_MIN: Final = 2 * WEEK
"""The least that is forecast from: each weekday twice."""
TRAIN_DAYS_MIN: Final = 4 * WEEK
ORIGINS_MAX: Final = 16
LEVELS: Final = (80, 95)
NAIVE: Final = "seasonal_naive"
SCORES_MIN: Final = 60
"""An interval from fewer errors than this would rest on two or three of them."""
OWN_COVERAGE: Final = {80: (0.75, 0.85), 95: (0.92, 0.98)}
"""A model's own interval is kept while its measured coverage lies in here."""
TITLES: Final = {
    NAIVE: "seasonal naive",
    "holt_winters": "Holt-Winters",
    "auto_ets": "AutoETS",
    "mstl": "MSTL",
    "theta": "optimised Theta",
}
TOTAL_MODELS: Final = tuple(TITLES)
CATEGORY_MODELS: Final = (NAIVE, "holt_winters", "mstl", "theta")
"""AutoETS tries a dozen forms at each origin: for the total only."""

Bounds = dict[int, tuple[Float64, Float64]]
"""Level in per cent -> lower and upper bounds."""


@dataclass(frozen=True, slots=True)
class Path:
    """What one model says from one origin: mean [h], and its own bounds [h] by level."""

    mean: Float64
    bounds: Bounds


Forecaster = Callable[[Float64, int], Path]
"""Known days [n] and a horizon h -> path of h days."""


@dataclass(frozen=True, slots=True)
class BackTest:
    """Paths of every candidate from every origin.

    Attributes:
        origins: number of days known at each, ascending; k of them.
        actual: [k, h] what happened.
        means: model -> [k, h].
        bounds: model -> level -> [k, h] each; the model's own.
        scales: [k] mean absolute error of seasonal naive one week ahead, within the days known.
        sizes: [k] mean sales of the 28 days before; errors are compared by it.
    """

    origins: tuple[int, ...]
    actual: Float64
    means: dict[str, Float64]
    bounds: dict[str, Bounds]
    scales: Float64
    sizes: Float64

    def known(self, place: int) -> Bool:
        """[k, h]: the forecasts whose day was over at an origin."""
        leads = np.arange(1, self.actual.shape[1] + 1)
        found: Bool = np.asarray(self.origins)[:, None] + leads <= self.origins[place]
        return found


@dataclass(frozen=True, slots=True)
class Measures:
    """How far a forecast was off, over all origins and days of the horizon.

    Attributes:
        rmse: in the currency.
        mae: in the currency.
        mape: of the days with sales, as a share; None without such a day.
        mase: mae by that of seasonal naive within the days known before; the mean over the origins.
        against_naive: mae by that of seasonal naive on the very same days; below 1 is better.
        coverage: level -> share of the days inside the interval.
    """

    rmse: float
    mae: float
    mape: float | None
    mase: float
    against_naive: float
    coverage: dict[int, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the back-test says.

    Attributes:
        origins: how many.
        models: of each candidate with its own intervals, over all origins.
        nested: of the whole procedure, over the `nested_origins` last origins: the model and the kind and width of the
            interval are chosen at each from what was known there.
        nested_mean: [nested_origins, h].
        nested_origins: the later origins, at which enough errors were known.
    """

    origins: int
    models: dict[str, Measures]
    nested: Measures | None
    nested_mean: Float64
    nested_origins: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Sales of the days after the last one known.

    Attributes:
        model: of `TITLES`.
        interval: `conformal`, or `own`: the model's.
        mean: [h].
        bounds: by level, at least 0.
        judged: the back-test; None where the history is too short for one.
        test: its paths.
    """

    model: str
    interval: str
    mean: Float64
    bounds: Bounds
    judged: Judged | None
    test: BackTest | None


def forecasters(names: Sequence[str]) -> dict[str, Forecaster]:
    """The candidates of these names (keys of `TITLES`)."""
    return {name: functools.partial(_ask, name) for name in names}


def _ask(name: str, known: Float64, horizon: int) -> Path:
    from statsforecast import models  # noqa: PLC0415 - seconds to import

    made: dict[str, Callable[[], Any]] = {
        NAIVE: lambda: models.SeasonalNaive(WEEK),
        "holt_winters": lambda: models.HoltWinters(WEEK),
        "auto_ets": lambda: models.AutoETS(WEEK),
        "mstl": lambda: models.MSTL(WEEK),
        "theta": lambda: models.DynamicOptimizedTheta(WEEK),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = made[name]().forecast(y=np.ascontiguousarray(known, np.float64), h=horizon, level=list(LEVELS))
    bounds = {level: (_sales(said[f"lo-{level}"]), _sales(said[f"hi-{level}"])) for level in LEVELS}
    return Path(_sales(said["mean"]), bounds)


def _sales(values: Any) -> Float64:
    """Never below 0, as sales are."""
    return np.maximum(np.asarray(values, np.float64), 0.0)


def plan_origins(days: int, horizon: int) -> tuple[int, ...]:
    """Numbers of known days to forecast from, ascending: a week or two apart, the last one a horizon before the end."""
    last = days - horizon
    earliest = max(TRAIN_DAYS_MIN, days // 3)
    spacing = 2 * WEEK if last - earliest >= ORIGINS_MAX // 2 * 2 * WEEK else WEEK
    return tuple(sorted(range(last, earliest - 1, -spacing)[:ORIGINS_MAX]))


def forecast(
    sales: Float64,
    horizon: int,
    candidates: Mapping[str, Forecaster],
    on_origin: Callable[[], None] = lambda: None,
) -> Forecast:
    """Back-test the candidates, choose one, forecast.

    Args:
        sales: [n], one value a day without gaps, at least 0.
        horizon: days.
        candidates: with NAIVE among them; one that fails on this series is left out.
        on_origin: called after each origin.

    Raises:
        ShopstreamError: fewer than DAYS_MIN days.
    """
    if len(sales) < DAYS_MIN:
        raise ShopstreamError(
            f"{len(sales)} whole days are too few to forecast from.", f"Give an archive of at least {DAYS_MIN} days."
        )
    origins = plan_origins(len(sales), horizon)
    if not origins or not sales.any():
        path = candidates[NAIVE](sales, horizon)
        return Forecast(NAIVE, "own", path.mean, path.bounds, None, None)
    test = back_test(sales, horizon, origins, candidates, on_origin)
    judged = judge(test)
    everything = np.ones(test.actual.shape, np.bool_)
    model = best_model(test, everything)
    path = candidates[model](sales, horizon)
    size = _size(sales)
    kind, bounds = interval(test, everything, model, path, size)
    return Forecast(model, kind, path.mean, bounds, judged, test)


def _size(known: Float64) -> float:
    recent = float(known[-4 * WEEK :].mean())
    return recent if recent > 0 else max(float(known.mean()), 1e-9)


def back_test(
    sales: Float64,
    horizon: int,
    origins: Sequence[int],
    candidates: Mapping[str, Forecaster],
    on_origin: Callable[[], None] = lambda: None,
) -> BackTest:
    """The path of every candidate from every origin. Arguments as for `forecast`."""
    paths: dict[str, list[Path]] = {name: [] for name in candidates}
    for origin in origins:
        for name in list(paths):
            try:
                path = candidates[name](sales[:origin], horizon)
            except Exception:  # what a model raises on an odd series is not declared
                if name == NAIVE:
                    raise
                path = None
            if path is None or not np.isfinite(path.mean).all():
                del paths[name]
            else:
                paths[name].append(path)
        on_origin()
    scales = [max(float(np.abs(sales[WEEK:o] - sales[: o - WEEK]).mean()), 1e-9) for o in origins]
    return BackTest(
        tuple(origins),
        np.array([sales[o : o + horizon] for o in origins]),
        {name: np.array([path.mean for path in found]) for name, found in paths.items()},
        {name: _stacked(found) for name, found in paths.items()},
        np.array(scales),
        np.array([_size(sales[:o]) for o in origins]),
    )


def _stacked(paths: Sequence[Path]) -> Bounds:
    return {
        level: (
            np.array([path.bounds[level][0] for path in paths]),
            np.array([path.bounds[level][1] for path in paths]),
        )
        for level in LEVELS
    }


# --- choosing ---------------------------------------------------------------------------------------------------------
def best_model(test: BackTest, known: Bool) -> str:
    """The model with the smallest mean absolute error, by the scale of its origin, over the known forecasts."""
    errors = {
        name: float((np.abs(mean - test.actual) / test.scales[:, None])[known].mean())
        for name, mean in test.means.items()
    }
    return min(errors, key=lambda name: errors[name])


def interval(test: BackTest, known: Bool, model: str, path: Path, size: float) -> tuple[str, Bounds]:
    """The bounds around a path, and their kind.

    The model's own are kept where those of the known forecasts covered what they claim. Otherwise they are conformal:
    the quantiles of the known errors, by the size of the sales at their origins, are laid around the mean.
    """
    if all(
        low <= float(_inside(test.actual, *test.bounds[model][level])[known].mean()) <= high
        for level, (low, high) in OWN_COVERAGE.items()
    ):
        return "own", path.bounds
    errors = np.sort(((test.actual - test.means[model]) / test.sizes[:, None])[known])
    bounds: Bounds = {}
    for level in LEVELS:
        tail = (1 - level / 100) / 2
        # the rank that a further exchangeable error lies below with at most that chance
        rank = max(int(np.floor((len(errors) + 1) * tail)) - 1, 0)
        low, high = errors[rank], errors[len(errors) - 1 - rank]
        bounds[level] = (_sales(path.mean + low * size), _sales(path.mean + high * size))
    return "conformal", bounds


def _inside(actual: Float64, low: Float64, high: Float64) -> Bool:
    return (low <= actual) & (actual <= high)


# --- judging ----------------------------------------------------------------------------------------------------------
def judge(test: BackTest) -> Judged:
    """Measures of every candidate and of the procedure as a whole."""
    models = {
        name: measure(test, np.arange(len(test.origins)), mean, test.bounds[name]) for name, mean in test.means.items()
    }
    places = [place for place in range(len(test.origins)) if int(test.known(place).sum()) >= SCORES_MIN]
    if not places:
        return Judged(len(test.origins), models, None, np.zeros((0, test.actual.shape[1])), 0)
    found: list[Path] = []
    for place in places:
        known = test.known(place)
        model = best_model(test, known)
        own = {level: (low[place], high[place]) for level, (low, high) in test.bounds[model].items()}
        path = Path(test.means[model][place], own)
        _, bounds = interval(test, known, model, path, float(test.sizes[place]))
        found.append(Path(path.mean, bounds))
    mean = np.array([path.mean for path in found])
    nested = measure(test, np.array(places), mean, _stacked(found))
    return Judged(len(test.origins), models, nested, mean, len(places))


def measure(test: BackTest, places: npt.NDArray[np.int64], mean: Float64, bounds: Bounds) -> Measures:
    """Measures of forecasts from some origins.

    Args:
        test: for what happened.
        places: [m] of the origins.
        mean: [m, h].
        bounds: level -> [m, h] each; may be empty.
    """
    actual = test.actual[places]
    errors = np.abs(mean - actual)
    sold = actual > 0
    naive = float(np.abs(test.means[NAIVE][places] - actual).mean())
    return Measures(
        rmse=float(np.sqrt((errors**2).mean())),
        mae=float(errors.mean()),
        mape=float((errors[sold] / actual[sold]).mean()) if sold.any() else None,
        mase=float((errors.mean(axis=1) / test.scales[places]).mean()),
        against_naive=float(errors.mean()) / naive if naive > 0 else 1.0,
        coverage={level: float(_inside(actual, low, high).mean()) for level, (low, high) in bounds.items()},
    )
