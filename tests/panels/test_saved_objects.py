"""The file for Kibana against what Kibana's own files hold."""

from __future__ import annotations

import copy
import json
import re

import pytest
from panels import published
from panels.lens_reader import parsed

from dashboards.boards import DASHBOARDS
from dashboards.checks import unresolved
from dashboards.kibana.saved_objects import FILE, ndjson, saved_objects

CONTENT = ndjson(DASHBOARDS)
OBJECTS = parsed(CONTENT)
VIEWS = [one for (kind, _), one in OBJECTS.items() if kind == "index-pattern"]
BOARDS = [one for (kind, _), one in OBJECTS.items() if kind == "dashboard"]


def keys(document, needed, also=frozenset()):
    assert needed <= document.keys(), f"lacks {needed - document.keys()}"
    assert document.keys() <= needed | also, f"does not know {document.keys() - needed - also}"


def panels(board):
    return json.loads(board["attributes"]["panelsJSON"])


LENS = [
    pytest.param(board, panel, id=panel["panelIndex"])
    for board in BOARDS
    for panel in panels(board)
    if panel["type"] == "lens"
]


def test_committed_file_equals_the_built_declaration():
    assert FILE.read_text("utf-8") == CONTENT, "run `make dashboards`"


def test_data_views_are_first_and_ids_are_stable():
    kinds = [json.loads(line)["type"] for line in CONTENT.splitlines()]
    assert kinds == sorted(kinds, key=["index-pattern", "dashboard"].index)
    assert ndjson(DASHBOARDS) == CONTENT
    assert {one["id"] for one in BOARDS} >= {"shop-now", "shop-revenue", "shop-funnel", "shop-churn", "shop-retention"}


@pytest.mark.parametrize("one", OBJECTS.values(), ids=lambda one: one["id"])
def test_objects_have_the_shape_of_a_kibana_export(one):
    keys(one, published.OBJECT)
    assert one["typeMigrationVersion"] in published.VERSIONS[one["type"]]
    assert one["coreMigrationVersion"] == published.CORE_VERSION
    assert "null" not in re.findall(r"[a-z]+", re.sub(r'"(?:\\.|[^"\\])*"', "", json.dumps(one)))
    for reference in one["references"]:
        keys(reference, published.REFERENCE)
    assert len({reference["name"] for reference in one["references"]}) == len(one["references"])


@pytest.mark.parametrize("view", VIEWS, ids=lambda one: one["id"])
def test_data_view_has_the_published_shape(view):
    keys(view["attributes"], *published.DATA_VIEW)
    assert view["references"] == []
    for name, form in json.loads(view["attributes"]["fieldFormatMap"]).items():
        assert form["params"].keys() == published.FIELD_FORMATS[form["id"]], name


@pytest.mark.parametrize("board", BOARDS, ids=lambda one: one["id"])
def test_dashboard_has_the_published_shape(board):
    attributes = board["attributes"]
    keys(attributes, *published.DASHBOARD)
    assert json.loads(attributes["optionsJSON"]).keys() == published.OPTIONS
    assert json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"]) == {
        "query": {"query": "", "language": "kuery"}, "filter": [],
    }  # fmt: skip
    assert attributes["timeRestore"] is True
    assert attributes["refreshInterval"]["pause"] is False
    assert re.fullmatch(r"now-\d+d", attributes["timeFrom"])
    grid = []
    for panel in panels(board):
        keys(panel, published.PANEL)
        keys(panel["gridData"], published.GRID)
        keys(panel["embeddableConfig"], *published.EMBEDDED)
        assert panel["gridData"]["i"] == panel["panelIndex"]
        area = panel["gridData"]
        cells = {
            (x, y) for x in range(area["x"], area["x"] + area["w"]) for y in range(area["y"], area["y"] + area["h"])
        }
        assert max(x for x, _ in cells) < 48
        assert not any(cells & other for other in grid)
        grid.append(cells)


@pytest.mark.parametrize("board", BOARDS, ids=lambda one: one["id"])
def test_references_cover_panels_controls_and_links(board):
    named = {reference["name"]: reference for reference in board["references"]}
    expected = set()
    for panel in panels(board):
        inner = panel["embeddableConfig"]["attributes"]
        names = [link["destinationRefName"] for link in inner["links"]] if panel["type"] == "links" else []
        for reference in inner.get("references", []):
            assert named[f"{panel['panelIndex']}:{reference['name']}"] == {
                **reference, "name": f"{panel['panelIndex']}:{reference['name']}",
            }  # fmt: skip
            names.append(reference["name"])
        expected |= {f"{panel['panelIndex']}:{name}" for name in names}
    for control in json.loads(board["attributes"]["controlGroupInput"]["panelsJSON"]):
        expected.add(f"controlGroup_{control}:optionsListDataView")
    assert expected == named.keys()
    assert all((reference["type"], reference["id"]) in OBJECTS for reference in named.values())


