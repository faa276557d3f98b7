"""Builds the panels about shopping: funnel, cohorts, products, categories and baskets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots
from polars import col

from features.calendar import WEEK_DAYS
from features.schema import DEVICES, STAGE_EVENT, STAGES
from training.exploration.dataset import ExplorationData
from training.exploration.panels import BLUE, PALE, WARM, Panel, label, labels, share
from training.html import amounts_axis, styled
from training.sales import daily_sales

TOP_PRODUCTS: Final = 15
TOP_CATEGORIES: Final = 12
WEEKS_MIN: Final = 4
_STEPS: Final = {
    "visit": "visit", "view": "product view", "cart": "add to cart", "checkout": "checkout", "purchase": "purchase",
}  # fmt: skip


def funnel(data: ExplorationData) -> Panel | None:
    """Return the panel of sessions by the stages they reached, in total and by device."""
    if data.sessions.is_empty():
        return None
    recorded = _recorded(data.sessions)
    names = [_STEPS[stage] for stage in recorded]
    reached = {device: _reached(data.sessions.filter(col("device") == device), recorded) for device in DEVICES}
    total = _reached(data.sessions, recorded)
    figure = go.Figure()
    for device, colour in zip(DEVICES, (BLUE, PALE, WARM), strict=True):
        if reached[device][0]:
            figure.add_funnel(y=names, x=reached[device], name=device, marker_color=colour)
    return Panel(
        "funnel", "The funnel of visits", _bought(total, reached, recorded) + _lost(total, names) + ".",
        styled(figure, height=340, funnelmode="stack"),
    )  # fmt: skip


def _recorded(sessions: pl.DataFrame) -> list[str]:
    """Return the stages that clicks record: the visit, and those that some visit has reached by their own event."""
    return [STAGES[0], *(stage for stage in STAGES[1:] if (sessions[f"n_{STAGE_EVENT[stage]}"] > 0).any())]


def _bought(total: Sequence[int], reached: Mapping[str, Sequence[int]], recorded: Sequence[str]) -> str:
    """Return the share of visits that buy, in words."""
    if recorded[-1] != STAGES[-1]:
        return f"How many of {total[0]:,} visits buy is not known: no click is a purchase"
    text = f"{share(total[-1], total[0])} of {total[0]:,} visits buy"
    rates = {device: counts[-1] / counts[0] for device, counts in reached.items() if counts[0]}
    if len(rates) > 1:
        best = max(rates, key=lambda device: rates[device])
        text += f"; visits by {best} buy most often ({share(reached[best][-1], reached[best][0])})"
    return text


def _lost(total: Sequence[int], names: Sequence[str]) -> str:
    """Return the step with the largest loss, in words."""
    step_rates = [after / before for before, after in itertools.pairwise(total)]
    if not step_rates:
        return "; no step after the visit is recorded"
    leak = int(np.argmin(step_rates))
    if step_rates[leak] == 1:
        return "; no visit is lost between the recorded steps"
    return (
        f"; most are lost between “{names[leak]}” and “{names[leak + 1]}”, where "
        f"{share(total[leak] - total[leak + 1], total[leak])} leave"
    )


def _reached(sessions: pl.DataFrame, recorded: Sequence[str]) -> list[int]:
    counts = dict(sessions.group_by("stage").len().iter_rows())
    return [sum(counts.get(later, 0) for later in STAGES[STAGES.index(stage) :]) for stage in recorded]


def retention(data: ExplorationData) -> Panel | None:
    """Return the panel of retention: share of each cohort of first orders that orders in each later month."""
    done = data.cohorts.group_by("cohort", "months_since", "complete").agg(col("customers", "active").sum())
    done = done.filter("complete").with_columns((col("active") / col("customers")).alias("rate")).sort("cohort")
    later = done.filter(col("months_since") > 0)
    if later.is_empty():
        return None
    cohorts = sorted(done["cohort"].unique().to_list())
    months = list(range(1, int(later["months_since"].to_numpy().max()) + 1))
    grid = np.full((len(cohorts), len(months)), np.nan)
    for cohort, month, rate in later.select("cohort", "months_since", "rate").iter_rows():
        grid[cohorts.index(cohort), month - 1] = 100 * rate
    figure = go.Figure(go.Heatmap(z=grid, x=months, y=cohorts, colorscale="Blues", colorbar={"title": "%"}))
    sums = later.group_by("months_since").agg(col("active").sum(), col("customers").sum()).sort("months_since")
    first = sums.row(0, named=True)
    text = f"{share(first['active'], first['customers'])} of customers order again in the month after their first"
    if len(sums) > 2:
        # only the oldest cohorts reach the last months
        last = sums.filter(col("customers") >= 0.5 * first["customers"]).row(-1, named=True)
        text += f", {share(last['active'], last['customers'])} in month {last['months_since']}"
    return Panel(
        "retention", "Retention by cohort", f"{text}; the first cohorts of an archive include older customers.",
        styled(figure, height=max(340, 40 + 26 * len(cohorts)), xaxis_title="months since the first order",
              yaxis={"type": "category", "autorange": "reversed"}),
    )  # fmt: skip


def _lines(data: ExplorationData) -> pl.DataFrame:
    """Return product_id, category, quantity, amount of each line of the valid orders."""
    lines = data.orders.select("items").explode("items", keep_nulls=False, empty_as_null=False).unnest("items")
    amount = (col("quantity").fill_null(1) * col("unit_price")).fill_null(0.0)
    return lines.select("product_id", "category", "quantity", amount.alias("amount"))


def products(data: ExplorationData) -> Panel | None:
    """Return the panel of the products with most revenue, with the share of their views that end in an order."""
    sold = _lines(data).filter(col("product_id").is_not_null()).group_by("product_id").agg(
        col("category").min(), col("amount").sum(), pl.len().alias("lines")
    )  # fmt: skip
    if sold.is_empty() or not sold["amount"].sum():
        return None
    top = (
        sold.join(data.products.select("product_id", "views"), on="product_id", how="left")
        .with_columns(_conversion().alias("conversion"))
        .sort(["amount", "product_id"], descending=[True, False])
    )
    shown = top.head(TOP_PRODUCTS)
    revenue = float(sold["amount"].sum())
    first = shown.row(0, named=True)
    known = shown.filter(col("conversion").is_not_null()).sort(["conversion", "product_id"], descending=[True, False])
    text = (
        f"{first['product_id']} has the highest revenue: {data.money.text(first['amount'])}, "
        f"{share(first['amount'], revenue)} of the revenue by line; the first {len(shown)} of {len(sold):,} products "
        "have "
        f"{share(float(shown['amount'].sum()), revenue)}"
    )
    if len(known):
        best = known.row(0, named=True)
        text += (
            f"; of them {best['product_id']} has the highest conversion ({best['conversion']:.1f} orders per 100 views)"
        )
    if unknown := shown.filter(col("lines") > col("views")).height:
        text += f"; the conversion of {unknown:,} of them is not known: they have more orders than views"
    return Panel("products", "Top products", f"{text}.", _ranked(shown, labels(shown["product_id"])))


def _conversion() -> pl.Expr:
    """Return orders per 100 views; null without views, and with more orders than views, which were made elsewhere."""
    return pl.when((col("views") > 0) & (col("lines") <= col("views"))).then(100 * col("lines") / col("views"))


def _ranked(shown: pl.DataFrame, names: list[str]) -> object:
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    figure.add_bar(x=names, y=shown["amount"].to_list(), name="revenue", marker_color=BLUE)
    figure.add_scatter(
        x=names, y=shown["conversion"].to_list(), name="orders per 100 views", mode="markers",
        marker={"color": WARM, "size": 9}, secondary_y=True,
    )  # fmt: skip
    figure.update_yaxes(title_text="orders per 100 views", rangemode="tozero", showgrid=False, secondary_y=True)
    figure.update_xaxes(type="category")
    return styled(figure, height=380, yaxis_title="revenue")


def categories(data: ExplorationData) -> Panel | None:
    """Return the panel of revenue by category; an order's amount is split among its lines by their prices."""
    days = data.whole_days
    if data.orders.is_empty() or not len(days):
        return None
    sales = daily_sales(data.orders, days.start, days.stop - 1, TOP_CATEGORIES, data.span.calendar)
    sums = {name: float(values.sum()) for name, values in sales.categories.items()}
    revenue = sum(sums.values())
    if not revenue:
        return None
    views = dict(data.products.group_by("category").agg(col("views").sum()).iter_rows())
    lines = dict(_lines(data).group_by("category").len().iter_rows())
    shown = (
        pl.DataFrame(
            {
                "category": list(sums),
                "amount": list(sums.values()),
                "lines": [lines.get(name, 0) for name in sums],
                "views": [views.get(name, 0) for name in sums],
            },
            schema_overrides={"lines": pl.Int64, "views": pl.Int64},
        )
        .with_columns(_conversion().alias("conversion"))
        .sort(["amount", "category"], descending=[True, False])
    )
    half = int(np.searchsorted(shown["amount"].to_numpy().cumsum() / revenue, 0.5)) + 1
    first = shown.row(0, named=True)
    return Panel(
        "categories", "Categories",
        f"{first['category']} leads with {data.money.text(first['amount'])}, "
        f"{share(first['amount'], revenue)} of the revenue; "
        f"{half} of {len(shown)} categories account for half of it.",
        _ranked(shown, [label(name) for name in shown["category"].to_list()]),
    )  # fmt: skip


