"""The page in a real browser: what somebody sees equals what stands in Elasticsearch, and stays so."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime

import pytest
from page.conftest import HOSTILE, source_of
from panels.documents import DAY
from selenium.webdriver.common.keys import Keys

from dashboards.boards import DASHBOARDS
from features.calendar import Calendar, day_names
from features.labels import sentence_case
from features.schema import STAGES
from features.scores.score import REASONED_RISKS, RISKS
from features.workspace import INACTIVE_AFTER_DAYS
from shopstream.jobs.serve_dashboards import Listening, serve_source

BOARDS = {board.id: board for board in DASHBOARDS}
OTHERS = {"customers": {}, "segments": {}, "customer": {"id": "customer_id-3"}}
PAGES = [*((name, {}) for name in BOARDS), *OTHERS.items()]


def count(shop, index, *clauses):
    """Elasticsearch's own count."""
    run, _, client, _ = shop
    return client.count(index=f"{run}-{index}", query={"bool": {"filter": list(clauses)}})["count"]


def newest(made):
    times = (("events", "ts"), ("orders", "ts"), ("sessions", "start_ts"))
    return 1 + max(one[field] for index, field in times for one in made[index])


def since(made, field, days):
    end = newest(made)
    return {"range": {field: {"gte": end - days * DAY, "lt": end}}}


@pytest.mark.parametrize(("name", "parameters"), PAGES, ids=[name for name, _ in PAGES])
def test_every_page_opens_and_has_content_on_a_phone_too(reader, name, parameters):
    reader.open(view=name, **parameters)
    assert reader.text("h1")
    assert reader.js("return document.querySelector('#problem').hidden")
    assert reader.js("return [...document.querySelectorAll('nav a[aria-current]')].length") == 1
    if name in BOARDS:
        shown = "return [...document.querySelectorAll('main .panel')].map((one) => one.id)"
        assert reader.js(shown) == [panel.id for panel in BOARDS[name].panels]
        assert reader.js("return document.querySelectorAll('main .wrong').length") == 0
        assert_charts_have_labels(reader)
    reader.browser.set_window_size(500, 850)
    reader.wait("return document.documentElement.scrollWidth <= innerWidth")
    if name in BOARDS:
        lefts = "return new Set([...document.querySelectorAll(arguments[0])].map((one) => one.offsetLeft)).size"
        assert reader.js(lefts, ".panel:not(.of-metric)") == 1
        assert reader.js(lefts, ".panel.of-metric") == 2


def assert_charts_have_labels(reader):
    """Every picture has a label, and a button that shows its figures."""
    pictures = "return [...document.querySelectorAll('main .panel svg.chart')]"
    assert reader.js(f"{pictures}.every((one) => one.getAttribute('aria-label').length > 20)")
    show = (
        "one.closest('.panel').querySelector('.tools button')?.getAttribute('aria-label').startsWith('Show as table: ')"
    )
    assert reader.js(f"{pictures}.every((one) => {show})")


def test_page_is_drawn_within_two_seconds(reader):
    times = [reader.open(view=name).js("return performance.getEntriesByName('drawn')[0].startTime") for name in BOARDS]
    # the quickest of them: others may share the machine with us
    assert min(times) < 2_000


# --- figures ----------------------------------------------------------------------------------------------------------
def test_tiles_equal_the_counts_of_elasticsearch(reader, shop, made):
    reader.open(view="funnel")
    sessions = since(made, "start_ts", 30)
    reached = [count(shop, "sessions", sessions, {"terms": {"stage": list(STAGES[n:])}}) for n in range(len(STAGES))]
    for n, stage in enumerate(STAGES[1:]):
        assert reader.tile(f"funnel-rate-{stage}") == pytest.approx(reached[n + 1] / reached[n])
    assert [row[1] for row in reader.as_table("funnel-steps")] == [f"{n:,}" for n in reached]
    reader.open(view="now", last="7d")
    assert reader.tile("now-sessions") == count(shop, "sessions", since(made, "start_ts", 7))
    assert reader.tile("now-orders") == count(shop, "orders", since(made, "ts", 7), {"term": {"status": "placed"}})
    reader.open(view="churn")
    at_risk = {"terms": {"churn_risk": list(REASONED_RISKS)}}
    seen = {"range": {"days_since_visit": {"lte": INACTIVE_AFTER_DAYS}}}
    assert reader.tile("churn-customers") == count(shop, "customers", at_risk, seen)


