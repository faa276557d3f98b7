"""What a view sends: figures as columns, digits that can be seen, one request for the first figures."""

from __future__ import annotations

import gzip
import json
import re
from importlib import resources

import numpy as np
import pytest
from page.test_app import get, json_of

from dashboards.boards import DASHBOARDS
from dashboards.web.app import OWN_PARAMETERS
from dashboards.web.compact import compact, shortened
from features.schema import DAY_MS

DAYS, SEGMENTS = 181, 12
SENT_MAX = 20_000
"""Bytes of the most detailed chart, a figure for each day and segment of half a year."""
STATIC = resources.files("dashboards.web") / "static"


def test_figures_are_sent_as_columns_of_every_part():
    rows = [[1, "a", 2.0], [2, "a", None]]
    panel = {"hits": 2, "rows": rows, "partial": [2], "compare": {"rows": [[1, "a", 0.25]], "own_keys": {"1": 0}},
             "layer": {"rows": [], "as_of": 3}}  # fmt: skip
    wrong = {"problem": "x", "remedy": "y"}
    assert compact({"id": "b", "panels": {"p": panel, "q": wrong}}) == {
        "id": "b",
        "panels": {
            "p": {"hits": 2, "partial": [2], "columns": [[1, 2], ["a", "a"], [2, None]],
                  "compare": {"columns": [[1], ["a"], [0.25]], "own_keys": {"1": 0}},
                  "layer": {"columns": [], "as_of": 3}},
            "q": wrong,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (344.621976750185, 344.621977),
        (0.00012345678912, 0.000123456789),
        (123_456_789.125, 123_456_789.125),
        (987_654_321_012.34, 987_654_321_012.34),
        (-0.123456789123, -0.123456789),
        (2.0, 2),
        (0.0, 0),
        (True, True),
        (None, None),
        ("0.1234567891234", "0.1234567891234"),
        (1_779_228_000_000, 1_779_228_000_000),
    ],
)
def test_figure_keeps_nine_digits_and_every_cent(value, sent):
    assert (shortened(value), type(shortened(value))) == (sent, type(sent))


def test_figures_by_day_and_segment_are_small():
    numbers = iter(np.random.default_rng(7).random(DAYS * SEGMENTS).tolist())
    rows = [
        [1_779_228_000_000 + day * DAY_MS, f"Segment {n}", next(numbers) * 700]
        for n in range(SEGMENTS)
        for day in range(DAYS)
    ]
    sent = json.dumps(compact({"panels": {"p": {"rows": rows}}}), separators=(",", ":")).encode()
    assert len(gzip.compress(sent)) < SENT_MAX


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"view": "revenue"},
        {"view": "churn", "table": "churn-trend", "hide": "churn-trend~x", "compare": "previous", "segment": "A&b c"},
        {"view": "funnel", "country": ["C00", "C01"], "from": "2026-05-01", "to": "2026-05-10", "segment": "s"},
    ],
    ids=["first", "board", "odd characters", "filters"],
)
def test_first_figures_are_requested_once_and_before_the_scripts_run(reader, parameters):
    reader.open(**parameters, refresh="0")
    requests = reader.js("return performance.getEntriesByType('resource').map((one) => [one.name, one.startTime])")
    boards = [start for name, start in requests if "/api/board?" in name]
    assert len(boards) == 1
    assert len([name for name, _ in requests if name.endswith("/api/declaration")]) == 1
    if parameters.get("segment") != "A&b c":
        assert boards[0] < reader.js("return performance.getEntriesByType('navigation')[0].domInteractive")


def test_page_names_the_first_request_only_where_the_script_has_the_same_address(served):
    def link(path):
        return get(served, path)[1].get("link")

    assert link("/?view=revenue&hide=a&last=7d") == "<api/board?last=7d&id=revenue>; rel=preload; as=fetch; crossorigin"
    assert link("/") == "<api/board?id=>; rel=preload; as=fetch; crossorigin"
    for other in ("/?view=customers", "/?view=none", "/?view=now&country=%3E%3B", "/?view=now&id=x"):
        assert link(other) is None


def test_request_without_a_name_is_for_the_first_dashboard(served):
    assert json_of(served, "board")[1]["id"] == DASHBOARDS[0].id


def test_own_parameters_of_the_page_are_those_of_its_script():
    (listed,) = re.findall(r"OWN = \[(.*?)\]", (STATIC / "address.js").read_text("utf-8"))
    assert frozenset(json.loads(f"[{listed}]")) == OWN_PARAMETERS


def test_every_script_of_a_dashboard_is_loaded_at_once():
    page = (STATIC / "index.html").read_text("utf-8")
    loaded = set(re.findall(r'modulepreload" href="static/(\w+\.js)"', page))
    found, open_ = set(), {"page.js"}
    while open_:
        name = open_.pop()
        found.add(name)
        script = (STATIC / name).read_text("utf-8")
        open_ |= set(re.findall(r'^import .*? from "\./(\w+\.js)"', script, re.MULTILINE)) - found
    assert loaded == found - {"page.js"}
