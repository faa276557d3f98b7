"""The work list and the customer's story in a real browser, by clicks and keys alone."""

from __future__ import annotations

import csv
import io
import urllib.request

import pytest
from page.conftest import source_of
from page.looking import Reader
from page.test_workspace import HOSTILE, change, get, ranked, work_page, work_run, work_shop
from panels.documents import NOW
from selenium.webdriver.common.keys import Keys

from connectors.elasticsearch.client import elastic_connection, open_client
from connectors.elasticsearch.search import Searcher
from connectors.elasticsearch.workspace import Workspace
from dashboards.web import app
from dashboards.web import customers as customer_routes
from dashboards.web import work_list as work_list_routes
from dashboards.web.request_queue import Result
from features.schema import DAY_MS
from features.workspace import VIEWS
from shopstream import embedded as known_servers
from shopstream.jobs.serve_dashboards import Listening, serve_source

__all__ = ["work_page", "work_run", "work_shop"]

ROWS = "[...document.querySelectorAll('main [aria-label=\"Customers to contact\"] tbody tr')]"
IDS = f"return {ROWS}.map((row) => row.cells[0].textContent)"


@pytest.fixture
def at_work(chromium, work_shop, work_page):
    """A reader of the work list; the console must stay silent."""
    page_reader = Reader(chromium, work_page)
    chromium.set_window_size(1280, 1000)
    yield page_reader
    assert page_reader.complaints() == []
    chromium.get("about:blank")


def press(at_work, *keys):
    for key in keys:
        at_work.browser.switch_to.active_element.send_keys(key)


def focus(at_work):
    return at_work.js("return document.activeElement.dataset.key ?? ''")


def test_new_reader_finds_the_twenty_customers_to_contact_and_why(at_work, work_shop, work_page):
    customers = work_shop[1]
    at_work.open()
    at_work.js("[...document.querySelectorAll('nav a')].find((one) => one.textContent === 'Contact today').click()")
    at_work.headed("Contact today")
    expected = ranked(customers)
    assert at_work.js(IDS) == expected[:20]
    first = next(one for one in customers if one["customer_id"] == expected[0])
    row = at_work.table("main")[0]
    pause = round(first["days_since_visit"])
    assert row[3].startswith(f"No visit for {pause} day")
    assert "(usually every" in row[3]
    assert "Purchase rhythm: an order every 6 days on average" in row[3]
    assert row[4] == "Personal contact: a person writes or calls; find out what went wrong"
    assert "days_since_visit" not in at_work.text("main")
    at_work.click("main .pages a[href*=first]")
    at_work.wait("return document.querySelector('.pages').textContent.startsWith('21')")
    assert at_work.js(IDS) == expected[20:40]
    with urllib.request.urlopen(work_page + "api/worklist.csv?size=500", timeout=30) as answer:
        lines = list(csv.reader(io.StringIO(answer.read().decode("utf-8-sig"))))
    assert [line[0] for line in lines[1:]] == expected


def test_customer_is_marked_as_done_and_opened_again_by_keys_alone(at_work, work_shop):
    first, second = ranked(work_shop[1])[:2]
    at_work.open(view="worklist", refresh="0")
    at_work.js("document.querySelector('main').focus()")
    for _ in range(8):
        press(at_work, Keys.TAB)
        if focus(at_work) == f"Done {first}":
            break
    assert focus(at_work) == f"Done {first}"
    press(at_work, Keys.ENTER)
    at_work.wait("return document.activeElement.dataset.key === 'undo'")
    assert at_work.js(IDS)[0] == second
    assert at_work.text("[role=status]").startswith(f"{first} marked as done")
    assert "Done and snoozed (1)" in at_work.text("main")
    press(at_work, Keys.ENTER)
    at_work.wait(f"return {ROWS}[0].cells[0].textContent === arguments[0]", first)
    assert "Done and snoozed" not in at_work.text("main")


def test_snoozed_customer_is_listed_apart_and_opened_again(at_work, work_shop):
    first, second = ranked(work_shop[1])[:2]
    at_work.open(view="worklist", refresh="0")
    at_work.click(f"[aria-label='Snooze for 7 days: {first}']")
    at_work.wait("return document.querySelector('main section.part')")
    assert at_work.js(IDS)[0] == second
    assert at_work.js("return document.querySelector('main section.part tbody tr').cells[1].textContent") == "Snoozed"
    at_work.click("main section.part tbody button")
    at_work.wait("return !document.querySelector('main section.part')")
    assert at_work.js(IDS)[0] == first


