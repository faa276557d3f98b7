"""`--index-pii` is turned off again: names and addresses leave the state, and with it the index."""

from __future__ import annotations

import msgspec
import pytest
from stream.bench import Bench
from stream.feeding import as_batch, message

from connectors.elasticsearch.aliases import install
from consumers.checkpoints.recovery import empty, recover, snapshot
from consumers.checkpoints.store import CheckpointStore
from consumers.features.documents import customer_docs, customer_rows
from consumers.index_definitions import run_definitions
from features.schema import SOURCE_TOPICS
from shopstream.spark.bucket import Bucket

TS = 1_700_000_000_000
SINKS = ["elastic", "topic"]
ANN = {"customer_id": "ann", "name": 'Ann "Z" Zacharias', "email": "ann.z@example.com", "country": 'LI"name":'}
BOB = {"customer_id": "bob", "country": "DE"}
EVENT = {"event_type": "search", "session_id": "s", "device": "mobile", "ts": TS}
EVENTS = [{**EVENT, "event_id": "e1", "customer_id": "ann"}, {**EVENT, "event_id": "e2", "customer_id": "bob"}]
SECRETS = (b"Zacharias", b"ann.z@")


def kept(tmp_path, *, said):
    """A checkpoint with contact data, all rows written; `said` is what it says of itself."""
    partition = empty(0, SINKS, contact=True)
    partition.epoch = 7
    partition.receive(as_batch("customers", [message(ANN), message(BOB)]))
    partition.receive(as_batch("events", [message(row) for row in EVENTS]))
    for topic in SOURCE_TOPICS:
        partition.reached_end(topic)
    partition.advance()
    for dirty in partition.customers_dirty.values():
        dirty.acknowledge(dirty.take_batch(10)[0])
    partition.contact = said
    store = CheckpointStore(str(tmp_path), "r")
    store.write(snapshot(partition, "r", 1, []), 0)
    return store


def restored(store, *, contact):
    return recover(store, 0, None, dict.fromkeys(SOURCE_TOPICS, 0), SINKS, partitions=1, contact=contact)[0]


@pytest.mark.parametrize("text", [True, False], ids=["the first start", "a later one of format 1"])
def test_checkpoint_with_contact_restored_without_it_marks_its_customers(tmp_path, text):
    partition = restored(kept(tmp_path, said=text), contact=False)
    assert not [s for s in SECRETS if s in b"".join(partition.profiles.values())]
    assert msgspec.json.decode(b"{" + partition.profiles["ann"] + b"}") == {"country": ANN["country"]}
    assert partition.profiles["bob"] == b'"country":"DE"'
    assert partition.changed
    for dirty in partition.customers_dirty.values():
        _, codes = dirty.take_batch(10)
        rows = customer_rows(partition, codes, TS)
        assert rows.customer_ids == ["ann"]
        assert not [s for s in SECRETS if s in customer_docs(partition, rows, "r")[0].body]


def test_checkpoint_with_contact_is_restored_with_it_when_enabled(tmp_path):
    partition = restored(kept(tmp_path, said=True), contact=True)
    assert b"Zacharias" in partition.profiles["ann"]
    assert not partition.changed


def test_spark_state_with_contact_is_rewritten_without_it_when_its_cell_is_read():
    class DictStore(dict):
        def bucket(self):
            return self.get("bucket")

        def put_bucket(self, value):
            self["bucket"] = value

        cell = ids = dict.__getitem__
        put_cell = put_ids = dict.__setitem__
        drop_ids = dict.__delitem__

    store = DictStore()
    batches = {
        "customers": as_batch("customers", [message(ANN)]),
        "events": as_batch("events", [message(EVENTS[0])]),
    }
    list(Bucket(0, "r", store, 7, 1, contact=True).process(batches))
    assert [s for s in SECRETS if s in b"".join(v for v in store.values())] == list(SECRETS)
    later = {"events": as_batch("events", [message({**EVENTS[0], "event_id": "e3", "ts": TS + 1})], 1)}
    writes = list(Bucket(0, "r", store, 8, 1, contact=False).process(later))
    assert not [s for s in SECRETS if s in b"".join(v for v in store.values())]
    assert not [w for w in writes if b"Zacharias" in (w.body or b"")]
    assert [w for w in writes if b'"country":"LI' in (w.body or b"")]


@pytest.mark.timeout(120)
def test_index_and_new_checkpoints_hold_no_contact_data(servers, run_name, tmp_path):
    bench = Bench(servers, run_name, tmp_path / "state", partitions=1)
    install(bench.client, run_name, run_definitions(contact=True))
    bench.publish([("customers", row["customer_id"].encode(), msgspec.json.encode(row)) for row in (ANN, BOB)])
    bench.publish([("events", row["customer_id"].encode(), msgspec.json.encode(row)) for row in EVENTS])
    bench.consume(contact=True)
    assert [s for s in SECRETS if s in msgspec.json.encode(bench.documents("customers"))] == list(SECRETS)
    for number in range(2):
        more = {**EVENTS[1], "event_id": f"more{number}", "ts": TS + number}
        bench.publish([("events", b"bob", msgspec.json.encode(more))])
        bench.consume(contact=False)
    assert len(bench.documents("customers")) == 2
    assert not [s for s in SECRETS if s in msgspec.json.encode(bench.documents("customers"))]
    raw = b"".join(path.read_bytes() for path in bench.state.rglob("*") if path.is_file())
    assert not [s for s in SECRETS if s in raw]
    bench.client.close()
