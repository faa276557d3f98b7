"""Protobuf is decoded by its schema without loss. Fields that the schema lacks and other bytes are refused."""

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protobuf_files import class_of, entry, file, message, text_of
from registry_server import prefixed

from connectors.messages.protobuf import PROTOBUF
from connectors.messages.registry import Reference, RegisteredSchema
from connectors.messages.schema_decoder import SchemaDecoder
from connectors.messages.schema_ids import HEADER
from connectors.tables.records import Unreadable
from features.errors import ShopstreamError

LINE = message("Line", ("sku", 1, "string"), ("price", 2, "double"))
CLICK = file(
    "click.proto",
    message("Other", ("nothing", 1, "string")),
    message(
        "Click",
        ("id", 1, "int64"), ("user", 2, "string", "optional"), ("kind", 3, "enum", ("of", "shop.Kind")),
        ("at", 4, "message", ("of", "google.protobuf.Timestamp")), ("raw", 5, "bytes"),
        ("lines", 6, "message", "repeated", ("of", "shop.Line")),
        ("tags", 7, "message", "repeated", ("of", "shop.Click.TagsEntry")),
        ("by_sku", 8, "message", "repeated", ("of", "shop.Click.BySkuEntry")),
        ("mail", 9, "string", ("oneof", 0)), ("phone", 10, "string", ("oneof", 0)),
        ("score", 11, "float"), ("total", 12, "uint64"), ("rank", 13, "message", ("of", "google.protobuf.Int64Value")),
        ("inner", 14, "message", ("of", "shop.Click.Inner")), ("unset", 15, "int32"), ("none", 16, "int32", "optional"),
        nested=(
            entry("TagsEntry", "string"), entry("BySkuEntry", "message", "shop.Line"),
            message("Inner", ("a", 1, "string")),
        ),
        oneofs=("contact",),
    ),
    LINE,
    imports=("google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"),
    enums={"Kind": ("VIEW", "BUY")},
)  # fmt: skip
Click = class_of("Click", CLICK)
INDEXES = b"\x02\x02"
"""One index: the second message."""


def click(**more):
    made = Click(id=2**63 - 1, kind=1, raw=b"\0\xff", mail="", score=0.1, total=2**64 - 1, **more)
    made.at.FromJsonString("2026-05-04T10:00:00.100007001Z")
    made.lines.add(sku="A", price=0.1)
    made.tags["a"] = "b"
    made.by_sku["x"].sku = "y"
    made.rank.value = 2**53 + 1
    made.inner.a = "i"
    return made


EXPECTED = {
    "id": str(2**63 - 1), "kind": "BUY", "at": "2026-05-04T10:00:00.100007001Z", "raw": "AP8=",
    "lines": [{"sku": "A", "price": 0.1}], "tags": {"a": "b"}, "by_sku": {"x": {"sku": "y", "price": 0.0}},
    "mail": "", "score": 0.1, "total": str(2**64 - 1), "rank": str(2**53 + 1), "inner": {"a": "i"}, "unset": 0,
}  # fmt: skip


class Schemas:
    """A registry in memory."""

    def __init__(self, schema):
        self.schema = lambda *_: schema


def decode(payload, text=None, references=(), headers=()):
    schema = RegisteredSchema("PROTOBUF", text_of(CLICK) if text is None else text, references)
    return SchemaDecoder(Schemas(schema), PROTOBUF)(payload if headers else prefixed(1, payload), headers)


def test_message_is_decoded_without_loss():
    assert decode(INDEXES + click().SerializeToString()) == EXPECTED


def test_field_with_presence_is_missing_if_unset_and_one_without_has_its_default():
    decoded = decode(INDEXES + Click(user="", phone="").SerializeToString())
    assert decoded["user"] == decoded["phone"] == ""
    assert (decoded["kind"], decoded["unset"], decoded["lines"]) == ("VIEW", 0, [])
    assert not decoded.keys() & {"mail", "none", "at", "rank", "inner"}


def test_word_that_an_enum_lacks_is_its_number():
    payload = bytes([3 << 3, 7])
    assert decode(INDEXES + payload)["kind"] == 7


@pytest.mark.parametrize(
    ("indexes", "names"),
    [(b"\0", {"nothing"}), (b"\x02\0", {"nothing"}), (b"\x02\x02", EXPECTED.keys()), (b"\x04\x02\x04", {"a"})],
)
def test_indexes_choose_the_message(indexes, names):
    """0 is the first message; other indexes are preceded by their number, all in zigzag."""
    payload = click().SerializeToString() if names == EXPECTED.keys() else b""
    decoded = decode(indexes + payload)
    assert decoded.keys() == names


