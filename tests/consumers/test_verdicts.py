"""What each answer of Elasticsearch means: a document's own fault is a dead letter, an index's fault waits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from connectors.elasticsearch import aliases, mappings
from connectors.elasticsearch import client as elastic
from connectors.elasticsearch.client import ElasticConnection
from connectors.elasticsearch.documents import Doc, Outcome, SinkOptions, Verdict
from connectors.elasticsearch.verdicts import item_verdict, request_verdict
from consumers.index_definitions import index_definitions
from features.errors import ShopstreamError
from features.schema import Event, record_fields

DOCUMENT = [
    (400, "document_parsing_exception", "[1:6] failed to parse field [quantity] of type [long]"),
    (400, "document_parsing_exception", "[1:6] object mapping for [a] tried to parse field [a] as object"),
    (400, "document_parsing_exception", "[1:12] failed to parse: Limit of total fields [1] has been exceeded"),
    (400, "illegal_argument_exception", 'Document contains at least one immense term in field="category"'),
    (413, "es_rejected_execution_exception", "the operation is larger than the limit of one operation"),
]
INDEX = [
    (400, "invalid_alias_name_exception", "Invalid alias name [t-events]: an index or data stream exists with the ..."),
    (400, "invalid_index_name_exception", "Invalid index name [t-events-2026.03], already exists as alias"),
    (400, "index_closed_exception", "closed"),
    (403, "cluster_block_exception", "index [t] blocked by: [FORBIDDEN/8/index write (api)];"),
    (403, "cluster_block_exception", "index [t] blocked by: [FORBIDDEN/5/index read-only (api)];"),
    (429, "cluster_block_exception", "index [t] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage ..]"),
    (404, "index_not_found_exception", "no such index [t] and [action.auto_create_index] is [false]"),
    (404, "index_not_found_exception", "no such index [t] and [require_alias] request flag is [true]"),
    (400, "validation_exception", "Validation Failed: 1: this action would add [2] shards, but ..."),
    (400, "illegal_argument_exception", "Validation Failed: 1: this action would add [2] total shards, but this ..."),
    (400, "illegal_argument_exception", "no write index is defined for alias [t-customers-000001]"),
    (400, "illegal_argument_exception", "pipeline with id [nope] does not exist"),
    (400, "illegal_argument_exception", "unknown index sort field:[nofield]"),
    (400, "illegal_argument_exception", "composable template [t-events] template after composition is invalid"),
    (400, "illegal_argument_exception", "only write ops with an op_type of create are allowed in data streams"),
    (400, "mapper_parsing_exception", "Failed to parse mapping: No handler for type [x] declared on field [a]"),
    (400, "strict_dynamic_mapping_exception", "[1:7] mapping set to strict, dynamic introduction of [zz]"),
    (400, "routing_missing_exception", "routing is required for [t]/[1]"),
    (400, "resource_already_exists_exception", "index [t/abc] already exists"),
    (400, "invalid_index_template_exception", "index_template [t] invalid"),
    (400, "an_exception_of_a_later_version", "something that nobody here knows"),
]  # fmt: skip
PASSING = [
    (429, "es_rejected_execution_exception", "rejected execution"),
    (429, "circuit_breaking_exception", "[parent] Data too large"),
    (503, "unavailable_shards_exception", "primary shard is not active"),
    (503, "process_cluster_event_timeout_exception", "failed to process cluster event (create-index) within 1m"),
    (500, "translog_exception", "disk"),
]


@pytest.mark.parametrize(
    ("status", "kind", "reason", "verdict"),
    [
        (201, None, None, Verdict.WRITTEN),
        (409, "version_conflict_engine_exception", "current version [3] is higher", Verdict.CONFLICT),
        (403, "security_exception", "action [indices:data/write/bulk] is unauthorized", Verdict.FATAL),
        *((*answer, Verdict.REJECTED) for answer in DOCUMENT),
        *((*answer, Verdict.BLOCKED) for answer in INDEX),
        *((*answer, Verdict.RETRY) for answer in PASSING),
    ],
)
def test_item_response_of_each_type_and_status_has_its_verdict(status, kind, reason, verdict):
    answer = item_verdict(status, kind and {"type": kind, "reason": reason})
    assert answer.verdict is verdict
    assert reason is None or reason in answer.reason


@pytest.mark.parametrize(
    ("status", "kind", "verdict"),
    [
        (401, "security_exception", Verdict.FATAL),
        (403, "security_exception", Verdict.FATAL),
        (403, "cluster_block_exception", Verdict.BLOCKED),
        (413, "content_too_long", Verdict.SPLIT),
        (400, "action_request_validation_exception", Verdict.SPLIT),
        (400, "x_content_parse_exception", Verdict.SPLIT),
        (400, "illegal_argument_exception", Verdict.BLOCKED),  # "explicit index in bulk is not allowed"
        (429, "circuit_breaking_exception", Verdict.RETRY),
        (503, "cluster_not_ready", Verdict.RETRY),
        (502, None, Verdict.RETRY),
        (413, None, Verdict.SPLIT),
        (400, None, Verdict.BLOCKED),
        (404, None, Verdict.BLOCKED),
        (302, None, Verdict.BLOCKED),
    ],
)
def test_request_response_of_each_type_and_status_has_its_verdict(status, kind, verdict):
    assert request_verdict(status, {"error": {"type": kind}} if kind else "<html>bad gateway</html>").verdict is verdict


# --- the real server ---


@pytest.fixture
def connection(servers):
    where = servers.elasticsearch
    return ElasticConnection(where.url, where.username, where.password, options=where.options)


@pytest.fixture
def client(connection):
    with elastic.open_client(connection) as client:
        yield client


def event(n):
    return json.dumps({**dict.fromkeys((f.name for f in record_fields(Event)), None), "event_id": f"e{n}", "ts": 0})


def concrete_alias(client: Elasticsearch, run: str, index: str):
    client.indices.create(index=mappings.alias(run, "events"))
    return lambda: client.indices.delete(index=mappings.alias(run, "events"))


def too_many_shards(client: Elasticsearch, run: str, index: str):
    # more than a node may have; a lower limit would be one for the indices of other tests too
    aliases.reconcile(client, run, index_definitions(()), mappings.IndexSettings(replicas=10_000))
    return lambda: aliases.reconcile(client, run, index_definitions(()))


def closed(client: Elasticsearch, run: str, index: str):
    client.indices.create(index=index)
    client.indices.close(index=index)
    return lambda: client.indices.open(index=index)


def no_such_pipeline(client: Elasticsearch, run: str, index: str):
    client.indices.create(index=index, settings={"index.default_pipeline": "nowhere"})
    return lambda: client.indices.put_settings(index=index, settings={"index.default_pipeline": "_none"})


def older_mapping(client: Elasticsearch, run: str, index: str):
    client.indices.delete_index_template(name=mappings.alias(run, "events"))
    client.indices.create(index=index, mappings={"dynamic": "strict", "properties": {"ts": {"type": "long"}}})
    return lambda: client.indices.put_mapping(index=index, properties={"event_id": {"type": "keyword"}})


@pytest.mark.parametrize("fault", [concrete_alias, too_many_shards, closed, no_such_pipeline, older_mapping])
def test_documents_of_a_broken_index_are_written_after_its_repair(connection, client, run_name, fault):
    aliases.install(client, run_name, index_definitions(()))
    index = mappings.month_indices(run_name, "events", np.array([1_772_323_200_000]))[0]
    mend = fault(client, run_name, index)
    outcomes: list[Outcome] = []
    with elastic.open_sink(connection, SinkOptions(pause_s=0.05, pause_max_s=0.2)) as sink:
        try:
            body = {"event_id": "e", "ts": 0} if fault is older_mapping else json.loads(event(0))
            docs = [Doc(index, f"e{n}", json.dumps(body).encode(), create=True) for n in range(20)]
            sink.submit(docs, outcomes.append)
            assert not sink.flush(1.0)
            assert sink.last_error
            assert fault is not too_many_shards or "shards" in sink.last_error
        finally:
            mend()
        assert sink.flush(30)
        assert sink.last_error is None
    assert (outcomes[0].written, outcomes[0].rejected) == (20, ())


def test_install_over_an_index_that_has_an_aliass_name_stops_with_the_remedy(client, run_name):
    definitions = index_definitions(())
    name = mappings.alias(run_name, "events")
    client.indices.create(index=name)
    with pytest.raises(ShopstreamError, match=f"The index {name} has the name of a read alias") as caught:
        aliases.install(client, run_name, definitions)
    assert f"DELETE /{name}" in caught.value.remedy
    client.indices.delete(index=name)
    aliases.install(client, run_name, definitions)
