"""The checker of the file for Kibana: each fault that it is for is reported, and nothing else."""

from __future__ import annotations

import copy
import json

import pytest
from panels.test_lens_features import (
    BOUGHT,
    BOUGHT_SHARE,
    CUSTOMERS,
    DAYS,
    FORECAST_OVER_ORDERS,
    PLACE,
    SESSIONS,
    VISITS,
    country,
    panel_of,
)

from dashboards.boards import DASHBOARDS
from dashboards.kibana.saved_objects import saved_objects
from dashboards.kibana.structure import structure_faults
from dashboards.panels import Dashboard, Position, ReferenceLine, Terms

SHAPES = Dashboard(
    "b", "B", "What?", controls=(country(SESSIONS),),
    panels=(
        panel_of(id="tile", chart="metric", dimensions=(), measures=(BOUGHT_SHARE,)),
        panel_of(id="bars", position=Position(24, 0, 24, 12), measures=(VISITS, BOUGHT_SHARE)),
        panel_of(
            id="split", data=CUSTOMERS, chart="bar_stacked", position=Position(0, 12, 24, 12),
            dimensions=(Terms("Segment", "segment", by="Visits", other=True), Terms("Risk", "churn_risk", by="Visits")),
        ),
        panel_of(id="lines", position=Position(24, 12, 24, 12), reference_lines=(ReferenceLine("Goal", 5),)),
        panel_of(id="list", chart="table", position=Position(0, 24, 24, 12), dimensions=(DAYS,), measures=(BOUGHT,)),
    ),
)  # fmt: skip
OBJECTS = saved_objects([SHAPES])


def board_of(objects):
    return next(one for one in objects if one["type"] == "dashboard")


def in_panel(name, change):
    """A change of the `embeddableConfig` of a panel."""

    def changed(objects):
        attributes = board_of(objects)["attributes"]
        panels = json.loads(attributes["panelsJSON"])
        change(next(panel for panel in panels if panel["panelIndex"] == name))
        attributes["panelsJSON"] = json.dumps(panels)

    return changed


def in_layer(name, change, layer="layer"):
    return in_panel(name, lambda panel: change(_state(panel)["datasourceStates"]["formBased"]["layers"][layer]))


def in_column(name, column, change, layer="layer"):
    return in_layer(name, lambda content: change(content["columns"][column]), layer)


def in_picture(name, change):
    return in_panel(name, lambda panel: change(_state(panel)["visualization"]))


def _state(panel):
    return panel["embeddableConfig"]["attributes"]["state"]


def on_board(change):
    return lambda objects: change(board_of(objects))


def no_rules(picture):
    picture["layers"][0]["colorMapping"]["assignments"][0]["rules"] = [{"type": "matchExactly", "values": ["low"]}]


def rename_part(layer):
    layer["columns"]["m1X2"]["references"] = ["m1X0"]


