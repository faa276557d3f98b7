"""The import by API: a first one, one over existing objects, one that replaces them, and what a server refuses."""

from __future__ import annotations

import json

import pytest

from dashboards.boards import DASHBOARDS
from dashboards.kibana.client import import_file
from dashboards.kibana.saved_objects import ndjson, saved_objects
from features.errors import ShopstreamError


@pytest.fixture(scope="module")
def content(space):
    return ndjson(DASHBOARDS, space.run)


@pytest.fixture(scope="module")
def imported(space, content):
    return import_file(space.kibana, content)


def test_first_import_succeeds_with_every_object(imported, content, space):
    assert imported.objects == content.count("\n")
    assert imported.address.startswith(space.base)


def test_second_import_reports_a_conflict_for_every_object(imported, content, space):
    with pytest.raises(ShopstreamError) as caught:
        import_file(space.kibana, content)
    assert f"imported 0 objects and rejected {imported.objects}" in str(caught.value)
    for one in saved_objects(DASHBOARDS, space.run):
        assert f"{one['type']} {one['id']} (conflict" in str(caught.value)


def test_one_existing_object_is_a_conflict_and_the_others_are_imported(imported, content, space):
    """Another run has other ids; one object of this run is among them."""
    one = content.splitlines()[0]
    others = ndjson(DASHBOARDS, f"{space.run}-2")
    with pytest.raises(ShopstreamError, match=f"imported {others.count(chr(10))} objects and rejected 1"):
        import_file(space.kibana, f"{one}\n{others}")


def test_import_with_overwrite_replaces_every_object(imported, content, space):
    assert import_file(space.kibana, content, overwrite=True) == imported


def test_dashboards_without_their_data_views_are_refused(real, space, content):
    """Also in a space that has the data views of another run."""
    objects = saved_objects(DASHBOARDS, f"{space.run}-3")
    lines = "".join(json.dumps(one) + "\n" for one in objects if one["type"] == "dashboard")
    with pytest.raises(ShopstreamError, match="missing_references"):
        import_file(space.kibana, lines)


def test_object_of_a_later_version_is_refused(real, space, content):
    one = {**json.loads(content.splitlines()[-1]), "id": f"{space.run}-later", "typeMigrationVersion": "99.0.0"}
    with pytest.raises(ShopstreamError):
        import_file(space.kibana, json.dumps(one) + "\n")


def test_exported_objects_equal_the_imported_ones(real, imported, space):
    """Kibana may add attributes and raise versions. What was declared stays, panel by panel."""
    expected = {(one["type"], one["id"]): one for one in saved_objects(DASHBOARDS, space.run)}
    for (kind, name), one in expected.items():
        status, stored = space.request("GET", f"/api/saved_objects/{kind}/{name}")
        assert status == 200, stored
        assert (
            stored["attributes"]["name" if kind == "tag" else "title"]
            == one["attributes"]["name" if kind == "tag" else "title"]
        )
        if kind == "dashboard":
            ids = [panel["panelIndex"] for panel in json.loads(stored["attributes"]["panelsJSON"])]
            assert sorted(ids) == sorted(p["panelIndex"] for p in json.loads(one["attributes"]["panelsJSON"]))
