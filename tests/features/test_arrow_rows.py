"""The rules of the wire over archive tables, whatever types a foreign writer chose."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.records.archive_rows import event_rows, order_rows
from features.records.columns import EventColumns, OrderColumns
from features.records.decode import decode, event_columns, order_columns
from features.schema import (
    AMOUNT_MAX,
    DAY_MS,
    DEVICES,
    EVENT_TYPES,
    ORDER_CHANGE_MS_MAX,
    STATUSES,
    TS_MAX,
    Event,
    Order,
    arrow_schema,
)

NOW = 1_700_000_000_000
EVENT = {
    "event_id": "e1",
    "event_type": "product_view",
    "customer_id": "c1",
    "session_id": "s1",
    "ts": NOW,
    "device": "tablet",
    "product_id": "p1",
    "category": "toys",
    "price": 19.99,
    "quantity": 2,
    "channel": None,
    "country": "DE",
}
ITEM = {"product_id": "p1", "category": "toys", "quantity": 1, "unit_price": 9.5}
ORDER = {
    "order_id": "o1",
    "customer_id": "c1",
    "ts": NOW,
    "updated_ts": NOW,
    "status": "refunded",
    "total": 1.015,
    "session_id": None,
    "items": [ITEM, ITEM],
    "channel": None,
    "country": "DE",
    "payment_method": "card",
}


def nullable(schema):
    return pa.schema([pa.field(f.name, f.type) for f in schema])


EVENTS, ORDERS = nullable(arrow_schema(Event)), nullable(arrow_schema(Order))


def events(*changes):
    return pa.Table.from_pylist([EVENT | change for change in changes], schema=EVENTS)


def orders(*changes):
    return pa.Table.from_pylist([ORDER | change for change in changes], schema=ORDERS)


def with_column(table, name, array):
    return table.set_column(table.schema.get_field_index(name), name, array)


def same(one, other):
    assert type(one) is type(other)
    for name in one.__slots__:
        left, right = getattr(one, name), getattr(other, name)
        assert (left is None) == (right is None), name
        if left is not None:
            assert left.tolist() == right.tolist(), name
            assert getattr(left, "dtype", None) == getattr(right, "dtype", None), name
            assert getattr(left, "type", None) == getattr(right, "type", None), name


def test_valid_events_become_columns():
    rows = event_rows(events({}, {"event_id": "e2", "category": "", "ts": 1, "event_type": "page_view"}))
    assert isinstance(rows.columns, EventColumns)
    assert rows.keep.tolist() == [0, 1]
    assert not rows.rejected
    columns = rows.columns
    assert columns.event_id.to_pylist() == ["e1", "e2"]
    assert columns.ts.tolist() == [NOW, 1]
    assert [EVENT_TYPES[code] for code in columns.event_type] == ["product_view", "page_view"]
    assert [DEVICES[code] for code in columns.device] == ["tablet", "tablet"]
    assert columns.spelt(columns.category).to_pylist() == ["toys", ""]
    assert columns.spelt(columns.channel).to_pylist() == [None, None]
    assert columns.event_type.dtype == columns.device.dtype == np.uint8
    assert columns.ts.flags.writeable


def test_valid_orders_become_columns():
    rows = order_rows(orders({}, {"items": None, "total": 0.005}, {"items": [], "total": -0.0, "status": "placed"}))
    assert isinstance(rows.columns, OrderColumns)
    assert rows.columns.total_cents.tolist() == [102, 0, 0]
    assert rows.columns.lines.tolist() == [2, 0, 0]
    assert [STATUSES[code] for code in rows.columns.status] == ["refunded", "refunded", "placed"]
    assert rows.columns.records is None


BAD_EVENTS = [
    ({"event_id": None}, "`event_id` is missing"),
    ({"event_id": ""}, "`event_id`: expected a non-empty string"),
    ({"customer_id": None}, "`customer_id` is missing"),
    ({"customer_id": ""}, "`customer_id`: expected a non-empty string"),
    ({"session_id": None}, "`session_id` is missing"),
    ({"session_id": ""}, "`session_id`: expected a non-empty string"),
    ({"event_type": None}, "`event_type` is missing"),
    ({"event_type": "click"}, "`event_type`: expected one of"),
    ({"event_type": ""}, "`event_type`: expected one of"),
    ({"device": None}, "`device` is missing"),
    ({"device": "tv"}, "`device`: expected one of"),
    ({"ts": None}, "`ts` is missing"),
    ({"ts": 0}, "`ts`: expected an integer of at least 1"),
    ({"ts": -1}, "`ts`: expected an integer of at least 1"),
    ({"ts": TS_MAX + 1}, "`ts`: expected a time up to the year 9999"),
    ({"price": -0.01}, "`price`: expected a number from 0 to 1000000000000 or null"),
    ({"price": AMOUNT_MAX * 1.01}, "`price`: expected a number from 0 to"),
    ({"price": float("inf")}, "`price`: expected a number from 0 to"),
    ({"quantity": 0}, "`quantity`: expected an integer of at least 1 or null"),
    ({"quantity": -3}, "`quantity`: expected an integer of at least 1 or null"),
    *(
        ({name: text}, f"`{name}`: expected at most {bound} bytes")
        for names, bound in (
            (("event_id", "customer_id", "session_id", "product_id"), 512),
            (("category", "channel", "country"), 1_024),
        )
        for name in names
        for text in ("x" * (bound + 1), "é" * (bound // 2) + "x", "🍳" * bound)
    ),
]


@pytest.mark.parametrize(("change", "reason"), BAD_EVENTS)
def test_invalid_event_is_counted_and_its_neighbours_are_valid(change, reason):
    rows = event_rows(events({"event_id": "before"}, change, {"event_id": "after"}))
    assert rows.keep.tolist() == [0, 2]
    assert rows.columns.event_id.to_pylist() == ["before", "after"]
    assert len(rows.columns.ts) == len(rows.columns.device) == len(rows.columns.country) == 2
    ((counted, n),) = rows.rejected.items()
    assert counted.startswith(reason)
    assert n == 1


BAD_ORDERS = [
    ({"order_id": ""}, "`order_id`: expected a non-empty string"),
    ({"customer_id": None}, "`customer_id` is missing"),
    ({"status": "lost"}, "`status`: expected one of"),
    ({"ts": 0}, "`ts`: expected an integer of at least 1"),
    ({"updated_ts": None}, "`updated_ts` is missing"),
    ({"updated_ts": TS_MAX + 1}, "`updated_ts`: expected a time up to"),
    ({"updated_ts": NOW - 1}, "`updated_ts`: expected from `ts`"),
    ({"updated_ts": NOW + ORDER_CHANGE_MS_MAX + 1}, "`updated_ts`: expected from `ts`"),
    ({"total": None}, "`total` is missing"),
    ({"total": float("nan")}, "`total` is missing"),
    ({"total": -1.0}, "`total`: expected a number from 0 to"),
    ({"total": 1.1e12}, "`total`: expected a number from 0 to"),
    ({"items": [None]}, "`items[]`: expected an object"),
    ({"items": [ITEM, None]}, "`items[]`: expected an object"),
    ({"items": [ITEM, ITEM | {"quantity": 0}]}, "`items[].quantity`: expected an integer of at least 1"),
    ({"items": [ITEM | {"unit_price": -1.0}] * 3}, "`items[].unit_price`: expected a number from 0 to"),
    ({"items": [ITEM | {"unit_price": 1.1e12}]}, "`items[].unit_price`: expected a number from 0 to"),
    ({"items": [ITEM] * 10_001}, "`items`: expected at most 10000 lines"),
    ({"items": [ITEM, ITEM | {"product_id": "é" * 256 + "x"}]}, "`items[].product_id`: expected at most 512 bytes"),
    ({"items": [ITEM, ITEM | {"category": "é" * 512 + "x"}]}, "`items[].category`: expected at most 1024 bytes"),
    ({"order_id": "x" * 513}, "`order_id`: expected at most 512 bytes"),
    ({"session_id": "x" * 513}, "`session_id`: expected at most 512 bytes"),
    ({"payment_method": "x" * 1_025}, "`payment_method`: expected at most 1024 bytes"),
]


@pytest.mark.parametrize(("change", "reason"), BAD_ORDERS)
def test_invalid_order_is_counted_and_its_neighbours_are_valid(change, reason):
    rows = order_rows(orders({"order_id": "before"}, change, {"order_id": "after", "items": [ITEM]}))
    assert rows.keep.tolist() == [0, 2]
    assert rows.columns.order_id.to_pylist() == ["before", "after"]
    assert rows.columns.lines.tolist() == [2, 1]
    ((counted, n),) = rows.rejected.items()
    assert counted.startswith(reason)
    assert n == 1


@pytest.mark.parametrize("updated_ts", [NOW, NOW + ORDER_CHANGE_MS_MAX])
def test_order_change_up_to_400_days_after_placement_is_valid(updated_ts):
    assert not order_rows(orders({"updated_ts": updated_ts})).rejected


@pytest.mark.parametrize("text", ["x", "é", "🍳"])
def test_texts_and_lines_at_their_bounds_are_valid(text):
    name, words = text * (512 // len(text.encode())), text * (1_024 // len(text.encode()))
    long = {"product_id": name, "category": words, "channel": words, "country": words}
    assert not event_rows(events({"event_id": name, "customer_id": name, "session_id": name, **long})).rejected
    item = {"product_id": name, "category": words}
    more = {"order_id": name, "session_id": name, "payment_method": words, "items": [item] * 10_000}
    rows = order_rows(orders(more))
    assert not rows.rejected
    assert rows.columns.lines.tolist() == [10_000]


def test_a_row_with_two_faults_is_counted_once():
    rows = event_rows(events({"event_id": "", "ts": 0}, {"ts": 0}, {"price": -1.0, "device": "tv"}))
    assert rows.rejected.total() == 3
    assert len(rows.columns) == 0
    assert rows.columns.event_id.type == pa.string()


# --- foreign types ---------------------------------------------------------------------------------------------------
TEXT_TYPES = [
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]


@pytest.mark.parametrize("kind", [*TEXT_TYPES, "dictionary of views"])
def test_strings_of_any_arrow_type_are_read(kind):
    plain = events({}, {"category": None, "event_id": ""}, {"category": "", "event_type": "search"})
    foreign = plain
    for name in ("event_id", "event_type", "device", "category", "country"):
        if kind == "dictionary of views":
            codes = plain[name].combine_chunks().dictionary_encode()
            array = pa.DictionaryArray.from_arrays(codes.indices, codes.dictionary.cast(pa.string_view()))
        else:
            array = plain[name].cast(kind)
        foreign = with_column(foreign, name, array)
    same(event_rows(foreign).columns, event_rows(plain).columns)
    assert event_rows(foreign).rejected == event_rows(plain).rejected


def test_chunks_with_different_dictionaries_are_read():
    words = pa.chunked_array(
        [pa.array(["search", "nonsense"]).dictionary_encode(), pa.array(["page_view", None]).dictionary_encode()]
    )
    rows = event_rows(with_column(events({}, {}, {}, {}), "event_type", words))
    assert rows.keep.tolist() == [0, 2]
    assert [EVENT_TYPES[code] for code in rows.columns.event_type] == ["search", "page_view"]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([NOW], pa.int64()), NOW),
        (pa.array([NOW], pa.uint64()), NOW),
        (pa.array([float(NOW)]), NOW),
        (pa.array([NOW], pa.timestamp("ms")), NOW),
        (pa.array([NOW], pa.timestamp("ms", tz="Europe/Berlin")), NOW),
        (pa.array([NOW // 1000], pa.timestamp("s")), NOW // 1000 * 1000),
        (pa.array([NOW * 1000 + 999], pa.timestamp("us", tz="UTC")), NOW),
        (pa.array([NOW * 1_000_000 + 999_999], pa.timestamp("ns")), NOW),
        (pa.array([1_999_999], pa.timestamp("ns")), 1),
        (pa.array([NOW], pa.decimal128(20, 0)), NOW),
        (pa.array([-1], pa.timestamp("ns")), "`ts`: expected an integer of at least 1"),
        (pa.array([999_999], pa.timestamp("ns")), "`ts`: expected an integer of at least 1"),
        (pa.array([2**62], pa.timestamp("s")), "`ts`: expected a time up to"),
        (pa.array([-(2**62)], pa.timestamp("s")), "`ts`: expected an integer of at least 1"),
        (pa.array([2**64 - 1], pa.uint64()), "`ts`: expected a time up to"),
        (pa.array([NOW + 0.5]), "`ts`: expected an integer of at least 1"),
        (pa.array([1e30]), "`ts`: expected a time up to"),
        (pa.array([float("inf")]), "`ts`: expected an integer of at least 1"),
        (pa.array([float("nan")]), "`ts` is missing"),
        (pa.array([str(NOW)]), "`ts`: expected an integer of at least 1"),
        (pa.array([True]), "`ts`: expected an integer of at least 1"),
        (pa.nulls(1), "`ts` is missing"),
    ],
)
def test_times_of_any_arrow_type_are_read_or_rejected(array, expected):
    rows = event_rows(with_column(events({}), "ts", array))
    if isinstance(expected, int):
        assert rows.columns.ts.tolist() == [expected]
    else:
        assert [reason[: len(expected)] for reason in rows.rejected] == [expected]


@pytest.mark.parametrize(
    ("array", "cents"),
    [
        (pa.array([Decimal("1.0150")], pa.decimal128(18, 4)), 102),
        (pa.array([Decimal("1.0250")], pa.decimal128(18, 4)), 102),
        (pa.array([Decimal("999999999999.99")], pa.decimal128(18, 2)), 99_999_999_999_999),
        (pa.array([Decimal("12.34")], pa.decimal256(40, 2)), 1234),
        (pa.array([7], pa.int32()), 700),
        (pa.array([7], pa.uint8()), 700),
        (pa.array([19.99], pa.float32()), 1999),
        (pa.array([10**12], pa.int64()), 10**14),
        (pa.array([2**63], pa.uint64()), None),
        (pa.array(["1.0"]), None),
        (pa.array([True]), None),
        (pa.nulls(1), None),
    ],
)
def test_amounts_of_any_arrow_type_are_read_or_rejected(array, cents):
    rows = order_rows(with_column(orders({}), "total", array))
    assert rows.columns.total_cents.tolist() == ([] if cents is None else [cents])
    assert rows.rejected.total() == (cents is None)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 0, None], pa.int32()), [0, 2]),
        (pa.array([1.0, 0.0, float("nan")]), [0, 2]),
        (pa.array([1.5, 2.0, 1e300]), [1, 2]),
        (pa.array([2**64 - 1, 0, 5], pa.uint64()), [0, 2]),
        (pa.array([Decimal(1), Decimal("1.5"), None], pa.decimal128(5, 1)), [0, 2]),
        (pa.array([Decimal(10**30), Decimal(0), None], pa.decimal128(38, 0)), [0, 2]),
        (pa.array(["1", None, "x"]), [1]),
        (pa.array([True, None, False]), [1]),
    ],
)
def test_quantities_of_any_arrow_type_are_read_or_rejected(array, expected):
    assert event_rows(with_column(events({}, {}, {}), "quantity", array)).keep.tolist() == expected


def test_missing_optional_columns_are_null_and_missing_required_ones_invalid():
    lean = events({}, {}).select(["event_id", "event_type", "customer_id", "session_id", "ts", "device"])
    rows = event_rows(lean)
    assert not rows.rejected
    assert (
        rows.columns.spelt(rows.columns.category).to_pylist()
        == rows.columns.spelt(rows.columns.country).to_pylist()
        == [None, None]
    )
    assert rows.columns.words.type == pa.string()
    assert event_rows(lean.drop_columns(["device"])).rejected == {"`device` is missing": 2}
    bare = orders({}).select(["order_id", "customer_id", "ts", "updated_ts", "status", "total"])
    assert order_rows(bare).columns.lines.tolist() == [0]


def test_nan_in_an_optional_text_column_is_null_and_another_number_is_wrong():
    rows = event_rows(with_column(events({}, {}, {}), "category", pa.array([float("nan"), 1.5, None])))
    assert rows.keep.tolist() == [0, 2]
    assert rows.columns.spelt(rows.columns.category).to_pylist() == [None, None]


def test_text_that_is_not_utf8_is_rejected():
    bytes_of = pa.array([b"toys", b"\xff", None, "Küche".encode()])
    broken = pa.Array.from_buffers(pa.string(), 4, bytes_of.buffers())
    for array in (broken, broken.cast(pa.large_string())):
        rows = event_rows(with_column(events({}, {}, {}, {}), "category", array))
        assert rows.keep.tolist() == [0, 2, 3]
        assert rows.columns.spelt(rows.columns.category).to_pylist() == ["toys", None, "Küche"]


ITEM_TYPE = ORDERS.field("items").type.value_type


@pytest.mark.parametrize(
    ("array", "expected", "lines"),
    [
        (pa.array([[ITEM], [], None], pa.large_list(ITEM_TYPE)), [0, 1, 2], [1, 0, 0]),
        (pa.array([[ITEM, None], [ITEM], None], pa.large_list(ITEM_TYPE)), [1, 2], [1, 0]),
        (pa.array([[ITEM], [], None], pa.list_view(ITEM_TYPE)), [0, 1, 2], [1, 0, 0]),
        (pa.array([[ITEM, ITEM], None, [ITEM, None]], pa.list_(ITEM_TYPE, 2)), [0, 1], [2, 0]),
        (pa.array([[{"quantity": 1}], [{"quantity": 0}], [{"quantity": None}]]), [0, 2], [1, 1]),
        (pa.array([[{"quantity": 1.0}], [{"quantity": 1.5}], [{"quantity": float("nan")}]]), [0, 2], [1, 1]),
        (pa.array([[{"sku": 1}], [{"sku": 0}], []]), [0, 1, 2], [1, 1, 0]),
        (pa.array([[{}], [{}, {}], []], pa.list_(pa.struct([]))), [0, 1, 2], [1, 2, 0]),
        (pa.array([[{"product_id": 5}], [], None]), [1, 2], [0, 0]),
        (pa.array([[], [], None]), [0, 1, 2], [0, 0, 0]),
        (pa.array([[None], [], None]), [1, 2], [0, 0]),
        (pa.array([[1], [], None]), [1, 2], [0, 0]),
        (pa.array(["[]", None, ""]), [1], [0]),
        (pa.array([1.5, float("nan"), None]), [1, 2], [0, 0]),
        (pa.nulls(3), [0, 1, 2], [0, 0, 0]),
    ],
)
def test_items_of_any_arrow_type_are_read_or_rejected(array, expected, lines):
    rows = order_rows(with_column(orders({}, {}, {}), "items", array))
    assert rows.keep.tolist() == expected
    assert rows.columns.lines.tolist() == lines


def test_slice_of_a_table_gives_its_own_rows_only():
    table = orders({"items": [None]}, {"order_id": "o2", "items": [ITEM]}, {"order_id": "o3", "total": -1.0}, {})
    rows = order_rows(table.slice(1, 2))
    assert rows.keep.tolist() == [0]
    assert rows.columns.order_id.to_pylist() == ["o2"]
    assert rows.columns.lines.tolist() == [1]


def test_empty_table_gives_no_rows():
    assert len(event_rows(EVENTS.empty_table()).columns) == 0
    assert len(order_rows(ORDERS.empty_table()).columns) == 0


# --- the archive and the wire agree ----------------------------------------------------------------------------------
texts = st.sampled_from([None, "", "a", "b", "ü🍳", "a\nb"])
times = st.sampled_from([None, -1, 0, 1, NOW, NOW + 1, NOW + DAY_MS, NOW + ORDER_CHANGE_MS_MAX + 1, TS_MAX])
money = st.one_of(st.none(), st.floats(-1, 1000), st.sampled_from([0.0, 1.015, 0.005, AMOUNT_MAX, 1.0001e12]))
counts = st.sampled_from([None, -1, 0, 1, 2, 2**40])
event_records = st.fixed_dictionaries(
    {
        "event_id": texts,
        "event_type": st.sampled_from([*EVENT_TYPES, None, "", "click"]),
        "customer_id": texts,
        "session_id": texts,
        "ts": times,
        "device": st.sampled_from([*DEVICES, None, "tv"]),
        "product_id": texts,
        "category": texts,
        "price": money,
        "quantity": counts,
        "channel": texts,
        "country": texts,
    }
)
line_records = st.fixed_dictionaries({"product_id": texts, "category": texts, "quantity": counts, "unit_price": money})
order_records = st.fixed_dictionaries(
    {
        "order_id": texts,
        "customer_id": texts,
        "ts": times,
        "updated_ts": times,
        "status": st.sampled_from([*STATUSES, None, "lost"]),
        "total": money,
        "session_id": texts,
        "items": st.none() | st.lists(st.none() | line_records, max_size=3),
        "channel": texts,
        "country": texts,
        "payment_method": texts,
    }
)


def mostly_good(good, records):
    """Records that differ from a good one in few fields, so that many are valid."""
    return st.builds(
        lambda record, names: good | {name: record[name] for name in names},
        records,
        st.sets(st.sampled_from(sorted(good)), max_size=3),
    )


def wire(topic, records):
    return decode(
        topic,
        [json.dumps(record).encode() for record in records],
        [(record["customer_id"] or "").encode() for record in records],
        [TS_MAX] * len(records),
    )


def blamed(reasons):
    """How often each field is blamed; of two bad lines the archive blames the field that stands first, not the line."""
    return Counter(re.split("[`[]", reason)[1] for reason in reasons)


@given(st.lists(mostly_good(EVENT, event_records) | event_records, max_size=8))
def test_events_from_arrow_and_from_json_agree(records):
    rows = event_rows(pa.Table.from_pylist(records, schema=EVENTS))
    decoded = wire("events", records)
    assert rows.keep.tolist() == decoded.positions.tolist()
    assert blamed(rows.rejected.elements()) == blamed(rejected.reason for rejected in decoded.rejected)
    same(rows.columns, event_columns(decoded.records))


@given(st.lists(mostly_good(ORDER, order_records) | order_records, max_size=8))
def test_orders_from_arrow_and_from_json_agree(records):
    rows = order_rows(pa.Table.from_pylist(records, schema=ORDERS))
    decoded = wire("orders", records)
    assert rows.keep.tolist() == decoded.positions.tolist()
    assert blamed(rows.rejected.elements()) == blamed(rejected.reason for rejected in decoded.rejected)
    same(rows.columns, order_columns(decoded.records, keep_records=False))
