"""Defines a panel, a figure with one sentence about it, and builds the panels by day and hour."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import polars as pl
from scipy import stats

from features.calendar import WEEK_DAYS, day_name, weekday_names
from features.local_times import wall_ms
from features.schema import DAY_MS, HOUR_MS
from training.exploration.dataset import ExplorationData
from training.html import amounts_axis, styled

BLUE: Final = "#2c67b2"
DARK: Final = "#1b1f24"
PALE: Final = "#9db8d9"
WARM: Final = "#c8642d"
DAYS_PER_MONTH: Final = 30
LABEL_CHARS_MAX: Final = 40

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """A figure and its sentence.

    Attributes:
        name: id on the page.
        title: title of the figure.
        sentence: finding in the data, as text.
        figure: Plotly figure; text of the archive in it is escaped.
    """

    name: str
    title: str
    sentence: str
    figure: Any


def label(text: str) -> str:
    """Escape text of the archive for a figure, which would interpret `<b>`."""
    return escape(text if len(text) <= LABEL_CHARS_MAX else f"{text[: LABEL_CHARS_MAX - 1]}…")


def labels(values: pl.Series) -> list[str]:
    """Return the texts of a column, escaped for a figure."""
    return [label(value) for value in values.to_list()]


def share(part: float, total: float) -> str:
    """Return a share as text, such as `12.3 %`."""
    return f"{part / total:.1%}".replace("%", " %") if total else "-"


# --- by day -----------------------------------------------------------------------------------------------------------
def visits_by_day(data: ExplorationData) -> Panel | None:
    """Return the panel of sessions by the local day of their start."""
    return _by_day(data, "visits-by-day", "Visits by day", "visits", _counted(data, data.sessions["start_ts"]))


def orders_by_day(data: ExplorationData) -> Panel | None:
    """Return the panel of valid orders by local day."""
    return _by_day(data, "orders-by-day", "Orders by day", "orders", _counted(data, data.orders["ts"]))


def revenue_by_day(data: ExplorationData) -> Panel | None:
    """Return the panel of the totals of valid orders by local day."""
    cents = _counted(data, data.orders["ts"], data.orders["cents"])
    return _by_day(data, "revenue-by-day", "Revenue by day", "revenue", cents / 100)


def _counted(data: ExplorationData, times: pl.Series, weights: pl.Series | None = None) -> Float64:
    days = data.whole_days
    numbers = data.span.calendar.day_of(times)
    inside = (numbers >= days.start) & (numbers < days.stop)
    weight = None if weights is None else weights.to_numpy()[inside]
    return np.bincount(numbers[inside] - days.start, weight, len(days)).astype(np.float64)


def _by_day(data: ExplorationData, name: str, title: str, what: str, values: Float64) -> Panel | None:
    if not values.any() or len(values) < 2 * WEEK_DAYS:
        return None
    days = np.arange(data.whole_days.start, data.whole_days.stop).astype("datetime64[D]")
    weekly = np.convolve(values, np.ones(WEEK_DAYS) / WEEK_DAYS, "valid")
    # the trend uses means over whole weeks, so that weekdays cannot cause one
    slope, middle, low, high = _trend(weekly)
    figure = go.Figure()
    figure.add_scatter(x=days, y=values, mode="lines", name=what, line={"color": PALE, "width": 1})
    half = WEEK_DAYS // 2
    inner = days[half : half + len(weekly)]
    figure.add_scatter(x=inner, y=weekly, mode="lines", name="mean of 7 days", line={"color": BLUE, "width": 2})
    line = middle + slope * np.arange(len(weekly))
    figure.add_scatter(x=inner, y=line, mode="lines", name="trend", line={"color": WARM, "dash": "dash"})
    peak = int(values.argmax())
    is_money = what == "revenue"
    axis = amounts_axis(what, data.money) if is_money else {"yaxis_title": what}

    def size(value: float) -> str:
        return data.money.text(float(value)) if is_money else f"{value:,.0f}"

    month = [100 * rate * DAYS_PER_MONTH / weekly.mean() for rate in (slope, low, high)]
    moved = "no significant trend" if low <= 0 <= high else "the trend is up" if slope > 0 else "the trend is down"
    if np.isinf(low):
        trend = "the history is too short for a trend"
    else:
        trend = f"{moved}: {month[0]:+.1f} % of the mean in 30 days ({month[1]:+.1f} to {month[2]:+.1f})"
    return Panel(
        name, title,
        f"The median day has {size(np.median(values))} {'of revenue' if is_money else what}, the busiest, "
        f"{day_name(data.whole_days.start + peak)}, {size(values[peak])}; {trend}.",
        styled(figure, height=340, **axis, yaxis_rangemode="tozero"),
    )  # fmt: skip


def _trend(weekly: Float64) -> tuple[float, float, float, float]:
    """Return Theil-Sen slope, value at the start and bounds of the slope, from every seventh mean, without overlap."""
    positions = np.arange(len(weekly))[::WEEK_DAYS]
    points = weekly[::WEEK_DAYS]
    if len(points) < 3:
        return 0.0, float(weekly.mean()), -np.inf, np.inf
    slope, middle, low, high = stats.theilslopes(points, positions, 0.95)
    return float(slope), float(middle), float(low), float(high)


# --- the seasonality --------------------------------------------------------------------------------------------------
def _local(data: ExplorationData, times: pl.Series) -> pl.DataFrame:
    """Return the weekday, 0 to 6 from the first day of the week, and the hour of times, epoch ms."""
    calendar = data.span.calendar
    days = calendar.day_of(times)
    hours = pl.Series(wall_ms(times, calendar.time_zone) % DAY_MS // HOUR_MS)
    return pl.DataFrame({"weekday": days - calendar.week_day(calendar.week_of(days)), "hour": hours})


def _measures(data: ExplorationData) -> dict[str, tuple[pl.DataFrame, Float64]]:
    measures = {}
    if len(data.sessions):
        measures["visits"] = _local(data, data.sessions["start_ts"]), np.ones(len(data.sessions))
    if len(data.orders):
        when = _local(data, data.orders["ts"])
        measures["orders"] = when, np.ones(len(data.orders))
        measures["revenue"] = when, data.orders["cents"].to_numpy() / 100
    return measures


def _shares(data: ExplorationData, unit: str, count: int) -> dict[str, Float64]:
    """Return the shares of each measure by unit; an empty measure is left out."""
    sums = {
        name: np.bincount(when[unit].to_numpy(), weights, count).astype(np.float64)
        for name, (when, weights) in _measures(data).items()
    }
    return {name: values / values.sum() for name, values in sums.items() if values.sum() > 0}


def by_weekday(data: ExplorationData) -> Panel | None:
    """Return the panel of visits, orders and revenue by weekday, in shares."""
    return _by_unit(data, "by-weekday", "Weekdays", "weekday", weekday_names(data.span.calendar))


def by_hour(data: ExplorationData) -> Panel | None:
    """Return the panel of visits, orders and revenue by hour of the day, in shares; none for a log of dates."""
    if data.dates_only:
        return None
    return _by_unit(data, "by-hour", "Hours of the day", "hour", tuple(f"{hour:02d}:00" for hour in range(24)))


def _by_unit(data: ExplorationData, name: str, title: str, unit: str, names: tuple[str, ...]) -> Panel | None:
    shares = _shares(data, unit, len(names))
    if not shares:
        return None
    figure = go.Figure()
    for (what, values), colour in zip(shares.items(), (PALE, BLUE, WARM), strict=False):
        figure.add_bar(x=list(names), y=100 * values, name=what, marker_color=colour)
    first, values = next(iter(shares.items()))
    most, least = int(values.argmax()), int(values.argmin())
    text = f"Most {first} are on {names[most]} ({values[most]:.1%}), fewest on {names[least]} ({values[least]:.1%})"
    if "revenue" in shares and first != "revenue":
        best = int(shares["revenue"].argmax())
        text += f"; most revenue is on {names[best]} ({shares['revenue'][best]:.1%})"
    sentence = f"{text.replace('%', ' %')}. Times are in {data.span.calendar.time_zone}."
    return Panel(name, title, sentence, styled(figure, height=340, yaxis_title="share, %", barmode="group"))


def by_weekday_and_hour(data: ExplorationData) -> Panel | None:
    """Return the panel of visits by weekday and hour; of orders if there are no visits; none for a log of dates."""
    measures = _measures(data)
    if not measures or data.dates_only:
        return None
    what, (when, _) = next(iter(measures.items()))
    names = weekday_names(data.span.calendar)
    grid = np.zeros((len(names), 24))
    np.add.at(grid, (when["weekday"].to_numpy(), when["hour"].to_numpy()), 1)
    day, hour = np.unravel_index(int(grid.argmax()), grid.shape)
    busy = np.sort(grid, axis=None)[::-1].cumsum() / grid.sum()
    hours = int(np.searchsorted(busy, 0.5)) + 1
    figure = go.Figure(go.Heatmap(z=grid, x=list(range(24)), y=list(names), colorscale="Blues"))
    return Panel(
        "rhythm", f"The week's {what}",
        f"The busiest hour of the week is {names[day]} {hour:02d}:00 with {grid[day, hour] / grid.sum():.1%} of all "
        f"{what}; half of them are in {hours} of the 168 hours.".replace("%", " %"),
        styled(figure, height=340, xaxis_title=f"hour, {data.span.calendar.time_zone}", yaxis_autorange="reversed"),
    )  # fmt: skip
