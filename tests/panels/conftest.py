from __future__ import annotations

import uuid

import pytest
from elasticsearch import Elasticsearch
from panels.documents import documents, put

from connectors.elasticsearch.search import Searcher


@pytest.fixture(scope="session")
def made():
    """Index -> documents."""
    return documents()


@pytest.fixture(scope="session")
def filled(servers, made):
    """A run with them: its name, and what asks it."""
    run = f"t{uuid.uuid4().hex[:10]}"
    with Elasticsearch(**servers.elasticsearch.client_options(), request_timeout=60) as client:
        put(client, run, made)
        try:
            yield run, Searcher(client, run)
        finally:
            client.indices.delete(index=",".join(client.indices.get(index=f"{run}-*")))
            for template in client.indices.get_index_template(name=f"{run}-*")["index_templates"]:
                client.indices.delete_index_template(name=template["name"])
