"""The page's server over the real Elasticsearch: who may ask what, and with which permissions it asks."""

from __future__ import annotations

import csv
import gzip
import http.client
import io
import json
import urllib.parse

import elasticsearch
import pytest
from page.conftest import HOSTILE, source_of
from panels.documents import NOW

from connectors.elasticsearch.client import elastic_connection, open_client
from dashboards.boards import DASHBOARDS
from dashboards.web.app import HEADERS
from features.errors import ShopstreamError
from features.schema import CONTACT_FIELDS
from shopstream import embedded as known_servers
from shopstream.jobs import serve_dashboards
from shopstream.jobs.serve_dashboards import Listening, listen


def get(address, path, method="GET", **headers):
    url = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def json_of(address, path, **parameters):
    status, _, body = get(address, f"/api/{path}?{urllib.parse.urlencode(parameters, doseq=True)}")
    return status, json.loads(body)


def table(address, path, **parameters):
    status, headers, body = get(address, f"/api/{path}?{urllib.parse.urlencode(parameters, doseq=True)}")
    assert status == 200, body
    assert headers["content-type"] == "text/csv; charset=utf-8"
    assert headers["content-disposition"].startswith("attachment")
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig"))))


# --- the door ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/", "/static/page.js", "/api/declaration", "/api/board?id=none", "/none"])
def test_every_response_has_the_security_headers(served, path):
    _, headers, _ = get(served, path)
    assert {name: headers[name.lower()] for name in HEADERS} == HEADERS
    assert "unsafe" not in headers["content-security-policy"]


def test_page_loads_no_external_resource(served):
    files = [get(served, path)[2].decode() for path in ("/", "/static/page.css", "/static/page.js", "/static/board.js")]
    assert not any("//" in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "") for text in files)
    assert "<script>" not in files[0]
    assert " style=" not in files[0]


def test_unknown_host_name_is_refused(served):
    assert get(served, "/api/declaration", Host="evil.example.com")[0] == 400
    assert get(served, "/api/declaration", Host="localhost:1")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_write_methods_are_refused(served, method):
    assert get(served, "/api/board?id=now", method)[0] == 405


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fpanels.py", "/static//etc/passwd"]
)
def test_only_static_files_of_the_page_are_served(served, path):
    assert get(served, path)[0] == 404


def test_server_listens_on_loopback_by_default():
    assert Listening().host == "127.0.0.1"
    assert "shop.example.com" in Listening(names=("Shop.Example.com",)).allowed
    with listen(Listening(port=0)) as taken, pytest.raises(ShopstreamError, match="cannot listen") as refused:
        listen(Listening(port=taken.getsockname()[1]))
    assert "--port" in refused.value.remedy
    with pytest.raises(ShopstreamError, match="cannot listen"):
        listen(Listening(host="192.0.2.1", port=0))


def test_large_responses_are_compressed(served):
    _, headers, body = get(served, "/api/declaration", **{"Accept-Encoding": "gzip"})
    assert headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(body))["boards"]


# --- permissions ------------------------------------------------------------------------------------------------------
def test_page_uses_the_read_only_user(server_settings, shop, no_customer_table):
    run = shop[0]
    with serve_dashboards.source(server_settings, no_customer_table) as source:
        client = source.search._client
        assert client.count(index=f"{run}-customers")["count"] > 0
        for forbidden in (
            lambda: client.index(index=f"{run}-customers", id="x", document={"customer_id": "x"}),
            lambda: client.delete(index=f"{run}-customers", id="0"),
            lambda: client.indices.delete(index=f"{run}-customers-000001"),
            lambda: client.indices.create(index=f"{run}-more"),
            lambda: client.indices.put_index_template(name=f"{run}-x", index_patterns=[f"{run}-x"]),
            lambda: client.cluster.put_settings(persistent={"cluster.max_shards_per_node": 10}),
        ):
            with pytest.raises(elasticsearch.AuthorizationException):
                forbidden()


def test_every_endpoint_works_with_the_read_only_user(served):
    for board in DASHBOARDS:
        status, answer = json_of(served, "board", id=board.id)
        assert status == 200
        assert [name for name, panel in answer["panels"].items() if "problem" in panel] == []
        assert json_of(served, "choices", id=board.id)[0] == 200
    for path, parameters in (("customers", {}), ("customer", {"id": "customer_id-3"}), ("groups", {})):
        assert json_of(served, path, **parameters)[0] == 200


# --- wrong questions --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("board", {"id": "none"}), ("board", {"id": ["now", "now"]}),
        ("board", {"id": "now", "last": "9999d"}), ("customers", {"sort": "email"}), ("customers", {"size": "501"}),
        ("customers", {"first": "9501"}), ("customers", {"name": "Ann"}), ("customer", {"id": "nobody"}),
        ("customer", {}),
        ("groups", {"by": "email"}), ("groups", {"figure": "age"}), ("groups", {"of": "table"}),
        ("panel.csv", {"id": "x"}),
    ],
)  # fmt: skip
def test_invalid_query_gives_an_error_with_a_remedy(served, path, parameters):
    status, answer = json_of(served, path, **parameters)
    assert status == 400
    assert answer["problem"]
    assert answer["remedy"]


def test_unknown_parameter_is_ignored_and_named(served):
    status, answer = json_of(served, "board", id="now", email="x")
    assert (status, answer["ignored"]) == (200, ["email"])


