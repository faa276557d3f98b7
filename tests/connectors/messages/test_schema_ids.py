"""The id of a schema is read before the value or in a header, and a value without one is refused with the reason."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.messages.schema_ids import HEADER, Framed, framed
from connectors.tables.records import Unreadable

GUID = uuid.UUID("89791762-2336-4186-9674-299b90a802e2")


@given(st.integers(0, 2**32 - 1), st.binary(max_size=9))
def test_byte_0_and_4_bytes_are_an_id(number, payload):
    assert framed(b"\0" + number.to_bytes(4, "big") + payload, ()) == Framed(number, payload)


@given(st.uuids(), st.binary(max_size=9))
def test_byte_1_and_16_bytes_are_a_guid_in_a_header_or_before_the_value(guid, payload):
    assert framed(payload, [("a", b"x"), (HEADER, b"\x01" + guid.bytes)]) == Framed(guid, payload, b"")
    assert framed(b"\x01" + guid.bytes + payload, ()) == Framed(guid, payload)


def test_header_precedes_the_prefix_and_leaves_the_value_whole():
    value = b"\0\0\0\0\x07rest"
    assert framed(value, [(HEADER, b"\0\0\0\0\x08more")]) == Framed(8, value, b"more")
    assert framed(value, [("__key_schema_id", b"\0\0\0\0\x08")]) == Framed(7, b"rest")


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"{}", (), "no schema id: the first byte is 0x7b"),
        (b"", (), "no schema id: there are no bytes"),
        (b"\0\0\0", (), "no schema id: 5 bytes are needed, and there are 3"),
        (b"\x01" + bytes(15), (), "no schema id: 17 bytes are needed, and there are 16"),
        (b"\0\0\0\0\x07", [(HEADER, None)], f"header {HEADER}: no schema id: there are no bytes"),
        (b"\0\0\0\0\x07", [(HEADER, b"7")], f"header {HEADER}: no schema id: the first byte is 0x37"),
        (b"x", [(HEADER, b"\0\0\0\0\x07"), (HEADER, b"\0\0\0\0\x08")], f"several headers {HEADER}"),
    ],
)
def test_value_without_an_id_is_refused(value, headers, reason):
    refused = framed(value, headers)
    assert isinstance(refused, Unreadable)
    assert refused.reason == reason


def test_header_twice_with_one_id_is_one_id():
    header = (HEADER, b"\x01" + GUID.bytes)
    assert framed(b"x", [header, header]) == Framed(GUID, b"x", b"")
