"""A bucket is the consumers' partition: the same rows, documents and letters, batch after batch, in a few cells.

No Spark here: the store is a dict, and a batch may be given again with the store as it was.
"""

from __future__ import annotations

import json
import re
import zlib

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.loops import in_log, loop_rows
from oracle.rows import assert_same_rows, feature_frame
from oracle.shop import DAY, HOUR
from oracle.strategies import cuts, streams
from oracle.wire import TIME_FIELD, bad_messages
from scores.scorers import by_tenure
from stream.feeding import as_batch, message

import features.state.state
from consumers.checkpoints.recovery import empty
from consumers.features.documents import customer_docs, customer_rows, order_docs, session_docs
from features.definitions import ROW_SCHEMA
from features.errors import ShopstreamError, UsageError
from features.state.state import day_of
from shopstream.spark.bucket import Bucket
from shopstream.spark.state_schema import StoredBucket, Write

SINK = "elastic"
BAD = [m for m in bad_messages(1_000_000_000_000) if m.kind != "future"]
MANY = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def searching(monkeypatch):
    monkeypatch.setattr(features.state.state, "SCAN_ROWS_MIN", 0)


class DictStore:
    """A store; `copy` is what it was."""

    def __init__(self, values=()) -> None:
        self.values = dict(values)

    def copy(self) -> DictStore:
        return DictStore(self.values)

    def bucket(self):
        return self.values.get("bucket")

    def put_bucket(self, value):
        self.values["bucket"] = value

    def cell(self, number):
        return self.values["cell", number]

    def put_cell(self, number, value):
        self.values["cell", number] = value

    def ids(self, hour):
        return self.values["ids", hour]

    def put_ids(self, hour, value):
        self.values["ids", hour] = value

    def drop_ids(self, hour):
        del self.values["ids", hour]


def process(store, batches, as_of=None, *, cells=3, epoch=7, **options) -> tuple[list[Write], Bucket]:
    bucket = Bucket(0, "shop", store, epoch, cells, **options)
    return list(bucket.process(batches, as_of)), bucket


def write_all(documents: dict, writes: list[Write]) -> None:
    """As Elasticsearch does: the highest version of an id stays."""
    for write in writes:
        if write.kind == "document" and write.version > documents.get((write.target, write.id), (0, b""))[0]:
            documents[write.target, write.id] = write.version, write.body


def bare(body):
    """A body without its version."""
    return body and re.sub(rb',"version":\d+', b"", body)


def emit(partition, as_of: int, documents: dict) -> None:
    """What the consumers write when every sink is free."""
    entries = []
    while len(dirty := partition.customers_dirty[SINK]):
        batch_id, codes = dirty.take_batch(1_000)
        entries += customer_docs(partition, customer_rows(partition, codes, as_of), "shop")
        dirty.acknowledge(batch_id)
    batch_id, rows = partition.orders_dirty.take_batch(1_000)
    entries += order_docs(partition, rows, "shop")
    batch_id, rows = partition.sessions_dirty.take_batch(1_000)
    entries += session_docs(partition, rows, as_of, "shop")
    documents |= {(doc.index, doc.id): bare(doc.body) for doc in entries}


@st.composite
def topics(draw):
    """Messages of each topic in any order of time (some too late), some of them no records."""
    stream = draw(streams())
    result = {}
    for topic, rows in (("events", stream.events), ("orders", stream.orders)):
        own = draw(st.permutations(rows)) if draw(st.booleans()) else sorted(rows, key=lambda r: r[TIME_FIELD[topic]])
        items = [message(row) for row in own]
        for broken in draw(st.lists(st.sampled_from([m for m in BAD if m.topic == topic]), max_size=2)):
            items.insert(draw(st.integers(0, len(items))), (broken.key, broken.value))
        result[topic] = items
    profiles = [{"customer_id": name, "premium": True, "country": "de"} for name in stream.customers]
    result["customers"] = (
        [message(row) for row in draw(st.lists(st.sampled_from(profiles), max_size=3))] if profiles else []
    )
    return result


