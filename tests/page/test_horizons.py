"""The horizon that texts name is that of the scores that are indexed."""

from __future__ import annotations

import json
import urllib.request

import numpy as np
import polars as pl
import pytest
from page.conftest import source_of
from page.looking import Reader
from page.played_search import PlayedSearch
from panels.documents import NOW

from connectors.elasticsearch.mappings import FIXED_SUFFIX, month_indices
from connectors.formats.money_format import PLAIN_MONEY
from dashboards.boards import DASHBOARDS
from dashboards.boards.churn import CHURN
from dashboards.boards.now import NOW as NOW_BOARD
from dashboards.horizons import (
    BUNDLES_MAX,
    Horizons,
    bundle_searches,
    horizon_text,
    horizon_words,
    read_horizons,
    with_horizons,
)
from dashboards.web.segments import CUSTOMER_TABLE, groups
from shopstream.jobs.serve_dashboards import Listening, serve_source


@pytest.mark.parametrize("bundle", [None, "", "first", "churn-d-x", "xchurn-90d-x"])
def test_unknown_horizon_is_not_guessed(bundle):
    assert horizon_text(bundle) == "within the horizon of the model"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["churn-60d-ab"], "60 days"),
        (["churn-60d-ab", "churn-60d-cd"], "60 days"),
        (["churn-90d-ab", "churn-60d-cd"], "60 or 90 days"),
        (["churn-90d-ab", "churn-60d-cd", "churn-120d-x"], "60, 90 or 120 days"),
        (["churn-1d-ab"], "1 day"),
        (["churn-1d-ab", "churn-7d-ab"], "1 or 7 days"),
        (["churn-60d-ab", "other"], ""),
        ([], ""),
    ],
)
def test_horizons_in_words_are_all_of_them_or_none(names, words):
    assert horizon_words(names) == words


def responses(**names):
    return [
        {"aggregations": {"bundles": {"buckets": [{"key": name} for name in names.get(index.replace("-", "_"), ())]}}}
        for index, _ in bundle_searches()
    ]


def test_each_index_has_the_horizons_of_its_own_scores():
    known = read_horizons(responses(customers=["churn-60d-a"], alerts=["churn-90d-a", "churn-60d-a"]))
    assert known == Horizons({"customers": "60 days", "alerts": "60 or 90 days"})
    cut_off = responses(customers=["churn-60d-a"])
    cut_off[0]["aggregations"]["bundles"]["sum_other_doc_count"] = 1
    assert read_horizons(cut_off) == Horizons()
    assert BUNDLES_MAX >= 1_000


def texts(board):
    return [text for panel in board.panels for text in (panel.definition, *(one.label for one in panel.measures))]


def test_declared_texts_name_no_horizon_and_those_of_a_run_name_its_own():
    declared = [text for board in DASHBOARDS for text in texts(board)]
    assert not [text for text in declared if "no order within 90" in text or text.startswith("Churn probability,")]
    named = texts(with_horizons(CHURN, Horizons({"customers": "60 days", "segments-daily": "30 days"})))
    assert not [text for text in named if "horizon" in text]
    assert "Churn probability, 60 days" in named
    assert named.count("Average churn probability, 60 days") == 2
    assert "Sum of the probabilities of no order within 30 days." in named
    alerts = texts(with_horizons(NOW_BOARD, Horizons({"customers": "60 days", "alerts": "30 days"})))
    assert "Churn probability, 30 days" in alerts
    assert "Customers who have just become likely not to order within 30 days." in alerts


class Rescored:
    """A search over documents as if these bundles had scored them."""

    def __init__(self, search, *names):
        self.search, self.names = search, names

    def __call__(self, index, body):
        return self.many([(index, body)])[0]

    def many(self, searches):
        found = self.search.many(searches)
        buckets = {"aggregations": {"bundles": {"buckets": [{"key": name} for name in self.names]}}}
        return [
            buckets if "bundles" in body.get("aggs", {}) else one
            for (_, body), one in zip(searches, found, strict=True)
        ]


