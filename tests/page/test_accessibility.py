"""The page for everybody: rules of axe, the keyboard alone, contrast of the colours, and a small weight."""

from __future__ import annotations

import re
from importlib import resources

import axe_core_python
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from dashboards.boards import DASHBOARDS
from features.scores.score import RISKS

BOARDS = [board.id for board in DASHBOARDS]
VIEWS = [*({"view": name} for name in BOARDS), {"view": "customers"}, {"view": "segments"}, {"view": "worklist"},
         {"view": "customer", "id": "customer_id-3"}]  # fmt: skip
STATIC = resources.files("dashboards.web") / "static"
AXE = (resources.files(axe_core_python) / "axe.min.js").read_text("utf-8")
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
STOPS_MAX = 160
"""Most stops of the Tab key on a dashboard."""
TRANSFERRED_MAX = 80_000
"""Bytes that the server sends for a view in all: page, scripts, style and figures."""
SCRIPTS_MAX = 115_000
"""Bytes of page, scripts and style of a view before their compression."""


def violations(reader):
    """Ids of the broken rules that are serious or critical, with the elements that break them."""
    reader.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE})
    found = reader.browser.execute_async_script(
        "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
    )
    return [
        (one["id"], [node["html"][:160] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS, ids=[view["view"] for view in VIEWS])
def test_page_breaks_no_serious_rule_of_axe(reader, view, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        reader.open(**view, refresh="0", compare="previous")
        assert violations(reader) == []
        reader.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        reader.press("header .fold")
        reader.press("#bar .fold")
        assert violations(reader) == []
    finally:
        reader.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("name", BOARDS)
def test_tab_reaches_every_control_and_nothing_covers_the_focus(reader, name):
    reader.open(view=name, refresh="0")
    reader.wait("return document.querySelector('.filter input') || !document.querySelector('.filter')")
    reader.js("window.aims = new Set(document.querySelectorAll('summary, a[href]:not([tabindex=\"-1\"]), "
              "select, input, button, svg.chart, [tabindex=\"0\"]').values()"
              ".filter((one) => one.checkVisibility()))")  # fmt: skip
    look = (
        "const one = document.activeElement; window.aims.delete(one); const box = one.getBoundingClientRect();"
        "const bar = document.querySelector('#bar'); const under = !bar.contains(one) && one.closest('main')"
        " && box.top < bar.getBoundingClientRect().bottom - 1 && box.height < innerHeight / 2;"
        "return [one === document.body, under, one.outerHTML.slice(0, 120)]"
    )
    stops = 0
    while not reader.js(look)[0] or stops == 0:
        reader.keys(Keys.TAB)
        stops += 1
        assert stops < STOPS_MAX
    covered = []
    for _ in range(stops + 1):
        ActionChains(reader.browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
        at_end, under, html = reader.js(look)
        covered += [html] if under else []
        if at_end:
            break
    assert covered == []
    assert reader.js("return [...window.aims].map((one) => one.outerHTML.slice(0, 120))") == []


def test_controls_of_panels_have_names_of_their_own(reader):
    reader.open(view="revenue", refresh="0")
    names = reader.js(
        "return [...document.querySelectorAll('main .tools :is(summary, button, a)')].map((one) => one.ariaLabel)"
    )
    assert len(names) > 30
    assert len(set(names)) == len(names)


def test_targets_of_controls_have_24_pixels(reader):
    reader.open(view="revenue", refresh="0")
    small = reader.js(
        "return [...document.querySelectorAll('#bar :is(select, summary, a, button), .tools summary, nav a,"
        " .key .hit')]"
        ".map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])"
        ".filter(([, box]) => box.width && (box.width < 24 || box.height < 24)).map(([text]) => text)"
    )
    assert small == []


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return sum(weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colour_of_a_series_has_contrast_3_with_the_paper(scheme):
    style = (STATIC / "page.css").read_text("utf-8")
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", block)) for block in
                   re.findall(r":root \{(.*?)\}", style, re.DOTALL))  # fmt: skip
    colours = light if scheme == "light" else light | dark
    paper = "#ffffff" if colours["paper"] == "#fff" else colours["paper"]
    series = [*(f"s{n}" for n in range(8)), "other", *(f"churn_risk-{risk}" for risk in RISKS)]
    assert {
        name: round(contrast(colours[name], paper), 2) for name in series if contrast(colours[name], paper) < 3
    } == {}


@pytest.mark.parametrize("view", VIEWS, ids=[view["view"] for view in VIEWS])
def test_a_view_with_its_figures_is_light(reader, view):
    reader.browser.execute_cdp_cmd("Network.enable", {})
    reader.browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    reader.open(**view, refresh="0", compare="previous")
    entries = reader.js(
        "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".map((one) => [new URL(one.name).pathname, one.transferSize, one.decodedBodySize])"
    )
    assert {"/", "/static/page.js", "/static/page.css"} <= {name for name, _, _ in entries}
    assert all(size > 0 for _, size, _ in entries)
    assert sum(size for _, size, _ in entries) < TRANSFERRED_MAX
    assert sum(raw for name, _, raw in entries if not name.startswith("/api/")) < SCRIPTS_MAX
