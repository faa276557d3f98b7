"""Documents of the pipeline on the real server: written, kept as long as they are to be, and never in anybody's way."""

from __future__ import annotations

import threading
import time

import elasticsearch
import pytest
import structlog

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.client import connection, open_client
from connectors.elasticsearch.mappings import write_index
from consumers.index_definitions import run_definitions
from consumers.metrics import pipeline_index
from consumers.metrics.pipeline_index import WAITING_MAX, PipelineDocuments
from consumers.metrics.reports import pipeline_documents
from features.schema import DAY_MS

NOW_MS = 1_800_000_000_000


def measured(at_ms, worker=0):
    figures = {"consumed": 10, "stream_ts": 5, "records_per_s": 1.25, "unsaved_s": 0.5, "memory_bytes": 1}
    return pipeline_documents(
        figures, role="features", worker=worker, host="here", state="running", last_error=None, at_ms=at_ms
    )


def test_documents_are_written_and_expired_ones_are_deleted(servers, run_name):
    client = open_client(connection(servers))
    install(client, run_name, run_definitions(contact=False))
    old = [measured(NOW_MS - 8 * DAY_MS, worker)[0] for worker in range(3)]
    with PipelineDocuments(open_client(connection(servers)), run_name, retention_days=100) as documents:
        documents.offer(old)
    assert documents.written == 3
    client.indices.refresh(index=write_index(run_name, "pipeline"))
    with PipelineDocuments(open_client(connection(servers)), run_name, retention_days=7) as documents:
        documents.offer([*measured(NOW_MS), *measured(NOW_MS - 6 * DAY_MS)])
    client.indices.refresh(index=write_index(run_name, "pipeline"))
    result = client.search(index=f"{run_name}-pipeline", size=10)["hits"]["hits"]
    assert {hit["_source"]["at"] for hit in result} == {NOW_MS, NOW_MS - 6 * DAY_MS}
    client.close()


class Silent:
    """A server that does not answer while `stuck` is set."""

    def __init__(self):
        self.stuck = threading.Event()
        self.bodies = []

    def options(self, **_):
        return self

    def search(self, **_):
        return {}

    def bulk(self, *, index, operations, **_):
        if not self.stuck.wait(5.0):
            raise elasticsearch.ConnectionError("no answer")
        self.bodies.append(operations)
        return {"items": [{"index": {"status": 201}}]}

    def close(self):
        """Nothing."""


class WriteOnly:
    """A server whose user may write and, while `refuses`, not delete."""

    def __init__(self):
        self.searches = 0
        self.refuses = True

    def options(self, **_):
        return self

    def search(self, **_):
        self.searches += 1
        return {"hits": {"hits": [{"_id": str(n)} for n in range(3)]}} if self.refuses else {}

    def bulk(self, *, operations, **_):
        error = {"type": "security_exception", "reason": "unauthorized"}
        kinds = [next(iter(line)) for line in operations if next(iter(line)) in ("index", "delete")]
        return {
            "items": [
                {"index": {"status": 201}} if kind == "index" else {"delete": {"status": 403, "error": error}}
                for kind in kinds
            ]
        }

    def close(self):
        """Nothing."""


def test_a_refused_deletion_is_logged_once_with_the_remedy(monkeypatch):
    monkeypatch.setattr(pipeline_index, "PRUNE_EVERY", 1)
    client = WriteOnly()
    with structlog.testing.capture_logs() as logs, PipelineDocuments(client, "shop", retention_days=7) as documents:
        for second in range(3):
            documents.offer(measured(NOW_MS + second))
    (line,) = [line for line in logs if line["event"] == "old measurements are not deleted"]
    assert "security_exception" in line["error"]
    assert line["remedy"] == "Grant the user the permission `delete` on shop-pipeline-000001."
    assert client.searches == 3, "a refusal ends a check"
    assert documents.written == 3


def test_a_deletion_that_is_refused_again_after_a_success_is_logged_again(monkeypatch):
    monkeypatch.setattr(pipeline_index, "PRUNE_EVERY", 1)
    client = WriteOnly()
    with structlog.testing.capture_logs() as logs, PipelineDocuments(client, "shop", retention_days=7) as documents:
        for number, refuses in enumerate((True, False, True), 1):
            client.refuses = refuses
            documents.offer(measured(NOW_MS + number))
            while client.searches < number:
                time.sleep(0.01)
    assert [line["event"] for line in logs] == ["old measurements are not deleted"] * 2


def test_a_refused_measurement_is_logged_once(monkeypatch):
    client = Silent()
    client.stuck.set()
    error = {"type": "mapper_parsing_exception", "reason": "no such field"}
    monkeypatch.setattr(client, "bulk", lambda **_: {"items": [{"index": {"status": 400, "error": error}}]})
    with structlog.testing.capture_logs() as logs, PipelineDocuments(client, "shop", retention_days=7) as documents:
        for second in range(3):
            documents.offer(measured(NOW_MS + second))
    (line,) = logs
    assert "no such field" in line["error"]
    assert documents.written == 0


@pytest.mark.timeout(30)
def test_unresponsive_server_delays_no_report_and_memory_is_bounded():
    client = Silent()
    with PipelineDocuments(client, "shop", retention_days=1) as documents:
        started_s = time.monotonic()
        for second in range(10 * WAITING_MAX):
            documents.offer(measured(NOW_MS + second))
        assert time.monotonic() - started_s < 1.0
        client.stuck.set()
    assert len(client.bodies) <= WAITING_MAX + 2
    assert client.bodies[-1][1]["at"] == NOW_MS + 10 * WAITING_MAX - 1, "the newest are kept"
