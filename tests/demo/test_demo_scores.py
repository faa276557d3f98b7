"""The demo on a shop that is just large enough to learn from, on the real servers."""

from __future__ import annotations

import json

import pytest
from consume.command_line import call, environment
from elasticsearch import Elasticsearch

from features.schema import TREND_KEYS
from features.scores.score import RISKS
from training.bundle import load_bundle

SHOP = ["--customers", "500", "--events", "50000", "--days", "150"]

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.campaign, pytest.mark.timeout(1_300)]


def test_first_demo_trains_and_scores_every_customer_and_second_does_not_train(tmp_path, servers, run_name):
    variables = environment(tmp_path, servers)
    first = call(["demo", "--once", *SHOP, "--run", run_name], variables, timeout_s=800)
    assert first.returncode == 0, first.stdout + first.stderr
    bundle = load_bundle(tmp_path / "bundles")
    assert f"{bundle.name} trained in" in first.stderr
    assert "score every customer again" in first.stderr
    assert bundle.name in first.stdout

    trends = dict.fromkeys(TREND_KEYS, 0)
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        index = f"{run_name}-customers"
        customers = client.count(index=index)["count"]
        assert client.count(index=index, query={"term": {"bundle": bundle.name}})["count"] == customers > 0
        for name in trends:
            trends[name] = client.count(index=f"{run_name}-{name}")["count"]
            assert f"{trends[name]:,} {name}" in " ".join(first.stdout.split())
        risks = client.search(index=index, size=0, aggregations={"risk": {"terms": {"field": "churn_risk"}}})
    entries = {bucket["key"]: bucket["doc_count"] for bucket in risks["aggregations"]["risk"]["buckets"]}
    assert entries
    assert all(trends.values())
    assert set(entries) <= set(RISKS)
    for name, count in entries.items():
        assert any(line.split()[:2] == [name, f"{count:,}"] for line in first.stdout.splitlines()), (name, count)

    second = call(["demo", "--once", *SHOP, "--run", run_name], variables, timeout_s=400)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "trained in" not in second.stderr
    assert "rollup" not in second.stderr, "the past is the same"
    assert bundle.name in second.stdout
    assert list(json.loads((tmp_path / "bundles" / "demo.json").read_text()).values()) == [bundle.name]
