"""`dashboards import` against a server that answers as Kibana's API does."""

from __future__ import annotations

import base64
import json
import re
import subprocess

import pytest
from panels.documents import NOW
from panels.played_kibana import PlayedKibana
from typer.testing import CliRunner

from connectors.formats.money_format import NO_CURRENCY, money_format
from dashboards.boards import DASHBOARDS
from dashboards.boards.data import ALERTS, ORDERS, PIPELINE
from dashboards.kibana.client import Kibana, create_rules, import_file, set_calendar, wait
from dashboards.kibana.rules import alert_rules
from dashboards.kibana.saved_objects import ndjson
from features.calendar import Calendar
from features.errors import ShopstreamError, UsageError
from shopstream.cli.app import build_app
from shopstream.jobs.check_dashboards import declared_kinds

CONTENT = ndjson(DASHBOARDS)
OBJECTS = CONTENT.count("\n")


def imported(played, **options):
    target = {name: options.pop(name) for name in ("space", "username", "password", "api_key") if name in options}
    return import_file(Kibana(played.url, **target), CONTENT, wait_s=0.0, **options)


def test_every_object_is_imported_unchanged():
    with PlayedKibana() as played:
        done = imported(played)
    assert done.objects == OBJECTS
    assert played.imported == [json.loads(line) for line in CONTENT.splitlines()]
    assert played.requests == ["GET /api/status", "POST /api/saved_objects/_import?overwrite=false"]
    assert done.address == f"{played.url}/app/dashboards#/view/shop-now"


def test_import_waits_until_the_status_is_available():
    states, slept = [], []
    with PlayedKibana(levels=["unavailable", "degraded", "available"]) as played:
        import_file(Kibana(played.url), CONTENT, wait_s=60, on_wait=states.append, sleep=slept.append)
    assert states == ["its status is unavailable", "its status is degraded"]
    assert len(slept) == 2
    assert played.requests[:4] == ["GET /api/status"] * 3 + ["POST /api/saved_objects/_import?overwrite=false"]


def test_import_waits_for_a_server_that_does_not_answer_yet():
    with PlayedKibana() as played:
        gone = played.url
    states = []

    def sleep(_):
        if len(states) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait(Kibana(gone), 60, states.append, sleep)
    assert all("does not answer" in one for one in states)


def test_waiting_ends_after_the_given_time():
    with PlayedKibana(levels=["degraded"]) as played, pytest.raises(ShopstreamError) as raised:
        imported(played)
    assert "was not ready within 0 s: its status is degraded" in raised.value.message
    assert "--wait" in raised.value.remedy
    assert not any(request.startswith("POST") for request in played.requests)


def test_a_second_import_needs_overwrite():
    with PlayedKibana() as played:
        imported(played)
        with pytest.raises(ShopstreamError) as raised:
            imported(played)
        again = imported(played, overwrite=True)
    assert f"rejected {OBJECTS}" in raised.value.message
    assert "dashboard shop-now (conflict)" in raised.value.message
    assert "--overwrite" in raised.value.remedy
    assert again.objects == OBJECTS
    assert played.requests[-1] == "POST /api/saved_objects/_import?overwrite=true"


def test_import_into_a_space_uses_its_path():
    with PlayedKibana() as played:
        done = imported(played, space="shop team")
    assert played.requests[1:] == [
        "GET /api/spaces/space/shop%20team", "POST /s/shop%20team/api/saved_objects/_import?overwrite=false",
    ]  # fmt: skip
    assert done.address.endswith("/s/shop%20team/app/dashboards#/view/shop-now")


def test_calendar_is_set_for_the_space():
    with PlayedKibana() as played:
        set_calendar(Kibana(played.url, "shop team"), Calendar("Europe/Berlin", "sunday"))
    assert played.requests == ["POST /s/shop%20team/api/kibana/settings"]
    assert played.settings == {"dateFormat:tz": "Europe/Berlin", "dateFormat:dow": "Sunday"}


def test_kibana_that_takes_no_settings_is_an_error_with_the_settings_to_make():
    with PlayedKibana(has_settings=False) as played, pytest.raises(ShopstreamError) as raised:
        set_calendar(Kibana(played.url), Calendar("Europe/Berlin"))
    assert "dateFormat:tz to Europe/Berlin, dateFormat:dow to Monday" in raised.value.remedy


def test_a_missing_space_is_an_error():
    with PlayedKibana() as played, pytest.raises(ShopstreamError, match="Kibana has no space attic"):
        imported(played, space="attic")
    assert not any(request.startswith("POST") for request in played.requests)


