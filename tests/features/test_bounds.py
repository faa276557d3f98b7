"""Bounds of texts and of lines: the last byte that is valid, the first that is not, and what follows for documents."""

from __future__ import annotations

import json

import msgspec
import pytest
from oracle import wire

from features.records.decode import Tombstone, decode, decode_events

NOW = 1_700_000_000_000
ITEM = wire.ITEM
MESSAGES = {
    "events": wire.EVENT | {"ts": NOW},
    "orders": wire.ORDER | {"ts": NOW, "updated_ts": NOW},
    "customers": wire.CUSTOMER,
}
ID, TEXT = 512, 1_024
TEXTS = [
    *(("events", name, ID) for name in ("event_id", "customer_id", "session_id", "product_id")),
    *(("events", name, TEXT) for name in ("category", "channel", "country")),
    *(("orders", name, ID) for name in ("order_id", "customer_id", "session_id")),
    *(("orders", name, TEXT) for name in ("channel", "country", "payment_method")),
    ("customers", "customer_id", ID),
    *(("customers", name, TEXT) for name in ("name", "email", "country", "gender", "acquisition_channel")),
]


def message(topic, *, escaped=False, **changes):
    return json.dumps(MESSAGES[topic] | changes, ensure_ascii=escaped).encode()


def read(topic, value, key=b"bad"):
    """The record, or the reason, of one message."""
    decoded = decode(topic, [value], [key], [NOW])
    return decoded.rejected[0].reason if decoded.rejected else decoded.records[0]


def texts_of(size):
    """Texts of exactly so many bytes: of characters of one, two, three and four bytes, and mixed."""
    for character in ("x", "é", "メ", "🍳", "\x01"):
        count, rest = divmod(size, len(character.encode()))
        yield character * count + "y" * rest


@pytest.mark.parametrize(("topic", "name", "bound"), TEXTS)
@pytest.mark.parametrize("escaped", [True, False])
def test_text_at_its_maximum_bytes_is_valid_and_one_byte_more_is_rejected(topic, name, bound, escaped):
    def read_both(text):
        key = text.encode() if name == "customer_id" else b"bad"
        value = message(topic, escaped=escaped, **{name: text})
        result = read(topic, value, key)
        if topic == "events":
            direct = decode_events([value], [key], [NOW])
            assert len(direct.columns) == (not isinstance(result, str))
            assert [one.reason for one in direct.rejected] == ([result] if isinstance(result, str) else [])
        return result

    for size in (bound - 1, bound):
        for text in texts_of(size):
            assert getattr(read_both(text), name) == text
    for size in (bound + 1, bound * 4 + 1):
        for text in texts_of(size):
            assert read_both(text) == f"`{name}`: expected at most {bound} bytes, got {size}"


@pytest.mark.parametrize(("name", "bound"), [("product_id", ID), ("category", TEXT)])
def test_texts_of_a_line_are_bounded(name, bound):
    for text in texts_of(bound):
        assert getattr(read("orders", message("orders", items=[ITEM, ITEM | {name: text}])).items[1], name) == text
    for text in texts_of(bound + 1):
        reason = read("orders", message("orders", items=[ITEM, ITEM | {name: text}]))
        assert reason == f"`items[1].{name}`: expected at most {bound} bytes, got {bound + 1}"


def test_lines_of_an_order_are_bounded():
    for lines in (9_999, 10_000):
        assert len(read("orders", message("orders", items=[{}] * lines)).items) == lines
        assert len(read("orders", message("orders", items=[{"quantity": 1.0}] * lines)).items) == lines
    for item in ({}, {"quantity": 1.0}, {"quantity": 0}):
        reason = read("orders", message("orders", items=[item] * 10_001))
        assert reason == "`items`: expected at most 10000 lines, got 10001"


def test_long_text_among_short_ones_is_rejected():
    """The bytes are counted in whole batches too: of each message, and of no other."""
    values = [message("events", category=text) for text in ("é" * 512, "é" * 513, "x" * 1_024, "short", "é" * 513)]
    decoded = decode("events", values, [b"bad"] * 5, [NOW] * 5)
    assert decoded.positions.tolist() == [0, 2, 3]
    assert [one.position for one in decoded.rejected] == [1, 4]


def test_tombstone_with_a_key_above_the_bound_removes_a_profile():
    """Profiles that were taken before there was a bound can be removed."""
    assert read("customers", None, key=b"x" * 5_000) == Tombstone("x" * 5_000)


def test_the_largest_event_is_far_smaller_than_a_kafka_message():
    """Every text at its bound, of the characters that JSON spells longest."""
    worst = {name: "\x01" * bound for topic, name, bound in TEXTS if topic == "events"}
    event = read("events", message("events", **worst), key=b"\x01" * ID)
    assert len(msgspec.json.encode(event)) < 40_000
