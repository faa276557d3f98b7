"""The work list and the customer's story in a real browser, by clicks and keys alone."""

from __future__ import annotations

import csv
import io
import urllib.request

import pytest
from page.looking import Reader
from page.test_workspace import HOSTILE, change, get, ranked, work_page, work_run, work_shop
from selenium.webdriver.common.keys import Keys

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
