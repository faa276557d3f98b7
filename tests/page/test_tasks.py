"""What users come for, each task by clicks and keys alone, from the first page on; the answer equals the documents."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, datetime

import pytest
from selenium.webdriver.common.keys import Keys

from dashboards.boards import DASHBOARDS
from features.schema import STAGES

BOARDS = {board.id: board for board in DASHBOARDS}
TITLES = {board.id: board.title for board in DASHBOARDS}


def day_ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def within(documents, field, first, last):
    """Documents from one day up to and including another."""
    return [one for one in documents if day_ms(first) <= one[field] < day_ms(last) + 86_400_000]


def revenue(orders):
    return sum(one["total"] or 0 for one in orders if one["status"] == "placed")


def test_country_that_lost_most_revenue_against_last_month_is_first(reader, made):
    reader.open()
    reader.visit(TITLES["revenue"])
    reader.choose("Period", "Last month")
    reader.choose("Compare", "Previous period")
    reader.menu("revenue-country", "Show as table")
    reader.press("#revenue-country th button[data-key$='change']")
    reader.press("#revenue-country th button[data-key$='change']")
    rows = reader.table("#revenue-country")
    april, march = (
        within(made["orders"], "ts", f"2026-{m}-01", f"2026-{m}-{last}") for m, last in (("04", 30), ("03", 31))
    )
    rates = {}
    for country in {one["country"] for one in april if one["country"] is not None}:
        now, before = (revenue(one for one in some if one["country"] == country) for some in (april, march))
        if before:
            rates[country] = now / before - 1
    worst = min(rates, key=rates.get)
    assert rows[0][0] == worst
    sign = "▼" if rates[worst] < 0 else "▲"
    assert rows[0][-1] == f"{sign} {abs(rates[worst]):.1%}"


def test_conversion_on_mobile_before_and_after_a_date_is_compared(reader, made):
    reader.open()
    reader.visit(TITLES["funnel"])
    reader.press("[data-field=device] summary")
    before = reader.js("return performance.getEntriesByName('drawn').length")
    reader.press("[data-field=device] input[value=mobile]")
    reader.redrawn(before)
    reader.keys(Keys.ESCAPE)
    reader.choose("Period", "Custom dates…")
    reader.date("Start date", "2026-05-10")
    reader.date("End date", "2026-05-19")
    reader.choose("Compare", "Previous period")
    reader.menu("funnel-steps", "Show as table")
    rows = reader.table("#funnel-steps")
    mobile = [one for one in made["sessions"] if one["device"] == "mobile"]
    spans = (
        within(mobile, "start_ts", "2026-05-10", "2026-05-19"),
        within(mobile, "start_ts", "2026-04-30", "2026-05-09"),
    )
    for column, visits in enumerate(spans, start=1):
        reached = [sum(one["stage"] in STAGES[n:] for one in visits) for n in range(len(STAGES))]
        assert [row[column] for row in rows] == [f"{n:,}" for n in reached]
    assert "Device: Mobile" in reader.text("#chips")


def test_two_ranges_are_compared_by_typed_dates(reader, made):
    reader.open()
    reader.visit(TITLES["revenue"])
    reader.choose("Period", "Custom dates…")
    reader.date("Start date", "2026-05-10")
    reader.date("End date", "2026-05-19")
    reader.choose("Compare", "Custom dates…")
    reader.date("Compare from", "2026-04-20")
    reader.date("Compare to", "2026-04-26")
    now, before = (
        revenue(within(made["orders"], "ts", *days))
        for days in (("2026-05-10", "2026-05-19"), ("2026-04-20", "2026-04-26"))
    )
    assert reader.tile("revenue-total") == pytest.approx(now)
    change = reader.text("#revenue-total .change")
    assert change.startswith(f"{'▲' if now > before else '▼'} {abs(now / before - 1):.1%} vs ")
    title = reader.js("return document.querySelector('#revenue-total .change').title")
    assert title == f"Comparison period: {before:,.2f}"


def test_view_is_shared_by_its_link(reader):
    reader.open()
    reader.visit(TITLES["funnel"])
    reader.choose("Period", "Last 7 days")
    reader.choose("Compare", "Previous period")
    reader.press("[data-field=device] summary")
    before = reader.js("return performance.getEntriesByName('drawn').length")
    reader.press("[data-field=device] input[value=mobile]")
    reader.redrawn(before)
    reader.keys(Keys.ESCAPE)
    reader.menu("funnel-abandoned", "Show as table")
    allowed = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    reader.browser.execute_cdp_cmd("Browser.grantPermissions", allowed)
    reader.press_text("#tools summary", "Export & share")
    reader.press_text("#tools button", "Copy link")
    reader.wait("return document.querySelector('#live').textContent === 'Link copied'")
    link = reader.js("return navigator.clipboard.readText()")
    look = (
        "return [...document.querySelectorAll('.tile, .change, #funnel-abandoned td, .chip')]"
        ".map((one) => one.textContent)"
    )
    shown = reader.js(look)
    reader.browser.get("about:blank")
    reader.browser.get(link)
    reader.drawn()
    assert reader.js(look) == shown
    assert any("Mobile" in text for text in shown)


def test_whole_board_is_exported_as_one_file_and_as_a_printed_page(reader, made, tmp_path):
    reader.open()
    reader.visit(TITLES["revenue"])
    reader.choose("Period", "Last 7 days")
    reader.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    reader.press_text("#tools summary", "Export & share")
    reader.press_text("#tools a", "Download CSV of all panels")
    end = time.monotonic() + 20
    while not (files := list(tmp_path.glob("*.csv"))):
        assert time.monotonic() < end
        time.sleep(0.1)
    lines = list(csv.reader(io.StringIO(files[0].read_text("utf-8-sig"))))
    blocks = [line[0] for n, line in enumerate(lines) if line and (n == 0 or not lines[n - 1])]
    assert blocks == [panel.title for panel in BOARDS["revenue"].panels]
    total = lines[lines.index([BOARDS["revenue"].panels[0].title]) + 2]
    assert float(total[0]) == pytest.approx(reader.tile("revenue-total"))
    pdf = reader.browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(pdf) > 20_000
    reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        hidden = "return ['#bar', 'nav', '.tools'].every((one) => !document.querySelector(one).checkVisibility())"
        assert reader.js(hidden)
        assert "Run " in reader.text("#printed")
        assert reader.js("return document.querySelector('#printed').checkVisibility()")
    finally:
        reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
