"""Avro of other writers is decoded without loss, and bytes that are not exactly one record are refused."""

import io
import json
import struct
from datetime import datetime, timedelta
from decimal import Decimal

import avro.io
import avro.schema
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_server import prefixed

from connectors.formats.schema_times import Days, LocalMicros, Micros, Millis, Nanos
from connectors.messages.avro import AVRO
from connectors.messages.registry import Reference, RegisteredSchema
from connectors.messages.schema_decoder import SchemaDecoder
from connectors.tables.records import Unreadable, text_at, text_of, time_at

KIND = {"type": "enum", "name": "Kind", "symbols": ["VIEW", "BUY"]}
LINE = {"type": "record", "name": "Line", "fields": [
    {"name": "sku", "type": "string"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 2}},
]}  # fmt: skip
CLICK = {"type": "record", "name": "Click", "namespace": "shop", "fields": [
    {"name": "id", "type": "long"},
    {"name": "user", "type": ["null", "string"], "default": None},
    {"name": "kind", "type": KIND},
    {"name": "kind_before", "type": ["null", "Kind"]},
    {"name": "lines", "type": {"type": "array", "items": LINE}},
    {"name": "first", "type": ["null", "Line"]},
    {"name": "tags", "type": {"type": "map", "values": ["null", "bytes"]}},
    {"name": "score", "type": "float"},
    {"name": "ratio", "type": "double"},
    {"name": "raw", "type": {"type": "fixed", "name": "Raw", "size": 3}},
    {"name": "on", "type": "boolean"},
]}  # fmt: skip
RECORD = {
    "id": 2**63 - 1, "user": None, "kind": "BUY", "kind_before": "VIEW",
    "lines": [{"sku": "Ä", "price": b"\x01\xf4"}, {"sku": "", "price": b"\xff"}],
    "first": {"sku": "x", "price": b""}, "tags": {"a": b"\0\xff", "b": None}, "score": 0.1, "ratio": 0.1,
    "raw": b"abc", "on": True,
}  # fmt: skip
EXPECTED = {
    "id": 2**63 - 1, "user": None, "kind": "BUY", "kind_before": "VIEW",
    "lines": [{"sku": "Ä", "price": "5.00"}, {"sku": "", "price": "-0.01"}],
    "first": {"sku": "x", "price": "0.00"}, "tags": {"a": "AP8=", "b": None}, "score": Decimal("0.1"), "ratio": 0.1,
    "raw": "YWJj", "on": True,
}  # fmt: skip


def plain(schema):
    """A schema without logical types, so that a writer takes bytes and integers."""
    if isinstance(schema, dict):
        return {key: plain(value) for key, value in schema.items() if key not in ("logicalType", "scale", "precision")}
    return [plain(one) for one in schema] if isinstance(schema, list) else schema


def by_apache(schema, record):
    stream = io.BytesIO()
    avro.io.DatumWriter(avro.schema.parse(json.dumps(plain(schema)))).write(record, avro.io.BinaryEncoder(stream))
    return stream.getvalue()


def by_fastavro(schema, record):
    stream = io.BytesIO()
    schemaless_writer(stream, parse_schema(plain(schema)), record)
    return stream.getvalue()


class Schemas:
    """A registry in memory."""

    def __init__(self, **schemas):
        self.schemas = schemas

    def schema(self, number, _):
        return self.schemas[f"s{number}"]


def decode(schema, payload, references=()):
    registered = RegisteredSchema("AVRO", json.dumps(schema), references)
    return SchemaDecoder(Schemas(s1=registered), AVRO)(prefixed(1, payload), ())


def of_one(kind):
    return {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]}


def field(kind, value):
    """The decoded value of a record of one field, which is written without its logical type."""
    schema = of_one(kind)
    return decode(schema, by_fastavro(schema, {"x": value}))["x"]


@pytest.mark.parametrize("write", [by_apache, by_fastavro])
def test_record_of_each_writer_is_decoded_without_loss(write):
    assert decode(CLICK, write(CLICK, RECORD)) == EXPECTED


