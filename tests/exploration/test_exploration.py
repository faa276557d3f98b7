"""An exploration of a small shop: every panel, its sentence right, the page whole and harmless."""

import dataclasses
import json
import re
from datetime import date
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import polars as pl
import pytest
from oracle.adversarial import adversarial
from oracle.files import write_plain
from oracle.loops import in_archive

from connectors.formats.money_format import money_format
from features.calendar import UTC_CALENDAR, Calendar
from producers.archive.archive import day_start_ms
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.explore import explore_archive
from shopstream.jobs.history import known_history
from training.exploration import customers, panels, shopping
from training.exploration.dataset import _EventCounts, _joined
from training.exploration.notebook import notebook
from training.exploration.page import SECTIONS, make_panels, render, summary

HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("shop") / "archive"
    generate(Shop(end_ms=day_start_ms(date(2025, 6, 1)), seed=4, customers=250, events=15_000, days=70), directory)
    return directory


@pytest.fixture(scope="module")
def seen(archive):
    return explore_archive(archive)


@pytest.fixture(scope="module")
def shown(seen):
    return make_panels(seen)


@pytest.fixture(scope="module")
def events(archive) -> pl.DataFrame:
    return pl.read_parquet(archive / "events" / "**" / "*.parquet", hive_partitioning=False)


@pytest.fixture(scope="module")
def placed(archive) -> pl.DataFrame:
    orders = pl.read_parquet(archive / "orders" / "**" / "*.parquet", hive_partitioning=False)
    rank = pl.col("status").replace_strict({"placed": 0, "cancelled": 1, "refunded": 2, "void": 3})
    won = orders.sort("updated_ts", rank, "total").unique(("customer_id", "order_id"), keep="last")
    return won.filter(pl.col("status") == "placed")


def panel(shown, name):
    (found,) = [one for made in shown.sections.values() for one in made if one.name == name]
    return found


def test_every_panel_has_a_sentence_with_a_number(shown):
    assert list(shown.sections) == list(SECTIONS)
    assert shown.absent == ()
    made = [one for found in shown.sections.values() for one in found]
    assert len({one.name for one in made}) == len(made) == 18
    for one in made:
        assert re.search(r"\d", one.sentence), one.name
        assert one.sentence.endswith(".")
        assert not re.search(r"\b(nan|inf|None)\b", one.sentence)


def test_sessions_equal_those_of_the_features(seen, events):
    truth = events.group_by("customer_id", "session_id").agg(
        pl.col("ts").min().dt.epoch("ms").alias("start_ts"), pl.len().alias("events"),
        pl.col("device").sort_by("ts", "event_id").first(), (pl.col("event_type") == "purchase").any().alias("bought"),
    )  # fmt: skip
    assert len(seen.sessions) == len(truth)
    for column in ("start_ts", "events"):
        assert seen.sessions[column].sort().to_list() == truth[column].sort().to_list()
    assert dict(seen.sessions.group_by("device").len().iter_rows()) == dict(truth.group_by("device").len().iter_rows())
    assert (seen.sessions["stage"] == "purchase").sum() == truth["bought"].sum()


def test_the_funnel_counts_sessions_by_their_furthest_stage(shown, seen):
    figure = panel(shown, "funnel").figure
    reached = np.sum([trace.x for trace in figure.data], axis=0).tolist()
    assert reached[0] == len(seen.sessions)
    assert reached == sorted(reached, reverse=True)
    assert reached[-1] == (seen.sessions["stage"] == "purchase").sum()
    assert f"{reached[-1] / reached[0]:.1%}".replace("%", " %") in panel(shown, "funnel").sentence


def test_daily_revenue_equals_that_of_the_placed_orders(shown, seen, placed):
    drawn = panel(shown, "revenue-by-day").figure.data[0]
    by_day = placed.group_by(pl.col("ts").dt.date()).agg(pl.col("total").sum()).sort("ts")
    first, last = (np.datetime64(day, "D").astype(date) for day in (seen.whole_days[0], seen.whole_days[-1]))
    assert (date(2025, 6, 1) - first).days >= 65
    by_day = by_day.filter(pl.col("ts").is_between(first, last))
    assert sum(drawn.y) == pytest.approx(by_day["total"].sum())
    assert f"{by_day['total'].max():,.2f}" in panel(shown, "revenue-by-day").sentence


