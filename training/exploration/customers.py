"""Builds the panels about customers: demographics, engagement and correlations of their features."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots
from polars import col
from scipy import stats

from connectors.formats.money_format import MoneyFormat
from features.schema import NOT_KNOWN
from training.exploration.dataset import ExplorationData
from training.exploration.panels import BLUE, PALE, WARM, Float64, Panel, labels, share
from training.html import styled

AGE_BAND: Final = 10
TOP_WORDS: Final = 10
EVENTS_SHOWN_MAX: Final = 60
"""Maximum events of a visit on the axis; longer visits share the last bar."""
VISITS_SHOWN_MAX: Final = 100
CORRELATED: Final = (
    "tenure_days", "recency_days", "orders_365d", "revenue_365d", "avg_order_value_365d", "order_gap_mean_days",
    "returns_365d", "days_since_visit", "sessions_30d", "events_per_session_30d", "session_duration_mean_30d",
    "cart_abandon_rate_30d", "conversion_rate_30d", "mobile_share_30d", "visit_trend", "top_category_share_90d",
)  # fmt: skip
"""Features of the correlation panel: one of each kind, so that none is part of another with a longer window."""
_SAME: Final = (
    {"recency_days", "days_since_visit"}, {"orders_365d", "revenue_365d"}, {"revenue_365d", "avg_order_value_365d"},
    {"events_per_session_30d", "session_duration_mean_30d"},
)  # fmt: skip
"""Pairs that are correlated by definition."""
CUSTOMERS_MIN: Final = 30
"""Minimum number of customers for a reported correlation."""


def _spending(data: ExplorationData) -> pl.DataFrame:
    """Return the profiles with the revenue of each customer."""
    assert data.profiles is not None
    spent = data.orders.group_by("customer_id").agg((col("cents").sum() / 100).alias("revenue"))
    people = data.profiles.unique("customer_id", keep="last", maintain_order=True).filter(
        col("customer_id").is_not_null()
    )
    return people.join(spent, on="customer_id", how="left").with_columns(col("revenue").fill_null(0.0))


def demographics(data: ExplorationData) -> list[Panel]:
    """Return panels of age, gender, country, channel and spending of the customers."""
    if data.profiles is None or data.profiles.is_empty():
        return []
    people = _spending(data)
    panels = [_ages(people, data.money)]
    panels += [
        _words(people, column, title, data.money)
        for column, title in (("gender", "Gender"), ("country", "Countries"), ("acquisition_channel", "Channels"))
    ]
    return [panel for panel in panels if panel is not None]


def _ages(people: pl.DataFrame, money: MoneyFormat) -> Panel | None:
    known = people.filter(col("age").is_between(0, 120))
    if known.is_empty():
        return None
    bands = known.group_by((col("age") // AGE_BAND * AGE_BAND).alias("from")).agg(
        pl.len().alias("customers"), col("revenue").mean().alias("each")
    ).sort("from")  # fmt: skip
    names = [f"{low}-{low + AGE_BAND - 1}" for low in bands["from"].to_list()]
    large = bands.filter(col("customers") >= 0.05 * len(known))
    best = large.sort(["each", "from"], descending=[True, False]).row(0, named=True)
    median = float(np.median(known["age"].to_numpy()))
    return Panel(
        "ages", "Age",
        f"Half of the customers are younger than {median:.0f}; those of {best['from']} to "
        f"{best['from'] + AGE_BAND - 1} have the highest mean revenue ({money.text(best['each'])}).",
        _with_spending(names, bands, money),
    )  # fmt: skip


def _words(people: pl.DataFrame, column: str, title: str, money: MoneyFormat) -> Panel | None:
    if people[column].null_count() == len(people):
        return None
    groups = people.group_by(col(column).fill_null(NOT_KNOWN).alias("word")).agg(
        pl.len().alias("customers"), col("revenue").mean().alias("each")
    ).sort(["customers", "word"], descending=[True, False])  # fmt: skip
    shown = groups.head(TOP_WORDS)
    first = shown.row(0, named=True)
    large = shown.filter(col("customers") >= 0.05 * len(people))
    best = large.sort(["each", "word"], descending=[True, False]).row(0, named=True)
    rest = f" and {len(groups) - len(shown)} more" if len(groups) > len(shown) else ""
    return Panel(
        column.replace("_", "-"), title,
        f"{first['word']} is the largest of {len(shown)} groups{rest} with {share(first['customers'], len(people))} of "
        f"the customers; {best['word']} has the highest mean revenue ({money.text(best['each'])}).",
        _with_spending(labels(shown["word"]), shown, money),
    )  # fmt: skip


def _with_spending(names: list[str], groups: pl.DataFrame, money: MoneyFormat) -> object:
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    figure.add_bar(x=names, y=groups["customers"].to_list(), name="customers", marker_color=PALE)
    figure.add_scatter(
        x=names, y=groups["each"].to_list(), name="mean revenue", mode="markers", marker={"color": WARM, "size": 9},
        secondary_y=True,
    )  # fmt: skip
    figure.update_yaxes(
        title_text=money.heading("mean revenue"),
        hoverformat=f",.{money.decimals}f",
        rangemode="tozero",
        showgrid=False,
        secondary_y=True,
    )
    figure.update_xaxes(type="category")
    return styled(figure, height=340, yaxis_title="customers")


def engagement(data: ExplorationData) -> list[Panel]:
    """Return panels of the length of visits and the frequency of customers' visits."""
    if data.sessions.is_empty():
        return []
    events = data.sessions["events"].to_numpy()
    visits = data.sessions.group_by("customer").len()["len"].to_numpy()
    single = float((events == 1).mean())
    longest = np.sort(visits)[::-1][: max(len(visits) // 10, 1)].sum()
    return [
        Panel(
            "events-per-visit", "Clicks per visit",
            f"Half of the visits have at most {np.median(events):.0f} clicks and last at most "
            f"{np.median(data.sessions['duration_s'].to_numpy()) / 60:.1f} minutes; "
            f"{share(single, 1)} are a single click.",
            _histogram(np.minimum(events, EVENTS_SHOWN_MAX), EVENTS_SHOWN_MAX, "clicks", "visits"),
        ),
        Panel(
            "visits-per-customer", "Visits per customer",
            f"The median customer has {np.median(visits):.0f} visits; the most frequent tenth of customers has "
            f"{share(float(longest), float(visits.sum()))} of all visits.",
            _histogram(np.minimum(visits, VISITS_SHOWN_MAX), VISITS_SHOWN_MAX, "visits", "customers"),
        ),
    ]  # fmt: skip


def _histogram(values: Float64, most: int, what: str, of: str) -> object:
    counts = np.bincount(values.astype(np.int64), minlength=most + 1)[1:]
    last = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 1
    figure = go.Figure(go.Bar(x=list(range(1, last + 1)), y=counts[:last].tolist(), marker_color=BLUE))
    return styled(figure, height=340, xaxis_title=f"{what} (last bar: {most} and more)", yaxis_title=of, bargap=0.05)


def correlations(data: ExplorationData) -> Panel | None:
    """Return the panel of rank correlations between features, each over the customers with both."""
    columns = {name: data.features[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in CORRELATED}
    varied = [name for name, values in columns.items() if np.isfinite(values).any() and np.nanstd(values) > 0]
    if len(varied) < 2:
        return None
    grid = np.full((len(varied), len(varied)), np.nan)
    for one, first in enumerate(varied):
        for other, second in enumerate(varied[: one + 1]):
            grid[one, other] = grid[other, one] = _spearman(columns[first], columns[second])
    pairs = [
        (abs(grid[one, other]), varied[other], varied[one], grid[one, other])
        for one in range(len(varied))
        for other in range(one)
        if np.isfinite(grid[one, other]) and {varied[one], varied[other]} not in _SAME
    ]
    if not pairs:
        return None
    _, first, second, value = max(pairs)
    figure = go.Figure(go.Heatmap(z=grid, x=varied, y=varied, colorscale="RdBu", zmid=0, zmin=-1, zmax=1))
    return Panel(
        "correlations", "Correlations",
        f"Among features that are not related by definition, {first} and {second} correlate most: "
        f"{'both rise' if value > 0 else 'one falls as the other rises'} (rank correlation {value:+.2f}).",
        styled(figure, height=560, yaxis_autorange="reversed"),
    )  # fmt: skip


def _spearman(one: Float64, other: Float64) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < CUSTOMERS_MIN or np.ptp(one[both]) == 0 or np.ptp(other[both]) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(one[both]), stats.rankdata(other[both]))[0, 1])