def _mean_total(data: ExplorationData) -> float:
    return float(data.orders["cents"].to_numpy().mean()) / 100


def baskets(data: ExplorationData) -> Panel | None:
    """Return the panel of mean order value and share of visits that buy by week, with their trends in words."""
    if data.orders.is_empty() or len(data.whole_days) < WEEKS_MIN * WEEK_DAYS:
        return None
    start = data.whole_days.start
    weeks = len(data.whole_days) // WEEK_DAYS
    week = (data.span.calendar.day("ts") - start) // WEEK_DAYS
    orders = data.orders.select(week.alias("week"), "cents").filter(col("week").is_between(0, weeks - 1))
    purchases = col(f"n_{STAGE_EVENT[STAGES[-1]]}") > 0
    visits = data.sessions.select(col("start_ts").alias("ts"), purchases.alias("bought"))
    visits = visits.select(week.alias("week"), "bought").filter(col("week").is_between(0, weeks - 1))
    recorded = bool(visits["bought"].any())
    visits = visits.group_by("week").agg(pl.len().alias("visits"), col("bought").sum())
    by_week = orders.group_by("week").agg(col("cents").mean().alias("mean"))
    by_week = by_week.join(visits, on="week", how="left").sort("week")
    days = (by_week["week"].to_numpy() * WEEK_DAYS + start).astype("datetime64[D]")
    values = by_week["mean"].to_numpy() / 100
    rate = (100 * by_week["bought"] / by_week["visits"]).to_list() if recorded else []
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    figure.add_scatter(x=days, y=values, name="mean order value", line={"color": BLUE})
    if recorded:
        figure.add_scatter(x=days, y=rate, name="purchases per 100 visits", line={"color": WARM}, secondary_y=True)
    figure.update_yaxes(title_text="purchases per 100 visits", rangemode="tozero", showgrid=False, secondary_y=True)
    quarter = max(len(values) // 4, 1)
    early, late = float(values[:quarter].mean()), float(values[-quarter:].mean())
    mean, late_mean, early_mean = (data.money.text(one) for one in (_mean_total(data), late, early))
    text = (
        f"An order is worth {mean} on average; in the last quarter of the time {late_mean}, in the first {early_mean}"
    )
    known = [one for one in rate if one is not None]
    if known:
        first, last = (float(np.mean(part)) for part in (known[:quarter], known[-quarter:]))
        text += f". Of 100 visits {first:.1f} bought in the first quarter and {last:.1f} in the last"
    elif len(visits):
        text += ". How many visits bought is not known: no click is a purchase"
    return Panel("baskets", "Order value and conversion by week", f"{text}.",
                 styled(figure, height=340, **amounts_axis("mean order value", data.money),
                        yaxis_rangemode="tozero"))  # fmt: skip
