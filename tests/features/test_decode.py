"""Every rule of what is not a valid record, and that a bad message harms nobody but itself."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.records.decode import CHUNK, Tombstone, decode, decode_events, event_columns, order_columns
from features.records.rejections import REASON_LENGTH_MAX
from features.schema import AMOUNT_MAX, DAY_MS, DEVICES, EVENT_TYPES, ORDER_CHANGE_MS_MAX, STATUSES, TS_MAX

NOW = 1_700_000_000_000
MISSING = object()

EVENT = {
    "event_id": "e1",
    "event_type": "product_view",
    "customer_id": "c1",
    "session_id": "s1",
    "ts": NOW,
    "product_id": "p1",
    "category": "toys",
    "price": 19.99,
    "quantity": 2,
    "device": "mobile",
    "channel": "email",
    "country": "DE",
}
ITEM = {"product_id": "p1", "category": "toys", "quantity": 1, "unit_price": 9.5}
ORDER = {
    "order_id": "o1",
    "customer_id": "c1",
    "session_id": None,
    "ts": NOW,
    "updated_ts": NOW,
    "status": "placed",
    "total": 1.015,
    "items": [ITEM],
    "channel": None,
    "country": "DE",
    "payment_method": "card",
}
CUSTOMER = {
    "customer_id": "c1",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "country": "GB",
    "gender": "f",
    "acquisition_channel": "email",
    "signup_ts": NOW,
    "age": 36,
    "premium": True,
    "marketing_opt_in": False,
}
MESSAGES = {"events": EVENT, "orders": ORDER, "customers": CUSTOMER}


def message(record, **changes):
    """JSON of a record with changes; a change to bytes is put in as it is, MISSING leaves the field out."""
    fields = {k: v for k, v in {**record, **changes}.items() if v is not MISSING}
    parts = (
        json.dumps(k).encode() + b":" + (v if isinstance(v, bytes) else json.dumps(v, ensure_ascii=False).encode())
        for k, v in fields.items()
    )
    return b"{" + b",".join(parts) + b"}"


def read(topic, value, key=b"c1", append_ms=NOW):
    """The record, or the reason, of one message."""
    decoded = decode(topic, [value], [key], [append_ms])
    assert len(decoded.records) + len(decoded.rejected) == 1
    if decoded.rejected:
        assert decoded.rejected[0].position == 0
        assert len(decoded.rejected[0].reason) <= REASON_LENGTH_MAX
        return decoded.rejected[0].reason
    assert decoded.positions.tolist() == [0]
    return decoded.records[0]


NOT_OBJECTS = [
    (b"", "not JSON"),
    (b"hello", "not JSON"),
    (b"null", "expected a JSON object, got null"),
    (b"[]", "expected a JSON object, got a list"),
    (b"17", "expected a JSON object, got a number"),
    (b'"text"', "expected a JSON object, got a string"),
    (message(EVENT)[:-1], "not JSON"),
    (message(EVENT) + b"}", "not JSON: trailing characters"),
    (message(EVENT) + b"\x00", "not JSON"),
    (b"\xef\xbb\xbf" + message(EVENT), "not JSON"),
    (message(EVENT).decode().encode("utf-16"), "not UTF-8"),
    (message(EVENT, extra=b"NaN"), "not JSON"),
    (message(EVENT, extra=b"Infinity"), "not JSON"),
    (message(EVENT, extra=b"-Infinity"), "not JSON"),
    (message(EVENT, price=b"NaN"), "not JSON"),
    (message(EVENT, extra=b"01"), "not JSON"),
    (message(EVENT, extra=b"[1,]"), "not JSON"),
    (message(EVENT, extra=b'"\x01"'), "not JSON"),
    (message(EVENT, extra=b'"\\ud800"'), "not JSON"),
    (message(EVENT, extra=b'"\xff"'), "not UTF-8: byte 0xff at position"),
    (message(EVENT, extra=b'"\xc3"'), "not UTF-8"),
    (message(EVENT, extra=b'"\xed\xa0\x80"'), "not UTF-8"),
    (message(EVENT, category=b'"\xff"'), "not UTF-8"),
    (message(EVENT, extra=b"[" * 100_000 + b"]" * 100_000), "nested too deeply"),
    (b'{"a":' + b"[" * 100_000, "nested too deeply"),
    (b"[" * 100_000, "expected a JSON object, got a list"),
]


@pytest.mark.parametrize(("value", "reason"), NOT_OBJECTS)
def test_value_that_is_not_a_json_object_is_rejected(value, reason):
    assert reason in read("events", value)


REQUIRED = {
    "events": ("event_id", "event_type", "customer_id", "session_id", "ts", "device"),
    "orders": ("order_id", "customer_id", "ts", "updated_ts", "status", "total"),
    "customers": ("customer_id",),
}


@pytest.mark.parametrize(("topic", "name"), [(t, n) for t, names in REQUIRED.items() for n in names])
def test_required_field_that_is_missing_null_or_of_a_wrong_type_is_rejected(topic, name):
    assert read(topic, message(MESSAGES[topic], **{name: MISSING})) == f"`{name}` is missing"
    for wrong, got in ((None, "null"), ([], "a list"), ({}, "an object"), (True, "true")):
        reason = read(topic, message(MESSAGES[topic], **{name: wrong}))
        assert reason.startswith(f"`{name}`: expected ")
        assert reason.endswith(f", got {got}")


@pytest.mark.parametrize(("topic", "name"), [(t, n) for t, record in MESSAGES.items() for n in record])
def test_optional_field_is_null_or_missing_or_of_its_type(topic, name):
    if name not in REQUIRED[topic]:
        for absent in (None, MISSING):
            assert getattr(read(topic, message(MESSAGES[topic], **{name: absent})), name) is None
        reason = read(topic, message(MESSAGES[topic], **{name: {"a": 1}}))
        assert reason.startswith(f"`{name}`: expected ")
        assert reason.endswith(" or null, got an object")


@pytest.mark.parametrize("name", ["event_id", "customer_id", "session_id"])
def test_event_with_an_empty_id_is_rejected(name):
    assert read("events", message(EVENT, **{name: ""})) == f"`{name}`: expected a non-empty string, got an empty string"


@pytest.mark.parametrize("name", ["order_id", "customer_id"])
def test_order_with_an_empty_id_is_rejected(name):
    assert "expected a non-empty string" in read("orders", message(ORDER, **{name: ""}))


@pytest.mark.parametrize("name", ["product_id", "category", "channel", "country"])
def test_an_empty_optional_string_is_a_value(name):
    assert getattr(read("events", message(EVENT, **{name: ""})), name) == ""


WRONG = [
    ("events", {"event_type": "click"}, "`event_type`: expected one of add_to_cart, checkout, page_view, "),
    ("events", {"event_type": "Purchase"}, "got the string 'Purchase'"),
    ("events", {"device": "tv"}, "`device`: expected one of desktop, mobile, tablet, got the string 'tv'"),
    ("orders", {"status": "lost"}, "`status`: expected one of cancelled, placed, refunded, void, got"),
    ("orders", {"status": ""}, "`status`: expected one of"),
    ("events", {"ts": 0}, "`ts`: expected an integer of at least 1, got 0"),
    ("events", {"ts": -5}, "`ts`: expected an integer of at least 1, got -5"),
    ("events", {"ts": b"-0.0"}, "`ts`: expected an integer of at least 1, got 0"),
    ("events", {"ts": 1.5}, "`ts`: expected an integer of at least 1, got 1.5"),
    ("events", {"ts": str(NOW)}, "`ts`: expected an integer of at least 1, got the string"),
    ("events", {"ts": NOW + DAY_MS + 1}, f"`ts`: expected at most {DAY_MS} ms ahead of the append time {NOW}, got"),
    ("events", {"ts": 10**30}, "`ts`: expected at most"),
    ("events", {"ts": b"1e30"}, "`ts`: expected at most"),
    ("events", {"ts": b"1e9999"}, "`ts`: expected an integer of at least 1, got 1e9999"),
    ("events", {"ts": b"1e999999999999"}, "`ts`: expected an integer"),
    ("events", {"ts": b"1e99999999999999999999999"}, "`ts`: expected an integer"),
    ("events", {"ts": b"1e-99999999999999999999999"}, "`ts`: expected an integer"),
    ("orders", {"ts": 0}, "`ts`: expected an integer of at least 1"),
    ("orders", {"ts": NOW + DAY_MS + 1, "updated_ts": NOW + DAY_MS + 1}, "`ts`: expected at most"),
    ("orders", {"updated_ts": NOW + DAY_MS + 1}, "`updated_ts`: expected at most"),
    ("orders", {"updated_ts": 0}, "`updated_ts`: expected an integer of at least 1"),
    ("orders", {"updated_ts": NOW - 1}, "`updated_ts`: expected from `ts`"),
    ("orders", {"ts": NOW - ORDER_CHANGE_MS_MAX - 1}, "`updated_ts`: expected from `ts`"),
    ("orders", {"ts": 10**30, "updated_ts": 10**30}, "`ts`: expected at most"),
    ("events", {"price": -0.01}, "`price`: expected a number from 0 to 1000000000000 or null, got -0.01"),
    ("events", {"price": AMOUNT_MAX + 1}, "`price`: expected a number from 0 to"),
    ("events", {"price": b"1e400"}, "`price`: expected a number from 0 to"),
    ("events", {"price": "1.0"}, "`price`: expected a number from 0 to"),
    ("events", {"price": True}, "`price`: expected a number from 0 to 1000000000000 or null, got true"),
    ("events", {"quantity": 0}, "`quantity`: expected an integer of at least 1 or null, got 0"),
    ("events", {"quantity": -(10**30)}, "`quantity`: expected an integer of at least 1"),
    ("events", {"quantity": 1.5}, "`quantity`: expected an integer of at least 1"),
    ("events", {"quantity": False}, "`quantity`: expected an integer of at least 1"),
    ("events", {"quantity": b"9" * 5000}, "`quantity`: expected an integer of at least 1"),
    ("orders", {"total": -1}, "`total`: expected a number from 0 to 1000000000000, got -1"),
    ("orders", {"total": 1e13}, "`total`: expected a number from 0 to"),
    ("orders", {"items": {}}, "`items`: expected a list of objects or null, got an object"),
    ("orders", {"items": [None]}, "`items[0]`: expected an object, got null"),
    ("orders", {"items": [ITEM, 3]}, "`items[1]`: expected an object, got 3"),
    ("orders", {"items": [ITEM, {**ITEM, "quantity": 0}]}, "`items[1].quantity`: expected an integer of at least 1"),
    ("orders", {"items": [{"quantity": 1.5}]}, "`items[0].quantity`: expected an integer of at least 1"),
    ("orders", {"items": [{"unit_price": -1}]}, "`items[0].unit_price`: expected a number from 0 to"),
    ("orders", {"items": [{"unit_price": 1e13}]}, "`items[0].unit_price`: expected a number from 0 to"),
    ("orders", {"items": [{"product_id": 7}]}, "`items[0].product_id`: expected a string or null, got 7"),
    ("customers", {"age": "36"}, "`age`: expected an integer or null, got the string '36'"),
    ("customers", {"age": 36.5}, "`age`: expected an integer or null, got 36.5"),
    ("customers", {"premium": 1}, "`premium`: expected true or false or null, got 1"),
    ("customers", {"signup_ts": "2024-01-01"}, "`signup_ts`: expected an integer or null"),
]


@pytest.mark.parametrize(("topic", "changes", "reason"), WRONG)
def test_invalid_record_is_rejected_with_its_reason(topic, changes, reason):
    assert reason in read(topic, message(MESSAGES[topic], **changes))


SECONDS, FIRST_UNIT_MS = NOW // 1_000, 631_152_000_000
UNITS = {
    "seconds": SECONDS,
    "minutes": SECONDS // 60,
    "hours": SECONDS // 3_600,
    "days": SECONDS // 86_400,
    "microseconds": NOW * 1_000,
    "nanoseconds": NOW * 1_000_000,
}


@pytest.mark.parametrize(("unit", "time"), UNITS.items())
@pytest.mark.parametrize(("topic", "name"), [("events", "ts"), ("orders", "updated_ts"), ("customers", "signup_ts")])
def test_time_in_another_unit_is_rejected_with_the_name_of_the_unit(topic, name, unit, time):
    changes = {"ts": time, "updated_ts": time} if topic == "orders" else {name: time}
    assert read(topic, message(MESSAGES[topic], **changes)).startswith(f"`{name if topic != 'orders' else 'ts'}` is in")
    assert f"is in epoch {unit}, not milliseconds: got {time}" in read(topic, message(MESSAGES[topic], **changes))


def test_time_in_another_unit_is_named_in_each_field_of_an_order():
    assert "`updated_ts` is in epoch seconds" in read("orders", message(ORDER, updated_ts=SECONDS))
    assert "`ts` is in epoch seconds" in read("orders", message(ORDER, ts=SECONDS))


@pytest.mark.parametrize("topic", ["events", "customers"])
@pytest.mark.parametrize(
    ("time", "is_refused"),
    [
        (FIRST_UNIT_MS // 1_000, True),
        (FIRST_UNIT_MS // 1_000 - 1, False),
        ((NOW + DAY_MS) // 1_000, True),
        ((NOW + DAY_MS) // 1_000 + 1, False),
        (SECONDS // 86_400 + 2, False),
        (1, False),
    ],
)
def test_only_a_number_that_is_a_time_since_1990_in_another_unit_is_refused(topic, time, is_refused):
    name = "ts" if topic == "events" else "signup_ts"
    record = read(topic, message(MESSAGES[topic], **{name: time}))
    assert isinstance(record, str) is is_refused
    assert is_refused or getattr(record, name) == time


def test_seconds_among_milliseconds_are_refused_alone():
    values = [message(EVENT), message(EVENT, ts=SECONDS), message(EVENT)]
    decoded = decode_events(values, [b"c1"] * 3, [NOW] * 3)
    assert decoded.positions.tolist() == [0, 2]
    assert [(one.position, "epoch seconds" in one.reason) for one in decoded.rejected] == [(1, True)]


RIGHT = [
    ("events", {"ts": NOW + DAY_MS}, "ts", NOW + DAY_MS),
    ("events", {"ts": 1}, "ts", 1),
    ("events", {"ts": b"1.0"}, "ts", 1),
    ("events", {"ts": b"1e2"}, "ts", 100),
    ("events", {"ts": b"10e-1"}, "ts", 1),
    ("events", {"ts": b"1700000000000.000"}, "ts", NOW),
    ("events", {"ts": b"17E+11"}, "ts", NOW),
    ("events", {"quantity": b"3.0"}, "quantity", 3),
    ("events", {"quantity": b"9007199254740993.0"}, "quantity", 2**53 + 1),
    ("events", {"quantity": 10**30}, "quantity", 2**63 - 1),
    ("events", {"quantity": b"1e30"}, "quantity", 2**63 - 1),
    ("events", {"quantity": b"1e400"}, "quantity", 2**63 - 1),
    ("events", {"quantity": 2**63 - 1}, "quantity", 2**63 - 1),
    ("events", {"price": 5}, "price", 5.0),
    ("events", {"price": b"-0.0"}, "price", 0.0),
    ("events", {"price": b"1e12"}, "price", AMOUNT_MAX),
    ("events", {"price": b"1e-400"}, "price", 0.0),
    ("events", {"category": "Küche 🍳"}, "category", "Küche 🍳"),
    ("events", {"extra": {"deep": [1, {"a": None}]}}, "event_id", "e1"),
    ("events", {"extra": "Ünknown"}, "event_id", "e1"),
    ("orders", {"updated_ts": NOW + DAY_MS}, "updated_ts", NOW + DAY_MS),
    ("orders", {"ts": NOW - ORDER_CHANGE_MS_MAX}, "ts", NOW - ORDER_CHANGE_MS_MAX),
    ("orders", {"session_id": ""}, "session_id", ""),
    ("orders", {"items": []}, "items", []),
    ("orders", {"total": b"1e2"}, "total", 100.0),
    ("customers", {"signup_ts": 10**30}, "signup_ts", TS_MAX),
    ("customers", {"signup_ts": -(10**30)}, "signup_ts", -62_135_596_800_000),
    ("customers", {"signup_ts": b"1e3"}, "signup_ts", 1000),
    ("customers", {"signup_ts": 0}, "signup_ts", 0),
    ("customers", {"age": 36.0}, "age", 36),
    ("customers", {"age": 10**30}, "age", 2**63 - 1),
    ("customers", {"age": -1}, "age", -1),
    ("customers", {"age": b"-0.0e-99999999999999999999999"}, "age", 0),
    ("customers", {"name": ""}, "name", ""),
]


@pytest.mark.parametrize(("topic", "changes", "name", "expected"), RIGHT)
def test_valid_record_is_decoded_with_its_types(topic, changes, name, expected):
    record = read(topic, message(MESSAGES[topic], **changes))
    assert not isinstance(record, str), record
    assert getattr(record, name) == expected
    assert type(getattr(record, name)) is type(expected)


def test_items_with_missing_fields_whole_floats_and_large_quantities_are_decoded():
    items = b'[{},{"quantity":2.0,"x":1},{"quantity":1e30},{"quantity":null,"unit_price":3}]'
    order = read("orders", message(ORDER, items=items))
    assert [item.quantity for item in order.items] == [None, 2, 2**63 - 1, None]
    assert [item.unit_price for item in order.items] == [None, None, None, 3.0]


def test_last_of_equal_json_keys_wins():
    twice = message(EVENT)[:-1]
    assert read("events", twice + b',"ts":7}').ts == 7
    assert read("events", message(EVENT, ts="x")[:-1] + b',"ts":7}').ts == 7
    assert "`ts`: expected an integer" in read("events", twice + b',"ts":"x"}')
    assert read("events", twice + b',"\\u0074s":7.0}').ts == 7


@pytest.mark.parametrize("topic", MESSAGES)
@pytest.mark.parametrize("key", [None, b"", b"c2", b"C1", b"c1 ", b"\xff", b"c1\nc1"])
def test_message_key_other_than_the_customer_is_rejected(topic, key):
    assert read(topic, message(MESSAGES[topic]), key=key).startswith("message key: expected the customer_id 'c1', got ")


@given(st.lists(st.tuples(*[st.sampled_from(["a", "b", "\n", "a\n", "\na", "a\nb", "ä"])] * 2), max_size=6))
@example([("a\nb", "a"), ("c", "b\nc")])
@example([("a", "a"), ("b\nc", "b\nc")])
def test_message_keys_of_any_bytes_are_compared_individually(pairs):
    decoded = decode(
        "customers",
        [message({"customer_id": customer_id}) for customer_id, _ in pairs],
        [key.encode() for _, key in pairs],
        [NOW] * len(pairs),
    )
    assert decoded.positions.tolist() == [n for n, (customer_id, key) in enumerate(pairs) if customer_id == key]


def test_a_null_value_removes_a_profile_and_is_allowed_nowhere_else():
    assert read("customers", None) == Tombstone("c1")
    assert read("customers", None, key="Zoë".encode()) == Tombstone("Zoë")
    assert "no key" in read("customers", None, key=None)
    assert "no key" in read("customers", None, key=b"")
    assert "not UTF-8" in read("customers", None, key=b"\xff")
    assert "the value is null" in read("events", None)
    assert "the value is null" in read("orders", None)


@pytest.mark.parametrize("wrong", [{"name": 49170123456}, {"email": ["ada@example.com"]}, {"name": {"ada": 1}}])
def test_rejection_reason_holds_no_personal_data(wrong):
    reason = read("customers", message(CUSTOMER, **wrong))
    assert "49170123456" not in reason
    assert "ada" not in reason


def test_rejection_reason_is_short():
    assert len(read("events", message(EVENT, event_type="x" * 10_000))) < 250
    assert len(read("events", message(EVENT, customer_id="x" * 10_000), key=b"y" * 10_000)) < 250
    assert len(read("events", message(EVENT, ts=b"-" + b"1" * 4000))) < 250


def test_append_times_are_checked_individually():
    values = [message(EVENT, ts=NOW)] * 3
    decoded = decode("events", values, [b"c1"] * 3, [NOW, NOW - DAY_MS, NOW - DAY_MS - 1])
    assert decoded.positions.tolist() == [0, 1]
    assert [rejected.position for rejected in decoded.rejected] == [2]


def test_empty_batch_decodes_to_no_records():
    for topic in MESSAGES:
        decoded = decode(topic, [], [], [])
        assert decoded.records == []
        assert decoded.positions.tolist() == []
    assert len(decode_events([], [], []).columns) == 0


# --- a bad message harms nobody but itself -------------------------------------------------------------------------
good = st.sampled_from(
    [
        (message(EVENT), b"c1"),
        (message(EVENT, event_id="e2", category="Küche"), b"c1"),
        (message(EVENT, customer_id="ü", ts=5), "ü".encode()),
        (message(EVENT, quantity=b"1e30"), b"c1"),
    ]
)


@st.composite
def mutated(draw):
    value = bytearray(draw(st.sampled_from([message(EVENT), message(EVENT, extra=b'{"a":[1,2.5,"\xc3\xa4"]}')])))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(value)))
        value[position : position + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(value), draw(st.sampled_from([b"c1", b"c2", None]))


bad = st.one_of(
    mutated(),
    st.tuples(st.binary(max_size=30), st.just(b"c1")),
    st.sampled_from([(value, b"c1") for value, _ in NOT_OBJECTS]),
    st.just((None, b"c1")),
)


@given(st.lists(st.one_of(good, bad), max_size=12))
def test_batch_is_decoded_like_its_single_messages(messages):
    values, keys = [value for value, _ in messages], [key for _, key in messages]
    decoded = decode("events", values, keys, [NOW] * len(values))
    alone = [decode("events", [value], [key], [NOW]) for value, key in messages]
    assert decoded.records == [record for one in alone for record in one.records]
    assert decoded.positions.tolist() == [n for n, one in enumerate(alone) if one.records]
    assert [(rejected.position, rejected.reason) for rejected in decoded.rejected] == [
        (n, rejected.reason) for n, one in enumerate(alone) for rejected in one.rejected
    ]
    assert all(1 <= len(rejected.reason) <= REASON_LENGTH_MAX for rejected in decoded.rejected)


def json_accepts(value):
    def refuse(_):
        raise ValueError

    try:
        return isinstance(json.loads(value.decode(), parse_constant=refuse), dict)
    except (ValueError, RecursionError):
        return False


@given(mutated())
def test_valid_message_is_json_for_a_second_parser(mutant):
    value, key = mutant
    if not isinstance(read("events", value, key), str):
        assert json_accepts(value)


@pytest.mark.parametrize("topic", MESSAGES)
@given(data=st.data())
def test_no_mutation_of_any_topic_crashes(topic, data):
    value = bytearray(message(MESSAGES[topic]))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(value)))
        new = data.draw(
            st.sampled_from([b"", b"null", b"0", b'"', b"{", b"]", b"1e9", b"\xff", b"[[", b",", b"-", b"9" * 30])
        )
        value[position : position + data.draw(st.integers(0, 6))] = new
    read(topic, bytes(value))


# --- chunks and columns ---------------------------------------------------------------------------------------------
def many(n):
    """n messages over several chunks; every 97th is broken, every 89th has a wrong key, every 83rd is from tomorrow."""
    rng = np.random.default_rng(3)
    values, keys, expected = [], [], []
    for i in range(n):
        fields = {
            "event_id": f"e{i}",
            "customer_id": f"c{rng.integers(50)}",
            "event_type": EVENT_TYPES[rng.integers(7)],
            "device": DEVICES[rng.integers(3)],
            "category": [None, "", "toys", "Küche"][rng.integers(4)],
            "channel": [None, "email"][rng.integers(2)],
            "country": [None, "DE"][rng.integers(2)],
            "ts": NOW + (2 * DAY_MS if i % 83 == 0 else int(rng.integers(1000))),
        }
        values.append(message(EVENT, **fields) + (b"x" if i % 97 == 0 else b""))
        keys.append(b"nobody" if i % 89 == 0 else fields["customer_id"].encode())
        if i % 83 and i % 89 and i % 97:
            expected.append((i, fields))
    return values, keys, expected


def texts(columns, name):
    column = getattr(columns, name)
    return (columns.spelt(column) if isinstance(column, np.ndarray) else column).to_pylist()


def test_columns_of_many_events_equal_the_messages():
    values, keys, expected = many(2 * CHUNK + 500)
    decoded = decode_events(values, keys, np.full(len(values), NOW))
    columns = decoded.columns
    assert decoded.positions.tolist() == [i for i, _ in expected]
    assert len(decoded.rejected) == len(values) - len(expected)
    assert [r.position for r in decoded.rejected] == sorted(set(range(len(values))) - {i for i, _ in expected})
    for name in ("event_id", "customer_id", "category", "channel", "country"):
        assert texts(columns, name) == [fields[name] for _, fields in expected]
    assert set(columns.session_id.to_pylist()) == {"s1"}
    assert columns.ts.tolist() == [fields["ts"] for _, fields in expected]
    assert [EVENT_TYPES[code] for code in columns.event_type] == [fields["event_type"] for _, fields in expected]
    assert [DEVICES[code] for code in columns.device] == [fields["device"] for _, fields in expected]


def test_records_and_columns_agree():
    values, keys, _ = many(CHUNK + 300)
    append_ms = [NOW] * len(values)
    decoded, direct = decode("events", values, keys, append_ms), decode_events(values, keys, append_ms)
    assert decoded.rejected == direct.rejected
    assert decoded.positions.tolist() == direct.positions.tolist()
    by_record = event_columns(decoded.records)
    for name in ("category", "channel", "country"):
        assert texts(by_record, name) == texts(direct.columns, name)
    for name in set(by_record.__slots__) - {"category", "channel", "country", "words"}:
        of_record, of_direct = getattr(by_record, name), getattr(direct.columns, name)
        assert of_record.tolist() == of_direct.tolist(), name
        if hasattr(of_record, "dtype"):
            assert of_record.dtype == of_direct.dtype


def test_orders_decode_to_columns_in_cents():
    values = [
        message(ORDER, order_id="o1", total=1.015, status="placed", items=None),
        message(ORDER, order_id="o2", total=0.005, status="cancelled", items=[ITEM, ITEM], updated_ts=NOW + 5),
        message(ORDER, order_id="o3", total=20, status="refunded", items=MISSING),
    ]
    records = decode("orders", values, [b"c1"] * 3, [NOW] * 3).records
    columns = order_columns(records, keep_records=True)
    assert columns.order_id.to_pylist() == ["o1", "o2", "o3"]
    assert columns.customer_id.to_pylist() == ["c1"] * 3
    assert columns.total_cents.tolist() == [102, 0, 2000]
    assert columns.lines.tolist() == [0, 2, 0]
    assert [STATUSES[code] for code in columns.status] == ["placed", "cancelled", "refunded"]
    assert columns.updated_ts.tolist() == [NOW, NOW + 5, NOW]
    assert columns.records is records
    assert order_columns(records, keep_records=False).records is None
    assert len(order_columns([], keep_records=False)) == 0


def test_record_equals_a_plain_json_reading():
    for topic, record in MESSAGES.items():
        decoded = read(topic, message(record))
        assert msgspec.to_builtins(decoded) == record
