"""Page, its CSV and Kibana's panels show the same exact amounts, with the shop's currency."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from decimal import Decimal
from fractions import Fraction
from importlib import resources

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page.looking import Reader
from page.test_app import get, json_of, table
from panels.documents import NOW
from panels.lens_reader import compute, parsed

from connectors.formats.money_format import NO_CURRENCY, PLAIN_MONEY, money_format, round_amount
from dashboards.boards import DASHBOARDS
from dashboards.boards.now import NOW as NOW_BOARD
from dashboards.kibana.saved_objects import ndjson
from dashboards.panels import Measure, Ratio
from dashboards.queries import combined
from dashboards.web.app import Source
from dashboards.web.customers import COLUMNS
from dashboards.web.segments import CUSTOMER_TABLE, groups, groups_csv
from features.definitions import MONEY_FIELDS
from shopstream.jobs.serve_dashboards import Listening, serve_source
from training.segments.summary import KPIS, MONEY

EURO = money_format("EUR", "de-DE")
PANEL = next(one for one in NOW_BOARD.panels if one.chart == "metric" and one.measures[0].label == "Revenue")


@pytest.fixture(scope="module")
def in_euros(shop, no_customer_table):
    run, _, _, search = shop
    source = Source(DASHBOARDS, run, search, no_customer_table, lambda: NOW, time.monotonic, money=EURO)
    with serve_source(source, Listening(port=0)) as address:
        yield address


def test_page_csv_and_kibana_show_the_exact_revenue_of_a_period(in_euros, made):
    status, answer = json_of(in_euros, "board", id=NOW_BOARD.id, last="30d")
    assert status == 200
    span = (answer["from_ms"], answer["to_ms"])
    sold = [
        Decimal(str(one["total"]))
        for one in made["orders"]
        if span[0] <= one["ts"] < span[1] and one["status"] == "placed" and one["total"] is not None
    ]
    ((shown,),) = answer["panels"][PANEL.id]["columns"]
    assert len(sold) > 10
    assert Decimal(str(shown)) == sum(sold)
    assert table(in_euros, "panel.csv", id=PANEL.id, last="30d") == [["Revenue (EUR)"], [f"{sum(sold):f}"]]
    board = parsed(ndjson(DASHBOARDS, money=EURO))["dashboard", f"shop-{NOW_BOARD.id}"]
    (lens,) = (one for one in json.loads(board["attributes"]["panelsJSON"]) if one["panelIndex"] == PANEL.id)
    (row,) = compute(lens["embeddableConfig"], made["orders"], "ts", span, None)
    assert EURO.rounded(row["m0"]) == sum(sold)


def test_page_in_a_browser_shows_amounts_in_the_form_of_the_locale(chromium, in_euros, served):
    page = Reader(chromium, in_euros)
    page.open(view=NOW_BOARD.id, last="30d")
    exact, tile = page.tile(PANEL.id), f"#{PANEL.id} .tile"
    assert page.js("return document.querySelector(arguments[0]).title", tile) == EURO.text(exact)
    assert page.text(tile) == EURO.text(round(exact)).replace(",00", "")
    assert page.text("#note") == ""
    assert Reader(chromium, served).open(view=NOW_BOARD.id).text("#note") == NO_CURRENCY
    assert page.complaints() == []
    chromium.get("about:blank")


def test_page_knows_the_currency_and_says_once_that_there_is_none(in_euros, served):
    assert json_of(in_euros, "declaration")[1]["money"] == {
        "currency": "EUR", "locale": "de-DE", "decimals": 2, "note": "",
    }  # fmt: skip
    assert json_of(served, "declaration")[1]["money"]["note"] == NO_CURRENCY
    assert get(served, "/")[2].count(b'id="note"') == 1


def test_customers_and_groups_have_rounded_amounts_and_name_the_currency(in_euros, made):
    columns = [one.unit == "money" for one in COLUMNS]
    head, *rows = table(in_euros, "customers.csv", sort="customer_id", rising="1")
    assert [name for name, is_money in zip(head, columns, strict=True) if is_money] == ["Revenue, last 12 months (EUR)"]
    assert all(
        len(cell.split(".")[1]) == 2
        for row in rows
        for cell, is_money in zip(row, columns, strict=True)
        if is_money and cell
    )
    head, *rows = table(in_euros, "groups.csv", by="country")
    assert head[3] == "Total revenue (12 mo) (EUR)"
    total = sum(Decimal(str(one["revenue_365d"] or 0)) for one in made["customers"])
    assert Decimal(rows[-1][3]) == round_amount(total, 2)


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=60))
@settings(max_examples=30, deadline=None)
def test_page_csv_and_report_show_the_exact_sum_of_any_amounts(tmp_path_factory, cents):
    folder = tmp_path_factory.mktemp("mart")
    frame = pl.DataFrame({"segment": ["a"] * len(cents), "revenue_365d": [one / 100 for one in cents]})
    frame.write_parquet(folder / CUSTOMER_TABLE)
    answer = groups({"of": ["table"]}, None, folder, EURO)
    exact = Decimal(sum(cents)).scaleb(-2)
    assert Decimal(str(answer["whole"]["revenue"])) == exact
    assert f",{exact:f}," in groups_csv(answer, EURO)
    assert EURO.number(float(frame["revenue_365d"].sum())) == float(exact)  # as the report does
    assert EURO.text(answer["whole"]["revenue"]) == EURO.text(exact)


def test_mean_that_is_a_half_is_rounded_to_even():
    revenue = Measure("Revenue", "sum", "total", unit="money")
    mean = Ratio("Average order", revenue, Measure("Orders", "count"), unit="money")
    for cents, orders in itertools.product(range(1, 3000), (2, 4, 8, 40, 200)):
        shown = combined(mean, cents / 100, orders)
        assert PLAIN_MONEY.rounded(shown) == round_amount(Fraction(cents, 100 * orders), 2), (cents, orders)


@pytest.mark.parametrize(
    ("money", "decimals", "suffix"),
    [(EURO, 2, " EUR"), (money_format("JPY", None), 0, " JPY"), (PLAIN_MONEY, 2, None)],
    ids=["EUR", "JPY", "none"],
)
def test_amounts_of_kibana_have_the_decimals_and_the_code_of_the_currency(money, decimals, suffix):
    texts = ndjson(DASHBOARDS, money=money)
    params = {"decimals": decimals} | ({"suffix": suffix} if suffix else {})
    for one in parsed(texts).values():
        for panel in json.loads(one["attributes"].get("panelsJSON", "[]")):
            layers = panel["embeddableConfig"].get("attributes", {}).get("state", {}).get("datasourceStates", {})
            for layer in layers.get("formBased", {}).get("layers", {}).values():
                for column in layer["columns"].values():
                    if column["label"] == "Revenue" and column["dataType"] == "number":
                        assert column["params"]["format"] == {"id": "number", "params": params}
    assert (" EUR" in texts, " JPY" in texts) == (suffix == " EUR", suffix == " JPY")


def test_every_declared_amount_is_an_amount_in_the_summary_of_segments():
    assert {one.column for one in KPIS if one.form == MONEY} <= MONEY_FIELDS


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the page's script")
@pytest.mark.parametrize(
    ("currency", "locale"),
    [("EUR", "de-DE"), ("EUR", None), ("JPY", "en"), ("USD", "en-IN"), ("RSD", "sr-RS"), (None, None)],
)
def test_script_of_the_page_writes_amounts_as_reports_do(currency, locale, tmp_path):
    money = money_format(currency, locale)
    declared = {"currency": money.currency, "locale": money.locale, "decimals": money.decimals}
    amounts = [money.number(one) for one in (0, 12.3, 349888.22, 1e9)]  # as the server rounds them
    (tmp_path / "format.mjs").write_text(
        (resources.files("dashboards.web") / "static" / "format.js").read_text("utf-8"), "utf-8"
    )
    script = f'import {{ shown, writeNumbersOf }} from "./format.mjs"; writeNumbersOf({json.dumps(declared)});'
    script += f'console.log(JSON.stringify({amounts}.map((one) => shown(one, "money"))));'
    (tmp_path / "run.mjs").write_text(script)
    ran = subprocess.run(["node", "run.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [money.text(one) for one in amounts]
