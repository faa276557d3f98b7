"""Every record comes back from its message as it was, or it is refused: nothing changes in silence."""

from collections import Counter
from datetime import datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapped_back import ZONE, cents, chunk_of, events_of, orders_of, plain_order, written

from connectors.formats.country_codes import country_codes
from features.schema import DAY_MS, DEVICES, EVENT_TYPES, STATUSES, Event, Item, Order
from producers.source_shapes.shape import DELIVERY_MS_MAX, Faults
from producers.source_shapes.shapes import SHAPES, records_of

CLICKS = [shape for shape in SHAPES if records_of(shape) == "events"]
ORDERS = [shape for shape in SHAPES if records_of(shape) == "orders"]
START = 20_000 * DAY_MS
DIRT = Faults(dirt=0.3, poison=0.2, seed=5)

ODD_IDS = ["007", "0", "null", " x", "x ", "1.0", "1e5", "1.5E+10", "x#1", "~g", "-", "a\0b", "\u200bx", "ß", "x" * 510]
IDS = st.sampled_from(["a", "b", "12", "123456789012345678", "é", 'q"\\', "c d"]) | st.sampled_from(ODD_IDS)
TEXTS = st.none() | st.sampled_from(["books", "", " shoes", "paid_search", "email", "cpc", "toys & games", "null"])
COUNTRIES = st.none() | st.sampled_from(["DE", "NO", "XX", "Germany"])
AMOUNTS = st.sampled_from([0.0, 19.99, 5.0, 1e12, 0.1 + 0.2, 1e-7, 123456.785, 5e-324]) | st.floats(0, 1e6)
QUANTITIES = st.none() | st.integers(1, 5) | st.just(2**53)
TIMES = st.integers(0, 5_000).map(lambda n: START + n * 997) | st.integers(0, 400).map(lambda d: START + d * DAY_MS)


@st.composite
def events(draw):
    return Event(
        draw(IDS) + draw(st.sampled_from(["", "1", "2", "3", "4"])), draw(st.sampled_from(EVENT_TYPES)), draw(IDS),
        draw(IDS), draw(TIMES), draw(st.sampled_from(DEVICES)), draw(st.none() | IDS), draw(TEXTS),
        draw(st.none() | AMOUNTS), draw(QUANTITIES), draw(TEXTS), draw(COUNTRIES),
    )  # fmt: skip


ITEMS = st.builds(Item, st.none() | IDS, TEXTS, QUANTITIES, st.none() | AMOUNTS)


@st.composite
def orders(draw):
    placed_ms = draw(TIMES)
    return Order(
        draw(IDS), draw(IDS), placed_ms, placed_ms + draw(st.integers(0, 3) | st.integers(0, 400 * DAY_MS)),
        draw(st.sampled_from(STATUSES)), draw(AMOUNTS), draw(st.none() | IDS),
        draw(st.none() | st.lists(ITEMS, max_size=3)),
        draw(TEXTS), draw(COUNTRIES), draw(TEXTS),
    )  # fmt: skip


@st.composite
def changed_orders(draw):
    """The records of one order that changes: parts of it are given back."""
    first = msgspec.structs.replace(
        draw(orders()), order_id="o9", customer_id="c9", ts=START, updated_ts=START, total=draw(st.floats(0, 500)),
    )  # fmt: skip
    records = [first]
    for number in range(draw(st.integers(1, 2))):
        last = records[-1]
        items = (last.items or [])[: draw(st.integers(0, 3))]
        records.append(
            msgspec.structs.replace(
                last, updated_ts=START + DAY_MS * (number + 1), items=items, status=draw(st.sampled_from(STATUSES)),
                total=draw(st.just(last.total) | st.floats(0, last.total)),
            )
        )  # fmt: skip
    return records


# --- what a shape cannot hold -----------------------------------------------------------------------------------------
def event_in(shape, event):
    """An event as it comes back, without the fields that the shape has no place for."""
    fields = msgspec.structs.asdict(event) | {"price": cents(event.price)}
    if shape == "segment":
        channel = event.channel if event.channel in ("paid_search", "email") else None
        fields |= {"country": None, "channel": channel}
    else:
        fields["country"] = event.country if event.country in country_codes() else None
    if shape == "posthog":
        fields["channel"] = None
    if shape == "snowplow" and event.event_type in ("page_view", "search", "checkout"):
        fields |= dict.fromkeys(("product_id", "category", "price", "quantity"))
    if event.event_type == "purchase":
        fields["event_id"] = "of a line"
    return tuple(fields.values())