def test_change_of_another_reader_is_shown_instead_of_overwritten(at_work, work_shop, work_page):
    at_work.expected = ("409",)
    first = ranked(work_shop[1])[0]
    at_work.open(view="worklist", refresh="0")
    assert change(work_page, first, "snoozed", days=30)[0] == 200
    at_work.click(f"[data-key='Done {first}']")
    at_work.wait("return document.querySelector('[role=status].wrong')")
    assert "Somebody else has changed this" in at_work.text("[role=status]")
    at_work.wait("return document.querySelector('main section.part')")
    assert first not in at_work.js(IDS)
    assert [row["state"] for row in get(work_page, "worklist")["set_aside"]] == ["snoozed"]


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_story_states_the_customer_in_words_and_fits_any_width(at_work, work_shop, width):
    at_work.browser.set_window_size(max(width, 500), 900)
    at_work.open(view="customer", id=HOSTILE, refresh="0")
    assert "Bought every 6 days until" in at_work.text(".summary")
    assert "not to order within 90 days" in at_work.text(".summary")
    assert at_work.js("return document.querySelector('h1 bdi').textContent") == HOSTILE
    assert at_work.text(".reasons li").startswith("No visit for")
    assert "a person writes or calls" in at_work.text("[data-field=recommended_action]")
    assert "days_since_visit" not in at_work.text("main")
    assert " up to " in at_work.js("return document.querySelector('.timeline').getAttribute('aria-label')")
    assert at_work.js("return document.documentElement.scrollWidth <= innerWidth")
    assert at_work.js("return window.hacked") is None


def test_list_offers_no_rows_beyond_those_that_the_server_gives(at_work, monkeypatch):
    monkeypatch.setattr(work_list_routes, "FIRST_MAX", 20)
    at_work.open(view="worklist", refresh="0")
    at_work.click("main .pages a[href*=first]")
    at_work.wait("return document.querySelector('.pages').textContent.startsWith('21')")
    links = "return [...document.querySelectorAll('main .pages a')].map((one) => one.textContent)"
    assert "Next" not in at_work.js(links)
    assert "The list ends here;" in at_work.text("main .pages")


def test_already_inactive_opens_as_many_customers_as_it_counts(at_work, work_page):
    at_work.open(view="worklist", refresh="0")
    number = get(work_page, "worklist")["inactive"]
    assert number > 3
    at_work.press_text("main .pages a", f"{number} already inactive")
    at_work.headed("Customers")
    assert f"of {number} customers" in at_work.text("main .pages")
    everyone = get(work_page, "customers")["total"]
    assert everyone > number
    at_work.press("[data-key=all]")
    at_work.wait(
        "return document.querySelector('main .pages').textContent.includes(arguments[0])", f"of {everyone} customers"
    )


def test_customers_offer_no_rows_beyond_those_that_the_server_gives(at_work, monkeypatch):
    monkeypatch.setattr(customer_routes, "FIRST_MAX", 49)
    at_work.open(view="customers", refresh="0")
    assert "Filter the list to see more." in at_work.text("main .pages")
    assert not at_work.js("return document.querySelector('main .pages a[href*=first]')")


@pytest.mark.parametrize("view", ["worklist", "customers", "customer", "segments", "now"])
def test_older_response_of_a_busy_server_is_shown_with_its_age(at_work, work_shop, monkeypatch, view):
    fresh = app._result

    async def older(*arguments, **more):
        return Result((await fresh(*arguments, **more)).value, 180.0)

    at_work.open(view=view, id=HOSTILE, refresh="0")
    assert "just now" in at_work.wait("return document.querySelector('#age').textContent")
    monkeypatch.setattr(app, "_result", older)
    at_work.open(view=view, id=HOSTILE, refresh="0")
    assert "pdated 3 min" in at_work.wait("return document.querySelector('#age').textContent")


def test_days_with_alerts_are_counted_and_not_the_alerts(at_work, work_shop):
    run, _, client, _, _ = work_shop
    index = f"{run}-alerts"
    for n, ts in enumerate((NOW, NOW - 60_000, NOW - 5 * DAY_MS)):
        alert = {"customer_id": HOSTILE, "churn_risk": "high", "ts": ts, "day": "x", "churn_probability": 0.8}
        client.index(index=index, id=f"days-{n}", document=alert, refresh=True)
    try:
        at_work.open(view="customer", id=HOSTILE, refresh="0")
        name = at_work.js("return document.querySelector('.timeline').getAttribute('aria-label')")
        assert "Alerts on 2 days" in name
    finally:
        for n in range(3):
            client.delete(index=index, id=f"days-{n}", refresh=True)


def test_read_only_page_shows_saved_views_and_offers_no_change(chromium, work_shop, server_settings, no_customer_table):
    run, _, _, _, workspace = work_shop
    view = {"title": "Losses", "address": "?view=revenue&compare=year", "at_ts": 1}
    workspace.write(VIEWS, "losses", view, "")
    reading = elastic_connection(known_servers.elastic_endpoint(server_settings, read_only=True))
    with open_client(reading) as client:
        source = source_of(run, Searcher(client, run), no_customer_table, workspace=Workspace(client, run))
        with serve_source(source, Listening(port=0)) as address:
            page = Reader(chromium, address)
            page.open(view="revenue")
            page.press_text("#tools summary", "Saved views")
            page.wait("return [...document.querySelectorAll('#tools a')].some((one) => one.textContent === 'Losses')")
            buttons = page.js("return [...document.querySelectorAll('#tools details:first-child button')].length")
            assert buttons == 0
            page.press_text("#tools a", "Losses")
            page.wait("return location.search.includes('compare=year')")
            assert page.complaints() == []
            chromium.get("about:blank")