def test_unavailable_elasticsearch_gives_status_503(served, shop):
    shop[3].down = True
    try:
        for path, parameters in (
            ("board", {"id": "revenue", "last": "3d"}),
            ("customers", {"size": "7"}),  # an equal request would be answered from memory
            ("groups", {"by": "country"}),
        ):
            status, answer = json_of(served, path, **parameters)
            assert status == 503
            assert answer == {
                "problem": "Can't reach Elasticsearch (connection refused).",
                "remedy": "Start it with `shopstream up`, or check `elasticsearch.url` in the settings.",
            }
    finally:
        shop[3].down = False


def test_a_run_without_documents_has_empty_panels(shop, servers, server_settings, no_customer_table):
    with open_client(elastic_connection(known_servers.elastic_endpoint(server_settings, read_only=True))) as client:
        nothing = source_of("none", serve_dashboards.Searcher(client, "no-such-run"), no_customer_table)
        with serve_dashboards.serve_source(nothing, Listening(port=0)) as address:
            for board in DASHBOARDS:
                status, answer = json_of(address, "board", id=board.id)
                assert status == 200
                assert answer["newest_ms"] is None
                assert not any(panel.get("problem") for panel in answer["panels"].values())
            assert json_of(address, "groups")[1]["groups"] == []
            assert json_of(address, "customers")[1]["total"] == 0


# --- what is never shown ----------------------------------------------------------------------------------------------
def test_responses_hold_no_names_or_addresses(shop, served):
    """Even where the index holds them, as with `consume --index-pii`."""
    run, _, client, _ = shop
    (index,) = client.indices.get(index=f"{run}-customers")
    client.indices.put_mapping(index=index, properties={name: {"type": "keyword"} for name in CONTACT_FIELDS})
    document = {"customer_id": "contact", "name": "Ann Hidden", "email": "hidden@example.com", "segment": "contact"}
    client.index(index=index, id="contact", document=document, refresh=True)
    try:
        # asked by nobody else: an answer is shared for a second
        groups = "groups?figure=orders_365d"
        for path in ("customers?segment=contact", "customer?id=contact", groups, "customers.csv?segment=contact"):
            status, _, body = get(served, f"/api/{path}")
            assert status == 200
            assert b"contact" in body
            assert b"idden" not in body
    finally:
        client.delete(index=index, id="contact", refresh=True)


# --- figures ----------------------------------------------------------------------------------------------------------
def test_the_list_is_filtered_sorted_and_paged(served, made):
    expected = [one for one in made["customers"] if one["segment"] == "At Risk" and one["churn_risk"] == "high"]
    status, answer = json_of(served, "customers", segment="At Risk", churn_risk="high", sort="recency_days", rising="1")
    assert status == 200
    assert answer["total"] == len(expected)
    ids = [row[0] for row in answer["rows"]]
    known = sorted((one for one in expected if one["recency_days"] is not None), key=lambda one: one["recency_days"])
    assert ids[: len(known)] == [one["customer_id"] for one in known]
    everybody = [
        row[0]
        for first in range(0, 200, 50)
        for row in json_of(served, "customers", first=first, sort="customer_id")[1]["rows"]
    ]
    assert sorted(everybody) == sorted(one["customer_id"] for one in made["customers"])
    assert {row[0] for row in json_of(served, "customers", find="customer_id-14")[1]["rows"]} == {
        one["customer_id"] for one in made["customers"] if one["customer_id"].startswith("customer_id-14")
    }


def of_customer(documents, customer):
    return [one for one in documents if one["customer_id"] == customer and one.get("status") != "void"]


@pytest.mark.parametrize("customer", ["customer_id-3", *HOSTILE])
def test_customer_page_has_all_documents_of_one_customer(served, made, customer):
    status, answer = json_of(served, "customer", id=customer)
    assert status == 200
    for index in ("sessions", "orders"):
        assert answer[f"{index}_total"] == len(of_customer(made[index], customer))
    revenue = sum(one["total"] or 0 for one in of_customer(made["orders"], customer))
    assert sum(value for _, value in answer["weeks"]["revenue"]) == pytest.approx(revenue)
    assert [one["ts"] for one in answer["alerts"]] == sorted(
        one["ts"] for one in made["alerts"] if one["customer_id"] == customer
    )


def test_groups_of_the_index_have_correct_counts(served, made):
    _, answer = json_of(served, "groups", by="country", of="index")
    for one in answer["groups"]:
        matching = [row for row in made["customers"] if (row["country"] or "(none)") == one["name"]]
        assert one["customers"] == len(matching)
        assert one["revenue"] == pytest.approx(sum(row["revenue_365d"] or 0 for row in matching))
    assert answer["whole"]["customers"] == len(made["customers"])


# --- spreadsheets -----------------------------------------------------------------------------------------------------
def test_no_csv_cell_is_a_formula(served):
    texts = [
        *table(served, "customers.csv", size=500),
        *table(served, "groups.csv", by="segment"),
        *(row for board in DASHBOARDS for panel in board.panels for row in table(served, "panel.csv", id=panel.id)),
    ]
    cells = [cell for row in texts for cell in row]
    assert any(cell.startswith("'=cmd") for cell in cells)
    assert [cell for cell in cells if cell.startswith(("=", "+", "@"))] == []
    assert [cell for cell in cells if cell.startswith("-") and not is_number(cell)] == []


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_the_csv_of_a_panel_follows_the_filters(served, made):
    head, *rows = table(served, "panel.csv", id="revenue-channel", last="24h", country=["DE", "FR"])
    assert head == ["Channel", "Revenue", "Orders", "Average order value"]
    expected = {}
    for one in made["orders"]:
        if one["country"] in ("DE", "FR") and one["status"] == "placed" and one["ts"] >= NOW - 86_400_000:
            name = one["channel"] or "(none)"
            expected[name] = expected.get(name, 0) + 1
    assert {row[0]: int(row[2]) for row in rows if int(row[2])} == expected