def order_in(shape, order):
    """An order as it comes back, without the fields that the shape has no place for."""
    without = {"session_id": None}
    if shape == "debezium":
        return plain_order(order, **without, items=None, channel=None, country=None, payment_method=None)
    items = [msgspec.to_builtins(msgspec.structs.replace(item, category=None)) for item in order.items or ()]
    country = order.country if order.country in country_codes() else None
    return plain_order(order, **without, items=items, country=country)


def comparable(event):
    fields = msgspec.structs.asdict(event) | {"price": cents(event.price)}
    return tuple((fields | ({"event_id": "of a line"} if event.event_type == "purchase" else {})).values())


# --- the law ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", CLICKS)
@pytest.mark.parametrize("faults", [Faults(), DIRT], ids=["clean", "dirty"])
@settings(max_examples=40, deadline=None)
@given(given_events=st.lists(events(), max_size=12), given_orders=st.lists(orders(), max_size=4))
def test_every_event_comes_back_or_is_refused(shape, faults, given_events, given_orders):
    result = written(shape, [chunk_of([*given_events, *given_orders])], faults)
    back = Counter(comparable(event) for event in events_of(result.mapped(shape)))
    of_orders = sum(written("woocommerce", [chunk_of(given_orders)]).refused.values())
    missing = result.admission.repeated + sum(result.refused.values()) - of_orders
    assert back <= Counter(event_in(shape, event) for event in given_events)
    assert back.total() + missing == len(given_events)


@pytest.mark.parametrize("shape", ORDERS)
@pytest.mark.parametrize("faults", [Faults(), DIRT], ids=["clean", "dirty"])
@settings(max_examples=40, deadline=None)
@given(given_orders=st.lists(orders(), max_size=8), changes=st.just([]) | changed_orders())
def test_every_order_record_comes_back_or_is_refused(shape, faults, given_orders, changes):
    distinct = list({msgspec.json.encode(order): order for order in [*given_orders, *changes]}.values())
    result = written(shape, [chunk_of(distinct)], faults)
    back = Counter(orders_of(result.mapped(shape)))
    expected = Counter(order_in(shape, order) for order in distinct)
    assert set(back) <= set(expected)
    lost = sum(expected[record] for record in expected if record not in back)
    # two records that differ in a field without a place are one
    assert lost <= sum(result.refused.values()) <= lost + expected.total() - len(expected)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25, deadline=None)
@given(records=st.lists(events() | orders(), max_size=10), seed=st.integers(0, 3))
def test_mapping_leaves_out_and_refuses_what_was_planted_and_nothing_else(shape, records, seed):
    result = written(shape, [chunk_of(records)], Faults(0.5, 0.5, seed))
    mapped = result.mapped(shape)
    assert (len(mapped.left_out), len(mapped.refused)) == (result.report.left_out, result.report.broken)
    assert sum(result.report.faults[f"{kind}"] for kind in result.report.faults if kind.startswith("broken")) == len(
        mapped.refused
    )


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40, deadline=None)
@given(records=st.lists(events() | orders(), max_size=10), cut=st.integers(0, 10))
def test_equal_seeds_give_equal_messages_however_records_are_read(shape, records, cut):
    whole = written(shape, [chunk_of(records)], DIRT)
    chunk = chunk_of(records)
    ascending = np.arange(len(chunk))
    parts = written(shape, [chunk.reordered(ascending[:cut]), chunk.reordered(ascending[cut:])], DIRT)
    assert parts.messages == whole.messages


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25, deadline=None)
@given(records=st.lists(events() | orders(), max_size=10))
def test_messages_ascend_by_arrival_within_the_longest_delivery(shape, records):
    result = written(shape, [chunk_of(records)], DIRT)
    arrivals = [arrival for arrival, _, _ in result.messages]
    assert arrivals == sorted(arrivals)
    if arrivals:
        times = [one.updated_ts if isinstance(one, Order) else one.ts for one in records]
        assert min(times) <= arrivals[0]
        assert arrivals[-1] <= max(times) + DELIVERY_MS_MAX


