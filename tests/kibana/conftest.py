from __future__ import annotations

import os
import uuid

import pytest
from elasticsearch import Elasticsearch
from kibana.target import Target, real_kibana
from page.conftest import chromium  # noqa: F401 - the fixture of a browser
from panels.documents import documents, put
from panels.played_kibana import PlayedKibana

from dashboards.boards import DASHBOARDS
from dashboards.kibana.client import Kibana, import_file
from dashboards.kibana.saved_objects import ndjson
from features.schema import DEFAULT_RUN

SPACE = f"shopstream-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def target():
    """A Kibana with the dashboards: they are imported if the Kibana is real, and replaced if they are there."""
    if (kibana := real_kibana()) is None:
        with PlayedKibana(spaces=("default", SPACE)) as played:
            yield Target(Kibana(played.url), DEFAULT_RUN, real=False)
        return
    run = os.environ.get("KIBANA_RUN", DEFAULT_RUN)
    import_file(kibana, ndjson(DASHBOARDS, run), overwrite=True)
    yield Target(kibana, run, real=True)


@pytest.fixture(scope="session")
def space(target):
    """The same Kibana, in a space of its own that is deleted at the end."""
    kibana = Kibana(target.kibana.url, SPACE, target.kibana.username, target.kibana.password)
    if not target.real:
        yield Target(kibana, target.run, real=False)
        return
    at_root = Target(Kibana(kibana.url, "", kibana.username, kibana.password), target.run, real=True)
    status, body = at_root.request("POST", "/api/spaces/space", {"id": SPACE, "name": SPACE, "disabledFeatures": []})
    assert status == 200, body
    try:
        yield Target(kibana, target.run, real=True)
    finally:
        at_root.request("DELETE", f"/api/spaces/space/{SPACE}")


@pytest.fixture
def real(target):
    """Skips where a test needs what only a real Kibana has."""
    if not target.real:
        pytest.skip("the stand-in draws no page and keeps no schema: set KIBANA_URL, KIBANA_USERNAME, KIBANA_PASSWORD")
    return target


@pytest.fixture(scope="session")
def searched(target, request):
    """A Kibana with documents to search: the run of a real one, or made ones behind the stand-in."""
    if target.real:
        yield target
        return
    servers, run = request.getfixturevalue("servers"), f"t{uuid.uuid4().hex[:10]}"
    with Elasticsearch(**servers.elasticsearch.client_options(), request_timeout=60) as client:
        put(client, run, documents())

        def search(params):
            more = {"ignore_unavailable": params["ignore_unavailable"]}
            found = dict(client.search(index=params["index"], body=params["body"], **more).body)
            found["hits"] = {**found["hits"], "total": found["hits"]["total"]["value"]}  # as Kibana's strategy does
            return found

        try:
            with PlayedKibana(search=search) as played:
                yield Target(Kibana(played.url), run, real=False)
        finally:
            client.indices.delete(index=",".join(client.indices.get(index=f"{run}-*")))
            for template in client.indices.get_index_template(name=f"{run}-*")["index_templates"]:
                client.indices.delete_index_template(name=template["name"])
