"""The endpoint: every figure of every role is a metric, the pages answer over a real socket."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from itertools import pairwise

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from consumers.metrics.definitions import METRICS, CopyProgress, FeaturesProgress
from consumers.metrics.reports import PIPELINE_FIELDS, figures, pipeline_documents
from features.errors import ShopstreamError
from shopstream.runtime import http_server
from shopstream.runtime.coordinator_types import WorkerName, WorkerView
from shopstream.runtime.health import Bounds
from shopstream.runtime.metrics_endpoint import serve_metrics

NO_METRICS = {"role", "last_error", "bundle", "drift"}


class Watched:
    def __init__(self, *views):
        self._views = views
        self.stepped_s = time.monotonic()

    def views(self):
        return self._views


def features_progress():
    values = {item.name: 7 for item in fields(FeaturesProgress)}
    texts = {"role": "features", "last_error": None, "bundle": "one", "drift": {}}
    return FeaturesProgress(**{**values, **texts, "stream_ts": 1_700_000_000_000})


def features_figures():
    return figures(features_progress())


def index_figures():
    return figures(
        CopyProgress(
            role="index", consumed=1, valid=2, rejected=3, late=4, written=5, duplicates=6, lag_records=5,
            waiting_records=6, retries=3, latency_p50_ms=20.0, latency_p99_ms=80.0,
        )
    )  # fmt: skip


def views():
    reported_s = time.monotonic()
    one = WorkerView(WorkerName("features", 0), "running", features_figures(), 2, 0, 0, 0, None, (0, 1), reported_s)
    two = WorkerView(WorkerName("index", 1), "running", index_figures(), 0, 0, 0, 0, "blocked", (2,), reported_s)
    return one, two


def samples(text):
    return {
        (sample.name, *sorted((k, v) for k, v in sample.labels.items() if k != "run")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def serving(*views):
    return serve_metrics("shop", Watched(*views), Bounds(), "127.0.0.1", 0)


def test_every_progress_field_declares_its_metric():
    names = {item.name for kind in (FeaturesProgress, CopyProgress) for item in fields(kind)}
    assert names - METRICS.keys() == NO_METRICS


def test_metrics_of_one_name_have_the_same_declaration():
    by_name = sorted((metric for metric in METRICS.values() if metric.name), key=lambda metric: metric.name)
    for one, other in pairwise(by_name):
        if one.name == other.name:
            assert (one.kind, one.help, one.unit) == (other.kind, other.help, other.unit)
            assert [label for label, _ in one.labels] == [label for label, _ in other.labels]


def test_drift_of_each_feature_is_a_top_level_metric():
    progress = replace(features_progress(), drift={"psi.recency_days": 0.3})
    assert figures(progress).keys() - figures(features_progress()).keys() == {"psi.recency_days"}
    assert "drift" not in figures(progress)


def test_metrics_and_health_are_served_over_http():
    with serving(*views()) as url:
        status, text = get(f"{url}/metrics")
        assert status == 200
        result = samples(text)
        whose = (("role", "features"), ("worker", "0"))
        assert result["shopstream_records_read_total", *whose] == 7
        assert result["shopstream_event_time_max_seconds", *whose] == 1_700_000_000
        assert result["shopstream_rows_written_total", ("kind", "customers"), *whose] == 7
        assert result["shopstream_freshness_seconds", ("quantile", "0.99"), *whose] == pytest.approx(0.007)
        assert result["shopstream_worker_restarts_total", *whose] == 2
        other = (("role", "index"), ("worker", "1"))
        assert result["shopstream_sink_latency_seconds", ("quantile", "0.5"), *other] == pytest.approx(0.02)
        assert result["shopstream_sink_blocked", *other] == 1
        assert result["shopstream_partitions_owned", *whose] == 2
        assert 0 <= result["shopstream_worker_last_report_age_seconds", *whose] < 60
        assert result["shopstream_rows_pending", *other] == 6
        assert get(f"{url}/healthz")[0] == 200
        status, text = get(f"{url}/readyz")
        assert status == 503
        assert [c["reason"] for c in json.loads(text)["checks"] if not c["ok"]] == ["blocked"]
        assert get(f"{url}/")[0] == 404


def trickle(client):
    """Never silent for long, and never done; raises when it is closed."""
    for _ in range(200):
        client.sendall(b"G")
        time.sleep(0.1)


def test_slow_and_silent_clients_of_the_metrics_are_closed_and_not_logged(monkeypatch, capfd):
    monkeypatch.setattr(http_server, "HEAD_TIMEOUT_S", 1.0)
    with serving(*views()) as url, ExitStack() as held:
        port = int(url.rpartition(":")[2])
        silent = [
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(2 * http_server.CONNECTIONS_MAX)
        ]
        assert get(f"{url}/metrics")[0] == 200
        slow = held.enter_context(socket.create_connection(("127.0.0.1", port)))
        with pytest.raises((ConnectionError, BrokenPipeError)):
            trickle(slow)
        for client in silent:
            client.settimeout(10)
            with suppress(ConnectionError):
                assert client.recv(1) == b""
        assert get(f"{url}/metrics")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_methods_other_than_get_and_head_are_refused():
    with serving(*views()) as url:
        assert get(urllib.request.Request(f"{url}/metrics", data=b"x"))[0] == 405
        assert get(urllib.request.Request(f"{url}/metrics", method="HEAD")) == (200, "")


def test_an_error_in_a_request_is_a_status_500_and_one_warning(monkeypatch, capfd):
    watched = Watched(*views())
    with (
        structlog.testing.capture_logs() as logs,
        serve_metrics("shop", watched, Bounds(), "127.0.0.1", 0) as url,
    ):
        monkeypatch.setattr(watched, "views", lambda: {}["missing"])
        assert get(f"{url}/readyz")[0] == 500
    assert [(line["event"], line["error"]) for line in logs] == [("request failed", "KeyError: 'missing'")]
    assert capfd.readouterr() == ("", "")


def test_metric_of_an_exited_worker_is_down():
    gone = replace(views()[0], stage="waiting", reported_s=None, owned=None)
    with serving(gone) as url:
        result = samples(get(f"{url}/metrics")[1])
    assert result["shopstream_worker_up", ("role", "features"), ("worker", "0")] == 0


def test_a_port_that_is_taken_is_an_error_with_a_remedy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = serve_metrics("shop", Watched(), Bounds(), "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ShopstreamError, match="cannot listen") as raised, server:
            pass
    assert "--metrics-port" in raised.value.remedy


def test_pipeline_documents_hold_mapped_fields_only():
    whose = {"worker": 0, "host": "here", "state": "running", "at_ms": 5}
    known = {item.name for item in PIPELINE_FIELDS}
    for role, one in (("features", features_figures()), ("index", index_figures())):
        documents = pipeline_documents(
            {**one, "psi.recency_days": 0.3, "restarts": 1, "records_per_s": 1.5}, role=role, last_error="no", **whose
        )
        assert all(set(document) <= known for document in documents)
        assert documents[0]["records"] == one["consumed"]
        assert documents[1] == {"at": 5, "role": role, "worker": 0, "host": "here"} | {
            "feature": "recency_days", "psi": 0.3,
        }  # fmt: skip
