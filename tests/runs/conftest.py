"""Runs that are made and removed by the tests: a name for each, and a look at everything that anybody has."""

from __future__ import annotations

import uuid

import pytest

from connectors.elasticsearch import aliases
from connectors.elasticsearch.client import ElasticConnection, open_client
from connectors.kafka.client import open_admin
from consumers.index_definitions import run_definitions


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make replays` asks for the campaign by its marker; the ordinary tests are not even told of it."""
    if "campaign" in (config.option.markexpr or ""):
        return
    left = [item for item in items if item.get_closest_marker("campaign") and "runs/" in item.nodeid]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture
def client(servers):
    where = servers.elasticsearch
    with open_client(ElasticConnection(where.url, where.username, where.password, options=where.options)) as client:
        yield client


@pytest.fixture
def new_run(servers, client):
    """Gives names of runs, and removes all that they have left."""
    names = []

    def new(suffix="", of=""):
        names.append((of or f"t{uuid.uuid4().hex[:8]}") + suffix)
        return names[-1]

    yield new
    admin = open_admin(servers.kafka.client_properties())
    left = [topic for topic in admin.list_topics(timeout=10).topics if topic.partition(".")[0] in names]
    for future in (admin.delete_topics(left) if left else {}).values():
        future.result(timeout=30)
    for name in names:
        aliases.drop(client, name, run_definitions(contact=False))