def test_import_uses_the_base_path_of_the_server():
    with PlayedKibana(base="/kibana") as played:
        assert imported(played).objects == OBJECTS
        assert played.requests[-1].startswith("POST /kibana/api/saved_objects/_import")
        with pytest.raises(ShopstreamError) as raised:
            import_file(Kibana(played.url.removesuffix("/kibana")), CONTENT, wait_s=0)
    assert "base path" in str(raised.value)


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ({"username": "ann", "password": "s3cret"}, f"Basic {base64.b64encode(b'ann:s3cret').decode()}"),
        ({"api_key": "a2V5"}, "ApiKey a2V5"),
    ],
)
def test_credentials_are_sent_in_the_header(credentials, header):
    with PlayedKibana(credentials=header) as played:
        assert imported(played, **credentials).objects == OBJECTS
        with pytest.raises(ShopstreamError, match="rejected the credentials") as raised:
            imported(played)
        assert "s3cret" not in repr(Kibana(played.url, **credentials))
    assert "KIBANA_PASSWORD" in raised.value.remedy


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "does not allow the import: no disk space left"),
        (404, "base path"),
        (413, "maxImportPayloadBytes"),
        (500, "rejected the import with status 500: no disk space left"),
    ],
)
def test_rejections_contain_a_remedy(status, message):
    with PlayedKibana(status=status) as played, pytest.raises(ShopstreamError) as raised:
        imported(played)
    assert message in str(raised.value)


def test_a_rejected_object_is_named_with_its_missing_reference():
    error = {
        "type": "dashboard", "id": "shop-now",
        "error": {"type": "missing_references", "references": [{"type": "index-pattern", "id": "shop-orders"}]},
    }  # fmt: skip
    response = {"success": False, "successCount": 17, "errors": [error]}
    with PlayedKibana(response=response) as played, pytest.raises(ShopstreamError) as raised:
        imported(played)
    assert raised.value.message.startswith("Kibana imported 17 objects and rejected 1: dashboard shop-now (")
    assert "(missing_references: index-pattern shop-orders)" in raised.value.message


def test_a_response_without_success_is_an_error():
    with PlayedKibana(response={"successCount": 3}) as played, pytest.raises(ShopstreamError, match="gave no reason"):
        imported(played)


@pytest.mark.parametrize(
    "url", ["localhost:5601", "ftp://kibana", "http://", "http://ann:pw@localhost", "http://localhost:port"]
)
def test_invalid_urls_are_rejected(url):
    with pytest.raises(UsageError):
        Kibana(url)


@pytest.fixture
def certificate(tmp_path):
    """A certificate of localhost, signed by itself, and its key, in one file."""
    file = tmp_path / "localhost.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
         "-keyout", str(tmp_path / "key.pem"), "-out", str(file)],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text((tmp_path / "key.pem").read_text() + file.read_text())
    return str(file)


def test_a_trusted_certificate_is_accepted(certificate):
    with PlayedKibana(certificate=certificate) as played:
        assert import_file(Kibana(played.url, ca_certs=certificate), CONTENT, wait_s=0).objects == OBJECTS


def test_an_untrusted_certificate_is_rejected_without_waiting(certificate):
    with (
        PlayedKibana(certificate=certificate) as played,
        pytest.raises(ShopstreamError, match="is not trusted") as raised,
    ):
        import_file(Kibana(played.url), CONTENT, wait_s=60)
    assert "--ca-certs" in raised.value.remedy
    assert played.requests == []


def test_https_to_a_server_without_tls_is_an_error():
    with PlayedKibana() as played, pytest.raises(ShopstreamError, match="no TLS connection"):
        import_file(Kibana(played.url.replace("http:", "https:")), CONTENT, wait_s=60)


def test_an_unreadable_authority_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        wait(Kibana("https://localhost:5601", ca_certs=str(tmp_path / "missing.pem")), 0)


# --- the command ---


def run(*arguments, env=None):
    return CliRunner().invoke(build_app(), ["dashboards", *arguments], env=env)


