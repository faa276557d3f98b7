"""Offsets of the stream on Spark: what a batch takes, and what it may not go on from. No Spark here."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream.bench import Bench
from stream.feeding import as_batch, message

from connectors.kafka.reader import OffsetRange, Ranges, Watermarks, read_offset_range
from connectors.kafka.source import Partition
from features.errors import ShopstreamError
from features.schema import SOURCE_TOPICS
from shopstream.spark.kafka_source import ROWS, initial, latest, rows_of, spans, ticks
from shopstream.spark.state_processor import batches_of

PARTITIONS = [Partition(topic, number) for topic in SOURCE_TOPICS for number in range(2)]


def marks(high: int = 100, low: int = 0) -> dict[Partition, Watermarks]:
    return {where: Watermarks(low, high) for where in PARTITIONS}


def ends(offsets) -> dict[Partition, int]:
    return {Partition(topic, int(number)): end for topic in SOURCE_TOPICS for number, end in offsets[topic].items()}


def test_query_starts_at_the_first_retained_records():
    assert set(ends(initial(marks(low=7))).values()) == {7}
    assert initial(marks())["tick"] == 0


def test_batch_without_a_bound_reads_to_the_end():
    start = initial(marks(0))
    assert set(ends(latest(start, marks(30), None, 0)).values()) == {30}


@given(st.lists(st.integers(0, 10_000), min_size=len(PARTITIONS), max_size=len(PARTITIONS)), st.integers(50, 5_000))
def test_batch_reads_the_same_share_of_each_partition_and_batches_reach_the_end(highs, records_max):
    there = {where: Watermarks(0, high) for where, high in zip(PARTITIONS, highs, strict=True)}
    at = initial(there)
    for _ in range(sum(highs) // records_max + 2):
        after = latest(at, there, records_max, 0)
        taken = sum(span.end - span.start for span in spans(at, after))
        # a share of a record is a record
        assert taken <= records_max + len(PARTITIONS)
        left = sum(highs) - sum(ends(at).values())
        assert taken >= min(records_max, left)
        if left > records_max:
            for span in spans(at, after):
                high = there[Partition(span.topic, span.number)].high
                assert span.end - span.start <= (high - span.start) * records_max / left + 1
        at = json.loads(json.dumps(after))
    assert ends(at) == {where: mark.high for where, mark in there.items()}
    assert latest(at, there, records_max, 0) == at


def test_clock_tick_is_a_batch_of_its_own_and_occurs_once():
    start = initial(marks(0))
    ticked = latest(start, marks(30), 10, 5_000)
    assert spans(start, ticked) == []
    assert ticked["tick"] == 5_000
    assert latest(ticked, marks(30), 10, 5_000) == ticked
    assert latest(ticked, marks(30), 10, 0)["tick"] == 5_000, "and is no tick of later batches"


def test_deleted_records_are_an_error():
    start = latest(initial(marks(0)), marks(30), None, 0)
    for there in (marks(100, low=31), marks(29)):
        with pytest.raises(ShopstreamError, match="no record 30 to continue from") as refused:
            latest(start, there, None, 0)
        assert "--run" in refused.value.remedy


def test_added_or_removed_partitions_are_an_error():
    start = initial(marks())
    fewer = {where: mark for where, mark in marks().items() if where.number == 0}
    for there in (fewer, marks() | {Partition("events", 2): Watermarks(0, 5)}):
        with pytest.raises(ShopstreamError, match="partitions"):
            latest(start, there, None, 0)


def test_rows_read_back_as_records_in_any_order_and_frames():
    """In any order and in any frames: a batch of each topic, its records by offset."""
    sent = {
        "events": as_batch("events", [(b"k%d" % n, None if n == 3 else b"v%d" % n) for n in range(20)], 40, 1),
        "customers": as_batch("customers", [(None, b"{}"), (b"c", b"")], 7, 1),
    }
    frame = [rows_of(topic, 99, batch).to_pandas() for topic, batch in sent.items()]
    mixed = np.random.default_rng(5).permutation(22)
    whole = pd.concat([*frame, ticks([98, 99], 123).to_pandas().iloc[1:]]).reset_index(drop=True)
    shuffled = whole.iloc[[22, *mixed.tolist()]]
    got, as_of = batches_of(1, [shuffled.iloc[:9], shuffled.iloc[9:]])
    assert as_of == 123
    assert got.keys() == sent.keys()
    for topic, batch in sent.items():
        assert got[topic].partition == Partition(topic, 1)
        assert list(got[topic].offsets) == list(batch.offsets)
        assert (got[topic].keys, got[topic].values) == (batch.keys, batch.values)  # noqa: PD011 - no frames
        assert list(got[topic].append_ms) == list(batch.append_ms)
    assert rows_of("events", 9, sent["events"]).schema == ROWS


def test_any_offset_range_is_read_exactly_from_kafka(servers, run_name, tmp_path):
    """Any span of a partition, across transactions' holes or not, and none of what stands behind it."""
    bench = Bench(servers, run_name, tmp_path, partitions=2)
    row = {"event_type": "search", "session_id": "s", "device": "mobile", "ts": 1}
    placed = bench.publish(
        ("events", *message(row | {"event_id": f"e{n}", "customer_id": f"c{n % 9}"})) for n in range(500)
    )
    bench.client.close()
    ranges = Ranges(bench.properties, run_name)
    try:
        assert ranges.partitions == 2
        there = ranges.now()
    finally:
        ranges.close()
    assert sum(mark.high for where, mark in there.items() if where.topic == "events") == 500
    for number in range(2):
        end = there[Partition("events", number)].high
        for first, last in ((0, end), (3, 4), (end // 2, end - 1), (5, 5)):
            entries = [
                (offset, key, value)
                for batch in read_offset_range(bench.properties, run_name, OffsetRange("events", number, first, last))
                for offset, key, value in zip(batch.offsets, batch.keys, batch.values, strict=True)
            ]
            assert entries == [(n, *placed[f"{run_name}.events", number, n]) for n in range(first, last)]
    with pytest.raises(ShopstreamError, match="no record"):
        list(read_offset_range(bench.properties, run_name, OffsetRange("events", 0, 900, 901)))
