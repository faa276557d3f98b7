"""Promotion of a run: what readers of the page wrote is that of the promoted run too."""

from __future__ import annotations

import pytest

from connectors.elasticsearch import aliases
from connectors.elasticsearch.search import Searcher
from connectors.elasticsearch.workspace import Workspace
from consumers.index_definitions import run_definitions, workspace_definitions
from dashboards.web.workspace import saved_views
from features.errors import ShopstreamError
from shopstream.jobs.promote import promote
from shopstream.settings import Settings


def view(name):
    return {"title": name, "address": "?", "at_ts": 1}


def names(client, run):
    return [one["name"] for one in saved_views(Searcher(client, run))]


def test_promoted_run_has_what_readers_wrote_and_nothing_else(client, server_settings, new_run):
    run = new_run()
    other = new_run("-next", of=run)
    settings = Settings(home=server_settings.home, run=run)
    for one in (run, other):
        aliases.install(client, one, run_definitions(contact=False))
    page = Workspace(client, run)
    page.write("views", "a", view("A"), "")
    page.write("views", "b", view("B"), "")
    page.write("contacts", "c", {"customer_id": "c", "state": "done", "at_ts": 1, "until_ts": 2, "as_of_ts": 0}, "")
    promote(settings, other)
    assert names(client, run) == ["A", "B"]
    assert client.count(index=f"{other}-contacts-000001")["count"] == 1
    page.write("views", "d", view("D"), "")
    page.delete("views", "a", "")
    promote(settings, run)
    assert names(client, run) == ["B", "D"]
    # a run of a former version gets the indices
    aliases.drop(client, other, workspace_definitions())
    promote(settings, other)
    assert names(client, run) == ["B", "D"]
    promote(settings, other)
    assert names(client, run) == ["B", "D"]


def test_missing_run_is_refused_and_gets_no_indices(client, server_settings, new_run):
    run = new_run()
    aliases.install(client, run, run_definitions(contact=False))
    with pytest.raises(ShopstreamError, match="has no indices"):
        promote(Settings(home=server_settings.home, run=run), f"{run}-none")
    assert not client.indices.exists(index=f"{run}-none-views-000001")
