"""The file for Kibana: its structure, and what holds for all of its dashboards."""

from __future__ import annotations

import json

from panels.lens_reader import parsed

from dashboards.boards import DASHBOARDS
from dashboards.kibana.saved_objects import FILE, ndjson, saved_objects
from dashboards.kibana.structure import structure_faults

CONTENT = ndjson(DASHBOARDS)
OBJECTS = parsed(CONTENT)
BOARDS = [one for (kind, _), one in OBJECTS.items() if kind == "dashboard"]


def panels(board):
    return json.loads(board["attributes"]["panelsJSON"])


def test_committed_file_equals_the_built_declaration():
    assert FILE.read_text("utf-8") == CONTENT, "run `make dashboards`"


def test_data_views_are_first_and_ids_are_stable():
    kinds = [json.loads(line)["type"] for line in CONTENT.splitlines()]
    assert kinds == sorted(kinds, key=["index-pattern", "tag", "dashboard"].index)
    assert ndjson(DASHBOARDS) == CONTENT
    assert {one["id"] for one in BOARDS} >= {"shop-now", "shop-revenue", "shop-funnel", "shop-churn", "shop-retention"}


def test_file_has_the_structure_that_kibana_reads():
    assert structure_faults(list(OBJECTS.values())) == []


def fields_of(board):
    controls = json.loads(board["attributes"]["controlGroupInput"]["panelsJSON"])
    return {one["explicitInput"]["fieldName"] for one in controls.values()}


def test_links_lead_to_every_dashboard_and_pass_filters_only_to_those_with_the_same_ones():
    by_id = {board["id"]: board for board in BOARDS}
    passed = []
    for board in BOARDS:
        (links,) = (panel for panel in panels(board) if panel["type"] == "links")
        inner = links["embeddableConfig"]["attributes"]["links"]
        assert [one["id"] for one in inner] == [one.id for one in DASHBOARDS]
        for link in inner:
            same = fields_of(by_id[f"shop-{link['id']}"]) == fields_of(board)
            assert link["options"]["useCurrentFilters"] is same
            passed.append(same)
    assert set(passed) == {True, False}


def test_every_dashboard_has_the_tag_of_the_shop():
    assert OBJECTS["tag", "shop-tag"]["attributes"]["name"] == "Shopstream"
    for board in BOARDS:
        assert {"type": "tag", "id": "shop-tag", "name": "tag-ref-shop-tag"} in board["references"]


def test_every_dashboard_ends_with_the_definitions_of_its_figures():
    for board, declared in zip(BOARDS, DASHBOARDS, strict=True):
        entry = panels(board)[-1]
        assert entry["gridData"]["y"] == max(p["gridData"]["y"] + p["gridData"]["h"] for p in panels(board)[:-1])
        text = entry["embeddableConfig"]["savedVis"]["params"]["markdown"].replace("\\", "")
        assert all(panel.definition in text and panel.note in text for panel in declared.panels)
        assert declared.summary in text


def test_panel_over_time_states_that_intervals_may_be_incomplete():
    remarks = {}
    for board, declared in zip(BOARDS, DASHBOARDS, strict=True):
        drawn = {one["panelIndex"]: one["embeddableConfig"] for one in panels(board)}
        for panel in declared.panels:
            texts = {drawn[panel.id]["description"], drawn[panel.id]["attributes"]["description"]}
            assert len(texts) == 1
            remarks[panel.id] = "may be incomplete" in texts.pop()
    assert [remarks[name] for name in ("revenue-forecast", "now-clicks", "funnel-conversion")] == [True] * 3
    assert [remarks[name] for name in ("revenue-total", "churn-trend", "retention-movement")] == [False] * 3


def test_drift_tile_changes_its_colour_at_the_thresholds():
    (board,) = (one for one in BOARDS if one["id"] == "shop-pipeline")
    (tile,) = (one["embeddableConfig"] for one in panels(board) if one["panelIndex"] == "pipeline-drift")
    palette = tile["attributes"]["state"]["visualization"]["palette"]["params"]
    assert [one["stop"] for one in palette["colorStops"]] == [0, 0.1, 0.25]


def layers_of(panel):
    return panel["embeddableConfig"]["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]


def layer_of(panel):
    return layers_of(panel)["layer"]


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
    assert structure_faults(other) == []
    assert not {(one["type"], one["id"]) for one in other} & OBJECTS.keys()
    assert {one["attributes"]["title"] for one in other if one["type"] == "index-pattern"} >= {"fixed-orders"}
