"""Every message gives all of its records, or is left out or refused with one reason, whatever its batch is."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.messages.mapped import Message
from features.errors import UsageError
from features.records.decode import decode
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper

CLICKS = """\
kind: clicks
from: {topic: raw}
time: {path: at, format: epoch_ms}
identity: {user: user, visitor: visitor}
left_out: [{reason: robot, path: robot, equals: true}]
click:
  id: id
  session: session
  type: kind
  types: {view: product_view, buy: purchase, ping: null}
  product: sku
  price: price
  lines: {types: [purchase], list: lines, id: ["{order}#{i}", {join: "{id}#{i}", when: many}, "{id}"], never: ["-"],
          product: .sku, price: .price}
"""
ORDERS = """\
kind: orders
from: {topic: raw}
time: {path: at}
left_out: [{reason: test order, path: test, equals: true}]
currency: {path: currency, rates: {EUR: 1, USD: 0.5}}
order:
  rows: order
  id: id
  customer: [{path: customer, never: [0]}, {path: mail, guest: true}]
  updated: {path: changed}
  status: {path: status, words: {paid: placed, back: refunded}}
  total: {sum: [total, "refunds[*].amount"]}
  lines: {list: lines, product: .sku, quantity: .n, unit_price: .price}
"""
ROWS = """\
kind: orders
from: {topic: shop.public.orders, envelope: debezium}
time: {path: at, format: epoch_ms}
order: {rows: order, id: id, customer: who, updated: {path: ts_ms, format: epoch_ms},
        total: {path: total, base64_scale: 2}%s}