@pytest.fixture
def rescored(shop, no_customer_table, monkeypatch):
    """Address of a page, and the search behind it."""
    monkeypatch.setattr("dashboards.web.app.HORIZONS_LIFETIME_S", -1.0)
    run, _, _, search = shop
    played = Rescored(search, "churn-60d-a")
    with serve_source(source_of(run, played, no_customer_table), Listening(port=0)) as address:
        yield address, played


def get(address):
    with urllib.request.urlopen(address, timeout=30) as response:
        return response.read().decode("utf-8-sig")


def test_every_file_and_list_names_the_horizon_of_the_index(rescored):
    address, played = rescored
    panel_csv = get(f"{address}api/panel.csv?id=churn-list").splitlines()[0]
    board_csv = get(f"{address}api/board.csv?id=now")
    customers_csv = get(f"{address}api/customers.csv?size=1").splitlines()[0]
    groups = json.loads(get(f"{address}api/groups"))
    groups_csv = get(f"{address}api/groups.csv").splitlines()[0]
    list_csv = get(f"{address}api/worklist.csv?size=1").splitlines()[0]
    assert "Churn probability, 60 days" in panel_csv
    assert "Churn probability, 60 days" in board_csv
    assert "Churn probability (60 days)" in customers_csv
    assert "Churn probability (60 days)" in groups_csv
    assert "Churn probability (60 days)" in [one["label"] for one in groups["figures"]]
    assert "Churn probability (60 days)" in list_csv
    played.names = ("churn-60d-a", "unknown")
    for path in ("panel.csv?id=churn-list", "customers.csv?size=1", "groups.csv", "worklist.csv?size=1"):
        head = get(f"{address}api/{path}").splitlines()[0]
        assert "Churn probability" in head
        assert "60 days" not in head


def test_table_of_segments_names_no_horizon_since_it_has_no_bundle(tmp_path):
    table = pl.DataFrame({"segment": ["a"], "churn_probability": [0.5], "revenue_365d": [1.0]})
    table.write_parquet(tmp_path / CUSTOMER_TABLE)
    labels = [one["label"] for one in groups({}, PlayedSearch(), tmp_path, PLAIN_MONEY, "60 days")["figures"]]
    assert "Churn probability" in labels


def test_open_page_names_the_horizon_of_a_new_bundle_without_a_reload(chromium, rescored):
    address, played = rescored
    page = Reader(chromium, address)
    page.open(view="churn", refresh="2")
    definition = "#churn-customers .about p"
    assert "no order within 60 days" in page.text(definition)
    page.js("window.same = true")
    played.names = ("churn-30d-a",)
    page.wait("return document.querySelector(arguments[0])?.textContent.includes('within 30 days')", definition)
    assert "Churn probability, 30 days" in page.text("#churn-list thead")
    page.visit("Customers")
    assert "Churn probability (30 days)" in page.text("main thead")
    played.names = ("churn-30d-a", "churn-45d-a")
    page.wait("return document.querySelector('main thead').textContent.includes('30 or 45 days')")
    assert page.js("return window.same")
    assert page.complaints() == []


def test_alerts_of_a_customer_name_the_horizon_of_their_own_bundles(chromium, served, shop):
    run, made, client, _ = shop
    alert = dict(made["alerts"][0])
    for n, bundle in enumerate(("churn-60d-a", "churn-90d-b")):
        document = alert | {"customer_id": "horizon-0", "bundle": bundle, "ts": NOW - n}
        client.index(index=f"{run}-alerts{FIXED_SUFFIX}", id=f"horizon-{n}", document=document, refresh=True)
    order = dict(made["orders"][0]) | {"customer_id": "horizon-0", "status": "placed", "ts": NOW - 5_000}
    (index,) = month_indices(run, "orders", np.array([order["ts"]]))
    client.index(index=index, id="horizon-order", document=order, refresh=True)
    try:
        page = Reader(chromium, served).open(view="customer", id="horizon-0")
        assert "Churn probability (60 or 90 days)" in page.text("[aria-label='Churn alerts'] thead")
    finally:
        for n in range(2):
            client.delete(index=f"{run}-alerts{FIXED_SUFFIX}", id=f"horizon-{n}", refresh=True)
        client.delete(index=index, id="horizon-order", refresh=True)
