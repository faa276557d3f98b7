"""Every panel's search through the endpoint that Kibana's own dashboards use."""

from __future__ import annotations

import time

import pytest
from kibana.target import KibanaSearch, Target

from dashboards import checks
from dashboards.boards import DASHBOARDS
from dashboards.boards.data import PIPELINE
from features.errors import ShopstreamError

pytestmark = pytest.mark.servers


def test_every_search_of_a_panel_succeeds(searched):
    search = KibanaSearch(searched)
    results = checks.check(DASHBOARDS, search, checks.ends(search, PIPELINE), time.perf_counter)
    assert len(results) == sum(len(one.panels) for one in DASHBOARDS)
    assert [f"{one.panel}: {one.why}" for one in results if one.state == "FAIL"] == []
    # a shop without a first training has no scores and trends; without any figure the searches prove nothing
    assert sum(one.state == "PASS" for one in results) > len(results) / 3


def test_failed_search_is_an_error(searched):
    unknown = {"aggs": {"a": {"no_such_aggregation": {}}}}
    if not searched.real:
        pytest.skip("the stand-in passes Elasticsearch's errors on as no response")
    with pytest.raises(ShopstreamError, match="400"):
        KibanaSearch(searched)("events", unknown)


def test_request_without_the_headers_of_the_page_is_refused(searched, monkeypatch):
    monkeypatch.setattr("kibana.target.INTERNAL", {"kbn-xsrf": "true"})
    with pytest.raises(ShopstreamError, match="400"):
        KibanaSearch(Target(searched.kibana, searched.run, searched.real))("events", {"size": 0})