@pytest.mark.parametrize("board", BOARDS, ids=lambda one: one["id"])
def test_controls_have_the_published_shape(board):
    group = board["attributes"]["controlGroupInput"]
    keys(group, published.CONTROL_GROUP)
    assert json.loads(group["ignoreParentSettingsJSON"]).keys() == published.IGNORED
    assert (group["controlStyle"], group["chainingSystem"]) == ("oneLine", "HIERARCHICAL")
    controls = json.loads(group["panelsJSON"])
    assert sorted(one["order"] for one in controls.values()) == list(range(len(controls)))
    for name, one in controls.items():
        keys(one, published.CONTROL)
        keys(one["explicitInput"], *published.CONTROL_INPUT)
        assert one["type"] == "optionsListControl"
        assert one["explicitInput"]["id"] == name


@pytest.mark.parametrize("board", BOARDS, ids=lambda one: one["id"])
def test_links_lead_to_every_dashboard(board):
    (links,) = (panel for panel in panels(board) if panel["type"] == "links")
    inner = links["embeddableConfig"]["attributes"]
    keys(inner, {"layout", "links"})
    for link in inner["links"]:
        keys(link, published.LINK)
        keys(link["options"], published.LINK_OPTIONS)
        assert link["destinationRefName"] == f"link_{link['id']}_dashboard"
    assert len(inner["links"]) == len(BOARDS)


