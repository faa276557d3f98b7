"""The stream on the real servers: what stands in Elasticsearch and on the topic is what the oracle counts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from oracle.adversarial import adversarial
from oracle.files import write_plain
from oracle.loops import all_of, loop_order_items, loop_orders, loop_rows, loop_sessions
from oracle.rows import assert_same_rows, feature_frame
from oracle.shop import DAY, HOUR
from oracle.wire import in_time, split_late, wire_message
from stream.bench import Bench, counting_events, same_documents
from stream.feeding import message
from stream.scene import ORDER_KEY, winning_lines

from consumers.features.build import open_features
from features.errors import UsageError
from shopstream.jobs.archive_features import batch_features

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def bench(servers, run_name, tmp_path):
    bench = Bench(servers, run_name, tmp_path / "state", partitions=4)
    yield bench
    bench.client.close()


def publish(bench: Bench, records, seed: int, jitter_ms: int) -> tuple[list, list]:
    """All records in every spelling of the wire, in an order in which none is too late; returns those that count."""
    rng = np.random.default_rng(seed)
    messages, arrivals = [], {}
    for topic, rows in (("events", records.events), ("orders", records.orders)):
        arrived = in_time(topic, rows, rng, jitter_ms)
        assert split_late(topic, arrived)[1] == []
        arrivals[topic] = arrived
        messages += [wire_message(topic, row, rng) for row in arrived]
    placed = bench.publish((m.topic, m.key, m.value) for m in messages)
    return counting_events(placed, arrivals["events"]), records.orders


def check(bench: Bench, events, orders, as_of: int) -> None:
    expected = feature_frame(loop_rows(events, orders, as_of, all_of))
    assert_same_rows(bench.feature_frame(), expected, note=f"at {as_of}")
    assert_same_rows(bench.topic_frame(), expected, note=f"on the topic, at {as_of}")
    same_documents(bench.documents("sessions"), loop_sessions(events, as_of, all_of), ("customer_id", "session_id"))
    same_documents(bench.documents("orders"), loop_orders(orders, as_of), ORDER_KEY)
    lines = winning_lines(bench.documents("order-items"), orders, as_of)
    same_documents(lines, loop_order_items(orders, as_of), (*ORDER_KEY, "line"))


@pytest.mark.parametrize(("seed", "jitter_ms"), [(11, 0), (12, 47 * HOUR)], ids=["in order", "disorder"])
def test_documents_and_rows_equal_the_oracle_at_several_times(bench, tmp_path, seed, jitter_ms):
    records = adversarial(seed, customers=6)
    events, orders = publish(bench, records, seed, jitter_ms)
    end = max(*(e["ts"] for e in events), *(o["updated_ts"] for o in orders))
    # borders of windows, from the last record on; each run goes on from the checkpoint of the one before
    for n, as_of in enumerate((end, end + 1, records.as_of + 7 * DAY, records.as_of + 30 * DAY)):
        if as_of < end:
            continue
        (progress,) = bench.consume(as_of)
        assert progress.rejected == progress.late == 0
        assert progress.consumed == (len(records.events) + len(orders) if n == 0 else 0)
        check(bench, events, orders, as_of)
    batch = batch_features(write_plain(tmp_path / "archive", records.events, orders), as_of)
    # of repeated events an archive counts the earliest, which is the first in the log if that is in the order of time
    in_order = bench.feature_frame() if jitter_ms == 0 else feature_frame(loop_rows(records.events, orders, as_of))
    assert_same_rows(in_order, batch, note="the batch command")
    with pytest.raises(UsageError, match="max event time is"):
        bench.consume(end - 1)


def test_two_workers_and_a_later_half_give_the_result_of_one_worker(bench):
    """Half of the topics by one worker, the rest by two: partitions change hands with their state."""
    records = adversarial(13, customers=6)
    events, orders = publish(bench, records, 13, 47 * HOUR)
    ends = bench.ends()
    half = {where: end // 2 for where, end in ends.items()}
    (first,) = bench.consume(until=half)
    assert first.consumed == sum(half.values())
    end = max(*(e["ts"] for e in events), *(o["updated_ts"] for o in orders))
    result = bench.consume(end, until=ends, workers=2)
    assert all(progress.rows_written for progress in result), "both had customers"
    check(bench, events, orders, end)


def test_a_live_worker_notices_the_end_of_a_topic_that_comes_with_its_last_messages(bench):
    """Without an offset to stop at: orders that end early in time hold the events back only until their end is told."""
    now = 20_000 * DAY
    row = {"event_type": "search", "customer_id": "c", "session_id": "s", "device": "mobile", "event_id": "e"}
    order = {"order_id": "o", "customer_id": "c", "ts": now, "updated_ts": now, "status": "placed", "total": 1}
    bench.publish([("orders", *message(order))])
    bench.publish([("events", *message({**row, "event_id": f"e{n}", "ts": now + n * 60_000})) for n in range(300)])
    expected = now + 299 * 60_000
    consumer = open_features(bench.options())
    until_s = time.monotonic() + 30

    def stop() -> bool:
        progress = consumer.progress()
        return time.monotonic() > until_s or (progress.stream_ts == expected and not progress.dirty)

    consumer.run(stop, None, lambda _: None, lambda _: None)
    assert time.monotonic() < until_s, "the events waited for orders that nobody will write"
    assert bench.feature_frame()["last_seen_ts"].to_list() == [expected]