def test_filters_restrict_the_panels_and_are_part_of_the_url(reader, shop, made):
    reader.open(view="funnel")
    reader.wait("return document.querySelector('[data-field=device] input')")
    reader.click("[data-field=device] input[value=mobile]")
    reader.wait("return location.search.includes('device=mobile')")
    expected = count(shop, "sessions", since(made, "start_ts", 30), {"term": {"device": "mobile"}})
    reader.as_table("funnel-steps")
    reader.wait(
        "return document.querySelector('#funnel-steps td.number').textContent === arguments[0]", f"{expected:,}"
    )
    assert [row[0] for row in reader.table("#funnel-median")] == ["Mobile"]
    reader.click(".clear")
    reader.wait("return document.querySelectorAll('#funnel-median tbody tr').length === 3")
    assert reader.parameters() == {"view": ["funnel"], "table": ["funnel-steps"]}
    reader.open(view="funnel", device=["tablet", "desktop"], last="7d", country="DE")
    both = [{"terms": {"device": ["tablet", "desktop"]}}, {"term": {"country": "DE"}}, since(made, "start_ts", 7)]
    assert reader.as_table("funnel-steps")[0][1] == f"{count(shop, 'sessions', *both):,}"
    assert reader.js("return document.querySelectorAll('[data-field=device] input:checked').length") == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_risk_band_has_its_own_colour_for_any_set_of_bands(reader, scheme):
    reader.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        reader.open(view="churn")
        keys = reader.js(
            "return [...document.querySelectorAll('#churn-segments .key')]"
            ".map((one) => [one.dataset.series, getComputedStyle(one.querySelector('[fill]')).fill])"
        )
        assert [name for name, _ in keys] == list(RISKS)
        declared = "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0]).trim()"
        hexes = [reader.js(declared, f"--churn_risk-{name}") for name, _ in keys]
        expected = [f"rgb({', '.join(str(int(one[at : at + 2], 16)) for at in (1, 3, 5))})" for one in hexes]
        assert [fill for _, fill in keys] == expected
        bars = reader.js(
            "return [...document.querySelectorAll('#churn-segments rect.edge')]"
            ".map((one) => [one.dataset.series, getComputedStyle(one).fill])"
        )
        assert bars
        assert {tuple(one) for one in bars} <= set(zip(RISKS, expected, strict=True))
    finally:
        reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_expected_churn_is_a_whole_number_of_customers(reader):
    reader.open(view="churn")
    assert re.fullmatch(r"[\d,]+", reader.text("#churn-expected .tile"))
    assert reader.tile("churn-expected") != round(reader.tile("churn-expected"))


def test_forecast_axis_ends_with_the_forecast(reader, made):
    reader.open(view="revenue")
    days = [row[0] for row in reader.as_table("revenue-forecast")]
    end = max(one["ts"] for one in made["forecast"] if one["level"] == "total")
    assert days[-1] == f"{datetime.fromtimestamp(end / 1_000, UTC):%-d %b %Y}"


def test_date_range_restricts_the_panels(reader, shop):
    reader.open(view="revenue", **{"from": "2026-05-10", "to": "2026-05-12"})
    range_ = {"range": {"ts": {"gte": 1_778_371_200_000, "lt": 1_778_371_200_000 + 3 * DAY}}}
    assert reader.tile("revenue-orders") == count(shop, "orders", range_, {"term": {"status": "placed"}})
    assert reader.js("return document.querySelector('input[type=date]').value") == "2026-05-10"


