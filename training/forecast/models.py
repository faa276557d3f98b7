"""Forecasts ordinary days by several models, and by the fixed mean of five unlike ones. Pure.

The mean of unlike forecasts errs less than a model chosen by its past errors: the errors of the parts cancel, and
nothing is chosen. See Bates & Granger, Operational Research Quarterly 20 (1969), and the M4 competition, International
Journal of Forecasting 36 (2020).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from training.forecast.day_effects import WEEK, Float64

LEVELS: Final = (80, 95)
NAIVE: Final = "seasonal_naive"
MEAN: Final = "mean_of_five"
PARTS: Final = ("ets_root", "theta_root", "ces", "weekday_mean", "level_profile")
"""Models whose mean is the forecast: two on square roots, where noise is even, one on amounts, two means of days."""
OTHERS: Final = ("holt_winters", "auto_ets", "mstl", "theta")
"""Models for comparison."""
TITLES: Final = {
    NAIVE: "seasonal naive",
    MEAN: "mean of five",
    "ets_root": "ETS on roots",
    "theta_root": "Theta on roots",
    "ces": "CES",
    "weekday_mean": "weekday, 8 weeks",
    "level_profile": "level x weekday",
    "holt_winters": "Holt-Winters",
    "auto_ets": "AutoETS",
    "mstl": "MSTL",
    "theta": "optimised Theta",
}
TOTAL_MODELS: Final = (NAIVE, *PARTS, *OTHERS)
CATEGORY_MODELS: Final = (NAIVE, *PARTS)
"""Models of a category; those for comparison are tested on the total alone."""
MEAN_WEEKS: Final = 8
LEVEL_DAYS: Final = 28
PROFILE_WEEKS: Final = 26
GROWTH_MAX: Final = 10
"""Largest forecast of a day as a multiple of the largest known one; beyond it a model has diverged."""

Forecaster = Callable[[Float64, int], Float64]
"""Sales of known, ordinary days [n] and a horizon h -> means [h]."""


def forecasters(names: Sequence[str]) -> dict[str, Forecaster]:
    """Return the models of these names: NAIVE, PARTS and OTHERS."""
    own: Mapping[str, Forecaster] = {"weekday_mean": weekday_mean, "level_profile": level_profile}
    return {name: own.get(name) or functools.partial(_from_library, name) for name in names}


def naive_bounds(known: Float64, horizon: int) -> dict[int, tuple[Float64, Float64]]:
    """Return bounds [h] of the seasonal naive forecast by its own errors, where no back-test is possible.

    Args:
        known: sales of known days, [n].
        horizon: number of days ahead, h.
    """
    from statsforecast.models import SeasonalNaive  # noqa: PLC0415 - seconds to import

    output = SeasonalNaive(WEEK).forecast(y=np.ascontiguousarray(known, np.float64), h=horizon, level=list(LEVELS))
    return {level: (_sales(output[f"lo-{level}"]), _sales(output[f"hi-{level}"])) for level in LEVELS}


def _from_library(name: str, known: Float64, horizon: int) -> Float64:
    from statsforecast import models  # noqa: PLC0415 - seconds to import

    made: dict[str, Callable[[], Any]] = {
        NAIVE: lambda: models.SeasonalNaive(WEEK),
        # additive error and season, no trend: the form that the search of AutoETS nearly always takes, in a fifth of
        # its time; a series with zeros permits no other error or season
        "ets_root": lambda: models.AutoETS(WEEK, model="ANA"),
        "theta_root": lambda: models.DynamicOptimizedTheta(WEEK),
        "ces": lambda: models.AutoCES(WEEK),
        "holt_winters": lambda: models.HoltWinters(WEEK),
        "auto_ets": lambda: models.AutoETS(WEEK),
        "mstl": lambda: models.MSTL(WEEK),
        "theta": lambda: models.DynamicOptimizedTheta(WEEK),
    }
    roots = name.endswith("_root")
    values = np.ascontiguousarray(np.sqrt(known) if roots else known, np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean = _sales(made[name]().forecast(y=values, h=horizon)["mean"])
    return mean**2 if roots else mean


def _sales(values: Any) -> Float64:
    """Clip at 0: sales are never negative."""
    return np.maximum(np.asarray(values, np.float64), 0.0)


def weekday_mean(known: Float64, horizon: int) -> Float64:
    """Return the mean of the same weekday over the last MEAN_WEEKS whole weeks, [h]."""
    return np.resize(_weeks(known, MEAN_WEEKS).mean(axis=0), horizon)


def level_profile(known: Float64, horizon: int) -> Float64:
    """Return the mean of the last LEVEL_DAYS days times the profile of the weekdays in PROFILE_WEEKS weeks, [h]."""
    profile = _weeks(known, PROFILE_WEEKS).mean(axis=0)
    if profile.mean() > 0:
        profile = profile / profile.mean()
    return np.resize(float(known[-LEVEL_DAYS:].mean()) * profile, horizon)


def _weeks(known: Float64, count: int) -> Float64:
    """Return the last whole weeks, at most `count`, [w, 7]; the first column is the weekday after the last day."""
    return known[len(known) % WEEK :].reshape(-1, WEEK)[-count:]


def predict(model: Forecaster, known: Float64, horizon: int) -> Float64 | None:
    """Return the means [h] of a model; None if it fails on this series, or diverges."""
    try:
        mean = model(known, horizon)
    except Exception:  # noqa: BLE001 - models do not declare what they raise on unusual series
        return None
    sound = np.isfinite(mean).all() and float(mean.max()) <= GROWTH_MAX * float(known.max())
    return mean if sound else None


def mean_of_parts(means: Mapping[str, Float64 | None]) -> Float64:
    """Return the mean [h] of the PARTS that did not fail, else of all models that did not.

    Args:
        means: model -> means [h], None for one that failed; NAIVE is never None.
    """
    parts = [values for name in PARTS if (values := means.get(name)) is not None]
    mean: Float64 = np.mean(parts or [values for values in means.values() if values is not None], axis=0)
    return mean
