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

from features.calendar import day_name, day_names
from features.schema import ALL_CATEGORIES, FORECAST_FIELDS
from training.forecast.back_test import Forecast, Measures, forecast, plan_origins, warm_up
from training.forecast.day_effects import silences
from training.forecast.models import CATEGORY_MODELS, LEVELS, MEAN, TITLES, TOTAL_MODELS, forecasters
from training.forecast.special_days import NO_SPECIAL_DAYS, SpecialDays
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
        special: special days, past and future.
    """

    sales: DailySales
    horizon: int
    total: Forecast
    categories: dict[str, Forecast]
    special: SpecialDays = NO_SPECIAL_DAYS

    @property
    def category_gap(self) -> float:
        """Ratio of the categories' summed forecasts to the total's over the horizon, less 1; 0 if the total is 0."""
        total = float(self.total.mean.sum())
        parts = sum(float(one.mean.sum()) for one in self.categories.values())
        return parts / total - 1 if total > 0 and self.categories else 0.0


def forecast_shop(
    sales: DailySales,
    horizon: int,
    on_step: Callable[[str, float], None] = lambda *_: None,
    special: SpecialDays = NO_SPECIAL_DAYS,
) -> ShopForecast:
    """Forecast a shop.

    Args:
        sales: daily sales.
        horizon: number of days to forecast.
        on_step: callback with the current series and the completed share.
        special: special days, past and future.

    Raises:
        ShopstreamError: there are too few days.
        UsageError: a day that is marked closed has sales, or a special day ahead has too few past ones.
    """
    origins = plan_origins(len(sales.total), horizon)
    each = max(len(origins) + (len(warm_up(len(sales.total), horizon)) if origins else 0), 1)
    steps = each * (1 + len(sales.categories))
    done = 0

    def counted(name: str) -> Callable[[], None]:
        def one() -> None:
            nonlocal done
            done += 1
            on_step(name, done / steps)

        on_step(name, done / steps)
        return one

    models, first = forecasters(TOTAL_MODELS), sales.first_day
    total = forecast(sales.total, horizon, models, counted(TOTAL), first, special)
    models = forecasters(CATEGORY_MODELS)
    categories = {
        name: forecast(series, horizon, models, counted(name), first, special)
        for name, series in sales.categories.items()
    }
    return ShopForecast(sales, horizon, total, categories, special)


def frame(shop: ShopForecast) -> pl.DataFrame:
    """Return a row of FORECAST_FIELDS for each known or forecast day, of the total, then of each category."""
    parts = [_rows(shop, TOTAL, ALL_CATEGORIES, shop.sales.total, shop.total)]
    for name, one in shop.categories.items():
        parts.append(_rows(shop, CATEGORY, name, shop.sales.categories[name], one))
    return pl.concat(parts)


def _rows(shop: ShopForecast, level: str, category: str, known: Any, prediction: Forecast) -> pl.DataFrame:
    days = np.arange(shop.sales.first_day, shop.sales.first_day + len(known) + shop.horizon)
    past, ahead = np.full(len(known), np.nan), np.full(shop.horizon, np.nan)
    columns: dict[str, Any] = {
        "ts": shop.sales.calendar.start_ms(days),
        "day": day_names(days),
        "level": np.full(len(days), level),
        "category": np.full(len(days), category),
        "revenue": np.concatenate([np.round(known, 2), ahead]),
        "forecast": np.concatenate([past, prediction.mean]),
        "model": [None] * len(known) + [prediction.model] * shop.horizon,
    }
    for percent in LEVELS:
        low, high = prediction.bounds[percent]
        columns[f"low_{percent}"] = np.concatenate([past, low])
        columns[f"high_{percent}"] = np.concatenate([past, high])
    schema = frame_schema(FORECAST_FIELDS)
    made = pl.DataFrame({name: pl.Series(name, columns[name], dtype) for name, dtype in schema.items()})
    return made.with_columns(pl.selectors.float().fill_nan(None))


def figures(shop: ShopForecast) -> dict[str, Any]:
    """Return the measures of the back-tests as JSON-compatible data.

    Keys: horizon, days, first, last, apart, series, special_days, silences. Keys of each series: level, category,
    model, interval, origins, interval_origins, measured (of the forecast's own model), models (title -> measures),
    failed and sum. The sum has no interval: only the mean is additive. `special_days` are those ahead; `silences` are
    spells without sales that no special day explains.
    """
    first = shop.sales.first_day
    last = first + len(shop.sales.total) - 1
    series = [_figures(TOTAL, ALL_CATEGORIES, shop.total)]
    series += [_figures(CATEGORY, name, one) for name, one in shop.categories.items()]
    return {
        "horizon": shop.horizon,
        "days": len(shop.sales.total),
        "first": day_name(first),
        "last": day_name(last),
        "apart": shop.category_gap,
        "series": series,
        "special_days": _special_days(shop),
        "silences": [
            {"first": day_name(start), "last": day_name(end)}
            for start, end in silences(shop.sales.total, first, shop.special)
        ],
    }


def _special_days(shop: ShopForecast) -> list[dict[str, Any]]:
    """Return the special days and closed weekdays ahead as day, name, effect, ratio, past_days; None: not measured."""
    start = shop.sales.first_day + len(shop.sales.total)
    rows: list[dict[str, Any]] = []
    for day in range(start, start + shop.horizon):
        name = shop.special.names.get(day)
        measured = None if name is None else shop.total.effects.get(name)
        if day in shop.total.closed_weekdays:
            effect = "closed weekday"
        elif name is None:
            continue
        else:
            effect = shop.special.effects[name]
        rows.append({
            "day": day_name(day), "name": name or "", "effect": effect,
            "ratio": measured.ratio if measured and effect == "measured" else None,
            "past_days": measured.days if measured and effect == "measured" else None,
        })  # fmt: skip
    return rows


def _figures(level: str, category: str, prediction: Forecast) -> dict[str, Any]:
    evaluation = prediction.evaluation
    return {
        "level": level,
        "category": category,
        "model": prediction.model,
        "interval": prediction.interval,
        "sum": float(prediction.mean.sum()),
        "origins": evaluation.origins if evaluation else 0,
        "interval_origins": evaluation.interval_origins if evaluation else 0,
        "measured": _measures(evaluation.models[MEAN]) if evaluation else None,
        "models": {TITLES[name]: _measures(one) for name, one in evaluation.models.items()} if evaluation else {},
        "failed": [TITLES[name] for name in prediction.failed],
    }


def _measures(measures: Measures) -> dict[str, Any]:
    """Return measures as data; a coverage that no origin measures is None."""
    return {
        "rmse": measures.rmse,
        "mae": measures.mae,
        "mape": measures.mape,
        "mase": measures.mase,
        "against_naive": measures.against_naive,
        **{f"coverage_{level}": measures.coverage.get(level) for level in LEVELS},
    }