@pytest.mark.parametrize(
    ("unscaled", "scale", "text"),
    [(b"\x01\xf4", 2, "5.00"), (b"\xff", 3, "-0.001"), (b"", 0, "0.0"), (b"\x07\xd0", 0, "2000.0"),
     (b"\x7f" + b"\xff" * 15, 10, "17014118346046923173168730371.5884105727")],
)  # fmt: skip
def test_decimal_has_every_digit_and_a_point(unscaled, scale, text):
    logical = {"logicalType": "decimal", "precision": 60, "scale": scale}
    assert field({"type": "bytes", **logical}, unscaled) == text
    size = len(unscaled) + 1
    widened = int.from_bytes(unscaled, "big", signed=True).to_bytes(size, "big", signed=True)
    assert field({"type": "fixed", "name": "F", "size": size, **logical}, widened) == text


def test_fixed_decimals_of_one_union_each_have_their_own_scale():
    union = [
        {"type": "fixed", "name": name, "size": 2, "logicalType": "decimal", "precision": 4, "scale": scale}
        for name, scale in (("A", 1), ("B", 3))
    ]
    assert [field(union, (name, b"\x00\x64")) for name in ("A", "B")] == ["10.0", "0.100"]


@pytest.mark.parametrize(
    ("kind", "logical", "value", "cls", "text"),
    [
        ("long", "timestamp-millis", 1777888800100, Millis, "2026-05-04T10:00:00.100Z"),
        ("long", "timestamp-micros", 1777888800100007, Micros, "2026-05-04T10:00:00.100007Z"),
        ("long", "timestamp-nanos", 1777888800100007001, Nanos, "2026-05-04T10:00:00.100007001Z"),
        ("long", "local-timestamp-micros", 1777888800000000, LocalMicros, "2026-05-04T10:00:00.000000"),
        ("long", "timestamp-millis", -1, Millis, "1969-12-31T23:59:59.999Z"),
        ("int", "date", 20577, Days, "2026-05-04"),
    ],
)
def test_time_stays_an_integer_that_knows_its_unit(kind, logical, value, cls, text):
    decoded = field({"type": kind, "logicalType": logical}, value)
    assert (type(decoded), decoded, text_of(decoded)) == (cls, value, str(value))
    assert time_at({"x": decoded}, ("x",)) == text


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_text_of_a_time_is_that_of_the_standard_library(micros):
    moment = datetime(1970, 1, 1) + timedelta(microseconds=micros)
    assert Micros(micros).iso() == moment.isoformat(timespec="microseconds") + "Z"
    assert Millis(micros // 1000).iso() == Micros(micros).iso()[:-4] + "Z"


@pytest.mark.parametrize(
    "kind", ["long", {"type": "long", "logicalType": "time-micros"}, {"type": "int", "logicalType": "timestamp-millis"}]
)
def test_integer_without_a_unit_is_no_time_of_the_schema(kind):
    decoded = field(kind, 1777888800)
    assert type(decoded) is int
    with pytest.raises(Exception, match="gives no unit"):
        time_at({"x": decoded}, ("x",))


def test_logical_type_of_a_field_instead_of_its_type_means_nothing():
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "x", "type": "long", "logicalType": "timestamp-millis"}],
    }
    assert type(decode(schema, by_apache(schema, {"x": 1}))["x"]) is int


def test_time_beyond_the_calendar_is_refused():
    with pytest.raises(Exception, match="time before 1970 or after 9999"):
        time_at({"x": Millis(10**17)}, ("x",))


def test_uuid_of_16_bytes_is_its_text():
    kind = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
    assert field(kind, bytes(range(16))) == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_short_float_that_skips_integers_is_refused_where_it_is_read():
    record = decode(CLICK, by_apache(CLICK, RECORD | {"score": 2.0**24}))
    with pytest.raises(Exception, match="lost digits"):
        text_at(record, ("score",))


def test_types_of_imported_schemas_are_known():
    kind, line = (RegisteredSchema("AVRO", json.dumps(one)) for one in (KIND, LINE))
    order = {"type": "record", "name": "Order", "fields": [
        {"name": "lines", "type": {"type": "array", "items": "Line"}}, {"name": "kind", "type": "Kind"},
    ]}  # fmt: skip
    middle = RegisteredSchema("AVRO", json.dumps(LINE), (Reference("kind", kind),))
    whole = {
        **order,
        "fields": [{"name": "lines", "type": {"type": "array", "items": LINE}}, {"name": "kind", "type": KIND}],
    }
    payload = by_apache(whole, {"lines": RECORD["lines"], "kind": "BUY"})
    decoded = decode(order, payload, (Reference("line", middle), Reference("kind", kind), Reference("again", line)))
    assert decoded == {"lines": EXPECTED["lines"], "kind": "BUY"}


