"""What charts, filters and menus do when somebody points, types, touches or drags."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from page.conftest import source_of
from page.looking import Reader
from page.test_browser import newest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from connectors.elasticsearch.search import Searcher
from dashboards.boards import DASHBOARDS
from shopstream.jobs.serve_dashboards import Listening, serve_source

TITLES = {board.id: board.title for board in DASHBOARDS}
NOTHING = "\u2013"
TIP = "return document.querySelector('#tip').hidden ? '' : document.querySelector('#tip').textContent"
MARKS = "return document.querySelector('#{} svg.chart').model.marks.map((one) => [one.key, one.title, one.rows.length])"


def chart_of(reader, panel):
    element = reader.element(f"#{panel} svg.chart")
    reader.js("arguments[0].scrollIntoView({ block: 'center' })", element)
    # the event of the scroll, which hides a tooltip, comes with the next frame
    reader.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    return element


def at_mark(reader, panel, number):
    """Moves the pointer to a mark of a chart."""
    x, y = reader.js(
        "const svg = document.querySelector(`#${arguments[0]} svg.chart`);"
        "const mark = svg.model.marks.at(arguments[1]);"
        "const box = svg.getBoundingClientRect();"
        "return [box.x + mark.x + mark.w / 2, box.y + mark.y + mark.h / 2].map(Math.round)",
        panel,
        number,
    )
    return ActionChains(reader.browser, duration=20).w3c_actions.pointer_action, x, y


def pointer(reader, *steps):
    """Performs mouse events: ("move", x, y), ("down",), ("up",)."""
    actions = ActionChains(reader.browser, duration=20)
    for step, *place in steps:
        match step:
            case "move":
                actions.w3c_actions.pointer_action.move_to_location(*place)
            case "down":
                actions.w3c_actions.pointer_action.pointer_down()
            case "up":
                actions.w3c_actions.pointer_action.pointer_up()
    actions.perform()


# --- tooltips ---------------------------------------------------------------------------------------------------------
def test_pointer_shows_every_series_of_a_mark_at_once(reader):
    reader.open(view="revenue", refresh="0", compare="previous")
    chart_of(reader, "revenue-returns-trend")
    _, x, y = at_mark(reader, "revenue-returns-trend", -2)
    pointer(reader, ("move", x, y))
    text = reader.js(TIP)
    key, title, _ = reader.js(MARKS.format("revenue-returns-trend"))[-2]
    assert text.startswith(title)
    names = reader.js(
        "return [...document.querySelectorAll('#revenue-returns-trend .key')].map((one) => one.ariaLabel)"
    )
    assert len(names) == 2
    assert all(name in text for name in names)
    assert "was " in text
    assert "Compared with Week of" in text
    reader.press("h1")
    assert reader.js(TIP) == ""
    reader.menu("revenue-returns-trend", "Show as table")
    cells = [row for row in reader.table("#revenue-returns-trend") if row[0] == title]
    assert all(cell in text for row in cells for cell in row if cell != NOTHING)
    assert key


def test_arrow_keys_read_a_chart_aloud(reader):
    reader.open(view="now", refresh="0", last="7d")
    chart_of(reader, "now-visits")
    reader.js("document.querySelector('#now-visits svg.chart').focus()")
    titles = [title for _, title, _ in reader.js(MARKS.format("now-visits"))]
    for key, title in (
        (Keys.END, titles[-1]),
        (Keys.ARROW_LEFT, titles[-2]),
        (Keys.HOME, titles[0]),
        (Keys.ARROW_RIGHT, titles[1]),
    ):
        reader.keys(key)
        assert reader.js(TIP).startswith(title)
        assert reader.text("#live").startswith(title)
    reader.keys(Keys.ARROW_DOWN)
    first, second = reader.js("return [...document.querySelectorAll('#now-visits .key')].map((one) => one.ariaLabel)")
    assert first in reader.text("#live")
    assert second not in reader.text("#live")
    reader.keys(Keys.ESCAPE)
    assert reader.js(TIP) == ""


def test_touch_shows_the_tooltip(reader):
    reader.open(view="now", refresh="0", last="7d")
    chart_of(reader, "now-visits")
    _, x, y = at_mark(reader, "now-visits", -2)
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        reader.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert reader.wait(TIP).startswith(reader.js(MARKS.format("now-visits"))[-2][1])


def test_tooltip_stays_and_follows_new_figures_when_a_chart_is_redrawn(reader, shop):
    run, made, client, _ = shop
    reader.open(view="now", last="7d", refresh="2")
    chart_of(reader, "now-revenue-trend")
    reader.js("document.querySelector('#now-revenue-trend svg.chart').focus()")
    reader.keys(Keys.END)
    before = reader.wait(TIP)
    order = next(one for one in made["orders"] if one["total"])
    order = order | {"order_id": uuid.uuid4().hex, "ts": newest(made) - 2, "status": "placed", "total": 77_777.0}
    index = next(iter(client.indices.get(index=f"{run}-orders-*2026.05*")))
    client.index(index=index, id="tooltip", document=order, refresh=True)
    try:
        text = reader.wait(f"const text = (() => {{ {TIP} }})(); return text !== arguments[0] && text", before)
        assert text.split("Revenue")[0] == before.split("Revenue")[0]
        assert reader.js("return document.activeElement.closest('.panel')?.id") == "now-revenue-trend"
    finally:
        client.delete(index=index, id="tooltip", refresh=True)


# --- zoom and legend --------------------------------------------------------------------------------------------------
def test_drag_zooms_into_days_and_escape_cancels(reader):
    reader.open(view="funnel", refresh="0", **{"from": "2026-05-01", "to": "2026-05-19"})
    panel = "funnel-abandoned"
    chart_of(reader, panel)
    marks = reader.js(MARKS.format(panel))
    assert len(marks) == 19
    _, x, y = at_mark(reader, panel, 4)
    _, to_x, _ = at_mark(reader, panel, 9)
    pointer(reader, ("move", x, y), ("down",), ("move", to_x - 9, y), ("move", to_x, y))
    assert not reader.js("return document.querySelector('#brush').hidden")
    reader.keys(Keys.ESCAPE)
    pointer(reader, ("up",))
    assert reader.parameters()["from"] == ["2026-05-01"]
    pointer(reader, ("move", x, y), ("down",), ("move", to_x - 9, y), ("move", to_x, y), ("up",))
    reader.wait("return new URLSearchParams(location.search).get('from') === '2026-05-05'")
    assert reader.parameters()["to"] == ["2026-05-10"]


def test_shift_and_arrow_keys_zoom_too(reader):
    reader.open(view="funnel", refresh="0", **{"from": "2026-05-01", "to": "2026-05-19"})
    reader.js("document.querySelector('#funnel-abandoned svg.chart').focus()")
    reader.keys(Keys.HOME, Keys.ARROW_RIGHT)
    shifted = ActionChains(reader.browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    shifted.key_up(Keys.SHIFT).send_keys(Keys.ENTER).perform()
    reader.wait("return new URLSearchParams(location.search).get('from') === '2026-05-02'")
    assert reader.parameters()["to"] == ["2026-05-04"]


@pytest.mark.parametrize("by_key", [False, True], ids=["click", "key"])
def test_legend_hides_a_series_and_the_address_holds_it(reader, by_key):
    reader.open(view="revenue", refresh="0")
    panel = "revenue-returns-trend"
    chart_of(reader, panel)
    bars = (
        "return new Set([...document.querySelectorAll('#revenue-returns-trend rect[data-series]')]"
        ".map((one) => one.dataset.series)).size"
    )
    assert reader.js(bars) == 2
    if by_key:
        reader.js("document.querySelector('#revenue-returns-trend .key').focus()")
        reader.keys(Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ENTER)
    else:
        pointer(reader, ("move", *reader.js(
            "const box = document.querySelector('#revenue-returns-trend .key text').getBoundingClientRect();"
            "return [Math.round(box.x + 9), Math.round(box.y + 6)]")), ("down",), ("up",))  # fmt: skip
    reader.wait(f"{bars} === 1")
    assert reader.js("return document.querySelector('#revenue-returns-trend .key').ariaPressed") == "false"
    reader.browser.refresh()
    reader.drawn()
    assert reader.js(bars) == 1


# --- filters, views, address ------------------------------------------------------------------------------------------
def test_click_on_a_value_filters_the_board_and_the_chip_removes_it(reader):
    reader.open(view="revenue", refresh="0", last="30d")
    all_orders = reader.tile("revenue-orders")
    name = reader.js("return document.querySelector('#revenue-channel tbody a').textContent")
    reader.press("#revenue-channel tbody a")
    reader.wait("return location.search.includes('channel=')")
    reader.wait(
        "return Number(document.querySelector('#revenue-orders .tile').dataset.value) < arguments[0]", all_orders
    )
    assert reader.text("#chips a").startswith(f"Channel: {name}")
    assert f"Channel: {name}" in reader.wait("return document.querySelector('#live').textContent")
    reader.menu("revenue-country", "Show as table")
    reader.press("#chips a")
    reader.wait(
        "return Number(document.querySelector('#revenue-orders .tile').dataset.value) === arguments[0]", all_orders
    )
    assert reader.parameters() == {
        "view": ["revenue"], "refresh": ["0"], "last": ["30d"], "table": ["revenue-country"],
    }  # fmt: skip


def test_period_comparison_filters_and_refresh_hold_on_other_views(reader):
    reader.open(view="revenue", refresh="0", last="7d", compare="previous", country="DE", channel="mail")
    reader.visit(TITLES["churn"])
    expected = {"last": ["7d"], "compare": ["previous"], "refresh": ["0"], "country": ["DE"], "channel": ["mail"]}
    assert reader.parameters() == {"view": ["churn"], **expected}
    idle = reader.js("return [...document.querySelectorAll('.chip.idle')].map((one) => one.textContent)")
    assert len(idle) == 1
    assert "not on this page" in idle[0]
    assert reader.js("return document.querySelectorAll('.hint').length") == 0
    reader.press_text("#chips a", "Clear all filters")
    reader.wait("return !location.search.includes('country=')")
    assert reader.parameters() == {"view": ["churn"], "last": ["7d"], "compare": ["previous"], "refresh": ["0"]}


def test_back_returns_to_the_former_scroll_position(reader):
    reader.open(view="revenue", refresh="0")
    reader.js("scrollTo(0, 500)")
    reader.press("#revenue-channel tbody a")
    reader.wait("return location.search.includes('channel=')")
    at = reader.js("return scrollY")
    assert at > 200
    reader.visit(TITLES["funnel"])
    assert reader.js("return scrollY") == 0
    reader.browser.back()
    reader.headed(TITLES["revenue"])
    reader.browser.back()
    reader.wait("return !location.search.includes('channel=')")
    reader.wait("return Math.abs(scrollY - arguments[0]) < 5", at)


def test_unknown_parameter_and_impossible_refresh_are_named_with_a_way_to_remove_them(reader):
    reader.open(view="revenue", utm_source="mail", refresh="0.001")
    hints = reader.js("return [...document.querySelectorAll('.hint')].map((one) => one.textContent)")
    assert hints[0].startswith('Ignored unknown parameter "utm_source".')
    assert "between 2 and 3600" in hints[1]
    assert reader.js("return document.querySelector('select[data-key=Auto-refresh]').value") == "2"
    reader.press(".hint a")
    reader.wait("return document.querySelectorAll('.hint').length === 1")
    assert "utm_source" not in reader.parameters()


@pytest.mark.parametrize(("text", "seconds"), [("abc", "5"), ("-3", "2"), ("99999", "3600"), ("", "5"), ("15", "15")])
def test_refresh_interval_is_clamped_and_a_bad_one_is_the_default(reader, text, seconds):
    reader.browser.get(f"{reader.address}?view=funnel&refresh={text}")
    reader.drawn()
    assert reader.js("return document.querySelector('select[data-key=Auto-refresh]').value") == seconds


def test_order_of_a_table_is_part_of_the_address(reader):
    reader.open(view="revenue", refresh="0")
    reader.press("#revenue-channel th:nth-child(3) button")
    rows = reader.table("#revenue-channel")
    orders = [int(row[2].replace(",", "")) for row in rows]
    assert orders == sorted(orders, reverse=True)
    reader.browser.refresh()
    reader.drawn()
    assert reader.table("#revenue-channel") == rows


def test_view_is_saved_opened_renamed_and_deleted(reader):
    name = f"view {uuid.uuid4().hex[:6]}"
    reader.open(view="funnel", refresh="0", last="7d")
    reader.press_text("#tools summary", "Saved views")
    reader.element("#tools input").send_keys(name)
    reader.press_text("#tools button", "Save this view")
    reader.wait("return document.querySelector('#live').textContent === 'View saved'")
    reader.visit(TITLES["revenue"])
    reader.press_text("#tools summary", "Saved views")
    reader.press_text("#tools p a", name)
    reader.headed(TITLES["funnel"])
    assert reader.parameters() == {"view": ["funnel"], "refresh": ["0"], "last": ["7d"]}
    reader.press_text("#tools summary", "Saved views")
    reader.press(f"#tools button[aria-label='Rename view {name}']")
    prompt = reader.browser.switch_to.alert
    prompt.send_keys(f"{name} b")
    prompt.accept()
    reader.press(f"#tools button[aria-label='Delete view {name} b']")
    reader.wait(
        "return ![...document.querySelectorAll('#tools p a')].some((one) => one.textContent.startsWith(arguments[0]))",
        name,
    )


def test_chart_is_saved_as_an_svg_file_with_its_colours(reader, tmp_path):
    reader.open(view="revenue", refresh="0")
    reader.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    reader.menu("revenue-returns-trend", "Download SVG")
    end = time.monotonic() + 20
    while not (files := list(tmp_path.glob("*.svg"))):
        assert time.monotonic() < end
        time.sleep(0.1)
    text = files[0].read_text("utf-8")
    assert 'xmlns="http://www.w3.org/2000/svg"' in text
    assert "var(--" not in text
    assert 'fill="rgb(0, 114, 178)"' in text


def test_tile_without_new_documents_says_since_when(reader):
    board = next(one for one in DASHBOARDS if one.id == "pipeline")
    panel = next(one for one in board.panels if one.chart == "metric")
    reader.open(view=board.id, refresh="0")
    reader.js(
        "const [id] = arguments; const real = window.fetch;"
        "window.fetch = async (...request) => {"
        "  const response = await real(...request); const data = await response.json();"
        "  if (data.panels) data.panels[id] = { hits: 0, rows: [[null]], silent_ms: 720000 };"
        "  return new Response(JSON.stringify(data)); };"
        "dispatchEvent(new Event('moved'))",
        panel.id,
    )
    reader.wait(
        "return document.querySelector(`#${arguments[0]} .silent`)?.textContent === 'Silent for 12 min'", panel.id
    )
    assert reader.text(f"#{panel.id} .tile") == NOTHING


def test_empty_run_has_one_start_page_with_what_is_done(chromium, page_client, shop, no_customer_table):
    source = source_of("nothing", Searcher(page_client, f"t{uuid.uuid4().hex[:10]}"), no_customer_table)
    with serve_source(source, Listening(port=0)) as address:
        page = Reader(chromium, address)
        page.open(view="now", refresh="0")
        assert page.text("h1").startswith("Welcome")
        steps = page.js(
            "return [...document.querySelectorAll('.start li')].map((one) => "
            "[one.querySelector('span').ariaLabel, one.querySelector('code').textContent])"
        )
        assert steps == [
            ["Done", "shopstream up"],
            ["To do", "shopstream replay ARCHIVE"],
            ["To do", "shopstream consume"],
        ]
        assert page.complaints() == []
    chromium.get("about:blank")


# --- kinds of charts --------------------------------------------------------------------------------------------------
def drawn(reader, panel, rows, **more):
    """Draws a chart of given rows on the page by its own script; returns its outline."""
    script = """
      const [panel, rows, more, done] = arguments;
      import("/static/charts.js").then(({ chart }) => {
        const made = chart({ id: "x", title: "X", definition: "", ...panel }, rows, { width: 600, height: 300 },
          Array.from({ length: 8 }, (_, n) => `var(--s${n})`), () => null, more);
        document.querySelector("main").replaceChildren(made);
        done(made.outerHTML);
      });
    """
    return reader.browser.execute_async_script(script, panel, rows, json.loads(json.dumps(more)))


DAY = 86_400_000
DAYS = [1_777_593_600_000 + n * DAY for n in range(4)]
TIME = {"kind": "time", "label": "Time"}


def measure(label, **more):
    return {"label": label, "unit": "count"} | more


def test_losses_hang_below_zero_and_the_net_is_a_line(reader):
    reader.open(view="pipeline", refresh="0")
    panel = {
        "chart": "bar_stacked",
        "dimensions": [TIME],
        "measures": [measure("New"), measure("Lost", below=True), measure("Net", line=True)],
    }
    drawn(reader, panel, [[day, 10, 4, 6] for day in DAYS])
    zero, new, lost, lines = reader.js(
        "const top = (one) => Number(one.getAttribute('y')); "
        "const all = (text) => [...document.querySelectorAll(text)];"
        "return [Number(document.querySelector('line.axis').getAttribute('y1')), all('[data-series=New][y]').map(top),"
        " all('rect[data-series=Lost]').map(top), all('polyline').length]"
    )
    assert all(y < zero for y in new)
    assert all(y == pytest.approx(zero, abs=0.2) for y in lost)
    assert len(lost) == 4
    assert lines == 1
    assert "\u22125" in reader.text("main svg") or "\u22124" in reader.text("main svg")


def compared_line(reader, rows, before):
    """Draws a stacked chart with a comparison; returns the heights of the compared total above zero."""
    reader.open(view="pipeline", refresh="0")
    panel = {
        "chart": "bar_stacked",
        "dimensions": [TIME, {"kind": "terms", "label": "Channel", "field": "channel"}],
        "measures": [measure("Visits")],
    }
    own_keys = {str(day): day - 4 * DAY for day in sorted({row[0] for row in before})}
    drawn(reader, panel, rows, compare={"rows": before, "own_keys": own_keys, "name": "Previous period"})
    return reader.js(
        "const zero = Number(document.querySelector('main line.axis').getAttribute('y1'));"
        "return [...document.querySelectorAll('main polyline.before')].map((one) => "
        "one.getAttribute('points').split(' ').map((point) => zero - Number(point.split(',')[1])))"
    )


def test_compared_total_has_further_values_that_the_period_lacks(reader):
    rows = [[day, "mail", 10] for day in DAYS]
    ((first, *_),) = compared_line(reader, rows, rows)
    others = [[day, "(other)", 10] for day in DAYS]
    ((second, *_),) = compared_line(reader, [[day, "mail", 20] for day in DAYS], [*rows, *others])
    assert second == pytest.approx(first, abs=1)


def test_compared_total_of_a_stack_ends_with_the_shorter_period(reader):
    rows = [[day, channel, 10] for day in DAYS for channel in ("mail", "search")]
    (line,) = compared_line(reader, rows, rows[:4])
    assert len(line) == 2
    assert line[0] == pytest.approx(line[1], abs=0.1)


def test_forecast_note_threshold_and_unfinished_interval_are_drawn(reader):
    reader.open(view="pipeline", refresh="0")
    layer = {"measures": [measure("Forecast"), measure("80% range from"), measure("80% range to")]}
    panel = {"chart": "line", "dimensions": [TIME], "measures": [measure("Revenue")], "layer": layer,
             "reference_lines": [{"label": "Target", "value": 40}]}  # fmt: skip
    later = [[DAYS[3] + n * DAY, 10, 5, 20] for n in (1, 2)]
    notes = [
        {"id": "a", "ts": DAYS[1] + 3_600_000, "text": "Campaign"},
        {"id": "b", "ts": DAYS[0] - DAY, "text": "Earlier"},
    ]
    drawn(
        reader,
        panel,
        [[day, 7] for day in DAYS],
        layer={"rows": later, "as_of": DAYS[3]},
        notes=notes,
        partial=[DAYS[3]],
    )
    text = reader.text("main svg")
    assert "Forecast made on 4 May 2026" in text
    assert "Target" in text
    assert text.count("⚑") == 1
    assert reader.js("return document.querySelectorAll('main polygon').length") == 1
    assert reader.js("return document.querySelectorAll('main polyline.partial').length") == 1
    marks = reader.js(
        "return document.querySelector('main svg').model.marks.map((one) => "
        "[one.title, one.notes.length, one.rows.map((row) => row.label)])"
    )
    assert len(marks) == 6
    assert [count for _, count, _ in marks] == [0, 1, 0, 0, 0, 0]
    assert marks[3][0] == "4 May 2026 (incomplete)"
    assert marks[5][2] == ["Forecast", "80% range"]


def test_further_values_are_grey_and_no_series_is_black(reader):
    reader.open(view="pipeline", refresh="0")
    names = [*(f"v{n}" for n in range(11)), "(other)"]
    split = {"kind": "terms", "field": "category", "label": "Category", "order": []}
    panel = {"chart": "bar_stacked", "dimensions": [TIME, split], "measures": [measure("Revenue")]}
    drawn(reader, panel, [[day, name, 3] for day in DAYS for name in names])
    colours = reader.js(
        "return [...document.querySelectorAll('main .key')]"
        ".map((one) => getComputedStyle(one.querySelector('[rx]')).fill)"
    )
    assert len(set(colours)) == 12
    assert colours[-1] == "rgb(122, 130, 139)"
    assert reader.js("return [...document.querySelectorAll('main .key')].at(-1).ariaLabel") == "Other"


def test_heat_map_starts_with_the_oldest_row_and_shows_its_size(reader):
    reader.open(view="pipeline", refresh="0")
    dimensions = [{"kind": "terms", "field": name, "label": name} for name in ("months_since", "cohort")]
    measures = [measure("Retained", unit="percent"), measure("Customers")]
    panel = {"chart": "heatmap", "measures": measures, "dimensions": dimensions}
    drawn(reader, panel, [[1, "2026-02", 0.25, 40], [1, "2025-12", 0.5, 10], [2, "2025-12", 0.1, 10]])
    rows = reader.js(
        "return [...document.querySelectorAll('main tbody tr')]"
        ".map((line) => [...line.cells].map((cell) => cell.textContent))"
    )
    assert rows == [["Dec 2025", "10", "50.0%", "10.0%"], ["Feb 2026", "40", "25.0%", ""]]


def test_axis_has_short_dates_and_one_precision(reader):
    reader.open(view="pipeline", refresh="0")
    panel = {"chart": "line", "dimensions": [TIME], "measures": [measure("Revenue", unit="money")]}
    months = [1_764_547_200_000, 1_767_225_600_000, 1_769_904_000_000]
    drawn(reader, panel, [[month, 1_500 * n] for n, month in enumerate(months)])
    texts = reader.js("return [...document.querySelectorAll('main svg text')].map((one) => one.textContent)")
    assert texts[-3:] == ["Dec 2025", "Jan 2026", "Feb 2026"]
    assert texts[0] == "0"
    assert not any("." in text for text in texts)


def test_cut_intervals_of_small_charts_and_of_compared_lines_are_drawn_as_unfinished(reader):
    reader.open(view="now", last="30d", compare="previous", refresh="0")
    # 12:34 to 12:34: the first and the last interval are parts of days
    lines = "return [...document.querySelectorAll('#now-sessions .spark polyline')].map((one) => one.classList.value)"
    assert reader.js(lines) == ["partial", "", "partial"]
    points = "return [...document.querySelectorAll('#now-sessions .spark polyline')].map((one) => one.points.length)"
    assert reader.js(points) == [2, 29, 2]
    # both ends of both series
    assert reader.js("return document.querySelectorAll('#now-visits svg .before.partial').length") == 4
    reader.browser.execute_script("document.querySelector('#now-visits svg.chart').focus()")
    reader.keys(Keys.HOME)
    compared = reader.wait(TIP).partition("Compared with")[2]
    assert "(incomplete)" in compared
    reader.keys(Keys.ARROW_RIGHT)
    reader.wait(f"const text = (() => {{ {TIP} }})(); return text && !text.includes('(incomplete)')")