"""
CLICK = {"at": 1_700_000_000_000, "user": "u", "visitor": "v", "id": "e", "session": "s", "kind": "view", "sku": "A"}
ORDER = {
    "at": "2026-05-04T08:00:00Z", "changed": "2026-05-04T09:00:00Z", "id": 7, "customer": 0, "mail": " Ann@Shop.com ",
    "status": "paid", "currency": "EUR", "total": "20.00", "lines": [{"sku": "A", "n": 2, "price": "10.00"}],
}  # fmt: skip


def mapped(mapping, *records, salt=b"salt"):
    messages = [
        Message(record if isinstance(record, bytes | None) else json.dumps(record).encode(), f"raw-0-{number}")
        for number, record in enumerate(records)
    ]
    return TopicMapper("test", parse_mapping(mapping, "test"), salt).map(messages)


def values(result):
    return [json.loads(record.value) for record in result.records]


# --- clicks -----------------------------------------------------------------------------------------------------------
def test_click_of_a_user_is_an_event_with_the_user_as_key():
    result = mapped(CLICKS, CLICK)
    assert [record[:2] for record in result.records] == [("events", b"u")]
    assert values(result) == [
        {"event_id": "e", "event_type": "product_view", "customer_id": "u", "session_id": "s",
         "ts": 1_700_000_000_000, "device": "desktop", "product_id": "A"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"robot": True}, "robot"),
        ({"kind": "ping"}, "event_type not counted"),
        ({"user": None}, "no user yet"),
        ({"user": "undefined"}, "no user yet"),
        ({"session": ""}, "no session id"),
    ],
)
def test_click_that_a_rule_leaves_out_has_its_reason(change, reason):
    result = mapped(CLICKS, CLICK | change)
    assert (result.left_out, result.refused, result.records) == ({0: reason}, {}, [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": None, "visitor": "null"}, "`user`: missing"),
        ({"user": "guest", "visitor": None}, '`user`: placeholder "guest"'),
        ({"at": None}, "`at`: missing"),
        ({"at": "soon"}, "`at`: soon is no"),
        ({"price": "-1"}, '`price, .price`: amount below 0 or above 1e12: "-1"'),
        ({"kind": "zoom"}, '`kind`: unknown event type: "zoom"'),
        ({"sku": {"a": 1}}, "`sku`: sku is an object"),
    ],
)
def test_click_that_cannot_be_read_is_refused_with_path_and_reason(change, reason):
    result = mapped(CLICKS, CLICK | change)
    assert (result.left_out, result.records) == ({}, [])
    assert result.refused[0].startswith(reason)


def test_purchase_gives_an_event_of_each_line_or_none_of_them():
    lines = [{"sku": "A", "price": "5"}, {"sku": "B", "price": "7"}]
    whole = mapped(CLICKS, CLICK | {"kind": "buy", "order": "o", "lines": lines})
    assert [(one["event_id"], one["product_id"], one["price"]) for one in values(whole)] == [
        ("o#0", "A", 5.0), ("o#1", "B", 7.0),
    ]  # fmt: skip
    broken = mapped(CLICKS, CLICK | {"kind": "buy", "order": "o", "lines": [lines[0], {"sku": "B", "price": "?"}]})
    assert (broken.records, list(broken.refused)) == ([], [0])


@pytest.mark.parametrize(
    ("change", "ids"),
    [
        ({"lines": [{"sku": "A"}]}, ["e"]),
        ({"kind": "buy", "order": "-", "lines": [{"sku": "A"}]}, ["e#0"]),
        ({"kind": "buy", "lines": [{"sku": "A"}, {"sku": "B"}]}, ["e#0", "e#1"]),
    ],
)
def test_line_without_an_order_has_the_id_of_its_message(change, ids):
    assert [one["event_id"] for one in values(mapped(CLICKS, CLICK | change))] == ids


def test_click_without_an_id_has_that_of_its_position_in_the_topic():
    without = CLICKS.replace("  id: id\n", "")
    result = mapped(without, b"{", CLICK, CLICK | {"kind": "buy", "lines": [{"sku": "A"}, {"sku": "B"}]})
    assert [one["event_id"] for one in values(result)] == ["raw-0-1", "raw-0-2", "raw-0-2#1"]


# --- orders -----------------------------------------------------------------------------------------------------------
def test_order_has_the_total_less_what_was_given_back_and_a_guest_by_a_keyed_hash():
    result = mapped(ORDERS, ORDER | {"refunds": [{"amount": "-2.50"}, {"amount": None}, {"amount": "-0.1"}]})
    guest = "~" + hmac.new(b"salt", b"ann@shop.com", hashlib.sha256).hexdigest()[:16]
    (order,) = values(result)
    assert order["customer_id"] == guest
    assert result.records[0][1] == guest.encode()
    assert (order["order_id"], order["total"], order["status"]) == ("7", 17.4, "placed")
    assert order["updated_ts"] - order["ts"] == 3_600_000
    assert b"shop.com" not in result.records[0][2].lower()


def test_guests_need_a_salt():
    with pytest.raises(UsageError, match="secret salt"):
        mapped(ORDERS, ORDER, salt=b"")


@pytest.mark.parametrize(
    ("change", "left_out", "refused"),
    [
        ({"test": True}, "test order", None),
        ({"currency": "BTC"}, "no rate for BTC", None),
        ({"status": "on the way"}, None, '`status`: word without an entry in `words`: "on the way"'),
        ({"at": None}, None, "`at`: missing"),
        ({"customer": None, "mail": None}, None, "`customer, mail`: missing"),
        ({"total": "1,299.00"}, None, "`total, refunds[*].amount`: 1,299.00 is no number"),
        ({"refunds": [{"amount": "much"}]}, None, "`refunds[*].amount`: refunds[*].amount has a value that is no"),
        ({"refunds": 5}, None, "`refunds[*].amount`: refunds is not a list"),
        ({"changed": "2026-05-04T07:59:59Z"}, None, "changed before it was placed"),
        ({"id": None}, None, "`id`: missing"),
    ],
)
def test_order_that_is_no_record_has_its_reason(change, left_out, refused):
    result = mapped(ORDERS, ORDER | change)
    assert result.records == []
    assert result.left_out.get(0) == left_out
    assert (result.refused.get(0) or "").startswith(refused or "")
    assert bool(result.refused) == (refused is not None)


def test_messages_of_one_order_are_judged_one_by_one():
    """A later message of another customer, time or total refuses nothing: that is for the contract to decide."""
    others = [{"customer": 5}, {"at": "2026-05-03T08:00:00Z"}, {"total": "1.00"}, {}]
    result = mapped(ORDERS, *(ORDER | other for other in others))
    assert not result.refused
    assert {one["total"] for one in values(result)} == {20.0, 1.0}


# --- changes of a table -----------------------------------------------------------------------------------------------
def row(who="a", total=500, **more):
    digits = base64.b64encode(total.to_bytes(4, "big", signed=True)).decode()
    return {"id": 1, "who": who, "at": 1_700_000_000_000, "total": digits, **more}


def change(op, before, after, ts_ms=1_700_000_100_000):
    return {"op": op, "before": before, "after": after, "ts_ms": ts_ms, "source": {"ts_ms": ts_ms}}


def statuses(result):
    return sorted((one["customer_id"], one["status"], one["total"]) for one in values(result))


def test_changes_of_a_row_are_records_of_its_order():
    result = mapped(ROWS % "", change("c", None, row()), change("u", row(), row(total=300)))
    assert statuses(result) == [("a", "placed", 3.0), ("a", "placed", 5.0)]


def test_deletion_is_left_out_unless_the_mapping_names_its_status():
    assert mapped(ROWS % "", change("d", row(), None)).left_out == {0: "deletion"}


def test_deletion_makes_the_order_void():
    assert statuses(mapped(ROWS % ", deleted: void", change("d", row(), None))) == [("a", "void", 5.0)]


def test_order_that_moves_to_another_customer_is_void_at_the_former_one():
    moved = change("u", row("a"), row("b"))
    assert statuses(mapped(ROWS % ", deleted: void", moved)) == [("a", "void", 5.0), ("b", "placed", 5.0)]
    same = change("u", row("a"), row("a", 600))
    assert statuses(mapped(ROWS % ", deleted: void", same)) == [("a", "placed", 6.0)]


def test_deletion_whose_row_holds_the_key_alone_is_refused():
    result = mapped(ROWS % ", deleted: void", change("d", {"id": 1, "who": None, "at": None, "total": None}, None))
    assert result.refused == {0: "`before.who`: missing"}


@pytest.mark.parametrize("op", [[], {}, 7, True, "x"])
def test_operation_that_is_none_of_debezium_is_refused(op):
    result = mapped(ROWS % "", {"op": op, "source": {}, "before": None, "after": {"id": 1}, "ts_ms": 1})
    assert result.refused[0].startswith("unknown operation")


@pytest.mark.parametrize("scale", ["2", None, True, 10**9, 2.5, []])
def test_scale_that_is_no_small_integer_refuses_its_row(scale):
    total = {"scale": scale, "value": "JxA="}
    row = {"id": 1, "who": "w", "at": 1_700_000_000_000, "total": total}
    result = mapped(ROWS % "", {"op": "c", "source": {}, "before": None, "after": row, "ts_ms": 1_700_000_000_001})
    assert result.refused == {0: "`after.total`: total is an object, not a value"}


# --- the law ----------------------------------------------------------------------------------------------------------
ANY = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from(["", "null", "x", "-1.5", "1e9"]))


@st.composite
def messages(draw):
    base, mapping = draw(st.sampled_from([(CLICK, CLICKS), (ORDER, ORDERS)]))
    made = []
    for number in range(draw(st.integers(1, 8))):
        record = dict(base) | {"id": draw(st.sampled_from(["a", "b", str(number)]))}
        for name in draw(st.lists(st.sampled_from(sorted(base)), max_size=2)):
            record[name] = draw(ANY)
        made.append(draw(st.sampled_from([record, record, record, None, b"{"])))
    return mapping, made


@settings(max_examples=60)
@given(messages(), st.data())
def test_every_message_is_mapped_left_out_or_refused_whatever_its_batch(given_messages, data):
    mapping, records = given_messages
    mapper = TopicMapper("test", parse_mapping(mapping, "test"), b"salt")
    batch = [
        Message(one if isinstance(one, bytes | None) else json.dumps(one).encode(), f"raw-0-{number}")
        for number, one in enumerate(records)
    ]
    whole = mapper.map(batch)
    alone = [mapper.map([one]) for one in batch]
    settled = whole.left_out.keys() | whole.refused.keys()
    assert not whole.left_out.keys() & whole.refused.keys()
    for number, one in enumerate(alone):
        assert (number in settled) != bool(one.records)
        assert one.left_out.get(0) == whole.left_out.get(number)
        assert one.refused.get(0) == whole.refused.get(number)
    expected = sorted(record._replace(message=number) for number, one in enumerate(alone) for record in one.records)
    assert sorted(whole.records) == expected
    for topic in ("events", "orders"):
        mine = [record for record in whole.records if record.topic == topic]
        decoded = decode(topic, [one.value for one in mine], [one.key for one in mine], [2**42] * len(mine))
        assert not decoded.rejected
    cut = data.draw(st.integers(0, len(batch)))
    first, second = mapper.map(batch[:cut]), mapper.map(batch[cut:])
    moved = [one._replace(message=one.message + cut) for one in second.records]
    assert sorted([*first.records, *moved]) == expected


@st.composite
def changes(draw):
    made = []
    for _ in range(draw(st.integers(1, 6))):
        rows = [None, {"id": 1}, row("a"), row("b"), row("b", 600)]
        one = change(draw(st.sampled_from("cuurdtm")), draw(st.sampled_from(rows)), draw(st.sampled_from(rows)))
        for name in draw(st.lists(st.sampled_from(["ts_ms", "after", "before", "source", "payload"]), max_size=1)):
            one[name] = draw(ANY)
        made.append({"schema": None, "payload": one} if draw(st.booleans()) else one)
    return ROWS % draw(st.sampled_from(["", ", deleted: void"])), made


@settings(max_examples=80)
@given(messages() | changes())
def test_messages_in_common_form_are_mapped_as_the_others(given_messages):
    mapping, records = given_messages
    mapper = TopicMapper("test", parse_mapping(mapping, "test"), b"salt")
    by_decoder = TopicMapper("test", parse_mapping(mapping, "test"), b"salt")
    assert mapper._fields is not None or mapper._changes is not None
    by_decoder._fields = by_decoder._changes = None
    batch = [
        Message(one if isinstance(one, bytes | None) else json.dumps(one).encode(), f"raw-0-{number}")
        for number, one in enumerate(records)
    ]
    fast, slow = mapper.map(batch), by_decoder.map(batch)
    assert (fast.left_out, fast.refused) == (slow.left_out, slow.refused)
    assert sorted(fast.records) == sorted(slow.records)


def test_time_of_one_path_in_two_forms_is_read_in_each():
    forms = "[{path: at, format: epoch_s, when: {path: unit, equals: s}}, {path: at, format: epoch_ms}]"
    mapping = CLICKS.replace("time: {path: at, format: epoch_ms}", f"time: {forms}")
    result = mapped(mapping, CLICK, CLICK | {"id": "f", "at": 1_700_000_000, "unit": "s"})
    assert [one["ts"] for one in values(result)] == [1_700_000_000_000] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLICKS.replace("from: {topic: raw}", "file: {format: json}"), "names no topic"),
        (ORDERS.replace("rows: order", "rows: line").replace("  lines:", "  #"), "makes an order of several messages"),
    ],
)
def test_mapping_that_no_single_message_can_satisfy_is_refused_before_reading(text, message):
    with pytest.raises(UsageError, match=message):
        TopicMapper("test", parse_mapping(text, "test"), b"salt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLICKS.replace("from: {topic: raw}\n", ""), "give `file`, the format of the files, or `from`, the topic"),
        (CLICKS.replace("  session: session", "  session: session\n  customer: user"), "customer, or identity"),
        (ORDERS.replace("id: id", 'id: "ids[*].id"'), "only sum and less add"),
        (ORDERS.replace("{sum: [total", "{path: total, sum: [total"), "give one of path, join and sum"),
        (CLICKS.replace("{topic: raw}", "{topic: raw, format: xml}"), "format"),
        (CLICKS.replace("{topic: raw}", "{topic: raw, fromat: json}"), "fromat"),
    ],
)
def test_mistake_in_a_mapping_is_named_with_its_line(text, message):
    with pytest.raises(UsageError, match=message) as error:
        parse_mapping(text, "mine.yaml")
    assert "mine.yaml" in str(error.value)


@pytest.mark.parametrize("name", [*CLICK, "lines"])
@pytest.mark.parametrize("value", ["ann@shop.example", ["ann@shop.example"], {"a": "ann@shop.example"}, "ann" * 600])
def test_reason_without_values_holds_nothing_of_a_message(name, value):
    mapper = TopicMapper("test", parse_mapping(CLICKS, "test"), shows_values=False)
    broken = [CLICK | {name: value}, CLICK | {"kind": "buy", "order": "o", "lines": [{"sku": value, "price": value}]}]
    values = [json.dumps(one).encode() for one in broken]
    mapped = mapper.map([Message(one) for one in (*values, values[0][:-9], b"\xff" + values[0], b'{"ann":1,"ann":2}')])
    assert len(mapped.refused) >= 3
    assert not [reason for reason in mapped.refused.values() if "ann" in reason]


def test_messages_that_have_a_path_are_counted():
    lines = [{"sku": "A", "price": 1}, {"sku": "B"}]
    records = [CLICK, CLICK | {"id": "b", "kind": "buy", "order": "o", "lines": lines}, {"id": "c"}, None, "{"]
    mapper = TopicMapper("test", parse_mapping(CLICKS, "test"))
    mapped = mapper.map([
        Message(one.encode() if isinstance(one, str) else one and json.dumps(one).encode()) for one in records
    ])  # fmt: skip
    assert mapped.opened == 3
    assert (mapped.present["id"], mapped.present["session"], mapped.present["robot"]) == (3, 2, 0)
    assert {path: count for path, count in mapped.present.items() if path.endswith(".price")} == {".price": 1}


def test_mapping_that_is_nested_too_deeply_is_refused():
    with pytest.raises(UsageError, match="nested too deeply"):
        parse_mapping("a: " + "[" * 3_000, "clicks.yaml")


def test_element_that_is_text_is_named_in_the_reason():
    lines = CLICKS.replace("lines: {types", "lines: {repeats: first, types")
    result = mapped(lines, CLICK | {"kind": "buy", "order": "R", "lines": ["A", "B"]})
    assert result.refused == {0: "`.price`: the element is text without an object or list in it"}


def test_optional_value_that_a_record_cannot_hold_is_dropped_with_its_path_and_reason():
    mapping = CLICKS.replace("  price: price\n", "  price: price\n  country: geo.land\n  quantity: n\n")
    more = {"geo": {"land": "Utopia"}, "n": 1.5, "sku": "none"}
    result = mapped(mapping, CLICK, CLICK | more, CLICK | more | {"price": "?"}, CLICK | more | {"session": None})
    assert result.dropped == {
        1: [
            "`n`: fraction of a piece: the record has no quantity",
            "`sku, .sku`: product_id is a placeholder: the record has none",
            "`geo.land`: country without a code: the record has none",
        ]
    }
    assert [value.get("country") for value in values(result)] == [None, None]


def test_each_line_that_loses_a_value_counts():
    lines = [{"sku": "null", "price": 1}, {"sku": "A", "price": 1}, {"sku": "?", "price": 1}]
    result = mapped(CLICKS, CLICK | {"kind": "buy", "order": "R", "lines": lines})
    assert len(result.records) == 3
    assert result.dropped == {0: ["`sku, .sku`: product_id is a placeholder: the record has none"] * 2}