def layers_of(panel):
    return panel["embeddableConfig"]["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]


def layer_of(panel):
    return layers_of(panel)["layer"]


@pytest.mark.parametrize(("board", "panel"), LENS)
def test_lens_columns_have_the_published_shape(board, panel):
    attributes = panel["embeddableConfig"]["attributes"]
    keys(attributes, published.LENS)
    keys(attributes["state"], published.STATE)
    names = [f"indexpattern-datasource-layer-{name}" for name in layers_of(panel)]
    assert [reference["name"] for reference in attributes["references"]] == names
    for layer in layers_of(panel).values():
        keys(layer, published.LAYER)
        columns = layer["columns"]
        assert sorted(layer["columnOrder"]) == sorted(columns)
        buckets = [columns[one]["isBucketed"] for one in layer["columnOrder"]]
        assert buckets == sorted(buckets, reverse=True), "buckets first"
        for column in columns.values():
            _check_column(column, columns)


def _check_column(column, columns):
    bucket, kinds, scale, also, params = published.COLUMNS[column["operationType"]]
    keys(column, published.COMMON | also, set() if bucket else {"filter", "timeShift"})
    assert (column["isBucketed"], column["scale"]) == (bucket, scale)
    assert column["dataType"] in kinds
    assert params <= column["params"].keys()
    if "format" in column["params"]:
        assert column["params"]["format"]["id"] in published.FORMATS
    if column["operationType"] == "date_histogram":
        assert column["params"]["interval"] in published.INTERVALS
    if column["operationType"] == "terms":
        ordered = column["params"]["orderBy"]
        if ordered["type"] == "column":
            by = columns[ordered["columnId"]]
            assert not by["isBucketed"]
            assert by["operationType"] not in ("formula", "math", "percentile", "median")
        else:
            assert ordered == {"type": "alphabetical", "fallback": False}


@pytest.mark.parametrize(("board", "panel"), LENS)
def test_formulas_are_stored_expanded(board, panel):
    for layer in layers_of(panel).values():
        _check_formulas(layer["columns"])


def _check_formulas(columns):
    inner = {one for column in columns.values() for one in column.get("references", [])}
    for name, column in columns.items():
        if column["operationType"] == "formula":
            (math,) = column["references"]
            assert columns[math]["operationType"] == "math"
            assert math.startswith(f"{name}X")
            tree, text = columns[math]["params"]["tinymathAst"], column["params"]["formula"]
            assert tree["text"] == text
            assert _leaves(tree, text) == columns[math]["references"]
            # as many calls of functions as columns that stand for them
            called = re.findall(r"\b(?:count|sum|average|unique_count|min|max|median|percentile)\(", text)
            assert [call[:-1] for call in called] == [
                columns[one]["operationType"] for one in columns[math]["references"]
            ]
            filters = [columns[one].get("filter", {}).get("query") for one in columns[math]["references"]]
            assert re.findall(r"kql='((?:\\'|[^'])*)'", text) == [one.replace("'", "\\'") for one in filters if one]
        elif column["operationType"] == "math":
            assert name in inner


def _leaves(tree, text):
    assert tree["type"] == "function"
    assert tree["name"] in published.MATH
    assert text[tree["location"]["min"] : tree["location"]["max"]] == tree["text"]
    entries = []
    for argument in tree["args"]:
        entries += (
            _leaves(argument, text) if isinstance(argument, dict) else [argument] if isinstance(argument, str) else []
        )
    return entries


@pytest.mark.parametrize(("board", "panel"), LENS)
def test_visualisations_use_declared_columns(board, panel):
    attributes = panel["embeddableConfig"]["attributes"]
    picture, kind = attributes["state"]["visualization"], attributes["visualizationType"]
    layers = layers_of(panel)
    assert published.PICTURES[kind] <= picture.keys()
    shown = [picture.get(key) for key in ("metricAccessor", "xAccessor", "yAccessor", "valueAccessor")]
    shown += [column["columnId"] for column in picture.get("columns", [])]
    shown.append(picture.get("sorting", {}).get("columnId"))
    for one in picture.get("layers", []):
        reference = one["layerType"] == "referenceLine"
        keys(one, *(published.REFERENCE_LAYER if reference else published.XY_LAYER))
        assert reference or one["seriesType"] in published.SERIES
        names = {*one["accessors"], one.get("xAccessor"), one.get("splitAccessor")} - {None}
        assert names <= layers[one["layerId"]]["columns"].keys()
        assert {part["forAccessor"] for part in one.get("yConfig", [])} <= set(one["accessors"])
        shown += names
    if kind == "lnsXY":
        assert [one["layerId"] for one in picture["layers"]] == list(layers)
    else:
        assert picture["layerId"] in layers
    shown = {one for one in shown if one is not None}
    columns = {name: column for layer in layers.values() for name, column in layer["columns"].items()}
    assert sum(len(layer["columns"]) for layer in layers.values()) == len(columns), "ids are unique in a panel"
    helpers = {one for column in columns.values() for one in column.get("references", [])}
    assert shown == columns.keys() - helpers, "what is computed is shown"


def test_objects_need_no_script_and_no_optional_query_language():
    for word in ("painless", "scripted", '"esql"', "last_value", 'runtimeFieldMap": "{\\"', "time_scale", "vega"):
        assert word not in CONTENT


def test_panel_that_ignores_filters_has_its_own_conditions_in_its_columns():
    for board in BOARDS:
        for panel in panels(board):
            if panel["type"] == "lens" and layer_of(panel)["ignoreGlobalFilters"]:
                assert panel["embeddableConfig"]["attributes"]["state"]["query"]["query"] == ""
    (forecast,) = (p for b in BOARDS for p in panels(b) if p["panelIndex"] == "revenue-forecast")
    assert layers_of(forecast)["overlay"]["columns"]["f0"]["filter"]["query"] == 'level : "total"'
    assert forecast["embeddableConfig"]["timeRange"] == {"from": "now-90d", "to": "now+60d"}


def test_only_panels_of_the_whole_shop_ignore_filters():
    whole = {panel.id for dashboard in DASHBOARDS for panel in dashboard.panels if panel.whole_shop}
    ignoring = {
        panel["panelIndex"]
        for board in BOARDS
        for panel in panels(board)
        if panel["type"] == "lens" and layer_of(panel)["ignoreGlobalFilters"]
    }
    assert ignoring == whole != set()


def test_time_chart_is_split_by_value_before_time_buckets():
    (clicks,) = (panel for board in BOARDS for panel in panels(board) if panel["panelIndex"] == "now-clicks")
    layer = layer_of(clicks)
    operations = [layer["columns"][name]["operationType"] for name in layer["columnOrder"]]
    assert operations == ["terms", "date_histogram", "count"]


def test_objects_of_another_run_have_other_ids():
    other = saved_objects(DASHBOARDS, "fixed")
    assert unresolved(other) == []
    assert not {(one["type"], one["id"]) for one in other} & OBJECTS.keys()
    assert {one["attributes"]["title"] for one in other if one["type"] == "index-pattern"} >= {"fixed-orders"}


def test_dangling_references_and_duplicate_ids_are_reported():
    objects = copy.deepcopy(saved_objects(DASHBOARDS))
    assert unresolved(objects) == []
    lost = objects.pop(0)
    assert any(lost["id"] in error for error in unresolved(objects))
    objects.append(objects[0])
    assert f"{objects[0]['type']} {objects[0]['id']} appears twice" in unresolved(objects)
