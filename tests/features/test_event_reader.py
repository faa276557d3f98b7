"""The compiled reading of events: what it takes, what it leaves, and that it never reads otherwise than the decoder."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.records.decode import decode, decode_events
from features.records.event_reader import read_common
from features.schema import DEVICES, EVENT_TYPES, Event

GOOD = {
    "event_id": "e1",
    "event_type": "product_view",
    "customer_id": "c1",
    "session_id": "s1",
    "ts": 1_700_000_000_000,
    "device": "mobile",
    "product_id": "p1",
    "category": "toys",
    "price": 9.99,
    "quantity": 2,
    "channel": "email",
    "country": "DE",
}
APPEND = 2_000_000_000_000


def is_valid(value: bytes, key: bytes | None = b"c1") -> bool:
    result = read_common([value], [key])
    assert result is not None
    return bool(len(result[1]))


def text(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}, ensure_ascii=False).encode()


def without(*names: str) -> bytes:
    return json.dumps({name: value for name, value in GOOD.items() if name not in names}).encode()


@pytest.mark.parametrize(
    "value",
    [
        msgspec.json.encode(GOOD),
        json.dumps(GOOD).encode(),
        json.dumps(GOOD, indent=2).encode(),
        b" \r\n\t" + json.dumps(GOOD).encode() + b" \n",
        json.dumps(dict(reversed(GOOD.items()))).encode(),
        without("product_id", "category", "price", "quantity", "channel", "country"),
        text(product_id=None, category=None, price=None, quantity=None, channel=None, country=None),
        text(category="", channel=""),
        text(category="Küche", channel="メール", country="🇩🇪"),
        text(price=0, quantity=999_999_999_999_999_999),
        text(price=999_999_999_999.99),
        text(price=0.0001),
        text(referrer="x", score=1.5, seen=True, closed=False, nothing=None),
        text(**{"a field of another name, longer than any": "yes"}),
    ],
    ids=lambda value: value.decode()[:40],
)
def test_messages_of_the_producers_take_the_fast_path(value):
    assert is_valid(value)
    assert decode("events", [value], [b"c1"], [APPEND]).records


@pytest.mark.parametrize("name", [name for name in GOOD if msgspec.json.encode(GOOD[name])[:1] == b'"'])
def test_each_word_and_string_length_is_read(name):
    words = {"event_type": EVENT_TYPES, "device": DEVICES}.get(name, ("x", "x" * 7, "x" * 8, "x" * 9, "x" * 500))
    for word in words:
        value = text(**{name: word})
        result = read_common([value], [word.encode() if name == "customer_id" else b"c1"])
        assert result is not None
        assert len(result[1]) == 1


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        msgspec.json.encode(GOOD)[:-1],
        msgspec.json.encode(GOOD) + b"}",
        msgspec.json.encode(GOOD) + b"\0",
        b"\xef\xbb\xbf" + msgspec.json.encode(GOOD),
        *(without(name) for name in ("event_id", "event_type", "customer_id", "session_id", "ts", "device")),
        *(text(**{name: None}) for name in ("event_id", "event_type", "customer_id", "session_id", "ts", "device")),
        *(text(**{name: ""}) for name in ("event_id", "event_type", "customer_id", "session_id", "device")),
        *(text(**{name: 5}) for name in GOOD if name not in ("ts", "price", "quantity")),
        *(text(**{name: "5"}) for name in ("ts", "price", "quantity")),
        *(text(**{name: True}) for name in GOOD),
        *(text(**{name: []}) for name in (*GOOD, "more")),
        *(text(ts=ts) for ts in (0, -1, 1.0, 1e12, 10**15)),
        *(text(quantity=quantity) for quantity in (0, -1, 1.0, 10**18)),
        *(text(price=price) for price in (-1, 1e12, 1e-9, 1e300)),
        text(event_type="view"),
        text(device="tv"),
        text(customer_id="c2"),
        text(category='a "b"'),
        text(category="a\\b"),
        text().replace(b"toys", b"to\tys"),
        text().replace(b"toys", b"to\xffys"),
        text().replace(b"toys", b"to\xc0\xafys"),
        text().replace(b"toys", b"to\xed\xa0\x80ys"),
        text().replace(b"toys", b"to\xf4\x90\x80\x80ys"),
        text().replace(b"toys", b"toys\xe2\x82"),
        text(more="x").replace(b'"x"', b'"\xff"'),
        text(more="x").replace(b'"x"', b"01"),
        text(more="x").replace(b'"x"', b"nul"),
        text(more="x").replace(b'"x"', b"falsy"),
        text().replace(b'"ts": 1', b'"ts": 01'),
        text().replace(b"9.99", b"9."),
        text().replace(b"9.99", b".9"),
        text().replace(b"9.99", b"NaN"),
        text().replace(b'{"', b'{"event_id":"e0","'),
        text().replace(b"{", b"{,"),
        text().replace(b"}", b",}"),
        text().replace(b": ", b" "),
    ],
    ids=lambda value: value[:60].decode(errors="replace"),
)
def test_other_values_are_left_to_the_decoder(value):
    assert not is_valid(value)


@pytest.mark.parametrize("key", [None, b"", b"c", b"c11", b"c2"])
def test_another_key_is_left_to_the_decoder(key):
    assert not is_valid(msgspec.json.encode(GOOD), key)


def test_empty_batches_and_null_values_are_handled():
    empty = read_common([], [])
    assert empty is not None
    assert len(empty[0]) == len(empty[1]) == 0
    good = msgspec.json.encode(GOOD)
    result = read_common([None, good, b"", good], [b"c1", b"c1", None, b"c1"])
    assert result is not None
    assert result[1].tolist() == [1, 3]
    assert result[0].customer_id.to_pylist() == ["c1", "c1"]


def mutated(seed: int) -> bytes:
    """A valid record with a few of its bytes changed, taken away or put in."""
    stream = np.random.default_rng(seed)
    value = bytearray(text(category=str(stream.choice(["toys", "Küche", ""]))))
    pieces = [b'"', b"\\", b"0", b"1.0", b"e5", b"null", b"{", b"}", b",", b":", b" ", b"\xc3", b"\xbc", b"\0", b"-"]
    for _ in range(int(stream.choice([1, 1, 1, 2, 5]))):
        at = int(stream.integers(len(value) + 1))
        value[at : at + int(stream.choice([0, 0, 1, 1, 4]))] = pieces[int(stream.integers(len(pieces)))]
    return bytes(value)


@example([mutated(290)])  # a time ahead
@given(st.lists(st.integers(0, 2**40).map(mutated), min_size=1, max_size=40))
def test_fast_path_and_decoder_read_the_same_values(values):
    keys: list[bytes | None] = [b"c1"] * len(values)
    result = read_common(values, keys)
    assert result is not None
    columns, positions = result
    # times are judged by who asks the reader: here none is ahead, but some count another unit
    decoded = decode("events", [values[at] for at in positions], [b"c1"] * len(positions), [2**60] * len(positions))
    assert [r.reason for r in decoded.rejected if "`ts` is in epoch" not in r.reason] == []
    for at, record in zip(decoded.positions.tolist(), decoded.records, strict=True):
        assert columns.event_id[at].as_py() == record.event_id
        assert columns.session_id[at].as_py() == record.session_id
        assert columns.spelt(columns.category)[at].as_py() == record.category
        assert columns.ts[at] == record.ts
    together = decode_events(values, keys, [APPEND] * len(values))
    assert together.positions.tolist() == decode("events", values, keys, [APPEND] * len(values)).positions.tolist()


def test_time_in_the_future_is_rejected_with_a_reason():
    ahead = text(ts=APPEND + 86_400_001)
    decoded = decode_events([text(), ahead, text()], [b"c1"] * 3, np.array([APPEND] * 3))
    assert decoded.positions.tolist() == [0, 2]
    assert [(r.position, "ahead" in r.reason) for r in decoded.rejected] == [(1, True)]


def test_messages_of_fast_path_and_decoder_keep_their_order():
    values = [text(event_id=f"e{i}", quantity=1.0 if i % 3 else 1) for i in range(100)]
    decoded = decode_events(values, [b"c1"] * 100, [APPEND] * 100)
    assert decoded.columns.event_id.to_pylist() == [f"e{i}" for i in range(100)]
    assert decoded.positions.tolist() == list(range(100))


def test_every_field_of_the_event_is_read():
    assert set(GOOD) == set(Event.__struct_fields__)
