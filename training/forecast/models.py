"""Forecasts daily sales: back-tests candidates from rolling origins and derives intervals from their errors. Pure.

    days known  ├──────────────────────────┤ origin 1 → horizon
                ├────────────────────────────────┤ origin 2 → horizon
                ├──────────────────────────────────────┤ …
                ├──────────────────────────────────────────────────┤ all known → forecast

The rule of this file: reported forecasts use only days before their origin. That includes the choice of a model and the
width of an interval (`Judged.nested`): at each origin both come from the errors known by then.
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
"""Minimum history of a forecast: each weekday twice."""
TRAIN_DAYS_MIN: Final = 4 * WEEK
ORIGINS_MAX: Final = 16
LEVELS: Final = (80, 95)
NAIVE: Final = "seasonal_naive"
SCORES_MIN: Final = 60
"""Minimum errors for an interval; with fewer it would depend on two or three of them."""
OWN_COVERAGE: Final = {80: (0.75, 0.85), 95: (0.92, 0.98)}
"""Range of measured coverage in which a model keeps its own interval."""
TITLES: Final = {
    NAIVE: "seasonal naive",
    "holt_winters": "Holt-Winters",
    "auto_ets": "AutoETS",
    "mstl": "MSTL",
    "theta": "optimised Theta",
}
TOTAL_MODELS: Final = tuple(TITLES)
CATEGORY_MODELS: Final = (NAIVE, "holt_winters", "mstl", "theta")
"""Models for categories. AutoETS tries a dozen forms at each origin, so only the total uses it."""

Bounds = dict[int, tuple[Float64, Float64]]
"""Level in per cent -> lower and upper bounds."""


@dataclass(frozen=True, slots=True)
class Path:
    """Forecast of one model from one origin: mean [h], and its own bounds [h] by level."""

    mean: Float64
    bounds: Bounds


Forecaster = Callable[[Float64, int], Path]
"""Known days [n] and a horizon h -> path of h days."""


@dataclass(frozen=True, slots=True)
class BackTest:
    """Paths of every candidate from every origin.

    Attributes:
        origins: number of days known at each of the k origins, ascending.
        actual: actual sales, [k, h].
        means: model -> forecast means, [k, h].
        bounds: model -> level -> the model's own bounds, [k, h] each.
        scales: mean absolute error of seasonal naive one week ahead, within the days known, [k].
        sizes: mean sales of the 28 days before the origin, [k]; the scale for comparing errors.
    """

    origins: tuple[int, ...]
    actual: Float64
    means: dict[str, Float64]
    bounds: dict[str, Bounds]
    scales: Float64
    sizes: Float64

    def known(self, origin: int) -> Bool:
        """Return which forecasts, [k, h], have a day that was over at an origin."""
        leads = np.arange(1, self.actual.shape[1] + 1)
        over: Bool = np.asarray(self.origins)[:, None] + leads <= self.origins[origin]
        return over


@dataclass(frozen=True, slots=True)
class Measures:
    """Errors of a forecast over all origins and days of the horizon.

    Attributes:
        rmse: root mean squared error, in the currency.
        mae: mean absolute error, in the currency.
        mape: mean absolute error of the days with sales, as a share; None without such a day.
        mase: mae relative to seasonal naive within the days known before; the mean over the origins.
        against_naive: mae relative to seasonal naive on the very same days; below 1 is better.
        coverage: level -> share of the days inside the interval.
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
        origins: number of origins.
        models: measures of each candidate with its own intervals, over all origins.
        nested: measures of the whole procedure over the last `nested_origins` origins. The model and the kind and width
            of the interval are chosen at each origin from the data known there.
        nested_mean: forecast means, [nested_origins, h].
        nested_origins: number of later origins, at which enough errors were known.
    """

    origins: int
    models: dict[str, Measures]
    nested: Measures | None
    nested_mean: Float64
    nested_origins: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Sales of the days after the last known day.

    Attributes:
        model: key of `TITLES`.
        interval: `conformal`, or `own` for the model's own bounds.
        mean: forecast means, [h].
        bounds: bounds by level, at least 0.
        evaluation: result of the back-test; None if the history is too short for one.
        test: paths of the back-test.
    """

    model: str
    interval: str
    mean: Float64
    bounds: Bounds
    evaluation: Evaluation | None
    test: BackTest | None


def forecasters(names: Sequence[str]) -> dict[str, Forecaster]:
    """Return the candidates of these names (keys of `TITLES`)."""
    return {name: functools.partial(_predict, name) for name in names}


def _predict(name: str, known: Float64, horizon: int) -> Path:
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
        output = made[name]().forecast(y=np.ascontiguousarray(known, np.float64), h=horizon, level=list(LEVELS))
    bounds = {level: (_sales(output[f"lo-{level}"]), _sales(output[f"hi-{level}"])) for level in LEVELS}
    return Path(_sales(output["mean"]), bounds)


def _sales(values: Any) -> Float64:
    """Clip at 0: sales are never negative."""
    return np.maximum(np.asarray(values, np.float64), 0.0)


