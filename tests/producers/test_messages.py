"""Rows to JSON: what stands in the archive stands in the message."""

import json
from itertools import chain

import msgspec
import numpy as np
import polars as pl
import pytest
from archives import event, order, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.records.decode import decode
from features.schema import AMOUNT_MAX, DAY_MS, SOURCE_TOPICS, Customer, Event, Order
from producers.archive.archive import read_customers
from producers.archive.event_order import ArchiveRange, in_time_order, profiles
from producers.messages import EMPTY, encode, join, to_json
from producers.shop.generate import generate
from producers.shop.shop import Shop

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def messages(topic, rows):
    return encode(topic, pl.from_arrow(table(topic, rows)), np.arange(len(rows)))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.fixed_dictionaries(
            {"event_id": TEXT, "customer_id": TEXT, "session_id": TEXT, "ts": st.integers(1, 2**50)},
            optional={
                "product_id": st.text(max_size=5) | st.none(),
                "category": TEXT,
                "price": st.floats(0, AMOUNT_MAX),
                "quantity": st.integers(1, 2**40),
                "country": st.sampled_from(["", "DE"]),
            },
        ),
        max_size=12,
    )
)
def test_valid_event_reads_back_as_written(rows):
    rows = [{"event_type": "search", "device": "tablet"} | row for row in rows]
    sent = messages("events", rows)
    assert [msgspec.json.decode(value, type=Event) for value in sent.values] == [Event(**row) for row in rows]
    assert list(sent.keys) == [row["customer_id"].encode() for row in rows]


def test_order_with_items_reads_back_as_written():
    items = [{"product_id": 'p"1', "quantity": 2, "unit_price": 1.015}, {"category": "x\\y"}]
    rows = [order(1, 5, items=items), order(2, 6, items=[]), order(3, 7, session_id="")]
    decoded = [msgspec.json.decode(value, type=Order) for value in messages("orders", rows).values]
    assert decoded == [msgspec.convert(row, Order) for row in rows]


def test_customer_reads_back_as_written():
    row = {"customer_id": "ü", "name": "Ann\n", "signup_ts": 12, "age": 33, "premium": False, "marketing_opt_in": True}
    (value,) = messages("customers", [row]).values
    assert msgspec.json.decode(value, type=Customer) == Customer(**row)


def test_optional_fields_that_are_null_in_every_row_are_omitted():
    (value,) = messages("events", [event(1, 5)]).values
    assert json.loads(value) == event(1, 5)


def test_rows_with_and_without_a_product_stay_in_order():
    rows = [event(n, n + 1, product_id="p" if n % 3 else None) for n in range(20)]
    assert [json.loads(v)["event_id"] for v in messages("events", rows).values] == [r["event_id"] for r in rows]


@pytest.mark.parametrize("total", [float("nan"), float("inf"), float("-inf"), -1.0, 1e300])
def test_invalid_row_gives_an_invalid_message(total):
    rows = [
        order(1, 5, total=total),
        order(2, 5, items=[{"unit_price": total}] if total == total else [{"quantity": 0}]),
    ]
    for value in messages("orders", rows).values:
        json.loads(value, parse_constant=pytest.fail)
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(value, type=Order)


def test_nan_in_an_optional_field_is_null():
    (value,) = messages("events", [event(1, 5, price=float("nan"), product_id="p")]).values
    assert json.loads(value)["price"] is None


def test_a_row_without_a_customer_is_sent_without_a_key():
    sent = messages("events", [event(1, 5, customer_id=None), event(2, 5, customer_id="")])
    assert list(sent.keys) == [None, b""]
    assert json.loads(sent.values[0])["customer_id"] is None


def test_times_are_whole_milliseconds_even_before_1970():
    assert [json.loads(v)["ts"] for v in to_json("events", pl.from_arrow(table("events", [event(1, -5)])))] == [-5]


def test_no_rows_give_no_messages():
    assert len(messages("events", [])) == 0
    assert len(join([])) == len(EMPTY) == len(EMPTY.reordered(np.empty(0, np.intp))) == 0


def test_messages_are_joined_and_reordered():
    joined = join([messages("events", [event(1, 5)]), messages("orders", [order(2, 6), order(3, 7)])])
    turned = joined.reordered(np.array([2, 0]))
    assert turned.topics.tolist() == [1, 0]
    assert [json.loads(value).get("order_id") for value in turned.values] == ["o3", None]
    assert list(joined.reordered(np.array([1])).keys) == [b"c2"]


def test_only_invalid_rows_of_an_archive_are_rejected_by_the_decoder(tmp_path):
    generate(Shop(end_ms=20_000 * DAY_MS, customers=200, events=20_000, days=30), tmp_path / "a", dirt=0.03)
    truth = pl.read_parquet(tmp_path / "a" / "truth_dirt.parquet")
    sent, refused = 0, 0
    for chunk in chain(profiles(read_customers(tmp_path / "a")), in_time_order(ArchiveRange(tmp_path / "a"))):
        for number, topic in enumerate(SOURCE_TOPICS):
            rows = np.flatnonzero(chunk.topics == number).tolist()
            values, keys = [chunk.values[r] for r in rows], [chunk.keys[r] for r in rows]
            refused += len(decode(topic, values, keys, [2**50] * len(rows)).rejected)
            sent += len(rows)
    assert refused == truth.filter(~pl.col("valid")).height > 100
    assert sent > 20_000 + refused
