"""Renders the forecast as one self-contained HTML page: figures and the measures of the back-test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from training.forecast.back_test import Forecast
from training.forecast.day_effects import Float64
from training.forecast.models import LEVELS, MEAN, NAIVE, TITLES
from training.forecast.shop_forecast import ShopForecast, figures
from training.html import Block, Figure, Heading, Table, Text, amounts_axis, page, styled

SHOWN_DAYS: Final = 120
"""Known days in the figure of a category; the figure of the total shows all."""
UNTESTED: Final = "The history is too short for a back-test or has no sales: the forecast repeats the last week."
_BANDS: Final = {95: "rgba(44,103,178,0.15)", 80: "rgba(44,103,178,0.30)"}
_HEAD: Final = ("RMSE", "MAE", "MAPE", "MASE", "against naive", "80 % coverage", "95 % coverage")


def render(shop: ShopForecast, money: MoneyFormat = PLAIN_MONEY) -> str:
    """Render the page."""
    return page("Sales forecast", _blocks(shop, figures(shop), money))


def _blocks(shop: ShopForecast, report: Mapping[str, Any], money: MoneyFormat) -> Iterator[Block]:
    total, *categories = report["series"]
    yield Text(
        f"The forecast for the {report['horizon']} days after {report['last']} is "
        f"{money.text(total['sum'], whole=True)}. It uses {report['days']:,} days since {report['first']}."
    )
    yield Figure(_figure(shop, shop.sales.total, shop.total, len(shop.sales.total), "All sales by day", money), "total")
    yield from (Text(sentence, note=True) for sentence in remarks(report))
    if report["special_days"]:
        yield Heading("Special days ahead")
        yield Table(("day", "name", "effect"), [(one["day"], one["name"], effect_text(one)) for one in
                                                report["special_days"]])  # fmt: skip
    yield Heading("Accuracy")
    yield from _accuracy(total, money)
    yield Heading("Categories")
    rows = [
        (one["category"], TITLES[one["model"]], money.text(one["sum"], whole=True),
         *(measures_row(one["measured"]) if one["measured"] else ["-"] * len(_HEAD)))
        for one in categories
    ]  # fmt: skip
    yield Table(("category", "model", f"next {report['horizon']} days", *_heads(money)), rows)
    yield Text(
        "Each category has its own forecast. They are not reconciled with the total, which is the better forecast of "
        f"all sales. Over the horizon their sum differs from the total by {report['apart']:+.1%}.",
        note=True,
    )
    for position, (name, forecast) in enumerate(shop.categories.items()):
        figure = _figure(shop, shop.sales.categories[name], forecast, SHOWN_DAYS, name, money)
        yield Figure(figure, f"category-{position}")


def _figure(shop: ShopForecast, known: Float64, forecast: Forecast, shown: int, title: str, money: MoneyFormat) -> Any:
    start = shop.sales.first_day
    days = np.arange(start, start + len(known) + shop.horizon).astype("datetime64[D]")
    past, ahead = days[: len(known)][-shown:], days[len(known) :]
    figure = go.Figure()
    for level, colour in _BANDS.items():
        low, high = forecast.bounds[level]
        figure.add_scatter(
            x=np.concatenate([ahead, ahead[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
            fillcolor=colour, line={"width": 0}, hoverinfo="skip", name=f"{level} % interval",
        )  # fmt: skip
    figure.add_scatter(x=past, y=known[-shown:], mode="lines", name="sales", line={"color": "#1b1f24", "width": 1.2})
    figure.add_scatter(
        x=ahead, y=forecast.mean, mode="lines", name=TITLES[forecast.model], line={"color": "#2c67b2", "width": 2}
    )
    return styled(figure, title=escape(title), **amounts_axis("revenue", money), yaxis_rangemode="tozero")


def _accuracy(total: Mapping[str, Any], money: MoneyFormat) -> Iterator[Block]:
    if not total["origins"]:
        yield Text(UNTESTED)
        return
    rows = [(title, *measures_row(measures)) for title, measures in total["models"].items()]
    yield Table(("model", *_heads(money)), rows, marked=TITLES[MEAN])
    yield Text(
        f"{total['origins']} origins; each forecast uses the days before it alone. The forecast is the fixed mean of "
        "five unlike models; the other models are for comparison. Nothing is chosen by the errors, so expect the "
        "accuracy of the marked row. Coverage: share of the days inside intervals from the errors before an origin, at "
        f"{total['interval_origins']} of the origins. MASE: error relative to the seasonal naive forecast one week "
        "ahead, within the days before the origin. Against naive: error relative to the seasonal naive forecast of the "
        "same days.",
        note=True,
    )


def remarks(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of a forecast besides its figures, a sentence each.

    Args:
        report: see `training.forecast.shop_forecast.figures`.
    """
    total = report["series"][0]
    sentences = []
    if total["measured"] and total["measured"]["against_naive"] > 1:
        sentences.append(
            f"In the back-test, the {TITLES[NAIVE]} forecast has smaller errors than the {TITLES[MEAN]}: the last "
            "week predicts this shop better."
        )
    if total["failed"]:
        sentences.append(f"Without {', '.join(total['failed'])}: these models fail on this series.")
    sentences += [
        f"There are no sales from {one['first']} to {one['last']}, which is improbable. If the shop was closed or "
        "records are missing, name these days in the file of special days; otherwise they lower the forecast."
        for one in report["silences"]
    ]
    return sentences


def effect_text(day: Mapping[str, Any]) -> str:
    """Return the effect of a special day ahead as words."""
    if day["effect"] in {"closed", "closed weekday"}:
        return f"{day['effect']}: no sales"
    if day["ratio"] is None:
        return "forecast as an ordinary day"
    return f"{day['ratio']:.2f} x an ordinary day, from {day['past_days']} past days"


def _heads(money: MoneyFormat) -> tuple[str, ...]:
    """Return the heads of measures; the first two are amounts."""
    return (*(money.heading(head) for head in _HEAD[:2]), *_HEAD[2:])


def measures_row(measures: Mapping[str, Any]) -> list[str]:
    """Return the measures of a model as the cells of a table, without its title."""
    coverage = (measures[f"coverage_{level}"] for level in LEVELS)
    return [
        f"{measures['rmse']:,.1f}", f"{measures['mae']:,.1f}",
        "-" if measures["mape"] is None else f"{measures['mape']:.1%}", f"{measures['mase']:.3f}",
        f"{measures['against_naive']:.3f}", *("-" if one is None else f"{one:.1%}" for one in coverage),
    ]  # fmt: skip