@pytest.mark.parametrize(
    "indexes", [b"", b"\x02", b"\x02\x20", b"\x02\x01", b"\x01", b"\x80", b"\xff" * 12, b"\x04\x02\x20"]
)
def test_indexes_of_no_message_are_refused(indexes):
    assert decode(indexes).reason == "Protobuf, schema 1: the indexes of the message fit no message of the schema"


def test_indexes_follow_the_id_in_a_header():
    guid = uuid.uuid4()
    payload = click().SerializeToString()
    header = b"\x01" + guid.bytes
    assert decode(payload, headers=[(HEADER, header + INDEXES)]) == EXPECTED
    refused = decode(payload, headers=[(HEADER, header + INDEXES + b"\0")])
    assert refused.reason == f"Protobuf, schema {guid}: 1 bytes are left over in the header"


# --- refusals ---------------------------------------------------------------------------------------------------------
def with_unknown(into):
    made = click()
    into(made).MergeFromString(b"\xa2\x06\x01x")  # a text with the number 100
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("into", "path"),
    [
        (lambda made: made, "the message"), (lambda made: made.lines[0], "lines"), (lambda made: made.inner, "inner"),
        (lambda made: made.by_sku["x"], "by_sku"),
    ],
)  # fmt: skip
def test_field_that_the_schema_lacks_is_left_over(into, path):
    refused = decode(INDEXES + with_unknown(into))
    assert refused.reason == f"Protobuf, schema 1: bytes are left over: field 100 of {path} is not in the schema"


def test_message_that_ends_early_is_never_the_whole_message():
    payload = click().SerializeToString()
    for length in range(len(payload)):
        decoded = decode(INDEXES + payload[:length])
        assert isinstance(decoded, Unreadable) or decoded != EXPECTED
    assert decode(INDEXES + payload[:-1]).reason == "Protobuf, schema 1: the message ends early, or has another form"


def test_short_float_that_skips_integers_is_refused():
    assert decode(INDEXES + Click(score=2.0**24).SerializeToString()).reason.startswith(
        "Protobuf, schema 1: `score`: a float"
    )


def test_time_beyond_the_calendar_is_refused():
    made = Click()
    made.at.seconds = 10**12
    assert isinstance(decode(INDEXES + made.SerializeToString()), Unreadable)


def test_required_field_that_is_missing_is_named():
    old = file("old.proto", message("Old", ("id", 1, "string", "required")), syntax="proto2")
    assert decode(b"\0", text_of(old)).reason == "Protobuf, schema 1: required fields are missing: id"


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(payload):
    assert isinstance(decode(payload), Unreadable | dict)


# --- schemas ----------------------------------------------------------------------------------------------------------
def test_files_that_a_schema_imports_are_its_references_or_those_of_the_library():
    total = message("Price", ("total", 1, "message", ("of", "google.type.Money")))
    price = file("price.proto", total, imports=("google/type/money.proto",))
    of_price = message("Order", ("price", 1, "message", ("of", "shop.Price")))
    order = file("order.proto", of_price, imports=("a/price.proto",))
    reference = Reference("a/price.proto", RegisteredSchema("PROTOBUF", text_of(price)))
    payload = b"\0\x0a\x05\x0a\x03\x0a\x01E"
    decoded = decode(payload, text_of(order), (reference,))
    assert decoded == {"price": {"total": {"currency_code": "E", "units": "0", "nanos": 0}}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (text_of(file("x", imports=("a.proto",))), "imports a.proto, which is not one of its references"),
        (text_of(file("x", imports=("google/protobuf/../os.proto",))), "which is not one of its references"),
        (text_of(file("x", imports=("google/type/nothing.proto",))), "which is not one of its references"),
        (text_of(file("x", message("A", ("b", 1, "message", ("of", "shop.B"))))), "no descriptor that fits together"),
    ],
)  # fmt: skip
def test_schema_that_cannot_be_compiled_is_refused_with_the_reason(text, reason):
    refused = decode(b"\0", text)
    assert refused.reason.startswith("schema 1 cannot be used: ")
    assert reason in refused.reason


@pytest.mark.parametrize("text", ['syntax = "proto3"; message A {}', "\x0a\x05Click", "CgdhLnByb3Rv!"])
def test_registry_that_gives_no_descriptor_stops(text):
    with pytest.raises(ShopstreamError, match=r"gives no descriptor of the Protobuf schema .*format=serialized"):
        decode(b"\0", text)