# --- single records ---------------------------------------------------------------------------------------------------
def click(number, **fields):
    return Event(**({"event_id": f"e{number}", "event_type": "page_view", "customer_id": "c1", "session_id": "s1",
                     "ts": START + number * 1_000, "device": "mobile"} | fields))  # fmt: skip


def order(**fields):
    return Order(**({"order_id": "o1", "customer_id": "c1", "ts": START, "updated_ts": START, "status": "placed",
                     "total": 30.0} | fields))  # fmt: skip


def bodies(result):
    return [None if value is None else msgspec.json.decode(value) for _, _, value in result.messages]


def test_purchases_of_a_moment_are_one_segment_call_with_the_id_of_their_order():
    bought = [click(n, event_type="purchase", ts=START, product_id=f"p{n}", price=10.0, quantity=n) for n in (1, 2)]
    result = written("segment", [chunk_of([*bought, order(session_id="s1")])])
    (call,) = bodies(result)
    assert call["event"] == "Order Completed"
    assert call["properties"]["order_id"] == "o1"
    assert [product["product_id"] for product in call["properties"]["products"]] == ["p1", "p2"]
    assert [event.event_id for event in events_of(result.mapped("segment"))] == ["o1#0", "o1#1"]


def test_order_id_of_two_customers_names_the_lines_of_one():
    bought = [click(n, event_type="purchase", customer_id=f"c{n}", session_id=f"s{n}", ts=START) for n in (1, 2)]
    placed = [order(customer_id=f"c{n}", session_id=f"s{n}") for n in (1, 2)]
    result = written("segment", [chunk_of([*bought, *placed])])
    assert sorted(event.event_id for event in events_of(result.mapped("segment"))) == ["e2#0", "o1#0"]


def test_wrong_clock_of_a_client_is_corrected_to_the_millisecond():
    clicks = [click(n, customer_id=f"c{n}") for n in range(60)]
    result = written("segment", [chunk_of(clicks)], Faults(dirt=0.5))
    wrong = [call for call in bodies(result) if call["type"] == "page" and call["userId"]
             and abs(milliseconds(call["receivedAt"]) - milliseconds(call["sentAt"])) > 60_000]  # fmt: skip
    assert len(wrong) > 10
    assert {event.ts for event in events_of(result.mapped("segment"))} == {one.ts for one in clicks}


def milliseconds(text):
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def test_retry_has_the_same_id_and_another_time_of_receipt():
    result = written("segment", [chunk_of([click(n) for n in range(40)])], Faults(dirt=0.5))
    received = {}
    for call in bodies(result):
        received.setdefault(call["messageId"], set()).add(call["receivedAt"])
    assert sum(len(times) == 2 for times in received.values()) > 10


def test_keys_of_segment_are_browsers():
    result = written("segment", [chunk_of([click(1), click(2, device="desktop"), click(3)])])
    keys = [key for _, key, _ in result.messages]
    assert keys == [call["anonymousId"].encode() for call in bodies(result)]
    assert len(set(keys)) == 2


def test_returned_line_lowers_the_current_total_of_shopify_and_stays_with_quantity_0():
    items = [Item("p1", "books", 2, 10.0), Item("p2", "toys", 1, 10.0)]
    later = order(updated_ts=START + DAY_MS, total=20.0, items=items[:1])
    result = written("shopify", [chunk_of([order(items=items), later])])
    _, body = bodies(result)
    assert orders_of(result.mapped("shopify")) == [order_in("shopify", one) for one in (order(items=items), later)]
    assert (body["total_price"], body["current_total_price"]) == ("30.00", "20.00")
    assert body["financial_status"] == "partially_refunded"
    assert [(line["sku"], line["quantity"], line["current_quantity"]) for line in body["line_items"]] == [
        ("p1", 2, 2), ("p2", 1, 0)]  # fmt: skip
    assert body["refunds"][0]["transactions"][0]["amount"] == "10.00"


def test_cancelled_order_of_shopify_has_a_time_of_cancellation():
    _, body = bodies(written("shopify", [chunk_of([order(), order(updated_ts=START + 5, status="cancelled")])]))
    assert body["cancelled_at"] == body["updated_at"] == "2024-10-04T02:00:00.005+02:00"


