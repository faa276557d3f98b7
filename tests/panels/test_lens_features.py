"""Each feature of the declaration in the file for Kibana: its structure, and its figures over plain documents."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from importlib import resources

import pytest
from panels.documents import DAY, NOW
from panels.lens_reader import compute, layer_of

from connectors.formats.money_format import money_format
from dashboards.boards.data import COHORTS, CUSTOMERS, FORECAST, ORDERS, PIPELINE, SESSIONS, SOLD, country
from dashboards.conditions import Ago, Is
from dashboards.kibana.saved_objects import saved_objects
from dashboards.panels import (
    Dashboard,
    Layer,
    Measure,
    Panel,
    Position,
    Ratio,
    ReferenceLine,
    Terms,
    Time,
    Window,
)

EURO = money_format("EUR", None)
SPAN = (NOW - 30 * DAY, NOW)
PLACE = Position(0, 0, 24, 12)
VISITS = Measure("Visits", "count")
BOUGHT = Measure("Bought", "count", where=(Is("stage", ("purchase",)),))
REVENUE = Measure("Revenue", "sum", "total", SOLD, "money")
DAYS = Time("Day", "start_ts", "day")


def panel_of(**changes):
    return replace(Panel("p", "Visits", "", SESSIONS, "bar", PLACE, (VISITS,), (DAYS,)), **changes)


def saved(panel, money=EURO, **board):
    """Saved objects of a dashboard with one panel: (type, id) to the object."""
    objects = saved_objects([Dashboard("b", "B", "What?", (panel,), **board)], money=money)
    return {(one["type"], one["id"]): one for one in objects}


def config_of(panel, **board):
    """`embeddableConfig` of a panel."""
    (result,) = (one for one in panels_of(saved(panel, **board)) if one["panelIndex"] == panel.id)
    return result["embeddableConfig"]


def panels_of(objects):
    return json.loads(objects["dashboard", "shop-b"]["attributes"]["panelsJSON"])


def rows_of(panel, made, layer="layer", span=SPAN):
    time_field = (panel.layer.data if layer == "overlay" else panel.data).time_field
    index = (panel.layer.data if layer == "overlay" else panel.data).index
    return compute(config_of(panel), made[index], time_field, span, "1d", layer=layer)


def in_span(documents, field="start_ts"):
    return [d for d in documents if SPAN[0] <= (d[field] or 0) < SPAN[1]]


# --- further values ---


@pytest.mark.parametrize(("size", "has_missing"), [(2, True), (3, False)])
def test_bars_with_further_and_missing_values_add_up_to_all_documents(size, has_missing, made):
    documents = [{**d, "device": None if n % 3 else d["device"]} for n, d in enumerate(made["sessions"])]
    split = Terms("Device", "device", size, by="Visits", other=True)
    panel = panel_of(dimensions=(split,))
    params = layer_of(config_of(panel))["columns"]["d0"]["params"]
    assert (params["otherBucket"], params["missingBucket"]) == (True, True)
    rows = rows_of(panel, {"sessions": documents})
    counts = Counter(d["device"] or "(none)" for d in in_span(documents))
    assert {row["d0"] for row in rows} == {*(key for key, _ in counts.most_common(size)), "(other)"}
    assert sum(row["m0"] for row in rows) == counts.total()
    assert [row["d0"] for row in rows if row["d0"] == "(none)"] == ["(none)"]
    assert has_missing or len(rows) == size + 1


def test_without_further_values_documents_without_a_value_are_in_no_bar(made):
    documents = [{**d, "device": None if n % 3 else d["device"]} for n, d in enumerate(made["sessions"])]
    rows = rows_of(panel_of(dimensions=(Terms("Device", "device", 9, by="Visits"),)), {"sessions": documents})
    assert sum(row["m0"] for row in rows) == sum(d["device"] is not None for d in in_span(documents))


def test_top_values_over_the_indices_of_several_months_are_ranked_accurately():
    def params(data, by):
        terms = Terms("Country", "country", 5, by=by)
        panel = panel_of(data=data, dimensions=(terms,), chart="bar_horizontal")
        return layer_of(config_of(panel))["columns"]["d0"]["params"]

    assert params(ORDERS, "Visits")["accuracyMode"] is True
    assert "accuracyMode" not in params(ORDERS, "")
    assert "accuracyMode" not in params(SESSIONS, "Visits")


# --- figures below zero ---


def test_a_figure_below_zero_is_a_negated_formula(made):
    lost = replace(BOUGHT, below=True)
    panel = panel_of(measures=(VISITS, lost), chart="bar_stacked")
    columns = layer_of(config_of(panel))["columns"]
    assert columns["m1"]["params"]["formula"] == "0 - count(kql='stage : \"purchase\"')"
    assert columns["m1X1"]["params"]["tinymathAst"]["args"] == [0, "m1X0"]
    rows = rows_of(panel, made)
    assert sum(row["m1"] for row in rows) == -sum(d["stage"] == "purchase" for d in in_span(made["sessions"])) < 0


@pytest.mark.parametrize("figures", [(replace(VISITS, below=True),), (VISITS, replace(BOUGHT, line=True))])
def test_values_cannot_be_ranked_by_a_formula_or_a_figure_of_another_layer(figures):
    ranked = panel_of(measures=figures, dimensions=(Terms("Device", "device", by="Visits"),))
    with pytest.raises(ValueError, match="cannot rank device by Visits"):
        saved(ranked)


# --- lines over bars ---


def test_a_line_over_bars_is_a_layer_of_its_own_with_the_same_axis(made):
    panel = panel_of(measures=(VISITS, replace(BOUGHT, line=True), BOUGHT_SHARE))
    picture = config_of(panel)["attributes"]["state"]["visualization"]
    bars, line = picture["layers"]
    assert (bars["seriesType"], bars["accessors"]) == ("bar", ["m0", "m2"])
    assert (line["seriesType"], line["accessors"], line["layerId"]) == ("line", ["m1"], "line")
    assert picture["legend"]["isVisible"] is True
    colours = [part["color"] for one in picture["layers"] for part in one["yConfig"]]
    assert len(set(colours)) == 3
    rows = rows_of(panel, made, "line")
    assert {row["d0line"] for row in rows} == {row["d0"] for row in rows_of(panel, made)}
    assert sum(row["m1"] for row in rows) == sum(d["stage"] == "purchase" for d in in_span(made["sessions"]))


BOUGHT_SHARE = Ratio("Share", BOUGHT, VISITS)


# --- other documents on the same axis ---

FORECAST_OVER_ORDERS = Panel(
    "p", "Revenue", "", ORDERS, "bar", PLACE, (REVENUE,), (Time("Day", "ts", "day"),),
    where=(Is("country", ("DE",)),), window=Window(30, 30), whole_shop=True,
    layer=Layer(
        FORECAST, Time("Day", "ts", "day"), (Measure("Forecast", "max", "forecast", unit="money"),),
        where=(Is("level", ("total",)),),
    ),
)  # fmt: skip


def test_a_layer_of_other_documents_has_its_own_data_view_and_conditions(made):
    panel = FORECAST_OVER_ORDERS
    attributes = config_of(panel)["attributes"]
    assert [(one["name"].rsplit("-", 1)[1], one["id"]) for one in attributes["references"]] == [
        ("layer", "shop-orders"), ("overlay", "shop-forecast"),
    ]  # fmt: skip
    names = {one["name"] for one in saved(panel)["dashboard", "shop-b"]["references"]}
    assert names >= {"p:indexpattern-datasource-layer-layer", "p:indexpattern-datasource-layer-overlay"}
    assert attributes["state"]["query"]["query"] == ""
    start, end = NOW - 30 * DAY, NOW + 30 * DAY
    rows = rows_of(panel, made, "overlay")
    forecasts = [d["forecast"] or 0 for d in made["forecast"] if d["level"] == "total" and start <= d["ts"] < end]
    assert max(row["f0"] or 0 for row in rows) == max(forecasts) > 0
    german = [d for d in in_span(made["orders"], "ts") if d["country"] == "DE" and d["status"] == "placed"]
    assert sum(row["m0"] for row in rows_of(panel, made)) == pytest.approx(sum(d["total"] or 0 for d in german))
    assert german


def test_a_layer_does_not_take_over_the_conditions_of_the_panel(made):
    shown = replace(FORECAST_OVER_ORDERS, whole_shop=False)
    assert config_of(shown)["attributes"]["state"]["query"]["query"] == ""
    assert rows_of(shown, made, "overlay") == rows_of(FORECAST_OVER_ORDERS, made, "overlay")
    assert rows_of(shown, made) == rows_of(FORECAST_OVER_ORDERS, made)


# --- fixed values ---


def test_fixed_values_are_reference_lines_with_their_labels():
    lines = (ReferenceLine("Watch", 0.1), ReferenceLine("Retrain", 0.25))
    config = config_of(panel_of(data=PIPELINE, dimensions=(Time("Time", "at"),), reference_lines=lines))
    picture = config["attributes"]["state"]["visualization"]["layers"][-1]
    columns = layer_of(config, "reference")["columns"]
    assert (picture["layerType"], picture["accessors"]) == ("referenceLine", ["r0", "r1"])
    assert [(one["label"], one["params"]["value"]) for one in columns.values()] == [
        ("Watch", "0.1"),
        ("Retrain", "0.25"),
    ]
    assert all(one["axisMode"] == "left" and one["textVisibility"] for one in picture["yConfig"])
    assert all(one["references"] == [] for one in columns.values())


# --- axes, ids, formats ---


def test_an_axis_by_another_field_than_the_time_of_the_data_view_is_not_cut_by_the_time_range(made):
    new = Measure("New", "sum", "revenue", unit="money")
    panel = panel_of(data=COHORTS, measures=(new,), dimensions=(Time("Month", "ts", "month"),))
    assert layer_of(config_of(panel))["columns"]["d0"]["params"]["ignoreTimeRange"] is True
    assert "ignoreTimeRange" not in layer_of(config_of(panel_of()))["columns"]["d0"]["params"]
    shown = sum(row["m0"] for row in rows_of(panel, made, span=(NOW - DAY, NOW)))
    assert shown == pytest.approx(sum(d["revenue"] or 0 for d in made["cohorts"]))


@pytest.mark.parametrize(("number", "first"), [(10, "m0"), (11, "m00")])
def test_no_id_of_a_figure_begins_with_that_of_another(number, first):
    figures = tuple(replace(VISITS, label=f"Visits {n}") for n in range(number))
    panel = panel_of(chart="table", measures=figures, dimensions=(Terms("Device", "device", by="Visits 1"),))
    columns = layer_of(config_of(panel))["columns"]
    ids = [name for name in columns if name.startswith("m")]
    assert ids[0] == first
    assert [(a, b) for a in ids for b in ids if a != b and b.startswith(a)] == []
    assert columns["d0"]["params"]["orderBy"]["columnId"] == ids[1]


def test_a_tile_has_one_title_and_no_colour():
    tile = panel_of(title="Abandoned carts", chart="metric", dimensions=(), definition="Carts that are left.")
    config = config_of(tile)
    picture = config["attributes"]["state"]["visualization"]
    assert layer_of(config)["columns"]["m0"]["label"] == "Abandoned carts"
    assert (picture["subtitle"], config["description"]) == ("Visits", "Carts that are left.")
    assert config["hidePanelTitles"] is True
    assert "color" not in picture
    assert "subtitle" not in config_of(replace(tile, title="Visits"))["attributes"]["state"]["visualization"]


def formats_of(objects, view):
    return json.loads(objects["index-pattern", view]["attributes"]["fieldFormatMap"])


def test_fields_of_data_views_have_patterns_and_the_currency_in_their_label():
    figures = (REVENUE, Measure("Bytes", "max", "memory_bytes", unit="bytes"))
    objects = saved(panel_of(data=ORDERS, measures=figures, dimensions=(Time("Day", "ts", "day"),)))
    formats = formats_of(objects, "shop-orders")
    assert formats["total"] == {"id": "number", "params": {"pattern": "0,0.00"}}
    assert formats["memory_bytes"] == {"id": "bytes", "params": {"pattern": "0,0.0b"}}
    attributes = objects["index-pattern", "shop-orders"]["attributes"]
    labels = json.loads(attributes["fieldAttrs"])
    assert {field: one["customLabel"] for field, one in labels.items()} == {
        "total": "Total (EUR)", "memory_bytes": "Memory bytes", "status": "Status",
    }  # fmt: skip
    yen = saved(panel_of(data=ORDERS, measures=(REVENUE,), dimensions=()), money=money_format("JPY", None))
    assert formats_of(yen, "shop-orders")["total"]["params"] == {"pattern": "0,0"}


def test_values_of_fields_are_shown_in_words():
    dimensions = (Terms("Action", "recommended_action"), Terms("Risk", "churn_risk"))
    objects = saved(panel_of(data=CUSTOMERS, chart="table", dimensions=dimensions), controls=(country(CUSTOMERS),))
    formats = formats_of(objects, "shop-customers")

    def words(field):
        return {one["key"]: one["value"] for one in formats[field]["params"]["lookupEntries"]}

    assert words("churn_risk") == {"low": "Low", "medium": "Medium", "high": "High", "critical": "Critical"}
    assert words("recommended_action")["personal_contact"] == "Personal contact"
    assert "country" not in formats
    labels = json.loads(objects["index-pattern", "shop-customers"]["attributes"]["fieldAttrs"])
    assert labels["churn_risk"] == {"customLabel": "Churn risk"}
    selected = formats_of(saved(panel_of(measures=(BOUGHT,))), "shop-sessions")["stage"]["params"]["lookupEntries"]
    assert {"key": "purchase", "value": "Order"} in selected
    trend = saved(panel_of(data=COHORTS, dimensions=(Terms("Country", "country"),)))
    entries = formats_of(trend, "shop-cohorts")["country"]["params"]["lookupEntries"]
    assert {"key": "(none)", "value": "Not set"} in entries
    assert all(one["key"] != "(other)" for one in entries)


# --- tiles over time ---

TILE = panel_of(chart="metric", dimensions=(), measures=(BOUGHT_SHARE,))


def test_a_tile_shows_its_change_since_the_previous_period_and_a_small_chart(made):
    picture = config_of(TILE)["attributes"]["state"]["visualization"]
    assert picture["secondaryTrend"] == {
        "type": "dynamic", "visuals": "both", "paletteId": "complementary", "reversed": False,
        "baselineValue": "primary",
    }  # fmt: skip
    assert (picture["trendlineLayerId"], picture["trendlineLayerType"]) == ("trend", "metricTrendline")
    assert layer_of(config_of(TILE), "trend")["linkToLayers"] == ["layer"]
    columns = layer_of(config_of(TILE))["columns"]
    assert columns["p0"]["params"]["formula"] == (
        "count(kql='stage : \"purchase\"', shift='previous') / count(shift='previous')"
    )
    (row,) = rows_of(TILE, made)
    earlier = [d for d in made["sessions"] if 2 * SPAN[0] - SPAN[1] <= (d["start_ts"] or 0) < SPAN[0]]
    assert row["p0"] == pytest.approx(sum(d["stage"] == "purchase" for d in earlier) / len(earlier))
    assert row["p0"] != row["m0"]


def test_days_of_the_small_chart_add_up_to_the_tile(made):
    tile = replace(TILE, measures=(VISITS,))
    (row,) = rows_of(tile, made)
    assert sum(day["t0"] for day in rows_of(tile, made, "trend")) == row["m0"] > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"data": CUSTOMERS},
        {"window": Window(7)},
        {"measures": (Measure("Newest", "max", "start_ts", unit="time"),)},
        {"measures": (Measure("Recent", "count", where=(Ago("start_ts", after_ms=DAY),)),)},
        {"chart": "table", "dimensions": (DAYS,)},
    ],
)
def test_a_figure_without_a_previous_period_has_no_comparison(changes):
    config = config_of(replace(TILE, **changes))
    assert "secondaryMetricAccessor" not in config["attributes"]["state"]["visualization"]
    assert list(config["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]) == ["layer"]


def test_thresholds_of_a_tile_colour_its_figure():
    lines = (ReferenceLine("Watch", 0.1), ReferenceLine("Retrain", 0.25))
    picture = config_of(replace(TILE, reference_lines=lines))["attributes"]["state"]["visualization"]
    params = picture["palette"]["params"]
    assert picture["applyColorTo"] == "value"
    assert [one["stop"] for one in params["colorStops"]] == [0, 0.1, 0.25]
    assert [one["stop"] for one in params["stops"]][:2] == [0.1, 0.25]
    assert len({one["color"] for one in params["stops"]}) == 3


# --- colours, drill-downs, links to the page ---


def test_bands_of_risk_have_the_colours_of_the_page():
    split = (Terms("Segment", "segment", by="Visits"), Terms("Risk", "churn_risk", by="Visits"))
    (drawn,) = picture_layers(panel_of(data=CUSTOMERS, chart="bar_stacked", dimensions=split))
    colours = {one["rules"][0]["value"]: one["color"]["colorCode"] for one in drawn["colorMapping"]["assignments"]}
    style = (resources.files("dashboards") / "web" / "static" / "page.css").read_text("utf-8")
    assert list(colours) == ["low", "medium", "high", "critical"]
    assert all(f"--churn_risk-{risk}: {colour};" in style for risk, colour in colours.items())
    assert "palette" not in drawn


def picture_layers(panel):
    return config_of(panel)["attributes"]["state"]["visualization"]["layers"]


def test_states_of_orders_have_fixed_colours_and_other_splits_a_palette():
    axis = Time("Week", "ts", "week")
    (drawn,) = picture_layers(panel_of(data=ORDERS, dimensions=(axis, Terms("Status", "status", by="Visits"))))
    values = [one["rules"] for one in drawn["colorMapping"]["assignments"]]
    assert values[0] == [{"type": "raw", "value": "placed"}]
    (drawn,) = picture_layers(panel_of(data=ORDERS, dimensions=(axis, Terms("Country", "country", by="Visits"))))
    assert "colorMapping" not in drawn
    assert drawn["palette"]["name"] == "default"


def test_values_of_a_panel_with_one_layer_of_documents_lead_to_discover():
    by_device = (Terms("Device", "device", by="Visits"),)
    (event,) = config_of(panel_of(dimensions=by_device))["enhancements"]["dynamicActions"]["events"]
    assert event["action"]["factoryId"] == "OPEN_IN_DISCOVER_DRILLDOWN"
    assert event["triggers"] == ["FILTER_TRIGGER"]
    goal = (ReferenceLine("Goal", 5),)
    assert config_of(panel_of(dimensions=by_device, reference_lines=goal))["enhancements"] != {}
    stages = (Terms("Device", "device"),)
    assert config_of(panel_of(dimensions=stages, measures=(VISITS, replace(BOUGHT, line=True))))["enhancements"] == {}
    assert config_of(panel_of())["enhancements"] == {}


def test_customers_link_to_the_page_only_if_there_is_one():
    figure = Measure("Customers", "unique", "customer_id")
    board = Dashboard("b", "B", "What?", (panel_of(measures=(figure,)),))
    views = {one["id"]: one for one in saved_objects([board], page="https://shop.example/page/")}
    formats = formats_of({("index-pattern", "shop-sessions"): views["shop-sessions"]}, "shop-sessions")
    assert formats["customer_id"]["params"]["urlTemplate"] == ("https://shop.example/page/?view=customer&id={{value}}")
    assert "customer_id" not in formats_of(saved(panel_of(measures=(figure,))), "shop-sessions")
