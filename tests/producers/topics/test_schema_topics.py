"""Mappings read topics with a schema as they read JSON: paths, envelopes, times, decimals and refusals."""

import base64
import io
import json

import fastavro
import pytest
from producers_import import import_text
from registry_server import prefixed
from topic_mappers import topic_mapper
from typer.testing import CliRunner

from connectors.messages.decoder import schema_decoder
from connectors.messages.mapped import Message
from features.errors import ShopstreamError, UsageError
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper
from shopstream.cli.app import build_app
from shopstream.settings import load_settings, registry_endpoint

FROM = "from: {topic: raw, format: %s, registry: main}"
CLICKS = """\
kind: clicks
from: {topic: raw, format: avro, registry: main}
time: {path: at, format: schema%s}
click: {customer: user, id: id, session: session, type: kind, types: {VIEW: product_view}, product: item.sku,
        price: price}
"""
AT = 1777888800100
"""2026-05-04T10:00:00.100Z."""


CLICK = {"id": 2**62, "user": "u", "session": "s", "at": AT, "kind": "VIEW", "item": {"sku": "A"}, "price": None}


def click_schema(at, price=None):
    price = price or {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}
    return {"type": "record", "name": "Click", "fields": [
        {"name": "id", "type": "long"}, {"name": "user", "type": "string"}, {"name": "session", "type": "string"},
        {"name": "at", "type": at}, {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["VIEW"]}},
        {"name": "item", "type": {"type": "record", "name": "Item", "fields": [{"name": "sku", "type": "string"}]}},
        {"name": "price", "type": ["null", price]},
    ]}  # fmt: skip


def without_logic(schema):
    if isinstance(schema, dict):
        return {key: without_logic(value) for key, value in schema.items() if key not in ("logicalType", "scale")}
    return [without_logic(one) for one in schema] if isinstance(schema, list) else schema


def avro_value(registry, schema, record):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(without_logic(schema)), record)
    return prefixed(registry.add("AVRO", schema), stream.getvalue())


def mapper(registry, text):
    settings = load_settings(registries={"main": {"url": registry.url}})
    return topic_mapper(text, settings, wait=pytest.fail)


def click(registry, at, value, more="", **fields):
    record = {
        "id": 2**62,
        "user": "u",
        "session": "s",
        "at": value,
        "kind": "VIEW",
        "item": {"sku": "A"},
        "price": None,
    }
    return mapper(registry, CLICKS % more).map(
        [Message(avro_value(registry, click_schema(at), record | fields), "raw-0-0")]
    )


def times(result):
    assert not result.refused
    return [json.loads(record.value)["ts"] for record in result.records]


# --- times ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "logical", "value", "more", "expected"),
    [
        ("long", "timestamp-millis", AT, "", AT),
        ("long", "timestamp-micros", AT * 1000 + 999, "", AT),
        ("long", "timestamp-nanos", AT * 1_000_000 + 999_999, "", AT),
        ("long", "local-timestamp-millis", AT, ", zone: Europe/Berlin", AT - 7_200_000),
        ("long", "timestamp-millis", AT, ", local: Europe/Berlin", AT - 7_200_000),
        ("long", "local-timestamp-micros", AT * 1000, "", AT),
        ("int", "date", 20577, ", zone: Europe/Berlin", 1777845600000),
    ],
)
def test_schema_gives_the_unit_of_a_time(registry, kind, logical, value, more, expected):
    assert times(click(registry, {"type": kind, "logicalType": logical}, value, more)) == [expected]


def test_schemas_of_one_topic_may_have_different_units(registry):
    messages = [
        Message(avro_value(registry, click_schema({"type": "long", "logicalType": logical}), CLICK | {"at": at}))
        for logical, at in (("timestamp-millis", AT), ("timestamp-micros", AT * 1000))
    ]
    assert times(mapper(registry, CLICKS % "").map(messages)) == [AT, AT]


