"""`dashboards check`: what passes, what is empty, what fails."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from consume.command_line import environment
from elasticsearch import Elasticsearch
from typer.testing import CliRunner

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.client import connection, open_client
from consumers.index_definitions import run_definitions
from dashboards import checks
from dashboards.boards import DASHBOARDS
from dashboards.boards.data import CUSTOMERS, EVENTS, FORECAST, ORDERS, PIPELINE, SESSIONS
from dashboards.panels import Dashboard, Layer, Measure, Panel, Position, Terms, Time
from features.errors import ShopstreamError
from shopstream.cli.app import build_app
from shopstream.jobs.check_dashboards import declared_kinds

COUNT = Measure("Orders", "count")
MEAN = Measure("Mean", "avg", "events", unit="number")
PANEL = Panel("p", "P", "?", SESSIONS, "metric", Position(0, 0, 12, 6), (MEAN,))
NOW = 1_779_280_440_000


def result_of(search, panel=PANEL, **options):
    ticks = itertools.count(step=0.002)
    (result,) = checks.check(
        [Dashboard("b", "B", "?", (panel,))], search, lambda _: NOW, lambda: next(ticks), **options
    )
    return result


def response(value, hits=3, **more):
    return lambda *_: {
        "timed_out": False,
        "hits": {"total": {"value": hits}},
        "aggregations": {"m0": {"value": value}},
        **more,
    }


def test_panel_with_data_passes_and_reports_its_duration():
    searches = []

    def search(index, body):
        searches.append((index, body))
        return response(4.0)(index, body)

    result = result_of(search, repeat=3)
    assert (result.state, result.hits, result.rows, result.why) == ("PASS", 3, 1, "")
    assert result.ms == pytest.approx(2.0)
    assert [index for index, _ in searches] == ["sessions"] * 6, "the previous period too"


def test_comparison_with_the_previous_period_is_checked():
    bodies = []

    def search(index, body):
        bodies.append(body)
        return response(4.0)(index, body)

    timed = Panel("p", "P", "?", ORDERS, "table", Position(0, 0, 12, 6), (COUNT,), (Terms("Country", "country"),))
    result = result_of(search, timed)
    assert result.compared_ms == pytest.approx(2.0)
    ranges = [body["query"]["bool"]["filter"][0]["range"]["ts"] for body in bodies]
    assert ranges[1]["lt"] == ranges[0]["gte"]
    assert ranges[1]["gte"] == ranges[0]["gte"] - (ranges[0]["lt"] - ranges[0]["gte"])
    assert result_of(response(4.0), replace(PANEL, data=CUSTOMERS)).compared_ms == 0

    def refuses_the_second(index, body):
        bodies.append(body)
        if len(bodies) % 2 == 0:
            raise ShopstreamError("The search of shop-orders: refused with 400: no.")
        return response(4.0)(index, body)

    assert "refused with 400" in result_of(refuses_the_second, timed).why


def test_layer_is_checked():
    sold = Measure("Sold", "max", "revenue", unit="money")
    layer = Layer(FORECAST, Time("Day", "ts", "day"), (sold,), as_of=Measure("As of", "max", "ts", unit="time"))
    panel = replace(PANEL, data=ORDERS, chart="line", dimensions=(Time("Day", "ts", "day"),), layer=layer)
    indices = []

    def search(index, body):
        indices.append(index)
        if index == "forecast":
            raise ShopstreamError("The search of shop-forecast: refused with 400: no.")
        return response(4.0)(index, body)

    assert "shop-forecast" in result_of(search, panel).why
    assert indices == ["orders", "orders", "forecast"]
    types = {"orders": {"events": "long", "ts": "date"}, "forecast": {"ts": "date"}}
    kinds = declared_kinds() | {"orders": {"events": "int", "ts": "time"}}
    wrong = result_of(response(4.0), panel, types=types, kinds=kinds)
    assert wrong.why == "the mapping of forecast has no field revenue"


def test_panel_without_documents_or_without_values_is_empty():
    assert result_of(response(None, hits=0)).state == "EMPTY"
    assert result_of(response(None)).why == "there are documents, but none has a value"
    quiet = Panel("p", "P", "?", SESSIONS, "metric", Position(0, 0, 12, 6), (MEAN,), may_be_empty=True)
    assert result_of(response(None, hits=0), quiet).state == "PASS"


def test_partial_response_and_rejection_are_failures():
    assert result_of(response(4.0, timed_out=True)).state == "FAIL"

    def refuses(*_):
        raise ShopstreamError("The search of shop-sessions: refused with 400: no.")

    assert "refused with 400" in result_of(refuses).why


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"events": "long", "start_ts": "date"}, None),
        ({"events": "integer", "start_ts": "date"}, None),
        ({}, None),
        ({"start_ts": "date"}, "the mapping of sessions has no field events"),
        ({"events": "keyword", "start_ts": "date"}, "events of sessions is a keyword, where int was declared"),
        ({"events": "long", "start_ts": "long"}, "start_ts of sessions is a long, where time was declared"),
    ],
)
def test_fields_of_panels_are_compared_with_the_mapping(types, message):
    result = result_of(response(4.0), types={"sessions": types}, kinds=declared_kinds())
    assert (result.state, result.why) == (("PASS", "") if message is None else ("FAIL", message))


def test_time_ranges_end_after_the_newest_document_of_their_index():
    end = checks.ends(newest_times({"events": 70, "orders": 90, "sessions": None, "pipeline": 1_000}), PIPELINE)
    assert (end(ORDERS), end(PIPELINE)) == (91, 1_001)


def newest_times(newest):
    return lambda index, _: {"aggregations": {"newest": {"value": newest[index]}}}


def test_time_ranges_end_with_the_slower_index_of_the_same_clicks():
    newest = {"events": 90, "orders": 20, "sessions": 70, "pipeline": None}
    assert checks.ends(newest_times(newest), PIPELINE)(EVENTS) == 71
    assert checks.ends(newest_times(newest | {"sessions": 95}), PIPELINE)(EVENTS) == 91
    assert checks.ends(newest_times(dict.fromkeys(newest)), PIPELINE)(EVENTS) == 1


# --- on the real Elasticsearch ---


def command(servers, tmp_path, *arguments):
    return CliRunner().invoke(build_app(), ["dashboards", "check", *arguments], env=environment(tmp_path, servers))


def test_every_panel_passes_on_documents_of_every_index(servers, filled, tmp_path):
    result = command(servers, tmp_path, "--run", filled[0], "--as-of", "2026-05-20T12:34:00Z", "--json")
    report = json.loads(result.stdout)
    assert [panel for panel in report["panels"] if panel["state"] != "PASS"] == []
    assert report["faults"] == []
    assert result.exit_code == 0
    assert len(report["panels"]) == sum(len(dashboard.panels) for dashboard in DASHBOARDS)


def test_a_run_that_does_not_exist_is_refused(servers, run_name, tmp_path):
    result = command(servers, tmp_path, "--run", run_name)
    assert result.exception.exit_code == 1
    assert f"There is no run {run_name} in Elasticsearch" in str(result.exception)


def test_run_without_documents_is_empty_and_a_failure(servers, run_name, tmp_path):
    with open_client(connection(servers)) as client:
        install(client, run_name, run_definitions(contact=False))
    result = command(servers, tmp_path, "--run", run_name)
    assert result.exit_code == 1
    assert "EMPTY" in result.stdout
    assert "FAIL" not in result.stdout


KINDS = {"stage": {"type": "text"}, "start_ts": {"type": "date"}}


def test_a_field_of_a_wrong_type_is_a_failure(servers, run_name, tmp_path):
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        client.indices.create(index=f"{run_name}-sessions", mappings={"properties": KINDS})
    result = command(servers, tmp_path, "--run", run_name, "--allow-empty", "--json")
    failed = {one["panel"]: one["why"] for one in json.loads(result.stdout)["panels"] if one["state"] == "FAIL"}
    assert result.exit_code == 1
    assert failed["funnel-steps"] == "stage of sessions is a text, where string was declared"
    assert failed["now-customers"] == "the mapping of sessions has no field customer_id"
    assert not {"now-sessions", "now-orders"} & failed.keys()