MUTATIONS = {
    "an unknown attribute": (on_board(lambda b: b["attributes"].update(colour="red")), "has the unknown colour"),
    "a missing attribute": (on_board(lambda b: b["attributes"].pop("timeFrom")), "lacks timeFrom"),
    "a null": (on_board(lambda b: b["attributes"].update(description=None)), "attributes.description is null"),
    "a null in a text": (in_picture("bars", lambda p: p.update(legend=None)), "is null"),
    "a newer version": (on_board(lambda b: b.update(typeMigrationVersion="10.4.0")), "10.4.0 is not one of"),
    "no version": (on_board(lambda b: b.pop("typeMigrationVersion")), "lacks typeMigrationVersion"),
    "an object twice": (lambda objects: objects.append(objects[0]), "appears 2 times"),
    "a dangling reference": (lambda objects: objects.pop(0), "there is no index-pattern shop-customers"),
    "a lost reference": (on_board(lambda b: b["references"].pop(1)), "there is no reference"),
    "an idle reference": (
        on_board(lambda b: b["references"].append({**b["references"][0], "name": "idle"})),
        "nothing uses the reference idle",
    ),
    "a figure before a bucket": (in_layer("bars", lambda c: c["columnOrder"].reverse()), "is a bucket after"),
    "a column that is not in order": (in_layer("bars", lambda c: c["columnOrder"].pop()), "does not list its columns"),
    "an unknown operation": (in_column("bars", "m0", lambda c: c.update(operationType="last_value")), "last_value"),
    "a formula that is not expanded": (in_column("bars", "m1", lambda c: c.update(references=[])), "not stored exp"),
    "a formula of another text": (
        in_column("bars", "m1", lambda c: c["params"].update(formula="count() / count()")),
        "its syntax tree is of another text",
    ),
    "a formula without a part": (in_layer("bars", rename_part), "its syntax tree uses ['m1X0', 'm1X1']"),
    "a formula whose condition is lost": (
        in_column("bars", "m1X0", lambda c: c.pop("filter")), "its conditions are not the filters of its columns"
    ),
    "a formula without a time shift": (
        in_column("tile", "p0X0", lambda c: c.pop("timeShift")), "its time shifts are not those of its columns"
    ),
    "an accessor without a column": (in_picture("tile", lambda p: p.update(metricAccessor="m7")), "uses m7 of layer"),
    "a column that nothing shows": (
        in_picture("list", lambda p: p["columns"].pop()), "column m0 of layer layer is computed and not shown"
    ),
    "values ranked by a bucket": (
        in_column("split", "d0", lambda c: c["params"]["orderBy"].update(columnId="d1")), "cannot be ranked by d1"
    ),
    "missing values without further ones": (
        in_column("split", "d0", lambda c: c["params"].update(otherBucket=False)), "needs that of further values"
    ),
    "colours by the older rules": (in_picture("split", no_rules), "are not raw values"),
    "a fixed value that is a number": (
        in_column("lines", "r0", lambda c: c["params"].update(value=5), "reference"), "is not a text with a number"
    ),
    "a small chart apart from its figure": (
        in_layer("tile", lambda c: c.pop("linkToLayers"), "trend"), "is not linked to that of the figure"
    ),
    "panels that overlap": (in_panel("bars", lambda p: p["gridData"].update(x=12)), "overlaps"),
    "a panel outside the grid": (in_panel("bars", lambda p: p["gridData"].update(w=30)), "outside the grid"),
    "a panel under another id": (in_panel("bars", lambda p: p["gridData"].update(i="x")), "has the id x"),
    "a drill-down of another licence": (
        in_panel("split", lambda p: _event(p)["action"].update(factoryId="URL_DRILLDOWN")), "URL_DRILLDOWN is unknown"
    ),
    "controls without a text": (
        on_board(lambda b: b["attributes"]["controlGroupInput"].update(ignoreParentSettingsJSON="no")),
        "not texts with JSON",
    ),
    "a numeral format with decimals": (
        lambda objects: objects[0]["attributes"].update(fieldFormatMap='{"x": {"id": "bytes", "params": {}}}'),
        "lacks pattern",
    ),
}  # fmt: skip


def _event(panel):
    return panel["embeddableConfig"]["enhancements"]["dynamicActions"]["events"][0]


def test_file_of_every_feature_has_no_fault():
    assert structure_faults(OBJECTS) == []
    layered = Dashboard("b", "B", "What?", (FORECAST_OVER_ORDERS,))
    assert structure_faults(saved_objects([layered])) == []
    assert structure_faults(saved_objects(DASHBOARDS, "other", page="http://localhost:8050")) == []
    assert SHAPES.panels[0].position == PLACE


@pytest.mark.parametrize("name", MUTATIONS)
def test_fault_in_the_structure_is_reported_with_its_object(name):
    change, message = MUTATIONS[name]
    objects = copy.deepcopy(OBJECTS)
    change(objects)
    faults = structure_faults(objects)
    assert any(message in fault for fault in faults), faults
    assert all(fault.startswith(("dashboard shop-b: ", "index-pattern shop-")) for fault in faults)
