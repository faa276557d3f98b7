"""Renders the forecast as one self-contained HTML page: figures and the measures of the back-test."""

from __future__ import annotations

from html import escape
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from features.schema import DAY_MS
from training.forecast.models import TITLES, Float64, Forecast
from training.forecast.shop_forecast import ShopForecast, figures
from training.html import document, plot, table

SHOWN_DAYS: Final = 120
"""Known days beside the forecast of a category; the total shows all."""
_BANDS: Final = {95: "rgba(44,103,178,0.15)", 80: "rgba(44,103,178,0.30)"}
_HEAD: Final = ("RMSE", "MAE", "MAPE", "MASE", "against naive", "80 % covers", "95 % covers")


def render(found: ShopForecast) -> str:
    """Render the page."""
    said = figures(found)
    total = said["series"][0]
    parts = [
        "<h1>Sales forecast</h1>",
        _summary(said, total["sum"]),
        plot(_figure(found, found.sales.total, found.total, len(found.sales.total), "All sales by day"), "total",
             first=True),
        "<h2>How good it is</h2>",
        _tested(total),
        "<h2>By category</h2>",
        _categories(said),
        *(
            plot(_figure(found, found.sales.categories[name], one, SHOWN_DAYS, name), f"category-{place}")
            for place, (name, one) in enumerate(found.categories.items())
        ),
    ]  # fmt: skip
    return document("Sales forecast", parts)


def _summary(said: dict[str, Any], whole: float) -> str:
    known = f"{said['days']:,} days since {said['first']}"
    return f"<p>{said['horizon']} days after {said['last']}, from {known}: {whole:,.0f} in all.</p>"


def _figure(found: ShopForecast, known: Float64, said: Forecast, shown: int, title: str) -> Any:
    start = found.sales.first_day
    days = (np.arange(start, start + len(known) + found.horizon) * DAY_MS).astype("datetime64[ms]")
    past, ahead = days[: len(known)][-shown:], days[len(known) :]
    figure = go.Figure()
    for level, colour in _BANDS.items():
        low, high = said.bounds[level]
        figure.add_scatter(
            x=np.concatenate([ahead, ahead[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
            fillcolor=colour, line={"width": 0}, hoverinfo="skip", name=f"{level} % interval",
        )  # fmt: skip
    figure.add_scatter(x=past, y=known[-shown:], mode="lines", name="sales", line={"color": "#1b1f24", "width": 1.2})
    figure.add_scatter(
        x=ahead, y=said.mean, mode="lines", name=TITLES[said.model], line={"color": "#2c67b2", "width": 2}
    )
    figure.update_layout(
        title=escape(title), yaxis_title="revenue", template="plotly_white", height=360,
        margin={"t": 50, "b": 40}, yaxis_rangemode="tozero",
    )  # fmt: skip
    return figure


def _tested(total: dict[str, Any]) -> str:
    if not total["origins"]:
        return "<p>The history is too short to be tested on: this is last week again.</p>"
    procedure = "chosen at each origin"
    rows = [[title, *_row(one)] for title, one in total["models"].items()]
    if total["nested"]:
        rows.append([procedure, *_row(total["nested"])])
    return table(["model", *_HEAD], rows, procedure) + (
        f"<small>Models: {total['origins']} origins, each forecast from the days before it alone, with the model's own "
        "interval. Chosen at each origin: model and interval by what was known there, over the "
        f"{total['nested_origins']} later origins; this row is what to expect. MASE: error by that of last week's same "
        "day, one week ahead, before the origin. Against naive: by that of the seasonal naive forecast of the very "
        f"same days. The forecast is by {escape(TITLES[total['model']])}, its interval is "
        f"{_INTERVALS[total['interval']]}.</small>"
    )


_INTERVALS: Final = {"own": "the model's own", "conformal": "conformal, of the errors of the back-test"}


def _row(one: dict[str, Any]) -> list[str]:
    return [
        f"{one['rmse']:,.1f}", f"{one['mae']:,.1f}", "-" if one["mape"] is None else f"{one['mape']:.1%}",
        f"{one['mase']:.3f}", f"{one['against_naive']:.3f}", f"{one['coverage_80']:.1%}", f"{one['coverage_95']:.1%}",
    ]  # fmt: skip


def _categories(said: dict[str, Any]) -> str:
    rows = [[one["category"], TITLES[one["model"]], f"{one['sum']:,.0f}", *_nested(one)] for one in said["series"][1:]]
    return table(["category", "model", f"next {said['horizon']} days", *_HEAD], rows) + (
        "<small>Each category is forecast alone. Their sum is not made to equal the total, which is the better "
        f"forecast of the whole; over the horizon it lies {said['apart']:+.1%} from it.</small>"
    )


def _nested(one: dict[str, Any]) -> list[str]:
    return _row(one["nested"]) if one["nested"] else ["-"] * len(_HEAD)
