"""`dashboards check`: what passes, what is empty, what fails."""

from __future__ import annotations

import itertools
import json

import pytest
from consume.command_line import environment
from elasticsearch import Elasticsearch
from typer.testing import CliRunner

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.client import connection, open_client
from consumers.index_definitions import run_definitions
from dashboards import checks
from dashboards.boards import DASHBOARDS
from dashboards.boards.data import EVENTS, ORDERS, PIPELINE, SESSIONS
from dashboards.panels import Dashboard, Measure, Panel, Place
from features.errors import ShopstreamError
from shopstream.cli.app import build_app
from shopstream.jobs.check_dashboards import declared_kinds

MEAN = Measure("Mean", "avg", "events", unit="number")
PANEL = Panel("p", "P", "?", SESSIONS, "metric", Place(0, 0, 12, 6), (MEAN,))
NOW = 1_779_280_440_000


def checked(search, panel=PANEL, **options):
    ticks = itertools.count(step=0.002)
    (found,) = checks.check([Dashboard("b", "B", "?", (panel,))], search, lambda _: NOW, lambda: next(ticks), **options)
    return found


def answers(value, hits=3, **more):
    return lambda *_: {
        "timed_out": False,
        "hits": {"total": {"value": hits}},
        "aggregations": {"m0": {"value": value}},
        **more,
    }


def test_a_panel_with_data_passes_and_says_how_long_it_took():
    asked = []

    def search(index, body):
        asked.append((index, body))
        return answers(4.0)(index, body)

    found = checked(search, repeat=3)
    assert (found.state, found.hits, found.rows, found.why) == ("PASS", 3, 1, "")
    assert found.ms == pytest.approx(2.0)
    assert [index for index, _ in asked] == ["sessions"] * 3


def test_no_document_is_empty_and_so_are_documents_without_a_value():
    assert checked(answers(None, hits=0)).state == "EMPTY"
    assert checked(answers(None)).why == "documents, and none with a value"
    quiet = Panel("p", "P", "?", SESSIONS, "metric", Place(0, 0, 12, 6), (MEAN,), may_be_empty=True)
    assert checked(answers(None, hits=0), quiet).state == "PASS"


def test_a_part_of_an_answer_and_a_refusal_fail():
    assert checked(answers(4.0, timed_out=True)).state == "FAIL"

    def refuses(*_):
        raise ShopstreamError("The search of shop-sessions: refused with 400: no.")

    assert "refused with 400" in checked(refuses).why


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ({"events": "long", "start_ts": "date"}, None),
        ({"events": "integer", "start_ts": "date"}, None),
        ({}, None),
        ({"start_ts": "date"}, "the mapping of sessions has no field events"),
        ({"events": "keyword", "start_ts": "date"}, "events of sessions is a keyword, where int was declared"),
        ({"events": "long", "start_ts": "long"}, "start_ts of sessions is a long, where time was declared"),
    ],
)
def test_fields_are_held_against_the_mapping(types, said):
    found = checked(answers(4.0), types={"sessions": types}, kinds=declared_kinds())
    assert (found.state, found.why) == (("PASS", "") if said is None else ("FAIL", said))


def test_time_ranges_end_after_the_newest_document_and_those_of_workers_at_theirs():
    newest = {"events": 70, "orders": 90, "sessions": None, "pipeline": 1_000}
    end = checks.ends(
        lambda index, _: {"aggregations": {"newest": {"value": newest[index]}}}, (EVENTS, ORDERS, SESSIONS), PIPELINE
    )
    assert (end(ORDERS), end(PIPELINE)) == (91, 1_001)


# --- on the real Elasticsearch ---


def command(servers, tmp_path, *arguments):
    return CliRunner().invoke(build_app(), ["dashboards", "check", *arguments], env=environment(tmp_path, servers))


def test_every_panel_passes_on_documents_of_every_index(servers, filled, tmp_path):
    said = command(servers, tmp_path, "--run", filled[0], "--as-of", "2026-05-20T12:34:00Z", "--json")
    found = json.loads(said.stdout)
    assert [one for one in found["panels"] if one["state"] != "PASS"] == []
    assert found["faults"] == []
    assert said.exit_code == 0
    assert len(found["panels"]) == sum(len(dashboard.panels) for dashboard in DASHBOARDS)


def test_a_run_that_does_not_exist_is_refused(servers, run_name, tmp_path):
    said = command(servers, tmp_path, "--run", run_name)
    assert said.exception.exit_code == 1
    assert f"There is no run {run_name} in Elasticsearch" in str(said.exception)


def test_a_run_that_has_nothing_is_empty_and_that_is_a_failure(servers, run_name, tmp_path):
    with open_client(connection(servers)) as client:
        install(client, run_name, run_definitions(contact=False))
    said = command(servers, tmp_path, "--run", run_name)
    assert said.exit_code == 1
    assert "EMPTY" in said.stdout
    assert "FAIL" not in said.stdout


KINDS = {"stage": {"type": "text"}, "start_ts": {"type": "date"}}


def test_a_field_of_a_wrong_type_is_a_failure(servers, run_name, tmp_path):
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        client.indices.create(index=f"{run_name}-sessions", mappings={"properties": KINDS})
    said = command(servers, tmp_path, "--run", run_name, "--allow-empty", "--json")
    failed = {one["panel"]: one["why"] for one in json.loads(said.stdout)["panels"] if one["state"] == "FAIL"}
    assert said.exit_code == 1
    assert failed["funnel-steps"] == "stage of sessions is a text, where string was declared"
    assert failed["now-customers"] == "the mapping of sessions has no field customer_id"
    assert not {"now-sessions", "now-orders"} & failed.keys()