def batches_of(found, data) -> list[dict]:
    """The topics cut into the same number of batches."""
    borders = {topic: [0, *data.draw(cuts(len(items), 3)), len(items)] for topic, items in found.items()}
    count = max(len(positions) for positions in borders.values()) - 1
    made = []
    for i in range(count):
        batch = {}
        for topic, items in found.items():
            positions = borders[topic]
            start, end = (positions[min(j, len(positions) - 1)] for j in (i, i + 1))
            if end > start:
                batch[topic] = as_batch(topic, items[start:end], start)
        made.append(batch)
    return made


@MANY
@given(st.data())
def test_bucket_gives_the_documents_of_the_consumers(data):
    result = data.draw(topics())
    cells = data.draw(st.integers(1, 4))
    store, partition = DictStore(), empty(0, [SINK], contact=False)
    documents, expected, dead_letters = {}, {}, []
    for batch in batches_of(result, data):
        before = store.copy()
        writes, bucket = process(store, batch, cells=cells)
        if data.draw(st.booleans()):
            # Spark died after the store was put and before the writes were out: the batch comes again
            store = before
            again, bucket = process(store, batch, cells=cells, epoch=7 + data.draw(st.integers(0, 1)))
            assert [(w.kind, w.target, w.id, bare(w.body)) for w in again] == [
                (w.kind, w.target, w.id, bare(w.body)) for w in writes
            ]
            writes = again
        write_all(documents, writes)
        dead_letters += [(w.target, w.offset, w.key, w.body, w.error) for w in writes if w.kind == "letter"]
        day = day_of(partition.state.max_event_time)
        for messages in batch.values():
            partition.receive(messages)
        for topic in ("customers", "events", "orders"):
            partition.reached_end(topic)
        partition.advance()
        now = partition.state.max_event_time
        if now:
            partition.advance_clock(day, now)
            emit(partition, now, expected)
        assert bucket.max_event_time == now
        assert bucket.customers == partition.state.customer_count
    assert {key: bare(body) for key, (_, body) in documents.items()} == expected
    assert dead_letters == [
        (f"shop.{dead_letter.topic}", dead_letter.offset, dead_letter.key, dead_letter.value, dead_letter.error)
        for dead_letter in partition.rejected
    ]
    assert set(store.values) <= {"bucket", *(("cell", n) for n in range(cells)), *ids_of(store)}


def ids_of(store):
    return [key for key in store.values if key[0] == "ids"]


@MANY
@given(st.data())
def test_final_rows_equal_the_oracle(data):
    """At any T after the last record, by whatever batches."""
    stream = data.draw(streams())
    entries = {
        topic: [message(row) for row in sorted(rows, key=lambda r: r[TIME_FIELD[topic]])]
        for topic, rows in (("events", stream.events), ("orders", stream.orders))
    }
    store = DictStore()
    for batch in batches_of(entries, data):
        process(store, batch)
    as_of = stream.end + data.draw(st.sampled_from((0, 1, 30 * DAY, 400 * DAY)))
    writes, _ = process(store, {}, as_of)
    rows = [json.loads(write.body) for write in writes if write.kind == "row"]
    got = pl.DataFrame(rows, schema={**ROW_SCHEMA, "version": pl.Int64}) if rows else pl.DataFrame(schema=ROW_SCHEMA)
    log = sorted(stream.events, key=lambda r: r["ts"])
    if stream.end:
        assert_same_rows(got.select(ROW_SCHEMA.keys()), feature_frame(loop_rows(log, stream.orders, as_of, in_log)))


START = 1_700_000_000_000 // DAY * DAY


def click(ts: int, customer: str = "c", **fields) -> dict:
    row = {"event_id": f"e{ts}{customer}", "event_type": "page_view", "customer_id": customer, "session_id": f"s{ts}"}
    return row | {"ts": ts, "device": "mobile"} | fields


def clicks(*rows) -> dict:
    return {"events": as_batch("events", [message(row) for row in rows])}


def ids(writes, index: str) -> list[str]:
    return [w.id for w in writes if w.kind == "document" and index in w.target]


