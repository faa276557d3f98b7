"""Indices that were deleted, made anew or restored: noticed, and what the sources hold is written again."""

from __future__ import annotations

import json
import threading
import time

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from stream.bench import Bench
from stream.feeding import as_batch, message

from connectors.elasticsearch import client as elastic
from connectors.elasticsearch import index_identity
from connectors.elasticsearch.index_identity import Identities, index_ids, open_identities
from connectors.elasticsearch.mappings import write_index
from connectors.kafka import client as kafka
from connectors.kafka.source import Source
from consumers.checkpoints.recovery import empty, restore, snapshot
from consumers.index.consumer import IndexOptions, IndexRole
from consumers.index.month_identities import MONTHS_MAX, digests, lost, pack, unpack
from consumers.index.partition_progress import OffsetMetadata, write_metadata
from consumers.state.lost_indices import LostIndices
from features.errors import ShopstreamError

MONTH = "2026.03"
BASE_MS = 1_772_323_200_000  # 2026-03-01: the month turns here
QUICK = IndexOptions(batch_records=100, commit_every_s=0.05, report_every_s=0.05, revoke_timeout_s=20)


def event(n: int, **more) -> dict:
    """Up to number 499 in February."""
    record = {"event_id": f"e-{n}", "event_type": "page_view", "customer_id": f"c-{n % 50}", "session_id": f"s-{n}"}
    return {**record, "ts": BASE_MS + (n - 500) * 1_000, "device": "mobile", **more}


def messages(numbers):
    """As `Bench.publish` takes them."""
    for n in numbers:
        record = event(n)
        yield "events", record["customer_id"].encode(), json.dumps(record).encode()


# --- months beside an offset ---


@given(st.dictionaries(st.integers(0, MONTHS_MAX - 1), st.text(min_size=1), max_size=40))
def test_packed_months_unpack_to_the_same_months(identities_of):
    names = {f"shop-events-{1970 + n // 12}.{n % 12 + 1:02d}": identity for n, identity in identities_of.items()}
    months = digests("shop", names)
    assert unpack(pack(months)) == months


def test_months_of_75_years_fit_into_the_offset_metadata():
    names = {f"shop-events-{1960 + n // 12}.{n % 12 + 1:02d}": str(n) for n in range(MONTHS_MAX + 100)}
    mark = write_metadata(OffsetMetadata(1_772_323_200_000, pack(digests("shop", names)), 123_456_789_012))
    assert len(mark) < 4_096
    assert len(unpack(pack(digests("shop", names)))) == MONTHS_MAX


@pytest.mark.parametrize("text", ["", "x", "2026.03:?", "2026:AAAA", ":AAAA"])
def test_text_that_is_not_packed_months_gives_none(text):
    assert unpack(text) == {}


def test_month_is_lost_only_when_another_index_has_its_name():
    stored = digests("shop", {"shop-events-2026.01": "a", "shop-events-2026.02": "b", "shop-events-2026.03": "c"})
    now = digests("shop", {"shop-events-2026.02": "b", "shop-events-2026.03": "other", "shop-events-2026.04": "d"})
    assert lost(stored, now) == ["2026.03"]


# --- looking ---


def test_failed_check_preserves_the_known_identities():
    answers = iter([{"a": "1"}, ShopstreamError("away"), {"a": "2"}])
    closed = threading.Event()

    def look():
        answer = next(answers, {"a": "2"})
        if isinstance(answer, ShopstreamError):
            raise answer
        return answer

    result = Identities(look, closed.set, every_s=0.01)
    assert result.current == {"a": "1"}
    for _ in range(200):
        if result.current == {"a": "2"}:
            break
        time.sleep(0.01)
    result.close()
    assert result.current == {"a": "2"}
    assert closed.is_set()


# --- rows of the state ---

CUSTOMERS, SESSIONS = write_index("t", "customers"), write_index("t", "sessions")
THERE = {CUSTOMERS: "c1", SESSIONS: "s1", "t-orders-2026.03": "o1"}