def plan_origins(days: int, horizon: int) -> tuple[int, ...]:
    """Return the known days at each origin, ascending, one or two weeks apart, the last a horizon before the end."""
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
    """Back-test the candidates, choose one and forecast.

    Args:
        sales: one value a day without gaps, at least 0, [n].
        horizon: number of days to forecast.
        candidates: candidates including NAIVE; a candidate that fails on this series is left out.
        on_origin: callback after each origin.

    Raises:
        ShopstreamError: fewer than DAYS_MIN days.
    """
    if len(sales) < DAYS_MIN:
        raise ShopstreamError(
            f"{len(sales)} complete days are too few for a forecast.", f"Give an archive of at least {DAYS_MIN} days."
        )
    origins = plan_origins(len(sales), horizon)
    if not origins or not sales.any():
        path = candidates[NAIVE](sales, horizon)
        return Forecast(NAIVE, "own", path.mean, path.bounds, None, None)
    test = back_test(sales, horizon, origins, candidates, on_origin)
    evaluation = evaluate(test)
    everything = np.ones(test.actual.shape, np.bool_)
    model = best_model(test, everything)
    path = candidates[model](sales, horizon)
    size = _size(sales)
    kind, bounds = interval(test, everything, model, path, size)
    return Forecast(model, kind, path.mean, bounds, evaluation, test)


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
    """Return the path of every candidate from every origin. Arguments as for `forecast`."""
    paths: dict[str, list[Path]] = {name: [] for name in candidates}
    for origin in origins:
        for name in list(paths):
            try:
                path = candidates[name](sales[:origin], horizon)
            except Exception:  # models do not declare what they raise on unusual series
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
        {name: np.array([path.mean for path in of_model]) for name, of_model in paths.items()},
        {name: _stacked(of_model) for name, of_model in paths.items()},
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
    """Return the model with the smallest mean absolute error over the known forecasts, scaled by origin."""
    errors = {
        name: float((np.abs(mean - test.actual) / test.scales[:, None])[known].mean())
        for name, mean in test.means.items()
    }
    return min(errors, key=lambda name: errors[name])


def interval(test: BackTest, known: Bool, model: str, path: Path, size: float) -> tuple[str, Bounds]:
    """Return the kind of the interval and the bounds around a path.

    The model's own bounds stay if those of the known forecasts had the nominal coverage. Otherwise the bounds are
    conformal: quantiles of the known errors, relative to the size of the sales at their origins, around the mean.
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
        # rank below which a further exchangeable error lies with at most that probability
        rank = max(int(np.floor((len(errors) + 1) * tail)) - 1, 0)
        low, high = errors[rank], errors[len(errors) - 1 - rank]
        bounds[level] = (_sales(path.mean + low * size), _sales(path.mean + high * size))
    return "conformal", bounds


def _inside(actual: Float64, low: Float64, high: Float64) -> Bool:
    return (low <= actual) & (actual <= high)


# --- evaluation -------------------------------------------------------------------------------------------------------
def evaluate(test: BackTest) -> Evaluation:
    """Measure every candidate and the procedure as a whole."""
    models = {
        name: measure(test, np.arange(len(test.origins)), mean, test.bounds[name]) for name, mean in test.means.items()
    }
    origins = [origin for origin in range(len(test.origins)) if int(test.known(origin).sum()) >= SCORES_MIN]
    if not origins:
        return Evaluation(len(test.origins), models, None, np.zeros((0, test.actual.shape[1])), 0)
    nested_paths: list[Path] = []
    for origin in origins:
        known = test.known(origin)
        model = best_model(test, known)
        own = {level: (low[origin], high[origin]) for level, (low, high) in test.bounds[model].items()}
        path = Path(test.means[model][origin], own)
        _, bounds = interval(test, known, model, path, float(test.sizes[origin]))
        nested_paths.append(Path(path.mean, bounds))
    mean = np.array([path.mean for path in nested_paths])
    nested = measure(test, np.array(origins), mean, _stacked(nested_paths))
    return Evaluation(len(test.origins), models, nested, mean, len(origins))


def measure(test: BackTest, origins: npt.NDArray[np.int64], mean: Float64, bounds: Bounds) -> Measures:
    """Measure the forecasts from some origins.

    Args:
        test: back-test with the actual sales.
        origins: positions of the origins, [m].
        mean: forecast means, [m, h].
        bounds: level -> bounds, [m, h] each; may be empty.
    """
    actual = test.actual[origins]
    errors = np.abs(mean - actual)
    sold = actual > 0
    naive = float(np.abs(test.means[NAIVE][origins] - actual).mean())
    return Measures(
        rmse=float(np.sqrt((errors**2).mean())),
        mae=float(errors.mean()),
        mape=float((errors[sold] / actual[sold]).mean()) if sold.any() else None,
        mase=float((errors.mean(axis=1) / test.scales[origins]).mean()),
        against_naive=float(errors.mean()) / naive if naive > 0 else 1.0,
        coverage={level: float(_inside(actual, low, high).mean()) for level, (low, high) in bounds.items()},
    )