def test_void_order_is_refused_by_shopify():
    result = written("shopify", [chunk_of([order(status="void")])])
    assert result.messages == []
    assert list(result.refused) == ["void: Shopify names no customer of a deleted order"]


def test_refund_of_woocommerce_is_negative_and_the_total_stays():
    later = order(updated_ts=START + DAY_MS, total=20.005)
    result = written("woocommerce", [chunk_of([order(), later])])
    _, body = bodies(result)
    assert orders_of(result.mapped("woocommerce")) == [order_in("woocommerce", one) for one in (order(), later)]
    assert (body["total"], body["refunds"][0]["total"]) == ("30.00", "-9.995")


def test_times_of_woocommerce_are_of_the_site_and_of_utc():
    (body,) = bodies(written("woocommerce", [chunk_of([order()])], zone=ZONE))
    assert (body["date_created"], body["date_created_gmt"]) == ("2024-10-04T02:00:00", "2024-10-04T00:00:00")


def test_void_order_is_a_deleted_row_with_its_tombstone():
    result = written("debezium", [chunk_of([order(), order(updated_ts=START + 5, status="void")])])
    created, deleted, tombstone = bodies(result)
    assert (created["op"], deleted["op"], tombstone) == ("c", "d", None)
    assert deleted["before"]["customer_id"] == "c1"
    assert len({key for _, key, _ in result.messages}) == 1


def test_order_that_passes_to_another_customer_is_one_update():
    passed = [order(updated_ts=START + 5, status="void"), order(updated_ts=START + 5, customer_id="c2")]
    result = written("debezium", [chunk_of([order(), *passed])])
    assert [body["op"] for body in bodies(result)] == ["c", "u"]
    assert sorted(orders_of(result.mapped("debezium"))) == sorted(
        order_in("debezium", one) for one in [order(), *passed]
    )


@pytest.mark.parametrize("total", [0.0, 0.01, 1.27, 1.28, 2.55, 2.56, 327.67, 327.68, 655.36, 99_999_999.99, 1e12])
def test_numeric_of_every_length_comes_back(total):
    result = written("debezium", [chunk_of([order(total=total)])])
    assert orders_of(result.mapped("debezium")) == [order_in("debezium", order(total=total))]


def test_total_of_three_decimals_is_refused_by_a_numeric_of_two():
    result = written("debezium", [chunk_of([order(total=1.125)])])
    assert list(result.refused) == ["total of more than 2 decimals"]


def test_local_time_that_comes_twice_is_refused_only_the_second_time():
    first_ms = 1_730_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 48  # 27 October 2024, 02:30 in summer time
    twice = [order(order_id=f"o{n}", ts=first_ms + n * DAY_MS // 24, updated_ts=first_ms + DAY_MS) for n in (0, 1)]
    result = written("debezium", [chunk_of(twice)])
    assert result.refused == {f"ts: local time that {ZONE} has twice": 1}
    assert len(orders_of(result.mapped("debezium"))) == 1


def test_invalid_records_are_counted_and_not_written():
    chunk = chunk_of([click(1), click(2)])
    spoiled = type(chunk)(chunk.times, chunk.topics, chunk.keys, [b"{}", chunk.values[1]])
    result = written("segment", [spoiled])
    assert (result.admission.invalid, len(result.messages)) == (1, 1)


def test_repetitions_of_an_archive_are_written_once_until_they_are_new_events():
    hour = DAY_MS // 24
    repeated = [click(1, ts=START + after * hour, event_type="purchase") for after in (0, 48, 97)]
    result = written("segment", [chunk_of(repeated)])
    assert (result.admission.repeated, len(result.messages)) == (1, 2)


def test_purchase_at_the_moment_of_another_device_is_refused():
    both = [click(1, ts=START), click(2, ts=START, event_type="purchase", device="desktop")]
    result = written("segment", [chunk_of(both)])
    assert result.refused == {"purchase at the moment of an event on another device": 1}
    assert [event.event_id for event in events_of(result.mapped("segment"))] == ["e1"]


def test_changes_of_a_table_arrive_in_the_order_of_its_log():
    changes = [order(order_id=f"o{n % 5}", updated_ts=START + n) for n in range(200)]
    lsns = [body["source"]["lsn"] for body in bodies(written("debezium", [chunk_of(changes)]))]
    assert lsns == sorted(lsns)