def test_time_whose_schema_has_no_unit_is_refused_and_its_format_reads_it(registry):
    assert click(registry, "long", AT).refused == {0: "`at`: the schema gives no unit of this time: write its format"}
    value = avro_value(registry, click_schema({"type": "long", "logicalType": "timestamp-millis"}), CLICK)
    by_format = mapper(registry, (CLICKS % "").replace("format: schema", "format: epoch_ms"))
    assert times(by_format.map([Message(value)])) == [AT]


def test_time_of_the_schema_is_for_avro_alone():
    for form in ("from: {topic: raw}", FROM % "protobuf", FROM % "json_schema", "file: {format: json}"):
        with pytest.raises(UsageError, match="format: avro, whose schemas have units"):
            parse_mapping((CLICKS % "").replace(FROM % "avro", form), "test")


# --- values -----------------------------------------------------------------------------------------------------------
def test_click_has_every_digit_of_its_id_and_its_price_by_the_scale_of_the_schema(registry):
    result = click(registry, {"type": "long", "logicalType": "timestamp-millis"}, AT, price=(19_990).to_bytes(3, "big"))
    (event,) = [json.loads(record.value) for record in result.records]
    assert (event["event_id"], event["price"], event["product_id"]) == (str(2**62), 19.99, "A")


def test_value_that_is_refused_by_its_decoder_and_null_have_their_reasons(registry):
    result = mapper(registry, CLICKS % "").map([Message(b"{}"), Message(None), Message(prefixed(99, b""))])
    assert result.refused == {0: "no schema id: the first byte is 0x7b", 2: "schema 99: the registry does not know it"}
    assert result.left_out == {1: "tombstone"}