def test_days_and_periods_are_those_of_the_shop_zone(reader, shop, made, no_customer_table):
    """UTC + 5:30: the newest day begins at 18:30 of the day before."""
    calendar = Calendar("Asia/Kolkata", "sunday")
    end = newest(made)
    month, today = (calendar.unit_start_ms(unit, end - 1) for unit in ("month", "day"))
    with serve_source(source_of(shop[0], shop[3], no_customer_table, calendar), Listening(port=0)) as address:
        reader.address = address
        reader.open(view="revenue", period="this_month")
        clauses = ({"range": {"ts": {"gte": month, "lt": end}}}, {"term": {"status": "placed"}})
        assert reader.tile("revenue-orders") == count(shop, "orders", *clauses)
        assert "Asia/Kolkata" in reader.wait("return document.querySelector('#age').textContent")
        assert reader.js("return document.querySelector('select[data-key=Period]').value") == "this_month"
        reader.open(view="funnel", period="this_month")
        days = [row[0] for row in reader.as_table("funnel-abandoned")]
        dates = [
            date.fromisoformat(day) for day in day_names(range(calendar.day_at(month), calendar.day_at(today) + 1))
        ]
        assert days[-1] == f"{dates[-1]:%-d %b %Y} (incomplete)"
        assert days[:-1] == [f"{day:%-d %b %Y}" for day in dates[:-1]]
        assert reader.js("return document.querySelectorAll('#now .partial, svg .partial').length") >= 1
        reader.js(
            "const box = document.querySelector('select[data-key=Period]');"
            "box.value = 'last_month'; box.dispatchEvent(new Event('change'))"
        )
        reader.wait("return new URLSearchParams(location.search).get('period') === 'last_month'")
        reader.wait("return !document.querySelector('#funnel-abandoned').textContent.includes('incomplete')")


# --- live -------------------------------------------------------------------------------------------------------------
def test_new_order_appears_without_a_reload(reader, shop):
    run, made, client, _ = shop
    reader.open(view="now", last="7d", refresh="2")
    before = reader.tile("now-orders")
    reader.js(
        "document.querySelector('#now-visits svg').mark = 1; document.querySelector('#now-orders').mark = 1;"
        "window.gaps = 0; const looked = () => { window.gaps += !document.querySelector('#now-orders .tile'); };"
        "new MutationObserver(looked).observe(document.querySelector('main'), { childList: true, subtree: true });"
    )
    template = next(one for one in made["orders"] if one["total"])
    order = template | {"order_id": uuid.uuid4().hex, "ts": newest(made) - 2, "status": "placed"}
    index = next(iter(client.indices.get(index=f"{run}-orders-*2026.05*")))
    client.index(index=index, id="live", document=order, refresh=True)
    try:
        reader.wait(
            "return Number(document.querySelector('#now-orders .tile').dataset.value) === arguments[0]", before + 1
        )
        assert reader.js("return document.querySelector('#now-visits svg').mark") == 1
        assert reader.js("return document.querySelector('#now-orders').mark") == 1
        assert reader.js("return window.gaps") == 0
    finally:
        client.delete(index=index, id="live", refresh=True)


def test_page_shows_the_age_of_the_data(reader):
    reader.open()
    assert "Data up to 20 May 2026, 12:3" in reader.wait("return document.querySelector('#age').textContent")


def test_unavailable_elasticsearch_is_reported_until_it_returns(reader, shop):
    reader.expected = ("503",)
    reader.open(view="now", refresh="2")
    before = reader.text("#now-sessions .tile")
    shop[3].down = True
    try:
        reader.wait("return document.querySelector('#problem:not([hidden])')")
        assert "shopstream up" in reader.text("#problem")
        assert reader.text("#now-sessions .tile") == before
        assert reader.js("return document.querySelector('main').classList.contains('old')")
    finally:
        shop[3].down = False
    reader.wait("return document.querySelector('#problem').hidden")


def test_page_opened_during_an_outage_loads_after_it(reader, shop):
    reader.expected = ("503",)
    shop[3].down = True
    try:
        reader.browser.get(f"{reader.address}?view=churn&refresh=2")
        reader.wait("return document.querySelector('#problem:not([hidden])')")
        assert "No data yet" in reader.text("main")
    finally:
        shop[3].down = False
    reader.wait("return document.querySelector('#churn-customers .tile')")


def test_page_reports_that_its_own_server_is_unavailable(reader, shop, no_customer_table):
    reader.expected = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    with serve_source(source_of(shop[0], shop[3], no_customer_table), Listening(port=0)) as address:
        reader.address = address
        reader.open(view="now", refresh="2")
    reader.wait("return document.querySelector('#problem:not([hidden])')")
    assert "dashboards serve" in reader.text("#problem")


def test_empty_page_shows_the_remedy(reader):
    reader.open(view="revenue", **{"from": "2020-01-01", "to": "2020-01-02"})
    assert "Try a longer period" in reader.text("#revenue-channel")


