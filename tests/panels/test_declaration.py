"""The declaration itself, and that each thing that can be wrong with one is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboards.boards import DASHBOARDS
from dashboards.boards.data import CUSTOMERS, FORECAST, ORDERS, SESSIONS, country
from dashboards.conditions import Ago, AtLeast, AtMost, Exists, Is, Not
from dashboards.panels import Dashboard, Data, Layer, Measure, Panel, Position, Ratio, ReferenceLine, Steps, Terms, Time
from dashboards.validation import faults
from features.workspace import WORKSPACE_FIELDS
from shopstream.jobs.check_dashboards import declaration_faults, declared_kinds

KINDS = declared_kinds()
COUNT = Measure("Sessions", "count")
GOOD = Panel("a", "A", "How many?", SESSIONS, "bar", Position(0, 0, 12, 6), (COUNT,), (Terms("Device", "device", 3),))

MEAN = Measure("Mean", "avg", "events", unit="number")
LOST = Measure("Lost", "sum", "events", below=True)
SALES = Measure("Sales", "sum", "revenue", unit="money")
DAY = Time("Day", "ts", "day")
STARTS = (Time("Day", "start_ts", "day"),)
SPLIT = (Time("T", "start_ts"), Terms("X", "device"))


def errors_of(*panels, **changes):
    board = Dashboard("b", "B", "What?", panels, **changes)
    return faults([board], KINDS)


def test_declaration_is_valid():
    assert declaration_faults("shop") == []


def test_every_panel_of_the_dashboards_is_declared():
    assert [one.id for one in DASHBOARDS] == ["now", "revenue", "funnel", "churn", "products", "retention", "pipeline"]
    assert all(len(one.panels) >= 8 for one in DASHBOARDS)
    panels = [panel for one in DASHBOARDS for panel in one.panels]
    shown = {panel.data.index for panel in panels} | {panel.layer.data.index for panel in panels if panel.layer}
    assert shown == KINDS.keys() - WORKSPACE_FIELDS.keys()


def test_valid_panel_has_no_errors():
    assert errors_of(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": Data("carts", None, "")}, "no index carts"),
        ({"dimensions": (Terms("X", "colour"),)}, "no field colour"),
        ({"dimensions": (Terms("X", "duration_s"),)}, "terms does not fit duration_s, a float"),
        ({"dimensions": (Terms("X", "device", numeric=True),)}, "numeric is True of device"),
        ({"dimensions": (Terms("X", "events", numeric=False),)}, "numeric is False of events"),
        ({"dimensions": (Time("X", "device"),)}, "time does not fit device"),
        ({"dimensions": ()}, "a bar has 1 to 2 dimensions"),
        ({"chart": "metric"}, "a metric has 0 to 0 dimensions"),
        ({"chart": "heatmap"}, "a heatmap has 2 to 2 dimensions"),
        ({"measures": ()}, "1 to 8 measures"),
        ({"measures": (Measure("M", "sum", "device"),)}, "sum does not fit device"),
        ({"measures": (Measure("M", "sum", "device_s"),)}, "no field device_s"),
        ({"measures": (Measure("M", "count", "device"),)}, "only a count has no field"),
        ({"measures": (Measure("M", "sum"),)}, "only a count has no field"),
        ({"measures": (Measure("M", "max", "last_ts"),)}, "the unit count does not fit last_ts"),
        ({"measures": (Measure("M", "max", "events", unit="time"),)}, "the unit time does not fit"),
        ({"measures": (Measure("M", "percentile", "events", percent=100),)}, "100 is not a percentile"),
        ({"measures": (COUNT, COUNT)}, "labels appear twice"),
        ({"measures": (Measure("Device", "count"),)}, "labels appear twice"),
        ({"dimensions": (Terms("X", "device", by="Orders"),)}, "cannot be ranked by 'Orders'"),
        ({"measures": (Ratio("R", COUNT, COUNT),), "dimensions": (Terms("X", "device", by="R"),)}, "cannot be ranked"),
        ({"measures": (COUNT, Measure("M", "sum", "events")), "dimensions": SPLIT}, "has one measure"),
        ({"where": (Is("colour", ("red",)),)}, "no field colour"),
        ({"where": (Is("converted", ("true",)),)}, "converted, a bool, is compared with"),
        ({"where": (Is("device", ()),)}, "is compared with ()"),
        ({"where": (AtLeast("device", 3),)}, "device, a string, is compared with a number"),
        ({"where": (Ago("events", 5),)}, "events, a int, is used as a time"),
        ({"dimensions": (Steps("X", (("one", (Exists("colour"),)),)),)}, "no field colour"),
        ({"measures": (Measure("M", "count", where=(Exists("colour"),)),)}, "no field colour"),
        ({"dimensions": (Terms("X", "device", 2000), Terms("Y", "country", 2000))}, "at most 10,000"),
        ({"position": Position(40, 0, 12, 6)}, "is outside the grid"),
        ({"sort": ("Orders", True)}, "sorted by Orders, which is not a column"),
        ({"definition": "How many"}, "the definition must be a sentence"),
        ({"whole_shop": True}, "whole_shop is True"),
        ({"where": (AtMost("device", 3),)}, "device, a string, is compared with a number"),
        ({"where": (Not(AtMost("device", 3)),)}, "device, a string, is compared with a number"),
        ({"where": (Not(Exists("colour")),)}, "no field colour"),
        ({"dimensions": (Terms("X", "device", other=True),)}, "further values of device need a rank"),
        ({"dimensions": (Terms("X", "events", by="Sessions", other=True, numeric=True),)}, "one text in each document"),
        (
            {"measures": (COUNT, MEAN), "dimensions": (Terms("X", "device", by="Sessions", other=True),)},
            "Mean: a bucket of further values has no avg",
        ),
        (
            {
                "measures": (COUNT, Measure("M", "unique", "customer_id")),
                "dimensions": (Terms("X", "device", by="Sessions", other=True),),
            },
            "M: a bucket of further values has no unique",
        ),
        (
            {"dimensions": tuple(Terms(x, x, by="Sessions", other=True) for x in ("device", "country"))},
            "only one dimension has a bucket",
        ),
        ({"reference_lines": (ReferenceLine("x", 1),), "chart": "table"}, "a table has no reference lines"),
        ({"dimensions": (Steps("X", (("one", ()),), ("text",), "Hint"),)}, "Hint: a table has one text for each"),
        ({"dimensions": (Steps("X", (("one", ()),), ("a", "b"), "Hint"),), "chart": "table"}, "Hint: a table has one"),
        ({"measures": (LOST,), "chart": "line"}, "Lost: only bars have figures below zero"),
        ({"measures": (replace(COUNT, line=True),), "chart": "table"}, "Sessions: only bars have"),
        ({"measures": (Ratio("R", LOST, COUNT),)}, "R: only a figure of its own is below zero"),
        ({"measures": (LOST,), "dimensions": (Terms("X", "device", by="Lost"),)}, "cannot be ranked by 'Lost'"),
        ({"layer": Layer(FORECAST, DAY, (SALES,))}, "a layer needs a chart with one dimension"),
        ({"layer": Layer(FORECAST, replace(DAY, every="week"), (SALES,)), "dimensions": STARTS}, "the same intervals"),
        ({"layer": Layer(FORECAST, DAY, (SALES,), as_of=SALES), "dimensions": STARTS}, "a layer is as of a time"),
        ({"layer": Layer(FORECAST, DAY, (LOST,)), "dimensions": STARTS}, "forecast has no field events"),
        ({"layer": Layer(FORECAST, DAY, (SALES,), (Exists("x"),)), "dimensions": STARTS}, "forecast has no field x"),
        ({"layer": Layer(Data("carts", "ts", ""), DAY, (SALES,)), "dimensions": STARTS}, "there is no index carts"),
    ],
)  # fmt: skip
def test_an_invalid_panel_is_reported(changes, message):
    errors = errors_of(replace(GOOD, **changes))
    assert any(message in line for line in errors), errors
    assert all(line.startswith(("a: ", "b: ")) for line in errors)


def test_tile_may_have_thresholds_and_a_table_texts_of_its_steps():
    thresholds = replace(GOOD, chart="metric", dimensions=(), reference_lines=(ReferenceLine("x", 1),))
    assert errors_of(thresholds) == []
    assert errors_of(replace(GOOD, chart="table", dimensions=(Steps("X", (("one", ()),), ("text",), "Hint"),))) == []


def test_overlapping_panels_are_reported():
    neighbour = replace(GOOD, id="c", position=Position(12, 0, 12, 6))
    assert errors_of(GOOD, neighbour) == []
    assert errors_of(GOOD, replace(neighbour, position=Position(11, 5, 12, 6))) == ["b: c overlaps a"]


def test_duplicate_id_is_reported():
    assert "a: the id is used twice" in errors_of(GOOD, replace(GOOD, position=Position(12, 0, 12, 6)))


def test_filter_that_would_empty_a_panel_is_reported():
    sales = Panel(
        "s",
        "S",
        "How much?",
        FORECAST,
        "metric",
        Position(12, 0, 12, 6),
        (Measure("M", "sum", "revenue", unit="money"),),
    )
    errors = errors_of(GOOD, sales, controls=(country(ORDERS),))
    assert "b: s would be empty under the filter by country" in errors
    assert errors_of(GOOD, replace(sales, whole_shop=True), controls=(country(ORDERS),)) == []


def test_filter_that_a_layer_does_not_have_is_reported():
    sold = replace(GOOD, data=ORDERS, layer=Layer(FORECAST, DAY, (SALES,)), dimensions=(Time("Day", "ts", "day"),))
    assert any("lack ['country']" in line for line in errors_of(sold, controls=(country(ORDERS),)))
    assert errors_of(replace(sold, whole_shop=True), controls=(country(ORDERS),)) == []


def test_filter_by_an_unmapped_field_is_reported():
    assert any(
        "the filter by device of customers uses" in line
        for line in errors_of(GOOD, controls=(replace(country(CUSTOMERS), field="device"),))
    )