# --- refusals ---------------------------------------------------------------------------------------------------------
PAYLOAD = by_apache(CLICK, RECORD)


@pytest.mark.parametrize("length", range(len(PAYLOAD)))
def test_record_that_ends_early_is_refused(length):
    refused = decode(CLICK, PAYLOAD[:length])
    assert isinstance(refused, Unreadable)
    assert refused.reason == "Avro, schema 1: the message ends early"


@pytest.mark.parametrize(("more", "words"), [(1, "1 byte is left over"), (4, "4 bytes are left over")])
def test_bytes_after_the_record_are_refused(more, words):
    assert decode(CLICK, PAYLOAD + bytes(more)).reason == f"Avro, schema 1: {words}"


@pytest.mark.parametrize(
    ("schema", "payload", "reason"),
    [
        ("string", b"\x02a", "Avro, schema 1: the value is no record"),
        (LINE, b"\x02\xff\x00", "Avro, schema 1: a text is not UTF-8"),
        (of_one(KIND), b"\x08", "another form"),
        (of_one(["null", "int"]), b"\x08", "another form"),
        (of_one("Nothing"), b"", "schema 1 cannot be used: it is"),
        ({"type": "record"}, b"", "schema 1 cannot be used: it is no schema of Avro"),
    ],
)  # fmt: skip
def test_value_of_another_form_is_refused_with_the_reason(schema, payload, reason):
    refused = decode(schema, payload)
    assert isinstance(refused, Unreadable)
    assert reason in refused.reason


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_record_or_refused(payload):
    decoded = decode(CLICK, payload)
    assert isinstance(decoded, Unreadable) or decoded.keys() == RECORD.keys()


TEXT = st.text(max_size=5)
RECORDS = st.fixed_dictionaries({
    "id": st.integers(-(2**63), 2**63 - 1), "user": st.none() | TEXT, "kind": st.sampled_from(["VIEW", "BUY"]),
    "kind_before": st.none() | st.just("BUY"),
    "lines": st.lists(st.fixed_dictionaries({"sku": TEXT, "price": st.integers(-(10**20), 10**20)}), max_size=3),
    "first": st.none(), "tags": st.dictionaries(TEXT, st.none(), max_size=2),
    "score": st.floats(width=32, allow_nan=False, allow_infinity=False), "ratio": st.floats(allow_nan=False),
    "raw": st.binary(min_size=3, max_size=3), "on": st.booleans(),
})  # fmt: skip


@settings(max_examples=100)
@given(RECORDS)
def test_every_value_of_a_record_is_read_back(record):
    written = json.loads(json.dumps({key: value for key, value in record.items() if key != "raw"}))
    for line in written["lines"]:
        line["price"] = line["price"].to_bytes(10, "big", signed=True)
    decoded = decode(CLICK, by_apache(CLICK, written | {"raw": record["raw"]}))
    assert [Decimal(line["price"]) * 100 for line in decoded["lines"]] == [line["price"] for line in record["lines"]]
    for name in ("id", "user", "kind", "kind_before", "ratio", "on"):
        assert decoded[name] == record[name]
    if not isinstance(decoded["score"], Unreadable):
        assert struct.pack("f", float(decoded["score"])) == struct.pack("f", record["score"])
    else:
        assert abs(record["score"]) >= 2**24


def test_schema_of_the_registry_is_compiled_once(registry, decoder):
    number = registry.add("AVRO", CLICK)
    decode_avro = decoder("avro")
    for _ in range(3):
        assert decode_avro(prefixed(number, PAYLOAD), ()) == EXPECTED
    assert len(registry.requests) == 1


def test_readers_of_the_library_stay_as_they_are_for_others():
    decode(CLICK, PAYLOAD)
    schema = parse_schema(of_one(LINE["fields"][1]["type"]))
    stream = io.BytesIO()
    schemaless_writer(stream, schema, {"x": Decimal("1.25")})
    stream.seek(0)
    assert schemaless_reader(stream, schema, None) == {"x": Decimal("1.25")}
