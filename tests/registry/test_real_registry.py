"""Values of other writers with a real registry: confluent's serializers and Apache's writer, read by our decoders."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import avro.io
import avro.schema
import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from protobuf_files import class_of, file, message
from real_registry import running
from registry_server import prefixed
from topic_mappers import topic_mapper

from connectors.endpoints import RegistryEndpoint
from connectors.messages.decoder import schema_decoder
from connectors.messages.mapped import Message
from features.errors import ShopstreamError
from shopstream.settings import load_settings

pytestmark = pytest.mark.slow

LINE = {"type": "record", "name": "Line", "namespace": "shop", "fields": [
    {"name": "sku", "type": "string"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
]}  # fmt: skip
CLICK = {"type": "record", "name": "Click", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"}, {"name": "user", "type": ["null", "string"], "default": None},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["VIEW", "BUY"]}},
    {"name": "line", "type": ["null", "Line"]},
]}  # fmt: skip
AT = datetime(2026, 5, 4, 10, 0, 0, 100_007, tzinfo=UTC)
RECORD = {"id": 2**62, "user": "u", "at": AT, "kind": "BUY", "line": {"sku": "Ä", "price": Decimal("19.90")}}
EXPECTED = {"id": 2**62, "user": "u", "at": 1777888800100007, "kind": "BUY", "line": {"sku": "Ä", "price": "19.90"}}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("apicurio")) as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    return SchemaRegistryClient({"url": url, "timeout": 60})


@pytest.fixture
def decode(url):
    def decode(form, value):
        return schema_decoder(form, RegistryEndpoint("main", url), pytest.fail)(value, ())

    return decode


def context(topic):
    return SerializationContext(topic, MessageField.VALUE)


@pytest.fixture(scope="module")
def references(client):
    client.register_schema("line", Schema(json.dumps(LINE), "AVRO"))
    return [SchemaReference("shop.Line", "line", 1)]


def test_avro_of_confluents_serializer_with_an_imported_type(client, decode, references):
    serialize = AvroSerializer(client, Schema(json.dumps(CLICK), "AVRO", references))
    assert decode("avro", serialize(RECORD, context("clicks"))) == EXPECTED


def test_avro_of_apaches_writer_with_an_imported_type(client, decode, references):
    number = client.register_schema("clicks-value", Schema(json.dumps(CLICK), "AVRO", references))
    whole = json.loads(json.dumps(CLICK))
    whole["fields"][-1]["type"] = ["null", LINE]
    stream = io.BytesIO()
    avro.io.DatumWriter(avro.schema.parse(json.dumps(whole))).write(RECORD, avro.io.BinaryEncoder(stream))
    assert decode("avro", prefixed(number, stream.getvalue())) == EXPECTED


def test_json_of_confluents_serializer(client, decode):
    schema = {"title": "Click", "type": "object", "properties": {"id": {"type": "integer"}}}
    serialize = JSONSerializer(json.dumps(schema), client)
    assert decode("json_schema", serialize({"id": 2**62, "total": 1.10}, context("json-clicks"))) == {
        "id": 2**62, "total": "1.1",
    }  # fmt: skip


def test_protobuf_of_confluents_serializer_with_an_imported_file(client, decode):
    money = file("money.proto", message("Other", ("a", 1, "string")), message("Money", ("units", 1, "int64")))
    click = file(
        "click.proto",
        message("First", ("a", 1, "string")),
        message(
            "Click", ("id", 1, "int64"), ("at", 2, "message", ("of", "google.protobuf.Timestamp")),
            ("price", 3, "message", ("of", "shop.Money")),
        ),
        imports=("google/protobuf/timestamp.proto", "money.proto"),
    )  # fmt: skip
    made = class_of("Click", money, click)(id=2**62)
    made.at.FromDatetime(AT)
    made.price.units = -1
    serialize = ProtobufSerializer(type(made), client)
    assert decode("protobuf", serialize(made, context("proto-clicks"))) == {
        "id": str(2**62), "at": "2026-05-04T10:00:00.100007Z", "price": {"units": "-1"},
    }  # fmt: skip


def test_protobuf_that_the_registry_has_as_source_text_alone_stops(client, decode):
    """Apicurio's `format=serialized` is no base64, and lacks what the schema imports."""
    number = client.register_schema("text", Schema('syntax = "proto3"; message A { string a = 1; }', "PROTOBUF"))
    with pytest.raises(ShopstreamError, match=r"gives no descriptor of the Protobuf schema .*format=serialized"):
        decode("protobuf", prefixed(number, b"\0"))


def test_unknown_ids_and_schemas_of_another_kind_are_refused(client, decode):
    number = client.register_schema("kinds", Schema(json.dumps(LINE), "AVRO"))
    assert decode("avro", prefixed(10**6, b"")).reason == "schema 1000000: the registry does not know it"
    assert decode("avro", b"\x01" + bytes(16)).reason.endswith("the registry does not know it")
    assert decode("json_schema", prefixed(number, b"{}")).reason == f"schema {number} is AVRO, not JSON"


def test_address_without_the_path_of_the_interface_stops(url):
    decoder = schema_decoder("avro", RegistryEndpoint("main", url.removesuffix("/apis/ccompat/v7")), pytest.fail)
    with pytest.raises(ShopstreamError, match="does not answer as a schema registry"):
        decoder(prefixed(1, b""), ())


def test_clicks_of_confluents_serializer_are_events_of_the_run(client, url, references):
    text = """\
kind: clicks
from: {topic: clicks, format: avro, registry: main}
time: {path: at, format: schema}
click: {customer: user, id: id, session: {value: s}, type: kind, types: {BUY: purchase}, price: line.price}
"""
    serialize = AvroSerializer(client, Schema(json.dumps(CLICK), "AVRO", references))
    settings = load_settings(registries={"main": {"url": url}})
    mapper = topic_mapper(text, settings, wait=pytest.fail)
    result = mapper.map(
        [Message(serialize(RECORD, context("clicks"))), Message(serialize(RECORD, context("clicks"))[:-1])]
    )
    (event,) = [json.loads(one.value) for one in result.records]
    assert (event["event_id"], event["ts"], event["price"]) == (str(2**62), 1777888800100, 19.9)
    assert result.refused[1].endswith("the message ends early")