def test_batch_reads_the_cells_of_its_customers_only():
    store = DictStore()
    process(store, clicks(*(click(START + n, f"c{n}") for n in range(50))), cells=1_000)
    looked: list[int] = []
    store.cell = lambda number: looked.append(number) or store.values["cell", number]
    writes, _ = process(store, clicks(click(START + 60, "c7")), cells=1_000)
    assert len(looked) == 1
    assert ids(writes, "customers") == ["c7"]


def test_new_day_writes_every_customer_once():
    store = DictStore()
    process(store, clicks(*(click(START + n, f"c{n}") for n in range(5))))
    writes, _ = process(store, clicks(click(START + DAY, "c3")))
    assert sorted(ids(writes, "customers")) == [f"c{n}" for n in range(5)]
    assert {json.loads(w.body)["as_of"] for w in writes if w.kind == "row"} == {START + DAY}
    writes, _ = process(store, clicks(click(START + DAY + 1, "c2")))
    assert ids(writes, "customers") == ["c2"]


def test_cart_of_a_customer_outside_the_batch_becomes_abandoned():
    store = DictStore()
    cart = click(START, "c", event_type="add_to_cart", product_id="p", category="k", price=1.0, quantity=1)
    process(store, clicks(cart, click(START + 1, "d")))
    writes, _ = process(store, clicks(click(START + 1_799_999, "d", session_id="x")))
    assert len(ids(writes, "sessions")) == 1
    writes, _ = process(store, clicks(click(START + 1_800_000, "d", session_id="x")))
    abandoned = [json.loads(w.body) for w in writes if "sessions" in w.target]
    assert sorted((row["customer_id"], row["abandoned"]) for row in abandoned) == [("c", True), ("d", False)]
    writes, _ = process(store, clicks(click(START + 1_900_000, "d", session_id="x")))
    assert len(ids(writes, "sessions")) == 1


def test_timer_is_set_for_the_first_due_cart_of_a_cell():
    """Two carts in one cell, and the clock in another."""
    names = [f"c{n}" for n in range(60)]
    first, second = [name for name in names if zlib.crc32(name.encode()) % 3 == 0][:2]
    other = next(name for name in names if zlib.crc32(name.encode()) % 3 == 1)
    store = DictStore()
    cart = {"event_type": "add_to_cart", "product_id": "p", "category": "k", "price": 1.0, "quantity": 1}
    process(store, clicks(click(START, first, **cart), click(START + 60_000, second, **cart)))
    for after, gone in ((1_800_000, [first]), (1_860_000, [second]), (1_900_000, [])):
        writes, _ = process(store, clicks(click(START + after, other)))
        entries = [json.loads(w.body) for w in writes if "sessions" in w.target]
        assert [row["customer_id"] for row in entries if row["abandoned"]] == gone


def test_event_ids_are_stored_for_two_days():
    store = DictStore()
    for hour in range(120):
        process(store, clicks(click(START + hour * HOUR)))
        assert len(ids_of(store)) <= 49
    writes, bucket = process(store, clicks(click(START + 119 * HOUR), click(START + 72 * HOUR)))
    assert (bucket.counts.duplicates, bucket.counts.applied) == (2, 0)
    assert not [w for w in writes if w.kind == "letter"]


def test_event_id_of_any_earlier_batch_of_its_hour_is_a_duplicate():
    store = DictStore()
    for n in range(3):
        process(store, clicks(click(START + n)))
    _, bucket = process(store, clicks(*(click(START + n) for n in range(3))))
    assert (bucket.counts.duplicates, bucket.counts.applied) == (3, 0)


def test_lateness_uses_the_earlier_batches():
    store = DictStore()
    placed = {"customer_id": "c", "status": "placed", "total": 1}
    old, new = START - 402 * DAY, START
    orders = [{**placed, "order_id": f"o{ts}", "ts": ts, "updated_ts": ts} for ts in (new, old, old - 1)]
    times = (START, START - 48 * HOUR, START - 48 * HOUR - 1)
    for n in range(3):
        batches = clicks(click(times[n])) | {"orders": as_batch("orders", [message(orders[n])], n)}
        writes, bucket = process(store, batches)
        dead_letters = sorted((w.target, w.error.split(":")[0]) for w in writes if w.kind == "letter")
        assert dead_letters == ([("shop.events", "too late"), ("shop.orders", "too late")] if n == 2 else [])
        assert bucket.counts.late == len(dead_letters)


