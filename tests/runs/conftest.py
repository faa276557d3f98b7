"""Runs that are made and removed by the tests: a name for each, and a look at everything that anybody has."""

from __future__ import annotations

import uuid

import pytest

from consumers import indices
from consumers.elastic import ElasticConnection, open_client
from consumers.runs import drop_topics_and_groups
from shopstream import consuming


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
def runs(servers, client):
    """Gives names of runs, and removes all that they have left."""
    names = []

    def new(suffix=""):
        names.append(f"t{uuid.uuid4().hex[:8]}{suffix}")
        return names[-1]

    yield new
    for name in names:
        drop_topics_and_groups(servers.kafka.client_properties(), name)
        indices.drop(client, name, consuming.definitions(contact=False))
