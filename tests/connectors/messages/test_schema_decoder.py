"""A value is decoded by the schema of its id. Schemas of another kind, unknown ones and missing libraries are named."""

import json
import subprocess
import sys
import uuid

import pytest
from registry_server import prefixed

from connectors.endpoints import RegistryEndpoint
from connectors.messages.decoder import schema_decoder
from connectors.messages.schema_ids import HEADER
from connectors.tables.records import Unreadable
from features.errors import ShopstreamError

RECORD = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}]}
DESCRIPTOR = "CgdhLnByb3RvIgMKAUE="
"""A file with an empty message A."""


def test_json_with_a_schema_is_read_as_json_and_not_validated(registry, decoder):
    number = registry.add("JSON", {"type": "object", "required": ["name"]})
    decoded = decoder("json_schema")(prefixed(number, b'{"id": 9007199254740993, "total": 12.10}'), ())
    assert decoded == {"id": 9007199254740993, "total": "12.10"}


@pytest.mark.parametrize(
    ("payload", "reason"), [(b"{", "not JSON"), (b"\xff", "not UTF-8"), (b"[1]", "the JSON is not an object")]
)
def test_json_that_is_no_object_is_refused_with_its_schema(registry, decoder, payload, reason):
    refused = decoder("json_schema")(prefixed(registry.add("JSON", {}), payload), ())
    assert refused.reason.startswith(f"JSON, schema 1: {reason}")


KINDS = {"avro": "AVRO", "json_schema": "JSON", "protobuf": "PROTOBUF"}


@pytest.mark.parametrize("form", KINDS)
def test_schema_of_another_kind_is_refused_and_requested_once(registry, decoder, form):
    numbers = {kind: registry.add(kind, text) for kind, text in
               (("AVRO", json.dumps(RECORD)), ("JSON", "{}"), ("PROTOBUF", DESCRIPTOR))}  # fmt: skip
    decode = decoder(form)
    for kind, number in numbers.items():
        for _ in range(2):
            decoded = decode(prefixed(number, {"AVRO": b"\x02x", "JSON": b"{}", "PROTOBUF": b"\0"}[kind]), ())
            if kind == KINDS[form]:
                assert isinstance(decoded, dict)
            else:
                assert decoded == Unreadable(f"schema {number} is {kind}, not {KINDS[form]}", "")
    assert len({*registry.requests}) == len(registry.requests)


def test_schema_that_the_registry_does_not_know_is_refused(registry, decoder):
    assert decoder("avro")(prefixed(99, b""), ()).reason == "schema 99: the registry does not know it"
    guid = uuid.uuid4()
    refused = decoder("avro")(b"", [(HEADER, b"\x01" + guid.bytes)])
    assert refused.reason == f"schema {guid}: the registry does not know it"


def test_schema_by_guid_decodes_a_value_without_a_prefix(registry, decoder):
    guid = uuid.uuid4()
    registry.guids[str(guid)] = registry.add("AVRO", RECORD)
    assert decoder("avro")(b"\x02x", [(HEADER, b"\x01" + guid.bytes)]) == {"id": "x"}


def test_what_a_schema_imports_is_requested_only_where_a_value_needs_it(registry, decoder):
    gone = [("m", "money", 1)]
    number = registry.add("JSON", {}, references=gone)
    assert decoder("json_schema")(prefixed(number, b"{}"), ()) == {}
    for kind in ("AVRO", "PROTOBUF"):
        number = registry.add(kind, "{}", references=gone)
        assert decoder("json_schema")(prefixed(number, b"{}"), ()).reason == f"schema {number} is {kind}, not JSON"
    assert all("/ids/" in request and "format" not in request for request in registry.requests)


def test_schema_with_an_import_that_is_gone_is_refused(registry, decoder):
    number = registry.add("AVRO", RECORD, references=[("m", "money", 1)])
    reason = "schema 1 cannot be used: it imports version 1 of money, which the registry does not know"
    assert decoder("avro")(prefixed(number, b"\x02x"), ()) == Unreadable(reason, "")


@pytest.mark.parametrize(
    ("form", "library"),
    [("avro", "fastavro"), ("protobuf", "google.protobuf"), ("json_schema", "httpx2"), ("avro", "authlib")],
)
def test_missing_library_is_named_with_the_extra(monkeypatch, form, library):
    for name in [*sys.modules]:
        if name.startswith(("connectors.messages", "confluent_kafka.schema_registry")):
            monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == library or name.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ShopstreamError, match=r"need .* not installed.*pip install 'shopstream\[registry\]'"):
        schema_decoder(form, RegistryEndpoint("main", "http://127.0.0.1:1"), pytest.fail)


def test_topics_of_json_load_no_library_of_the_extra():
    code = (
        "import sys, shopstream.runtime.topic_mapper\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('fastavro', 'google', 'httpx2', 'authlib')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