# --- envelopes --------------------------------------------------------------------------------------------------------
ROW = {"type": "record", "name": "Value", "fields": [
    {"name": "id", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 0}},
    {"name": "who", "type": ["null", "string"]},
    {"name": "at", "type": {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}},
    {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "tax", "type": {"type": "record", "name": "VariableScaleDecimal", "fields": [
        {"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}]}},
]}  # fmt: skip
CHANGE = {"type": "record", "name": "Envelope", "fields": [
    {"name": "before", "type": ["null", ROW], "default": None},
    {"name": "after", "type": ["null", "Value"], "default": None},
    {"name": "source", "type": {"type": "record", "name": "Source", "fields": [{"name": "ts_ms", "type": "long"}]}},
    {"name": "op", "type": "string"}, {"name": "ts_ms", "type": ["null", "long"], "default": None},
]}  # fmt: skip
ROWS = """\
kind: orders
from: {topic: shop.public.orders, format: avro, registry: main, envelope: debezium}
time: {path: at, format: epoch_us}
order: {rows: order, id: id, customer: who, updated: {path: source.ts_ms, format: epoch_ms}, deleted: void,
        total: {sum: [total, tax]}}
"""


def row(who="a", total=500):
    digits = total.to_bytes(3, "big", signed=True)
    return {"id": b"\x07\xd0", "who": who, "at": AT * 1000, "total": digits, "tax": {"scale": 1, "value": b"\x05"}}


def test_changes_of_debezium_in_avro_are_those_of_json(registry):
    changes = [("c", None, row()), ("u", row(), row("b", 600)), ("d", row("b", 600), None), ("t", None, None)]
    messages = [
        Message(avro_value(registry, CHANGE, {"before": before, "after": after, "op": op, "source": {"ts_ms": AT + 5}}))
        for op, before, after in changes
    ]
    result = mapper(registry, ROWS).map([*messages, Message(None)])
    orders = [(one.message, json.loads(one.value)) for one in result.records]
    records = sorted((number, one["customer_id"], one["status"], one["total"]) for number, one in orders)
    assert records == [(0, "a", "placed", 5.5), (1, "a", "void", 5.5), (1, "b", "placed", 6.5), (2, "b", "void", 6.5)]
    assert {one["order_id"] for _, one in orders} == {"2000"}
    assert (result.refused, result.left_out) == ({3: "the table was emptied (op t)"}, {4: "tombstone"})


def test_base64_of_a_mapping_for_json_leaves_decimals_of_avro_as_they_are(registry):
    text = ROWS.replace("{sum: [total, tax]}", "{path: total, base64_scale: 2}")
    message = Message(
        avro_value(registry, CHANGE, {"before": None, "after": row(), "op": "c", "source": {"ts_ms": AT}})
    )
    (order,) = mapper(registry, text).map([message]).records
    assert json.loads(order.value)["total"] == 5.0


def test_record_of_kafka_connect_in_avro_is_its_own_payload(registry):
    schema = {"type": "record", "name": "ConnectDefault", "namespace": "io.confluent.connect.avro", "fields": [
        {"name": "id", "type": "int"}, {"name": "who", "type": "string"},
        {"name": "at", "type": {"type": "long", "connect.version": 1, "logicalType": "timestamp-millis",
                                "connect.name": "org.apache.kafka.connect.data.Timestamp"}},
        {"name": "total", "type": {"type": "bytes", "scale": 2, "precision": 64, "connect.version": 1,
                                   "connect.parameters": {"scale": "2"}, "logicalType": "decimal",
                                   "connect.name": "org.apache.kafka.connect.data.Decimal"}},
    ]}  # fmt: skip
    text = """\
kind: orders
from: {topic: jdbc-orders, format: avro, registry: main, envelope: connect}
time: {path: at, format: schema}
order: {rows: order, id: id, customer: who, total: total}
"""
    message = Message(avro_value(registry, schema, {"id": 7, "who": "a", "at": AT, "total": b"\x01\xf4"}))
    (order,) = mapper(registry, text).map([message]).records
    assert {name: value for name, value in json.loads(order.value).items() if value is not None} == {
        "order_id": "7", "customer_id": "a", "ts": AT, "updated_ts": AT, "status": "placed", "total": 5.0,
    }  # fmt: skip


# --- settings and commands --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("{topic: raw, format: avro}", "avro needs registry"),
        ("{topic: raw, registry: main}", "json has no schema"),
        ("{topic: raw, format: orc, registry: main}", "format"),
    ],
)
def test_format_and_registry_go_together(form, message):
    with pytest.raises(UsageError, match=message):
        parse_mapping((CLICKS % "").replace("{topic: raw, format: avro, registry: main}", form), "test")


def test_registry_that_the_settings_lack_is_named_before_anything_is_read():
    with pytest.raises(
        UsageError, match=r"test.yaml, line 2: from.registry: .* no schema registry main; they have other.*__MAIN__URL"
    ):
        topic_mapper(CLICKS % "", load_settings(registries={"other": {"url": "http://x:1"}}))


def test_topic_with_a_schema_has_no_mapper_without_a_decoder():
    with pytest.raises(ValueError, match="avro needs a decoder"):
        TopicMapper("test", parse_mapping(CLICKS % "", "test"))


def test_files_have_no_values_of_a_schema(tmp_path):
    with pytest.raises(UsageError, match="format avro, which files do not have"):
        import_text(tmp_path, "{}", CLICKS % "")


def test_registry_is_read_from_the_file_or_variables_without_showing_its_secret(tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("geheim\n")
    secret.chmod(0o600)
    monkeypatch.setenv("SHOPSTREAM_REGISTRIES__MAIN__URL", "https://user:in-url@registry:8081/path")
    monkeypatch.setenv("SHOPSTREAM_REGISTRIES__MAIN__CA_CERTS", "/ca.pem")
    endpoint = registry_endpoint(load_settings(), "main")
    assert (endpoint.url, endpoint.username, endpoint.password, endpoint.ca_certs) == (
        "https://registry:8081/path", "user", "in-url", "/ca.pem",
    )  # fmt: skip
    registry = {"url": "http://r", "username": "me", "password_file": str(secret)}
    settings = load_settings(registries={"main": registry})
    endpoint = registry_endpoint(settings, "main")
    assert (endpoint.username, endpoint.password) == ("me", "geheim")
    shown = repr(
        load_settings(registries={"main": {"url": "http://a:geheim@r", "username": "me", "password": "geheim"}})
    )
    assert "geheim" not in shown + repr(endpoint)


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        ({"url": "registry:8081"}, r"registries\.main\.url"),
        ({}, r"registries\.main\.url"),
        ({"url": "http://r", "password": "geheim"}, "a password needs username"),
        ({"url": "http://r", "username": "u", "password": "geheim", "password_file": "x"}, "not both"),
        ({"url": "http://r", "user_name": "u"}, r"registries\.main\.user_name \(did you mean username\?\)"),
    ],
)
def test_wrong_setting_of_a_registry_is_named(registry, message):
    with pytest.raises(UsageError, match=message) as error:
        load_settings(registries={"main": registry})
    assert "geheim" not in str(error.value)


