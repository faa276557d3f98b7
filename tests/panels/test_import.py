"""`dashboards import` against a server that answers as Kibana's API does."""

from __future__ import annotations

import base64
import json

import pytest
from panels.played_kibana import PlayedKibana
from typer.testing import CliRunner

from dashboards.boards import DASHBOARDS
from dashboards.kibana.client import Kibana, import_file, wait
from dashboards.kibana.saved_objects import ndjson
from features.errors import ShopstreamError, UsageError
from shopstream.cli.app import build_app

CONTENT = ndjson(DASHBOARDS)
OBJECTS = CONTENT.count("\n")


def imported(played, **options):
    target = {name: options.pop(name) for name in ("space", "username", "password", "api_key") if name in options}
    return import_file(Kibana(played.url, **target), CONTENT, wait_s=0.0, **options)


def test_every_object_arrives_as_it_was_written():
    with PlayedKibana() as played:
        done = imported(played)
    assert done.objects == OBJECTS
    assert played.imported == [json.loads(line) for line in CONTENT.splitlines()]
    assert played.asked == ["GET /api/status", "POST /api/saved_objects/_import?overwrite=false"]
    assert done.address == f"{played.url}/app/dashboards#/view/shop-now"


def test_it_waits_until_kibana_is_available_and_an_answer_alone_is_too_early():
    said, slept = [], []
    with PlayedKibana(levels=["unavailable", "degraded", "available"]) as played:
        import_file(Kibana(played.url), CONTENT, wait_s=60, on_wait=said.append, sleep=slept.append)
    assert said == ["it says unavailable", "it says degraded"]
    assert len(slept) == 2
    assert played.asked[:4] == ["GET /api/status"] * 3 + ["POST /api/saved_objects/_import?overwrite=false"]


def test_it_waits_for_a_server_that_does_not_answer_yet():
    with PlayedKibana() as played:
        gone = played.url
    said = []

    def sleep(_):
        if len(said) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait(Kibana(gone), 60, said.append, sleep)
    assert all("does not answer" in one for one in said)


def test_it_does_not_wait_for_ever():
    with PlayedKibana(levels=["degraded"]) as played, pytest.raises(ShopstreamError) as told:
        imported(played)
    assert "was not ready within 0 s: it says degraded" in told.value.message
    assert "--wait" in told.value.remedy
    assert not any(asked.startswith("POST") for asked in played.asked)


def test_again_needs_overwrite():
    with PlayedKibana() as played:
        imported(played)
        with pytest.raises(ShopstreamError) as told:
            imported(played)
        again = imported(played, overwrite=True)
    assert f"could not take {OBJECTS}" in told.value.message
    assert "dashboard shop-now (conflict)" in told.value.message
    assert "--overwrite" in told.value.remedy
    assert again.objects == OBJECTS
    assert played.asked[-1] == "POST /api/saved_objects/_import?overwrite=true"


def test_into_a_space():
    with PlayedKibana() as played:
        done = imported(played, space="shop team")
    assert played.asked[1:] == [
        "GET /api/spaces/space/shop%20team", "POST /s/shop%20team/api/saved_objects/_import?overwrite=false",
    ]  # fmt: skip
    assert done.address.endswith("/s/shop%20team/app/dashboards#/view/shop-now")


def test_a_space_that_is_not_there():
    with PlayedKibana() as played, pytest.raises(ShopstreamError, match="Kibana has no space attic"):
        imported(played, space="attic")
    assert not any(asked.startswith("POST") for asked in played.asked)


def test_below_a_base_path():
    with PlayedKibana(base="/kibana") as played:
        assert imported(played).objects == OBJECTS
        assert played.asked[-1].startswith("POST /kibana/api/saved_objects/_import")
        with pytest.raises(ShopstreamError) as told:
            import_file(Kibana(played.url.removesuffix("/kibana")), CONTENT, wait_s=0)
    assert "base path" in str(told.value)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"username": "ann", "password": "s3cret"}, f"Basic {base64.b64encode(b'ann:s3cret').decode()}"),
        ({"api_key": "a2V5"}, "ApiKey a2V5"),
    ],
)
def test_credentials(given, wanted):
    with PlayedKibana(credentials=wanted) as played:
        assert imported(played, **given).objects == OBJECTS
        with pytest.raises(ShopstreamError, match="refused the credentials") as told:
            imported(played)
        assert "s3cret" not in repr(Kibana(played.url, **given))
    assert "KIBANA_PASSWORD" in told.value.remedy


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "does not allow the import: it says why"),
        (404, "base path"),
        (413, "maxImportPayloadBytes"),
        (500, "refused the import with 500: it says why"),
    ],
)
def test_refusals_say_what_to_do(status, said):
    with PlayedKibana(status=status) as played, pytest.raises(ShopstreamError) as told:
        imported(played)
    assert said in str(told.value)


def test_what_could_not_be_taken_is_named_with_what_it_lacks():
    error = {
        "type": "dashboard", "id": "shop-now",
        "error": {"type": "missing_references", "references": [{"type": "index-pattern", "id": "shop-orders"}]},
    }  # fmt: skip
    says = {"success": False, "successCount": 17, "errors": [error]}
    with PlayedKibana(says=says) as played, pytest.raises(ShopstreamError) as told:
        imported(played)
    assert told.value.message.startswith("Kibana took 17 objects and could not take 1: dashboard shop-now (")
    assert "(missing_references: index-pattern shop-orders)" in told.value.message


def test_an_answer_without_success_is_no_success():
    with PlayedKibana(says={"successCount": 3}) as played, pytest.raises(ShopstreamError, match="did not say why"):
        imported(played)


@pytest.mark.parametrize("url", ["localhost:5601", "ftp://kibana", "http://", "http://ann:pw@localhost"])
def test_urls_that_are_none(url):
    with pytest.raises(UsageError):
        Kibana(url)


# --- the command ---


def run(*arguments, env=None):
    return CliRunner().invoke(build_app(), ["dashboards", *arguments], env=env)


def test_the_command_takes_secrets_from_a_file_or_a_variable(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    wanted = f"Basic {base64.b64encode(b'ann:s3cret').decode()}"
    with PlayedKibana(credentials=wanted) as played:
        by_file = run(
            "import", "--url", played.url, "--username", "ann", "--password-file", str(secret), "--run", "other"
        )
        by_variable = run("import", "--url", played.url, "--username", "ann", env={"KIBANA_PASSWORD": "s3cret"})
        wrong = run("import", "--url", played.url, "--username", "ann", env={"KIBANA_PASSWORD": "x"})
    assert by_file.exit_code == by_variable.exit_code == 0, by_file.output
    assert by_variable.stdout.strip() == f"{played.url}/app/dashboards#/view/shop-now"
    assert ("dashboard", "other-now") in played.stands
    assert isinstance(wrong.exception, ShopstreamError)


def test_an_api_key_from_a_variable():
    with PlayedKibana(credentials="ApiKey a2V5") as played:
        assert run("import", "--url", played.url, env={"KIBANA_API_KEY": "a2V5"}).exit_code == 0


def test_build_writes_the_file(tmp_path):
    out = tmp_path / "shop.ndjson"
    assert run("build", "--out", str(out)).exit_code == 0
    assert out.read_text("utf-8") == CONTENT
    assert isinstance(run("build", "--out", str(tmp_path / "no" / "where")).exception, ShopstreamError)