# --- into the depth ---------------------------------------------------------------------------------------------------
def test_links_lead_from_a_segment_to_its_customers_to_one_customer(reader, made):
    reader.open(view="churn")
    reader.js(
        "[...document.querySelectorAll('#churn-segments a')].find((one) => one.ariaLabel.startsWith('At Risk, '))"
        ".dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }))"
    )
    reader.wait("return location.search.includes('segment=At+Risk')")
    reader.wait("return document.querySelector('.chip')?.textContent.startsWith('Segment: At Risk')")
    reader.press_text("#chips a", "Show these customers")
    reader.headed("Customers")
    expected = [one for one in made["customers"] if one["segment"] == "At Risk"]
    rows = reader.table("main")
    assert {row[0] for row in rows} == {one["customer_id"] for one in expected}
    best = max(expected, key=lambda one: one["revenue_365d"] or 0)
    assert rows[0][0] == best["customer_id"]
    reader.click("main tbody a")
    reader.headed("Customer customer_id")
    assert sentence_case(best["recommended_action"]) in reader.text("[data-field=recommended_action]")
    matching = [one for one in made["sessions"] if one["customer_id"] == best["customer_id"]]
    assert f"Visits ({len(matching)})" in reader.text("main")
    assert ("Why" in reader.text("main")) == bool(best["churn_reasons"])
    reader.browser.back()
    reader.headed("Customers")


def test_column_headers_sort_the_list(reader, made):
    reader.open(view="customers")
    reader.js("[...document.querySelectorAll('th button')].find((one) => one.textContent === 'Last order').click()")
    reader.wait("return document.querySelector('th[aria-sort=descending]')?.textContent.startsWith('Last order')")
    most = max(
        (one for one in made["customers"] if one["recency_days"] is not None), key=lambda one: one["recency_days"]
    )
    assert reader.table("main")[0][0] == most["customer_id"]


def test_group_comparison_shows_correct_counts(reader, made):
    reader.open(view="segments")
    rows = {row[1]: row for row in reader.table("main .wide")}
    matching = [one for one in made["customers"] if one["segment"] == "Champions"]
    assert rows["Champions"][2] == str(len(matching))
    reader.click("input[aria-label='Compare Champions']")
    reader.wait("return document.querySelector('#compared')")
    assert reader.text("#compared .versus th").startswith(("Champions", "All customers"))
    assert reader.js("return document.querySelectorAll('#spread rect').length") > 3


# --- hostile words ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["churn", "now", "products", "revenue", "customers", "segments", "funnel"])
def test_text_of_records_is_never_markup(reader, name):
    reader.open(view=name, **({"last": "7d"} if name in BOARDS else {}))
    assert reader.js("return document.querySelectorAll('main script, main img, #bar script, #bar img').length") == 0
    assert reader.js("return window.hacked") is None
    if name != "funnel":
        assert HOSTILE[0] in reader.js("return document.body.textContent")


@pytest.mark.parametrize("word", HOSTILE)
def test_customer_page_of_a_hostile_id_opens_by_its_link(reader, word):
    reader.open(view="customers", segment=word)
    assert [row[0] for row in reader.table("main")] == [word]
    reader.click("main tbody a")
    reader.wait(
        "return document.querySelector('h1').textContent.startsWith('Customer ') && document.querySelector('.tiles')"
    )
    assert word in reader.text("h1")
    assert reader.js("return window.hacked") is None


# --- for everybody ----------------------------------------------------------------------------------------------------
def test_page_is_usable_by_keyboard(reader):
    reader.open(view="churn", refresh="0")
    reader.wait("return document.querySelector('[data-field=segment] input')")
    seen = []
    for _ in range(40):
        reader.keys(Keys.TAB)
        seen.append(
            reader.js("return document.activeElement.dataset.key ?? document.activeElement.textContent.slice(0, 40)")
        )
        if seen[-1] == "segment":
            break
    assert seen[0] == "Skip to content"
    reader.keys(Keys.ENTER)
    assert reader.js("return document.querySelector('[data-field=segment]').open")
    reader.keys(Keys.TAB)
    reader.keys(Keys.SPACE)
    reader.wait("return location.search.includes('segment=')")
    reader.wait("return document.activeElement.type === 'checkbox'")
    assert reader.js("return document.querySelector('[data-field=segment]').open")
    reader.keys(Keys.ESCAPE)
    assert not reader.js("return document.querySelector('[data-field=segment]').open")