def test_the_command_reads_secrets_from_a_file_or_a_variable(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    header = f"Basic {base64.b64encode(b'ann:s3cret').decode()}"
    with PlayedKibana(credentials=header) as played:
        by_file = run(
            "import", "--url", played.url, "--username", "ann", "--password-file", str(secret), "--run", "other"
        )
        by_variable = run("import", "--url", played.url, "--username", "ann", env={"KIBANA_PASSWORD": "s3cret"})
        wrong = run("import", "--url", played.url, "--username", "ann", env={"KIBANA_PASSWORD": "x"})
    assert by_file.exit_code == by_variable.exit_code == 0, by_file.output
    assert by_variable.stdout.strip() == f"{played.url}/app/dashboards#/view/shop-now"
    assert ("dashboard", "other-now") in played.objects
    assert isinstance(wrong.exception, ShopstreamError)


def test_the_command_reads_an_api_key_from_a_variable():
    with PlayedKibana(credentials="ApiKey a2V5") as played:
        assert run("import", "--url", played.url, env={"KIBANA_API_KEY": "a2V5"}).exit_code == 0


def test_build_writes_the_file(tmp_path):
    out = tmp_path / "shop.ndjson"
    assert run("build", "--out", str(out)).exit_code == 0
    assert out.read_text("utf-8") == CONTENT
    assert isinstance(run("build", "--out", str(tmp_path / "no" / "where")).exception, ShopstreamError)


def test_build_and_import_take_the_currency_of_the_settings_and_say_once_that_there_is_none(tmp_path):
    out, yen = tmp_path / "shop.ndjson", {"SHOPSTREAM_SHOP__CURRENCY": "JPY"}
    assert run("build", "--out", str(out)).stderr.count(NO_CURRENCY) == 1
    assert NO_CURRENCY not in run("build", "--out", str(out), env=yen).output
    assert out.read_text("utf-8") == ndjson(DASHBOARDS, money=money_format("JPY", None)) != CONTENT
    with PlayedKibana() as played:
        assert run("import", "--url", played.url).stderr.count(NO_CURRENCY) == 1
        without = str(played.imported)
        assert NO_CURRENCY not in run("import", "--url", played.url, "--overwrite", env=yen).output
    assert (" JPY" in without, " JPY" in str(played.imported)) == (False, True)


def test_build_and_import_take_the_address_of_the_page(tmp_path):
    out = tmp_path / "shop.ndjson"
    assert run("build", "--out", str(out), "--page", "http://localhost:8050").exit_code == 0
    assert out.read_text("utf-8") == ndjson(DASHBOARDS, page="http://localhost:8050") != CONTENT
    with PlayedKibana() as played:
        assert run("import", "--url", played.url, "--page", "http://localhost:8050").exit_code == 0
    assert "http://localhost:8050/?view=customer&id={{value}}" in str(played.imported)
    assert isinstance(run("build", "--out", str(out), "--page", "localhost").exception, UsageError)


# --- alert rules ---


def test_rules_are_created_once_and_keep_the_changes_of_their_users():
    with PlayedKibana() as played:
        first = create_rules(Kibana(played.url), alert_rules("shop"))
        changed = next(iter(played.rules))
        played.rules[changed]["actions"] = [{"id": "mail"}]
        again = create_rules(Kibana(played.url), alert_rules("shop"))
    assert (first, again) == (5, 0)
    assert played.rules[changed]["actions"] == [{"id": "mail"}]
    assert [rule["name"] for rule in played.rules.values()] == [
        "Shop: Revenue dropped", "Shop: The pipeline is silent", "Shop: The pipeline lags behind",
        "Shop: Records were rejected", "Shop: Customers became critical",
    ]  # fmt: skip


def test_rules_of_runs_and_spaces_have_other_ids_and_the_path_of_the_space():
    ids = [rule.id for one in (("shop", ""), ("shop", "team"), ("other", "")) for rule in alert_rules(*one)]
    assert len(set(ids)) == 15
    assert ids[:5] == [rule.id for rule in alert_rules("shop")]
    with PlayedKibana() as played:
        create_rules(Kibana(played.url, "team"), alert_rules("shop", "team"))
    assert played.requests[0] == f"POST /s/team/api/alerting/rule/{ids[5]}"


def test_a_refused_rule_is_an_error_with_the_reason_and_the_privilege():
    refused = {"statusCode": 403, "error": "Forbidden", "message": "Unauthorized to create rule"}
    with PlayedKibana(rules_refused=refused) as played, pytest.raises(ShopstreamError) as raised:
        create_rules(Kibana(played.url), alert_rules("shop"))
    assert "does not allow the rule 'Shop: Revenue dropped': Unauthorized to create rule" in raised.value.message
    assert "0 rules were created" in raised.value.message
    assert "Stack Rules" in raised.value.remedy


def test_the_command_creates_rules_only_on_request():
    with PlayedKibana() as played:
        assert run("import", "--url", played.url).exit_code == 0
        assert played.rules == {}
        result = run("import", "--url", played.url, "--overwrite", "--rules", "--run", "fixed")
        assert "5 alert rules created, 0 exist" in result.stderr
        assert (
            "0 alert rules created, 5 exist"
            in run("import", "--url", played.url, "--overwrite", "--rules", "--run", "fixed").stderr
        )
    queries = [str(rule["params"]) for rule in played.rules.values()]
    assert all("fixed-" in query and "shop-" not in query for query in queries)


def test_rules_search_fields_that_the_indices_have():
    kinds = declared_kinds()
    for rule, data in zip(alert_rules("shop"), (ORDERS, PIPELINE, PIPELINE, PIPELINE, ALERTS), strict=True):
        params = rule.body["params"]
        assert params["timeField"] == data.time_field
        text = params.get("esQuery") or params["esqlQuery"]["esql"]
        used = set(re.findall(r"status|total|ts(?= [<>])|rejected|role|worker|state|churn_risk", text))
        assert used
        assert used | ({params["aggField"]} if "aggField" in params else set()) <= kinds[data.index].keys()


@pytest.mark.parametrize(("name", "hits"), [("silent", 0), ("critical", 1)])
def test_queries_of_rules_find_the_documents_of_their_window(name, hits, filled):
    (rule,) = (one for one in alert_rules(filled[0]) if name in one.name)
    params = rule.body["params"]
    window = {"range": {params["timeField"]: {"gte": NOW - params["timeWindowSize"] * 60_000 * 24 * 30, "lt": NOW}}}
    query = {"bool": {"filter": [window, json.loads(params["esQuery"])["query"]]}}
    index = params["index"][0].removeprefix(f"{filled[0]}-")
    response = filled[1](index, {"size": 0, "track_total_hits": True, "query": query})
    assert response["hits"]["total"]["value"] > hits