def test_amounts_of_page_and_notebook_have_the_currency(seen, placed):
    euro = money_format("EUR", "de-DE")
    text = summary(dataclasses.replace(seen, money=euro))
    assert f"worth {euro.text(placed['total'].sum())}." in text
    assert ", money=money_format('EUR', 'de-DE'))" in notebook("a", UTC_CALENDAR, money=euro)
    assert "money" not in notebook("a", UTC_CALENDAR)


def test_products_are_ranked_by_revenue(shown, placed):
    lines = placed.select("items").explode("items").unnest("items")
    sold = lines.group_by("product_id").agg((pl.col("quantity") * pl.col("unit_price")).sum().alias("amount"))
    best = sold.sort("amount", descending=True).row(0)
    figure = panel(shown, "products").figure
    assert figure.data[0].x[0] == best[0]
    assert figure.data[0].y[0] == pytest.approx(best[1])
    assert panel(shown, "products").sentence.startswith(f"{best[0]} has the highest revenue: {best[1]:,.2f}")


def test_hours_are_shown_in_the_given_zone(archive, seen):
    history = known_history(archive, calendar=Calendar("Asia/Kolkata"))
    here, there = panels.by_hour(seen), panels.by_hour(explore_archive(archive, history=history))
    assert "Times are in Asia/Kolkata." in there.sentence
    # +05:30 mixes two hours of UTC into one
    assert list(here.figure.data[0].y) != list(there.figure.data[0].y)
    assert sum(there.figure.data[0].y) == pytest.approx(100)


def test_retention_is_the_share_of_a_cohort_that_orders_again(shown, placed):
    month = placed.with_columns(pl.col("ts").dt.strftime("%Y-%m").alias("month"))
    month = month.with_columns(pl.col("month").min().over("customer_id").alias("cohort"))
    april = month.filter(pl.col("cohort") == "2025-04")
    rate = april.filter(pl.col("month") == "2025-05")["customer_id"].n_unique() / april["customer_id"].n_unique()
    figure = panel(shown, "retention").figure.data[0]
    assert figure.z[list(figure.y).index("2025-04")][0] == pytest.approx(100 * rate)


def test_page_is_one_file_without_external_resources(shown):
    page = render(shown)
    assert page.count("plotly.js v") == 1
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=", page)
    for found in shown.sections.values():
        for one in found:
            assert f'id="{one.name}"' in page


def test_page_escapes_hostile_text(seen):
    orders = seen.orders.with_columns(
        pl.col("items").list.eval(
            pl.struct(
                pl.lit(HOSTILE).alias("product_id"), pl.lit(HOSTILE).alias("category"),
                pl.element().struct.field("quantity"), pl.element().struct.field("unit_price"),
            )
        )
    )  # fmt: skip
    profiles = seen.profiles.with_columns(country=pl.lit(HOSTILE), gender=pl.lit("<img src=x onerror=alert(1)>"))
    hostile = type(seen)(seen.span, seen.sessions, orders, seen.products, seen.cohorts, profiles, seen.features)
    page = render(make_panels(hostile))
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    figure = shopping.products(hostile).figure
    assert figure.data[0].x[0].startswith("&lt;/script")
    assert customers.demographics(hostile)[1].figure.data[0].x[0].startswith("&lt;img")


def test_archive_of_orders_only_is_explored(archive, tmp_path):
    (tmp_path / "orders").symlink_to(archive / "orders")
    shown = make_panels(explore_archive(tmp_path))
    assert set(shown.absent) >= {"visits by day", "funnel", "demographics", "engagement"}
    assert {one.name for one in shown.sections["Days"]} == {"orders-by-day", "revenue-by-day", "baskets"}
    assert "No data for: " in render(shown)


def test_exported_notebook_runs(archive, tmp_path):
    book = nbformat.reads(notebook(str(archive), UTC_CALENDAR), 4)
    nbformat.validate(book)
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = [out["text"] for cell in book.cells for out in cell.get("outputs", []) if out["output_type"] == "stream"]
    assert any("visits buy" in text for text in said)


def test_hostile_path_is_quoted_in_the_notebook():
    book = json.loads(notebook("'); import os; ('", UTC_CALENDAR))
    compiled = compile("".join(book["cells"][1]["source"]), "cell", "exec")
    assert "os" not in compiled.co_names


def test_repeated_events_count_once_over_days(tmp_path):
    """Of one id the earliest counts, for 48 hours."""
    records = adversarial(3)
    days, read_day = archive_days(write_plain(tmp_path, records.events, []))
    counts = _EventCounts()
    for day in days:
        for table in _joined(read_day, day):
            counts.add(table)
    assert counts.sessions()["events"].sum() == len(in_archive(records.events)) < len(records.events)
