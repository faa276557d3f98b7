"""Schemas are requested once. A registry that is away is waited for, and a wrong address or login stops."""

import ssl
import subprocess
import uuid
from contextlib import ExitStack

import pytest
from registry_server import RegistryServer, basic_login, serving

from connectors.endpoints import RegistryEndpoint
from connectors.messages.registry import UNKNOWN_S, SchemaRegistry, UnusableSchemaError
from features.errors import ShopstreamError

AVRO = {"type": "record", "name": "R", "fields": []}
GUID = uuid.UUID("89791762-2336-4186-9674-299b90a802e2")


@pytest.fixture
def client(registry):
    return SchemaRegistry(registry.endpoint(), wait=pytest.fail)


def test_schema_is_requested_once_by_its_id_and_by_its_guid(registry, client):
    number = registry.add("AVRO", AVRO)
    registry.guids[str(GUID)] = number
    for schema_id in (number, GUID):
        first = client.schema(schema_id, "AVRO")
        assert first.kind == "AVRO"
        assert client.schema(schema_id, "AVRO") is first
    assert len(registry.requests) == client.requests == 2


def test_schemas_that_a_schema_imports_come_with_it(registry, client):
    registry.add("AVRO", {"type": "enum", "name": "Kind", "symbols": []}, subject="kinds")
    registry.add(
        "AVRO", {"type": "enum", "name": "Money", "symbols": []}, subject="money", references=[("k", "kinds", 1)]
    )
    schema = client.schema(registry.add("AVRO", AVRO, references=[("m", "money", 1)]), "AVRO")
    (money,) = schema.references
    assert (money.name, money.schema.references[0].name) == ("m", "k")


def test_import_that_the_registry_lacks_makes_a_schema_unusable(registry, client):
    number = registry.add("AVRO", AVRO, references=[("m", "money", 3)])
    with pytest.raises(UnusableSchemaError, match="version 3 of money"):
        client.schema(number, "AVRO")


def test_protobuf_is_requested_as_a_descriptor(registry, client):
    number = registry.add("PROTOBUF", "CgdhLnByb3Rv")
    assert client.schema(number, "PROTOBUF").text == "CgdhLnByb3Rv"
    assert registry.requests[-1].endswith("format=serialized")


def test_unknown_id_is_an_answer_that_is_requested_again_later(registry):
    now = [0.0]
    client = SchemaRegistry(registry.endpoint(), wait=pytest.fail, clock=lambda: now[0])
    assert client.schema(7, "AVRO") is None
    now[0] = UNKNOWN_S - 1
    assert client.schema(7, "AVRO") is None
    assert len(registry.requests) == 1
    registry.add("AVRO", AVRO, number=7)
    now[0] = UNKNOWN_S
    assert client.schema(7, "AVRO").kind == "AVRO"


@pytest.mark.parametrize("faults", [[503], [500, 429], [502, 504, 408]])
def test_registry_with_a_failure_is_waited_for(registry, faults):
    number = registry.add("AVRO", AVRO)
    registry.faults += faults
    pauses, errors = [], []

    def wait(seconds):
        pauses.append(seconds)
        errors.append(client.last_error)

    client = SchemaRegistry(registry.endpoint(), wait=wait)
    assert client.schema(number, "AVRO").kind == "AVRO"
    assert pauses == [0.5 * 2**number for number in range(len(faults))]
    assert all(f"HTTP status code {fault}" in error for fault, error in zip(faults, errors, strict=True))
    assert (client.last_error, client.waited_s) == (None, sum(pauses))


def test_registry_that_is_down_is_waited_for_until_it_is_back():
    server = RegistryServer()
    number = server.add("AVRO", AVRO)
    with serving(server):
        endpoint = server.endpoint()
    with ExitStack() as stack:

        def wait(_):
            assert "Connect" in client.last_error
            if client.requests == 3:
                stack.enter_context(serving(server, port=int(endpoint.url.rpartition(":")[2])))

        client = SchemaRegistry(endpoint, wait=wait)
        assert client.schema(number, "AVRO").kind == "AVRO"
    assert client.requests == 4


