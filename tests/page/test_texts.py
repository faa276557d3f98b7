"""Words of the page: ages instead of times, definitions without formulas, texts where they are needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page.conftest import source_of
from page.looking import Reader
from page.test_app import json_of, table
from panels.documents import NOW

from dashboards.boards import DASHBOARDS
from dashboards.boards.funnel import INTERVENTIONS
from dashboards.panels import Span
from dashboards.queries import BUCKETS_MAX, buckets
from dashboards.web.app import Source
from dashboards.web.customers import COLUMNS
from features.definitions import FEATURES
from features.plain_definitions import PLAIN_DEFINITIONS
from features.schema import DAY_MS
from features.scores.score import SCORES
from shopstream.jobs.serve_dashboards import Listening, action_texts, serve_source


# --- definitions ------------------------------------------------------------------------------------------------------
def test_every_feature_and_score_has_a_definition_without_formula_or_identifier():
    assert set(PLAIN_DEFINITIONS) == {one.name for one in (*FEATURES, *SCORES)}
    assert [text for text in PLAIN_DEFINITIONS.values() if not text.endswith(".") or set("_/*=") & set(text)] == []


def test_inputs_of_a_customer_are_defined_in_plain_words(served, made):
    row = next(one for one in made["customers"] if one["recency_days"] is not None)
    inputs = {name: text for name, _, _, text in json_of(served, "customer", id=row["customer_id"])[1]["inputs"]}
    assert inputs["Days since last order"] == "Time since the last order. Empty without an order."
    helps = {one["field"]: one["help"] for one in json_of(served, "declaration")[1]["customers"]["columns"]}
    assert helps["revenue_365d"] == "Revenue in the last 12 months, excluding cancelled and refunded orders."


# --- the list of customers --------------------------------------------------------------------------------------------
def test_last_order_and_visit_are_ages_with_the_exact_time_on_hover(reader, made):
    reader.open(view="customers", sort="recency_days")
    heads = reader.js("return [...document.querySelectorAll('thead th')].map((one) => one.textContent.split(' ▼')[0])")
    known = [one for one in made["customers"] if one["recency_days"] is not None and one["recency_days"] >= 2]
    oldest = max(known, key=lambda one: one["recency_days"])
    (at,) = (n for n, head in enumerate(heads) if head == "Last order")
    assert "Last visit" in heads
    assert reader.table("main")[0][at] == f"{round(oldest['recency_days'])} days ago"
    exact = reader.js("return document.querySelector('tbody tr').cells[arguments[0]].title", at)
    expected = json_of(reader.address.rstrip("/"), "customers", sort="recency_days")[1]["times"]["recency_days"][0]
    assert expected == oldest["last_order_ts"]
    assert exact == reader.js("return import('/static/format.js').then(({ moment }) => moment(arguments[0]))", expected)


def test_csv_of_customers_has_numbers_of_days(served):
    head, first, *_ = table(served, "customers.csv", sort="recency_days")
    assert "Days since last order" in head
    assert float(first[head.index("Days since last order")]) >= 0
    assert len(head) == len(COLUMNS)


def test_recommended_action_has_its_text_on_hover(reader, made):
    actions = action_texts()
    (row, *_) = (one for one in made["customers"] if one["recommended_action"] in actions)
    reader.open(view="customers", find=row["customer_id"])
    titles = reader.js(
        "return [...document.querySelectorAll('tbody tr')].find((one) => one.cells[0].textContent === arguments[0])"
        ".cells[5].title",
        row["customer_id"],
    )
    assert titles == actions[row["recommended_action"]]


# --- the frame --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("last", "words"), [("45d", "Last 45 days"), ("5h", "Last 5 hours"), ("2d", "Last 2 days"), ("30d", "Last 30 days")]
)
def test_period_outside_the_list_is_named_in_words(reader, last, words):
    reader.open(view="revenue", last=last, refresh="0")
    assert reader.js("return document.querySelector(\"select[data-key='Period']\").selectedOptions[0].text") == words


def test_data_that_is_behind_has_a_badge(reader, shop, no_customer_table):
    reader.open(view="now", refresh="0")
    assert reader.js("return document.querySelector('#age .badge')") is None
    late = replace(source_of(shop[0], shop[3], no_customer_table), now_ms=lambda: NOW + 15 * DAY_MS)
    with serve_source(late, Listening(port=0)) as address:
        page = Reader(reader.browser, address).open(view="now", refresh="0")
        assert page.wait("return document.querySelector('#age .badge.late')?.textContent") == "Behind by 15 days"


@pytest.mark.parametrize("several", [False, True])
def test_run_is_named_only_where_there_are_several(reader, shop, no_customer_table, several):
    source: Source = replace(source_of(shop[0], shop[3], no_customer_table), has_other_runs=lambda: several)
    with serve_source(source, Listening(port=0)) as address:
        page = Reader(reader.browser, address).open(view="now", refresh="0")
        assert (f"run: {shop[0]}" in page.text("header")) is several


def test_all_time_begins_with_the_first_document(served, made):
    answer = json_of(served, "board", id="revenue", period="all")[1]
    first = min(one[field] for index, field in (("events", "ts"), ("sessions", "start_ts"), ("orders", "ts"))
                for one in made[index])  # fmt: skip
    assert (answer["from_ms"], answer["to_ms"]) == (first, answer["newest_ms"] + 1)
    ((orders,),) = answer["panels"]["revenue-orders"]["columns"]
    assert orders == sum(one["status"] == "placed" for one in made["orders"])
    before = json_of(served, "board", id="revenue", period="all", compare="previous")[1]
    assert before["panels"]["revenue-orders"]["compare"]["columns"] == [[0]]


@pytest.mark.parametrize("days", [1, 30, 599, 601, 4_199, 4_201, 18_000, 40_000])
def test_response_over_all_time_is_bounded(days):
    span = Span.ending(days * DAY_MS, days)
    assert {panel.id: n for board in DASHBOARDS for panel in board.panels
            if (n := buckets(panel, span)) > BUCKETS_MAX} == {}  # fmt: skip


def test_unknown_customer_leads_back_to_the_list(reader):
    reader.expected = ("400",)
    reader.browser.get(f"{reader.address}?view=customer&id=nobody")
    assert reader.wait("return document.querySelector('main .state a')?.textContent") == "Back to customers"
    reader.press_text("main .state a", "Back to customers")
    reader.headed("Customers")


@pytest.mark.parametrize("path", ["customers", "customers.csv"])
def test_paging_beyond_the_last_page_names_the_limit(served, path):
    status, answer = json_of(served, path, first="9501")
    assert (status, answer["problem"]) == (400, "Only the first 9,500 rows can be paged.")
    assert "filters" in answer["remedy"]


# --- panels -----------------------------------------------------------------------------------------------------------
def test_suggestions_for_lost_visits_have_a_column_of_their_own(reader, served):
    reader.open(view="funnel", refresh="0")
    rows = reader.table("#funnel-lost")
    assert {row[0]: row[1] for row in rows} == {
        "Visit": INTERVENTIONS["visit"],
        "Product view": INTERVENTIONS["view"],
        "Add to cart": INTERVENTIONS["cart"],
        "Checkout": INTERVENTIONS["checkout"],
    }
    assert table(served, "panel.csv", id="funnel-lost")[0][:2] == ["Last step reached", "Visits"]
