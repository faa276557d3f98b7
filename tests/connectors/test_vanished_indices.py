"""Lists of indices and aliases while an index of another run is deleted: the rest is listed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from elastic_transport import ApiResponseMeta, BaseNode, HttpHeaders
from elasticsearch import Elasticsearch

from connectors.elasticsearch import aliases
from consumers.index_definitions import index_definitions

INDEX, OF_OTHERS = "r-customers-000001", "gone-customers-000001"
ALIASES = {INDEX: {"aliases": {"r-customers": {}, "promoted-customers": {}}}}
STATS = {INDEX: {"primaries": {"docs": {"count": 3}}, "total": {"store": {"size_in_bytes": 40}}}}


class Answer(NamedTuple):
    meta: ApiResponseMeta
    body: bytes


class Deleting(BaseNode):
    """A node of a server that resolves patterns to names, of which one is deleted then."""

    def perform_request(self, method, target, body=None, headers=None, request_timeout=None):
        path, asked = urlsplit(target).path, parse_qs(urlsplit(target).query)
        of_one = INDEX in path
        if asked.get("ignore_unavailable") != ["true"] and not of_one:
            error = {"type": "index_not_found_exception", "reason": f"no such index [{OF_OTHERS}]"}
            return self._answer(404, {"error": error | {"root_cause": [error]}, "status": 404})
        return self._answer(200, {"indices": STATS} if "_stats" in path else ALIASES)

    def _answer(self, status, content):
        headers = HttpHeaders({"content-type": "application/json", "x-elastic-product": "Elasticsearch"})
        return Answer(ApiResponseMeta(status, "1.1", headers, 0.0, self.config), json.dumps(content).encode())

    def close(self) -> None:
        pass


@pytest.fixture
def client():
    with Elasticsearch("http://localhost:9200", node_class=Deleting) as client:
        yield client


def test_list_of_indices_has_those_that_remain(client):
    (one,) = aliases.stored_indices(client, ["customers"])
    assert (one.run, one.parts, one.documents, one.size_bytes) == ("r", (INDEX,), 3, 40)


def test_indices_of_a_run_are_those_that_remain(client):
    assert list(aliases.aliases_by_index(client, "r", index_definitions(()))) == [INDEX]


def test_alias_sets_and_their_runs_are_listed(client):
    assert aliases.alias_sets(client) == ("promoted", "r")
    assert aliases.run_of_alias_set(client, "promoted") == "r"
    assert aliases.alias_sets_of(client, "r") == ("promoted", "r")


def test_run_whose_alias_set_was_promoted_to_another_one_has_none(client):
    client.options = lambda **_: SimpleNamespace(indices=SimpleNamespace(get_alias=lambda **_: {}))
    assert aliases.alias_sets_of(client, "r") == ()
