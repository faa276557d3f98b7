"""Draws the pictures of docs/synthetic-shop.md from a freshly generated default shop.

    python docs/synthetic_shop_plots.py

Writes docs/img/shop-*.png and prints the figures that the page quotes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.dates as mdates
import matplotlib.pyplot as plt

from producers.archive.archive import day_start_ms
from producers.shop.generate import generate
from producers.shop.shop import Shop

IMAGES = Path(__file__).parent / "img"
SHOP = Shop(end_ms=day_start_ms(date(2025, 6, 1)))
BLUE, ORANGE, GREY = "#2f6f9f", "#d9762b", "#8a9199"
Sql = Callable[[str], dict[str, Any]]


def figure(width: float = 7.2, height: float = 3.4, columns: int = 1, *, grid: str = "y") -> tuple[Any, Any]:
    """Return a figure in the style of the page."""
    drawn, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
        if grid:
            axis.grid(axis=grid, color="#e3e6e8", linewidth=0.8)
        axis.set_axisbelow(True)
    return drawn, axes[0] if columns > 1 else axes[0][0]


def save(drawn: Any, name: str) -> None:
    drawn.savefig(IMAGES / f"shop-{name}.png", dpi=96, pil_kwargs={"optimize": True})
    plt.close(drawn)


def funnel(sql: Sql) -> None:
    row = sql(
        "select count(*) visit, sum((stage >= 1)::int) seen, sum((stage >= 2)::int) cart, sum((stage >= 3)::int)"
        " checkout, sum((stage >= 4)::int) purchase from sessions"
    )
    counts = [int(row[name][0]) for name in ("visit", "seen", "cart", "checkout", "purchase")]
    drawn, axis = figure(height=2.9, grid="x")
    names = ["visit", "product view", "cart", "checkout", "purchase"]
    axis.barh(names[::-1], counts[::-1], color=[ORANGE] + [BLUE] * 4)
    for place, count in enumerate(counts[::-1]):
        axis.text(count, place, f"  {count:,}  ({count / counts[0]:.1%})", va="center", fontsize=9)
    axis.set_xlim(0, counts[0] * 1.22)
    axis.set_xlabel("sessions that got this far")
    axis.set_title(f"Funnel: {counts[4] / counts[0]:.1%} buy, {1 - counts[4] / counts[2]:.1%} of carts are left")
    save(drawn, "funnel")


def weekly_rates(sql: Sql) -> None:
    rows = sql(
        "select time_bucket(interval 7 day, start_ts, timestamptz '2024-06-01') as week,"
        " avg((stage = 4)::int) conversion, 1 - sum((stage = 4)::int) / sum((stage >= 2)::int) abandonment"
        " from sessions group by 1 having count(*) > 500 order by 1"
    )
    drawn, (left, right) = figure(height=2.9, columns=2)
    for axis, name, colour in ((left, "conversion", BLUE), (right, "abandonment", ORANGE)):
        axis.plot(rows["week"], rows[name] * 100, color=colour)
        axis.set_title(f"{name.capitalize()} by week, %")
        axis.xaxis.set_major_formatter(mdates.DateFormatter("%b"))
        axis.xaxis.set_major_locator(mdates.MonthLocator(interval=2))
    left.set_ylim(0, 20)
    right.set_ylim(40, 90)
    save(drawn, "weekly-rates")


def daily(sql: Sql) -> None:
    rows = sql("select date_trunc('day', start_ts) as day, count(*) n from sessions group by 1 order by 1")
    drawn, axis = figure(height=3.0)
    axis.plot(rows["day"], rows["n"], color=BLUE, linewidth=0.9)
    for first, last, name in (
        ("2024-07-01", "2024-07-15", "summer sale"),
        ("2024-11-25", "2024-12-03", "black week"),
        ("2025-04-10", "2025-04-20", "spring"),
    ):
        axis.axvspan(np.datetime64(first), np.datetime64(last), color=ORANGE, alpha=0.18, linewidth=0)
        axis.text(np.datetime64(first), rows["n"].max() * 1.02, name, fontsize=8, color=ORANGE)
    axis.set_ylim(0, rows["n"].max() * 1.1)
    axis.set_title("Sessions by day: growth, season, weekday, campaigns")
    axis.xaxis.set_major_formatter(mdates.DateFormatter("%b %Y"))
    axis.xaxis.set_major_locator(mdates.MonthLocator(interval=2))
    save(drawn, "daily")


def by_weekday_and_hour(sql: Sql) -> None:
    hours = sql("select hour(start_ts) h, count(*) / 365 n from sessions group by 1 order by 1")
    weekdays = sql("select isodow(start_ts) d, count(*) / 52.14 n from sessions group by 1 order by 1")
    drawn, (left, right) = figure(height=2.9, columns=2)
    left.bar(hours["h"], hours["n"], color=BLUE)
    left.set_title("Sessions by hour, UTC, a day")
    left.set_xticks(range(0, 24, 4))
    right.bar(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], weekdays["n"], color=BLUE)
    right.set_title("Sessions by weekday, a day")
    save(drawn, "rhythm")


def orders_per_customer(sql: Sql) -> None:
    rows = sql(
        "select coalesce(o.n, 0) n from truth left join (select customer_id, count(distinct order_id) n from orders"
        " group by 1) o using (customer_id)"
    )
    counts = np.bincount(np.minimum(rows["n"], 21), minlength=22)
    drawn, axis = figure(height=2.9)
    axis.bar(range(22), counts, color=BLUE)
    axis.set_xticks([*range(0, 20, 3), 21], [*map(str, range(0, 20, 3)), "21+"])
    axis.set_xlabel("orders in the year")
    axis.set_ylabel("customers")
    top = np.sort(rows["n"])[::-1]
    share = top[: len(top) // 5].sum() / top.sum()
    axis.set_title(f"Orders per customer: the top fifth place {share:.0%} of them")
    save(drawn, "orders-per-customer")


def retention(sql: Sql) -> None:
    rows = sql(
        "with m as (select distinct customer_id, date_trunc('month', ts) as month from orders where ts = updated_ts),"
        " f as (select customer_id, min(month) first from m group by 1)"
        " select datediff('month', timestamptz '2024-06-01', first) cohort, datediff('month', first, month) since,"
        " count(*) n from m join f using (customer_id) group by all"
    )
    grid = np.full((12, 12), np.nan)
    grid[rows["cohort"], rows["since"]] = rows["n"]
    share = grid / grid[:, :1] * 100
    share[:, 0] = np.nan
    drawn, axis = figure(height=3.8, grid="")
    shown = axis.imshow(share, cmap="Blues", aspect="auto", vmin=0)
    for (row, column), value in np.ndenumerate(share):
        if not np.isnan(value):
            dark = value > np.nanmax(share) * 0.6
            axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color="w" if dark else "k")
    months = ["Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb", "Mar", "Apr", "May"]
    axis.set_yticks(range(12), [f"{m} ({int(n)})" for m, n in zip(months, grid[:, 0], strict=True)])
    axis.set_xticks(range(12))
    axis.set_xlim(0.5, 11.5)
    axis.set_xlabel("months since the first order of the year")
    axis.set_title("Cohorts: % of the customers who order in a later month")
    drawn.colorbar(shown, ax=axis, shrink=0.8)
    save(drawn, "retention")


def categories(sql: Sql) -> None:
    rows = sql(
        "select i.category c, sum(i.quantity * i.unit_price) / 1000 revenue from (select unnest(items) i from orders"
        " where ts = updated_ts) group by 1 order by 2"
    )
    drawn, axis = figure(height=3.4, grid="x")
    axis.barh(rows["c"], rows["revenue"], color=BLUE)
    axis.set_title("Revenue by category, thousands")
    save(drawn, "categories")


def fading(sql: Sql) -> None:
    rows = sql(
        "with leaving as (from truth where not alive and dropout_ts > signup_ts + interval 130 day"
        "                 and dropout_ts > timestamptz '2024-10-10'),"
        " s as (select *, floor(date_diff('hour', start_ts, dropout_ts) / 240)::int * 10 left_days"
        "       from sessions join leaving using (customer_id))"
        " select left_days, count(*) / 10 / (select count(*) from leaving) visits, avg(n) length,"
        "        1 - sum((stage = 4)::int) / sum((stage >= 2)::int) abandoned"
        " from s where left_days < 120 group by 1 order by 1"
    )
    drawn, axes = figure(width=8.2, height=2.7, columns=3)
    for axis, name, title in zip(
        axes,
        ("visits", "length", "abandoned"),
        ("Visits a day", "Events a session", "Carts left, %"),
        strict=True,
    ):
        axis.plot(-rows["left_days"] - 5, rows[name] * (100 if name == "abandoned" else 1), color=BLUE, marker=".")
        axis.set_title(title)
        axis.set_ylim(bottom=0 if name != "abandoned" else 50)
        axis.set_xlabel("days before the drop-out")
    save(drawn, "fading")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        archive = Path(folder) / "archive"
        print(generate(SHOP, archive))
        connection.execute("set TimeZone = 'UTC'")
        for topic in ("events", "orders"):
            connection.execute(f"create view {topic} as from read_parquet('{archive}/{topic}/*/*.parquet')")
        connection.execute(f"create view truth as from read_parquet('{archive}/truth.parquet')")
        connection.execute(
            "create table sessions as select customer_id, session_id, min(ts) start_ts, count(*) n, max(case event_type"
            " when 'product_view' then 1 when 'add_to_cart' then 2 when 'checkout' then 3 when 'purchase' then 4"
            " else 0 end) stage from events group by all"
        )

        def sql(query: str) -> dict[str, Any]:
            return connection.execute(query).fetchnumpy()

        for draw in (
            funnel,
            weekly_rates,
            daily,
            by_weekday_and_hour,
            orders_per_customer,
            retention,
            categories,
            fading,
        ):
            draw(sql)
        for query in (
            "select latent_type, count(*) n, avg(alive::int) alive from truth group by 1 order by 2 desc",
            "select latent_type, avg((stage = 4)::int) buys from sessions join truth using (customer_id) group by 1",
            "select status, count(distinct order_id) n, avg(total) from orders group by 1",
            "select median(total), avg(total) from orders where ts = updated_ts",
        ):
            print(connection.sql(query))


if __name__ == "__main__":
    main()
