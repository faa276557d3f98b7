"""What is in an envelope is taken out exactly, and a message without a record says why it has none."""

import base64
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.messages.envelopes import LeftOut, Record, open_message, scaled_text
from connectors.tables.records import Unreadable


def opened(value, envelope=None, headers=()):
    text = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return open_message(text, headers, envelope)


def test_message_without_an_envelope_is_its_record():
    assert opened({"id": 9007199254740993, "total": 12.10}) == Record({"id": 9007199254740993, "total": "12.1"})


@pytest.mark.parametrize("envelope", [None, "debezium", "connect", "cloudevents"])
def test_null_value_is_a_tombstone(envelope):
    assert opened(None, envelope) == LeftOut("tombstone")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"webhook_id=1", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[1]", "the JSON is not an object"),
        (b'{"a": 1, "a": 2}', "an object has a key twice"),
    ],
)
def test_value_that_is_no_object_is_refused_with_the_reason(value, reason):
    refused = opened(value)
    assert isinstance(refused, Unreadable)
    assert refused.reason.startswith(reason)


def test_payload_of_connect_is_the_record_with_a_schema_and_without():
    assert opened({"schema": {}, "payload": {"id": 1}}, "connect") == opened({"id": 1}, "connect") == Record({"id": 1})
    assert opened({"schema": None, "payload": None}, "connect") == LeftOut("tombstone")
    assert isinstance(opened({"schema": {}, "payload": 5}, "connect"), Unreadable)


@pytest.mark.parametrize(("op", "part"), [("c", "after"), ("r", "after"), ("u", "after"), ("d", "before")])
def test_row_of_a_change_is_read_with_its_operation(op, part):
    rows = {"before": None, "after": None, part: {"id": 1, "total": "AfQ="}}
    record = opened({**rows, "op": op, "source": {"ts_ms": 5}, "ts_ms": 6}, "debezium")
    assert record.content == {"id": 1, "total": "AfQ=", "op": op, "source": {"ts_ms": 5}, "ts_ms": 6}
    assert (record.part, record.deleted, record.former) == (part, op == "d", None)


def test_column_of_a_row_hides_the_field_of_the_change():
    assert opened({"op": "c", "after": {"op": "sale"}, "ts_ms": 1}, "debezium").content == {"op": "sale", "ts_ms": 1}


def test_row_before_an_update_is_the_former_one():
    record = opened({"op": "u", "before": {"id": 1, "who": "a"}, "after": {"id": 1, "who": "b"}}, "debezium")
    assert (record.content["who"], record.former["who"]) == ("b", "a")


@pytest.mark.parametrize("change", [{"ts_ms": 5}, {"op": "m", "message": {}}])
def test_heartbeat_and_logical_message_are_no_changes(change):
    assert opened(change, "debezium") == LeftOut("not a change")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"op": "t"}, "the table was emptied (op t)"),
        ({"op": "x"}, "unknown operation 'x' of Debezium"),
        ({"op": "c", "after": None}, "`after`: missing"),
        ({"op": "c", "after": {"total": {"scale": 2, "value": "*"}}}, "'*' is no base64"),
    ],
)
def test_change_without_a_row_is_refused_with_the_reason(change, reason):
    assert opened(change, "debezium").reason == reason


def test_numeric_of_variable_scale_becomes_a_decimal_with_a_point():
    record = opened({"op": "c", "after": {"total": {"scale": 3, "value": "AwRK"}}}, "debezium")
    assert record.content["total"] == "197.706"


@given(st.integers(-(10**30), 10**30), st.integers(0, 18))
def test_scaled_text_is_the_decimal_that_the_bytes_hold(digits, scale):
    size = digits.bit_length() // 8 + 1
    text = scaled_text(base64.b64encode(digits.to_bytes(size, "big", signed=True)).decode(), scale)
    assert "." in text
    assert Decimal(text) == Decimal((digits < 0, tuple(map(int, str(abs(digits)))), -scale))


def test_cloud_event_gives_its_data_and_attributes():
    event = {"specversion": "1.0", "id": "e1", "type": "view", "source": "/s", "data": {"sku": "A"}}
    structured = opened(event, "cloudevents", [("content-type", b"application/cloudevents+json; charset=UTF-8")])
    binary = opened(
        {"sku": "A"}, "cloudevents",
        [("ce_specversion", b"1.0"), ("ce_id", b"e1"), ("ce_type", b"view"), ("ce_source", b"/s")],
    )  # fmt: skip
    assert (
        structured
        == binary
        == Record({"ce_specversion": "1.0", "ce_id": "e1", "ce_type": "view", "ce_source": "/s", "sku": "A"})
    )


def test_value_without_attributes_is_no_cloud_event():
    assert isinstance(opened({"sku": "A"}, "cloudevents"), Unreadable)
    assert opened({"specversion": "1.0", "id": "e1"}, "cloudevents") == LeftOut("no data")