def test_pause_grows_to_a_bound_and_the_caller_can_give_up(registry):
    registry.faults += [503] * 100
    pauses = []

    def wait(seconds):
        pauses.append(seconds)
        if len(pauses) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SchemaRegistry(registry.endpoint(), wait=wait).schema(1, "PROTOBUF")
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_wait_is_logged_once_and_so_is_the_return(registry, capsys):
    number = registry.add("AVRO", AVRO)
    registry.faults += [503, 503, 503]
    SchemaRegistry(registry.endpoint(), wait=lambda _: None).schema(number, "AVRO")
    logged = capsys.readouterr().out
    assert logged.count("schema registry is away, waiting") == 1
    assert logged.count("schema registry is back") == 1


# --- what waiting does not mend ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [401, 403])
def test_refused_login_stops_with_the_settings_to_correct(registry, client, status):
    registry.faults.append(status)
    with pytest.raises(ShopstreamError, match=r"refuses the client.*registries\.main\.username"):
        client.schema(1, "PROTOBUF")


def test_login_is_sent_and_a_wrong_one_is_refused(registry):
    number = registry.add("AVRO", AVRO)
    registry.login = basic_login("reader", "pass:word")
    right = registry.endpoint(username="reader", password="pass:word")
    assert SchemaRegistry(right, wait=pytest.fail).schema(number, "AVRO").kind == "AVRO"
    with pytest.raises(ShopstreamError, match="refuses the client") as error:
        SchemaRegistry(registry.endpoint(username="reader", password="secret"), wait=pytest.fail).schema(number, "AVRO")
    assert "secret" not in str(error.value)


def test_address_without_the_path_of_the_registry_stops(registry, client):
    registry.answer = lambda *_: (404, {"message": "no such page"})
    with pytest.raises(ShopstreamError, match=r"does not answer as a schema registry.*registries\.main\.url"):
        client.schema(1, "PROTOBUF")


def test_registry_without_guids_does_not_know_one(registry, client):
    answer = registry.answer
    registry.answer = lambda method, target, *more: (404, b"") if "guids" in target else answer(method, target, *more)
    assert client.schema(GUID, "AVRO") is None


@pytest.mark.parametrize("content", [b"<html>", [1], {"schema": None, "schemaType": "PROTOBUF"}])
def test_answer_of_another_server_stops(registry, client, content):
    registry.answer = lambda *_: (200, content)
    with pytest.raises(ShopstreamError, match="does not answer as a schema registry"):
        client.schema(1, "PROTOBUF")


def test_other_status_stops(registry, client):
    registry.answer = lambda *_: (302, {})
    with pytest.raises(ShopstreamError, match="does not answer as a schema registry"):
        client.schema(1, "PROTOBUF")


def test_file_of_the_authority_that_is_not_there_is_named(tmp_path):
    endpoint = RegistryEndpoint("main", "https://127.0.0.1:1", ca_certs=str(tmp_path / "none.pem"))
    with pytest.raises(ShopstreamError, match=r"none\.pem cannot be used.*registries\.main\.ca_certs"):
        SchemaRegistry(endpoint)


def test_certificate_of_another_authority_stops_and_its_own_is_accepted(registry, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = RegistryServer()
    number = server.add("AVRO", AVRO)
    with serving(server, context):
        endpoint = RegistryEndpoint("main", server.url, ca_certs=str(certificate))
        assert SchemaRegistry(endpoint, wait=pytest.fail).schema(number, "AVRO").kind == "AVRO"
        with pytest.raises(ShopstreamError, match=r"certificate .* is refused.*registries\.main\.ca_certs"):
            SchemaRegistry(RegistryEndpoint("main", server.url), wait=pytest.fail).schema(number, "AVRO")