@pytest.fixture
def partition():
    """Three customers with a session each; every row is acknowledged by the indices of `THERE`."""
    result = empty(0, ["elastic", "topic"], contact=False)
    result.receive(as_batch("events", [message(event(n)) for n in range(3)]))
    for topic in result.buffers:
        result.reached_end(topic)
    result.advance()
    for dirty in (*result.customers_dirty.values(), result.sessions_dirty):
        batch_id, _ = dirty.take_batch(100)
        dirty.acknowledge(batch_id)
    LostIndices("t", "elastic").mark_lost(result, THERE)
    assert result.index_ids == THERE
    assert not len(result.customers_dirty["elastic"])
    result.changed = False
    return result


def waiting(partition):
    return (
        len(partition.customers_dirty["elastic"]),
        len(partition.customers_dirty["topic"]),
        len(partition.sessions_dirty),
    )


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (THERE, (0, 0, 0)),
        ({**THERE, CUSTOMERS: "c2"}, (3, 0, 0)),
        ({**THERE, SESSIONS: "s1/restored"}, (0, 0, 3)),
        ({name: THERE[name] for name in THERE if name != CUSTOMERS}, (3, 0, 0)),
        ({name: THERE[name] for name in THERE if name != "t-orders-2026.03"}, (0, 0, 0)),
        ({**THERE, "t-orders-2026.04": "o2"}, (0, 0, 0)),
    ],
    ids=["the same", "made anew", "restored", "deleted", "a month deleted", "a month begun"],
)
def test_only_rows_of_a_lost_index_become_pending_again(partition, now, expected):
    lost_indices = LostIndices("t", "elastic")
    lost_indices.mark_lost(partition, now)
    assert waiting(partition) == expected
    before = dict(partition.index_ids)
    lost_indices.mark_lost(partition, now)
    assert partition.index_ids == before


def test_an_index_that_was_deleted_and_made_by_the_next_document_is_written_once(partition):
    lost_indices = LostIndices("t", "elastic")
    lost_indices.mark_lost(partition, {SESSIONS: "s1"})
    batch_id, _ = partition.customers_dirty["elastic"].take_batch(100)
    partition.customers_dirty["elastic"].acknowledge(batch_id)
    lost_indices.mark_lost(partition, {**THERE, CUSTOMERS: "c2"})
    assert waiting(partition) == (0, 0, 0)
    assert partition.index_ids[CUSTOMERS] == "c2"


def test_identities_are_in_a_checkpoint_and_an_old_one_adopts_the_current_ones(partition):
    stored = snapshot(partition, "t", 1, [])
    again = restore(stored, ["elastic", "topic"])
    assert again.index_ids == THERE
    LostIndices("t", "elastic").mark_lost(again, {**THERE, CUSTOMERS: "c2"})
    assert waiting(again)[0] == 3
    old = restore(stored, ["elastic", "topic"])
    old.index_ids = {}
    LostIndices("t", "elastic").mark_lost(old, THERE)
    assert waiting(old) == (0, 0, 0)
    assert old.index_ids == THERE


def test_documents_that_cannot_be_rebuilt_are_reported_once_with_the_remedy(partition):
    lost_indices = LostIndices("t", "elastic")
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            partition.index_ids = dict(THERE)
            lost_indices.mark_lost(partition, {**THERE, "t-orders-2026.03": "o2"})
    (reports,) = logs
    assert reports["index"] == "t-orders-2026.03"
    assert "new run" in reports["remedy"]


# --- the real server ---


@pytest.fixture
def bench(servers, run_name, tmp_path, monkeypatch):
    monkeypatch.setattr(index_identity, "POLL_EVERY_S", 0.2)
    bench = Bench(servers, run_name, tmp_path)
    yield bench
    bench.client.close()


def consume(bench: Bench, stop=None):
    """One worker of the role index, to the end of the log, or until `stop`."""
    result = open_identities(bench.connection, bench.run, ["events"])
    consumer = kafka.open_consumer(kafka.consumer_config(bench.properties, f"{bench.run}-index", f"{bench.run}-0"))
    ends = {where: end for where, end in bench.ends().items() if where[0].endswith(".events")}
    try:
        with elastic.open_sink(bench.connection) as sink:
            role = IndexRole(Source(consumer, bench.run, ["events"]), sink, bench.run, options=QUICK, identities=result)
            return role.run(stop or (lambda: False), None if stop else ends)
    finally:
        result.close()


