"""Forecasts a shop's total and each category, as documents.

Each series has its own forecast. The categories are not reconciled with the total: a total is steadier than its parts,
so the sum of their forecasts predicts it worse. An interval of a sum is not the sum of intervals. The report states the
distance between the sum and the total.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from features.schema import ALL_CATEGORIES, DAY_MS, FORECAST_FIELDS
from training.forecast.models import (
    CATEGORY_MODELS,
    LEVELS,
    TITLES,
    TOTAL_MODELS,
    Forecast,
    Measures,
    forecast,
    forecasters,
    plan_origins,
)
from training.sales import DailySales
from training.trend_frames import frame_schema

TOTAL: Final = "total"
CATEGORY: Final = "category"


@dataclass(frozen=True, slots=True)
class ShopForecast:
    """Known and forecast sales.

    Attributes:
        sales: daily sales.
        horizon: number of days to forecast.
        total: forecast of all sales.
        categories: forecasts by category, largest first.
    """

    sales: DailySales
    horizon: int
    total: Forecast
    categories: dict[str, Forecast]

    @property
    def apart(self) -> float:
        """Ratio of the categories' summed forecasts to the total's over the horizon, less 1; 0 if the total is 0."""
        whole = float(self.total.mean.sum())
        parts = sum(float(one.mean.sum()) for one in self.categories.values())
        return parts / whole - 1 if whole > 0 and self.categories else 0.0


def forecast_shop(
    sales: DailySales, horizon: int, on_step: Callable[[str, float], None] = lambda *_: None
) -> ShopForecast:
    """Forecast a shop.

    Args:
        sales: daily sales.
        horizon: number of days to forecast.
        on_step: callback with the current series and the completed share.

    Raises:
        ShopstreamError: there are too few days.
    """
    each = max(len(plan_origins(len(sales.total), horizon)), 1)
    whole = each * (1 + len(sales.categories))
    done = 0

    def counted(name: str) -> Callable[[], None]:
        def one() -> None:
            nonlocal done
            done += 1
            on_step(name, done / whole)

        on_step(name, done / whole)
        return one

    total = forecast(sales.total, horizon, forecasters(TOTAL_MODELS), counted(TOTAL))
    categories = {
        name: forecast(series, horizon, forecasters(CATEGORY_MODELS), counted(name))
        for name, series in sales.categories.items()
    }
    return ShopForecast(sales, horizon, total, categories)


def frame(found: ShopForecast) -> pl.DataFrame:
    """Return a row of FORECAST_FIELDS for each known or forecast day, of the total, then of each category."""
    parts = [_rows(found, TOTAL, ALL_CATEGORIES, found.sales.total, found.total)]
    for name, one in found.categories.items():
        parts.append(_rows(found, CATEGORY, name, found.sales.categories[name], one))
    return pl.concat(parts)


def _rows(found: ShopForecast, level: str, category: str, known: Any, said: Forecast) -> pl.DataFrame:
    days = np.arange(found.sales.first_day, found.sales.first_day + len(known) + found.horizon)
    past, ahead = np.full(len(known), np.nan), np.full(found.horizon, np.nan)
    columns: dict[str, Any] = {
        "ts": days * DAY_MS,
        "day": days.astype("datetime64[D]").astype(str),
        "level": np.full(len(days), level),
        "category": np.full(len(days), category),
        "revenue": np.concatenate([np.round(known, 2), ahead]),
        "forecast": np.concatenate([past, said.mean]),
        "model": [None] * len(known) + [said.model] * found.horizon,
    }
    for percent in LEVELS:
        low, high = said.bounds[percent]
        columns[f"low_{percent}"] = np.concatenate([past, low])
        columns[f"high_{percent}"] = np.concatenate([past, high])
    schema = frame_schema(FORECAST_FIELDS)
    made = pl.DataFrame({name: pl.Series(name, columns[name], dtype) for name, dtype in schema.items()})
    return made.with_columns(pl.selectors.float().fill_nan(None))


def figures(found: ShopForecast) -> dict[str, Any]:
    """Return the measures of the back-tests as JSON-compatible data; `nested` is that of the whole procedure.

    Keys: horizon, days, first, last, apart, series. Keys of each series: level, category, model, interval, origins,
    nested_origins, nested, models (title -> measures) and sum. The sum has no interval: only the mean is additive.
    """
    first = found.sales.first_day
    last = first + len(found.sales.total) - 1
    series = [_figures(TOTAL, ALL_CATEGORIES, found.total)]
    series += [_figures(CATEGORY, name, one) for name, one in found.categories.items()]
    return {
        "horizon": found.horizon,
        "days": len(found.sales.total),
        "first": str(np.datetime64(first, "D")),
        "last": str(np.datetime64(last, "D")),
        "apart": found.apart,
        "series": series,
    }


def _figures(level: str, category: str, said: Forecast) -> dict[str, Any]:
    judged = said.judged
    return {
        "level": level,
        "category": category,
        "model": said.model,
        "interval": said.interval,
        "sum": float(said.mean.sum()),
        "origins": judged.origins if judged else 0,
        "nested_origins": judged.nested_origins if judged else 0,
        "nested": _measures(judged.nested) if judged and judged.nested else None,
        "models": {TITLES[name]: _measures(one) for name, one in judged.models.items()} if judged else {},
    }


def _measures(found: Measures) -> dict[str, Any]:
    return {
        "rmse": found.rmse,
        "mae": found.mae,
        "mape": found.mape,
        "mase": found.mase,
        "against_naive": found.against_naive,
        **{f"coverage_{level}": share for level, share in found.coverage.items()},
    }