def test_versions_grow_with_every_write_and_epoch():
    store = DictStore()
    entries = []
    for n, epoch in enumerate((7, 7, 8, 8, 6)):
        writes, _ = process(store, clicks(click(START + n)), epoch=epoch)
        entries += [w.version for w in writes if w.kind == "row"]
    assert entries == sorted(set(entries))
    assert [version >> 30 for version in entries] == [7, 7, 8, 8, 8]


def test_an_as_of_before_the_stream_is_refused():
    store = DictStore()
    process(store, clicks(click(START)))
    with pytest.raises(UsageError, match=str(START)):
        process(store, {}, START - 1)


def test_state_of_another_version_is_refused():
    store = DictStore()
    process(store, clicks(click(START)))
    stored = msgspec.msgpack.decode(store.values["bucket"], type=StoredBucket)
    stored.schema_version += 1
    store.values["bucket"] = msgspec.msgpack.encode(stored)
    with pytest.raises(ShopstreamError, match="form") as refused:
        process(store, {})
    assert "--run" in refused.value.remedy


def test_number_of_cells_is_that_of_the_stored_state():
    store = DictStore()
    process(store, clicks(*(click(START + n, f"c{n}") for n in range(9))), cells=4)
    writes, bucket = process(store, clicks(click(START + 20, "c5")), START + DAY, cells=1_000)
    assert bucket.customers == 9
    assert sorted(set(ids(writes, "customers"))) == [f"c{n}" for n in range(9)]
    assert np.unique([key[1] for key in store.values if key[0] == "cell"]).max() < 4


def scored(writes) -> dict[str, str]:
    return {w.id: json.loads(w.body)["bundle"] for w in writes if w.kind == "row"}


def test_new_bundle_scores_every_customer_and_rising_risks_give_alerts():
    store = DictStore()
    rows = clicks(*(click(START + n, f"c{n}") for n in range(6)))
    rows["orders"] = as_batch(
        "orders",
        [
            message(
                {"order_id": f"o{n}", "customer_id": f"c{n}", "ts": START, "updated_ts": START, "status": "placed"}
                | {"total": 1}
            )
            for n in range(6)
        ],
    )
    writes, _ = process(store, rows, scoring=by_tenure("low", 1e30))
    assert scored(writes) == {f"c{n}": "low" for n in range(6)}
    assert not [w for w in writes if w.kind == "alert"]
    again = store.copy()
    writes, _ = process(store, clicks(click(START + 20, "c1")), scoring=by_tenure("high", 1e30, shift=0.7))
    assert scored(writes) == {f"c{n}": "high" for n in range(6)}
    alerts = sorted(json.loads(w.body)["customer_id"] for w in writes if w.kind == "alert")
    assert alerts == [f"c{n}" for n in range(6)]
    # the batch comes again: the same alerts under the same ids
    repeated, _ = process(again, clicks(click(START + 20, "c1")), scoring=by_tenure("high", 1e30, shift=0.7))
    ids_of_alerts = [[w.id for w in one if "alerts" in w.target] for one in (writes, repeated)]
    assert ids_of_alerts[0] == ids_of_alerts[1]
    # and once risen, they have risen
    writes, _ = process(store, clicks(click(START + 30, "c1")), scoring=by_tenure("high", 1e30, shift=0.7))
    assert scored(writes) == {"c1": "high"}
    assert not [w for w in writes if w.kind == "alert"]


def test_profile_before_its_customer_is_stored():
    store = DictStore()
    profiles = [message({"customer_id": "c", "country": "de", "premium": True, "email": "c@example.com"})]
    writes, _ = process(store, {"customers": as_batch("customers", profiles)})
    assert writes == []
    writes, _ = process(store, clicks(click(START, "c")))
    (document,) = (json.loads(w.body) for w in writes if "customers" in w.target)
    assert (document["country"], document["premium"]) == ("de", True)
    assert "email" not in document
    gone = {"customers": as_batch("customers", [(b"c", None)], 1)}
    writes, _ = process(store, gone)
    (document,) = (json.loads(w.body) for w in writes if "customers" in w.target)
    assert "country" not in document