def indexed(bench: Bench) -> set[str]:
    return {doc["event_id"] for doc in bench.documents("events")}


def month(bench: Bench) -> str:
    return f"{bench.run}-events-{MONTH}"


def test_identity_changes_when_an_index_is_recreated(bench):
    bench.client.index(index=month(bench), id="1", document={"event_id": "1"})
    first = index_ids(bench.client, bench.run, ["events"])
    assert list(first) == [month(bench)]
    assert index_ids(bench.client, bench.run, ["events"]) == first
    bench.client.indices.delete(index=month(bench))
    bench.client.index(index=month(bench), id="1", document={"event_id": "1"})
    assert index_ids(bench.client, bench.run, ["events"]).keys() == first.keys()
    assert index_ids(bench.client, bench.run, ["events"]) != first


def test_month_lost_after_a_run_shorter_than_a_check_is_filled_again(bench, monkeypatch):
    """Its identity was committed with nobody having looked since it was made, so it was lost unnoticed."""
    monkeypatch.setattr(index_identity, "POLL_EVERY_S", 3_600.0)
    bench.publish(messages(range(400, 700)))
    assert consume(bench).written == 300
    bench.client.indices.delete(index=month(bench))
    bench.client.indices.create(index=month(bench))
    consume(bench)
    assert indexed(bench) == {f"e-{n}" for n in range(400, 700)}


def test_month_recreated_between_two_runs_is_filled_again(bench):
    bench.publish(messages(range(400, 700)))
    assert consume(bench).written == 300
    bench.client.indices.delete(index=month(bench))
    bench.publish(messages([700]))
    with structlog.testing.capture_logs() as logs:
        consume(bench)  # makes the month anew by its one event
        consume(bench)
    assert indexed(bench) == {f"e-{n}" for n in range(400, 701)}
    assert any(month(bench) in line.get("indices", "") for line in logs)
    # it is over: nothing is read again
    assert consume(bench).consumed == 0


def test_a_month_deleted_under_a_running_worker_is_filled_again(bench):
    bench.publish(messages(range(400, 700)))
    client = bench.client.options(ignore_status=(404, 503))
    until = time.monotonic() + 60
    step = []

    def stop():
        # an index that is just being made has no shard to search yet
        written = client.count(index=f"{bench.run}-events").get("count", 0)
        if not step and written >= 200:
            bench.client.indices.delete(index=month(bench))
            bench.publish(messages(range(700, 710)))
            step.append(1)
        if step:
            client.indices.refresh(index=f"{bench.run}-events")
        return time.monotonic() > until or bool(step and written >= 310)

    consume(bench, stop)
    assert indexed(bench) == {f"e-{n}" for n in range(400, 710)}


def test_month_deleted_on_purpose_stays_deleted_without_a_second_read(bench):
    bench.publish(messages(range(400, 700)))
    consume(bench)
    # a month is known once somebody has looked at it; on a busy machine the first run may end before its next look
    consume(bench)
    february = f"{bench.run}-events-2026.02"
    bench.client.indices.delete(index=february)
    assert consume(bench).consumed == 0
    # and it stays so when another month is filled again
    bench.client.indices.delete(index=month(bench))
    bench.client.indices.create(index=month(bench))
    totals = consume(bench)
    assert totals.consumed == 300
    assert not bench.client.indices.exists(index=february)
    assert indexed(bench) == {f"e-{n}" for n in range(500, 700)}
    assert consume(bench).consumed == 0


@pytest.mark.parametrize("how", ["deleted", "deleted and made by hand"])
def test_sessions_deleted_between_two_runs_are_written_again(bench, how):
    bench.publish(messages(range(100)))
    bench.consume()
    assert len(bench.documents("sessions")) == 100
    bench.client.indices.delete(index=write_index(bench.run, "sessions"))
    if how != "deleted":
        bench.client.indices.create(index=write_index(bench.run, "sessions"))
    bench.publish(messages([100]))
    bench.consume()
    assert {one["session_id"] for one in bench.documents("sessions")} == {f"s-{n}" for n in range(101)}