def test_secret_that_others_can_read_is_refused(tmp_path):
    secret = tmp_path / "secret"
    settings = load_settings(registries={"main": {"url": "http://r", "username": "u", "password_file": str(secret)}})
    with pytest.raises(ShopstreamError, match=r"cannot be read.*registries\.main\.password_file"):
        registry_endpoint(settings, "main")
    secret.write_text("geheim")
    secret.chmod(0o640)
    with pytest.raises(ShopstreamError, match=r"Others can read .*chmod 600"):
        registry_endpoint(settings, "main")


@pytest.fixture
def check(tmp_path, monkeypatch, registry):
    monkeypatch.setenv("SHOPSTREAM_REGISTRIES__MAIN__URL", registry.url)
    (tmp_path / "clicks.yaml").write_text(CLICKS % "")

    def run(*lines):
        if lines:
            (tmp_path / "clicks.jsonl").write_text("\n".join(lines))
        return CliRunner().invoke(build_app(), ["map", "check", str(tmp_path / "clicks.yaml"), "--json"])

    return run


def test_examples_of_a_topic_with_schemas_are_bytes_and_headers(registry, check):
    value = avro_value(registry, click_schema({"type": "long", "logicalType": "timestamp-millis"}), CLICK)
    encoded, header = (base64.b64encode(one).decode() for one in (value, value[:5]))
    body = base64.b64encode(value[5:]).decode()
    result = check(
        json.dumps({"value": encoded, "key": None}),
        json.dumps({"value": body, "headers": {"__value_schema_id": header}}),
        '{"value": null}',
    )
    assert result.exit_code == 0, result.output
    first, second, third = [json.loads(line) for line in result.output.splitlines()]
    assert first["records"][0]["value"]["product_id"] == "A"
    assert second["records"] == first["records"]
    assert third["left_out"] == "tombstone"


@pytest.mark.parametrize("line", ['{"id": 1}', "null", '{"value": "***"}', '{"value": "AA==", "headers": {"a": 1}}'])
def test_example_of_another_form_is_named_with_its_line(check, line):
    result = check(line)
    assert isinstance(result.exception, UsageError)
    assert "clicks.jsonl, line 1 is no message with a schema" in str(result.exception)


def test_check_waits_for_the_registry_with_a_line_that_is_no_result(registry, check, monkeypatch):
    monkeypatch.setattr("connectors.messages.registry.PAUSE_MIN_S", 0.01)
    value = avro_value(registry, click_schema({"type": "long", "logicalType": "timestamp-millis"}), CLICK)
    registry.faults += [503, 503]
    result = check(json.dumps({"value": base64.b64encode(value).decode()}))
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr.count("schema registry is away, waiting") == 1


def test_mapping_is_checked_without_the_registry_where_there_are_no_examples(check, registry):
    assert check().exit_code == 0
    assert registry.requests == []


def test_decoder_is_a_keyword_of_the_mapper(registry):
    decoder = schema_decoder("json_schema", registry.endpoint(), pytest.fail)
    text = (CLICKS % "").replace("format: avro", "format: json_schema").replace("format: schema", "format: epoch_ms")
    own = TopicMapper("test", parse_mapping(text, "test"), decoder=decoder)
    value = prefixed(registry.add("JSON", {"type": "object"}), json.dumps(CLICK | {"price": "1.5"}).encode())
    assert times(own.map([Message(value)])) == [AT]
