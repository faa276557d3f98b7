"""A walk over every board in a real Kibana: its panels, KQL with dates as people type it, links between boards."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from kibana.panel_states import settled_panels, wrong
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from dashboards.boards import DASHBOARDS
from dashboards.kibana.saved_objects import saved_objects

pytestmark = pytest.mark.timeout(900)
BOARDS = {one.id: one for one in DASHBOARDS}
TYPED = (
    '{field} >= "2020-01-01"',
    '{field} >= "2020-01-01" and {field} < "2035-12-31T23:59:59Z"',
    "{field} >= now-30d/d",
    "not {field} < 1577836800000",
)
"""KQL with dates, an instant, date math and epoch milliseconds."""


@pytest.fixture(scope="module")
def visitor(request):
    """Opens boards as the user of the environment, and takes pictures."""
    target = request.getfixturevalue("target")
    if not target.real:
        pytest.skip("the stand-in draws no boards: set KIBANA_URL, KIBANA_USERNAME, KIBANA_PASSWORD")
    return Visitor(request.getfixturevalue("chromium"), target)


class Visitor:
    def __init__(self, browser, target):
        self.browser, self.target = browser, target
        browser.set_window_size(1600, 2400)
        # Kibana accepts a login in a header too (xpack.security.authc.http), so no page of login is needed
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": target.credentials})

    def open(self, board, **state):
        """Opens a board; `state` is part of its address, in the form of rison that needs no quoting."""
        more = "".join(f"&{name}={quote(value, safe='()!:,')}" for name, value in state.items())
        if self.browser.current_url.startswith(self.target.kibana.url):
            self.browser.execute_script("sessionStorage.clear()")  # else a typed query is an unsaved change that stays
        self.browser.get("about:blank")
        self.browser.get(f"{self.target.base}/app/dashboards#/view/{self.target.run}-{board}?{more.lstrip('&')}")
        return settled_panels(self.browser)

    def subject(self, name):
        return self.browser.find_element(By.CSS_SELECTOR, f'[data-test-subj="{name}"]')

    def type_query(self, text):
        box = self.subject("queryInput")
        box.click()
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(text, Keys.ESCAPE)
        self.subject("querySubmitButton").click()
        time.sleep(1)
        return settled_panels(self.browser)

    def picture(self, name):
        if folder := os.environ.get("KIBANA_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(str(Path(folder) / f"{name}.png"))

    def toasts(self):
        """Messages of errors in the corner."""
        selector = '[data-test-subj="errorToastMessage"], .euiToast--danger'
        return [one.text for one in self.browser.find_elements(By.CSS_SELECTOR, selector)]


def declared_panels(run):
    """Dashboard -> number of panels in the file, with the bar of links and the help."""
    objects = [one for one in saved_objects(DASHBOARDS, run) if one["type"] == "dashboard"]
    return {one["id"]: len(json.loads(one["attributes"]["panelsJSON"])) for one in objects}


@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_of_a_board_is_drawn_without_an_error(visitor, board):
    states = visitor.open(board)
    visitor.picture(board)
    assert wrong(states) == []
    assert visitor.toasts() == []
    assert len(states) == declared_panels(visitor.target.run)[f"{visitor.target.run}-{board}"]


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("board", BOARDS)
def test_typed_dates_are_understood(visitor, board, text):
    visitor.open(board)
    field = next(panel.data.time_field for panel in BOARDS[board].panels if panel.data.time_field is not None)
    states = visitor.type_query(text.format(field=field))
    visitor.picture(f"{board}-typed")
    assert wrong(states) == []
    assert visitor.toasts() == []


@pytest.mark.parametrize("board", BOARDS)
def test_links_lead_to_every_board_with_its_panels(visitor, board):
    for other in BOARDS:
        if other == board:
            continue
        visitor.open(board)
        visitor.browser.find_element(By.ID, f"dashboardLink--{other}").click()
        expected = re.compile(rf"/view/{re.escape(visitor.target.run)}-{other}\b")
        end_s = time.monotonic() + 30
        while not expected.search(visitor.browser.current_url):
            assert time.monotonic() < end_s, visitor.browser.current_url
            time.sleep(0.2)
        assert wrong(settled_panels(visitor.browser)) == []


@pytest.mark.parametrize("board", [name for name, one in BOARDS.items() if one.controls])
def test_a_filter_goes_along_only_where_the_board_has_its_field(visitor, board):
    """A board that lacks the field would be empty."""
    control = BOARDS[board].controls[0]
    name = control.field
    phrase = f"(meta:(alias:!n,disabled:!f,key:{name},negate:!f,type:exists),query:(exists:(field:{name})))"
    for other, one in BOARDS.items():
        if other == board:
            continue
        visitor.open(board, _a=f"(filters:!({phrase}))")
        visitor.browser.find_element(By.ID, f"dashboardLink--{other}").click()
        time.sleep(2)
        states = settled_panels(visitor.browser)
        assert wrong(states) == []
        goes_along = {c.field for c in one.controls} == {c.field for c in BOARDS[board].controls}
        filters = visitor.browser.find_elements(By.CSS_SELECTOR, f'[data-test-subj*="filter-key-{name}"]')
        assert bool(filters) == goes_along, (board, other)
