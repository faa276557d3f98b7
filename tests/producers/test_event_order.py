"""Event-time order across files, days and topics; ranges; days bigger than memory."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archives import DAY, NOON, event, order, put, table, write
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ShopstreamError
from producers.archive import event_order
from producers.archive.event_order import ArchiveRange, count, in_time_order, sorted_pieces


def sent(span, **bounds):
    out = []
    for chunk in in_time_order(span, **bounds):
        for topic, time, value in zip(chunk.topics, chunk.times, chunk.values, strict=True):
            record = json.loads(value)
            out.append((int(time), record.get("event_id") or record.get("order_id"), int(topic)))
    return out


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(NOON - DAY, NOON + DAY), min_size=1, max_size=60),
    st.lists(st.integers(NOON - DAY, NOON + DAY), max_size=20),
    st.sampled_from([1, 3, 1000]),
    st.sampled_from([1, 2, 1000]),
)
def test_every_record_is_sent_once_in_event_time_order(
    tmp_path_factory, event_times, order_times, rows_max, chunk_rows
):
    directory = write(
        tmp_path_factory.mktemp("archive") / "a",
        events=[event(n, ts) for n, ts in enumerate(event_times)],
        orders=[order(n, ts) for n, ts in enumerate(order_times)],
    )
    found = sent(ArchiveRange(directory), rows_max=rows_max, chunk_rows=chunk_rows)
    assert [time for time, _, _ in found] == sorted(event_times + order_times)
    expected = {(ts, f"e{n}", 0) for n, ts in enumerate(event_times)} | {
        (ts, f"o{n}", 1) for n, ts in enumerate(order_times)
    }
    assert set(found) == expected
    assert len(found) == len(expected)
    assert count(ArchiveRange(directory)) == {"events": len(event_times), "orders": len(order_times)}


def test_order_is_sorted_by_its_change_time(tmp_path):
    write(
        tmp_path / "a",
        events=[event(1, NOON + 5)],
        orders=[order(1, NOON + 9, ts=NOON, status="refunded"), order(2, NOON + 1)],
    )
    assert [name for _, name, _ in sent(ArchiveRange(tmp_path / "a"))] == ["o2", "e1", "o1"]


def test_from_is_inclusive_to_is_exclusive_to_the_millisecond(tmp_path):
    write(tmp_path / "a", events=[event(n, NOON + n) for n in range(-3, 4)], orders=[order(9, NOON)])
    span = ArchiveRange(tmp_path / "a", start_ms=NOON - 1, end_ms=NOON + 2)
    assert [time - NOON for time, _, _ in sent(span)] == [-1, 0, 0, 1]
    assert count(span) == {"events": 3, "orders": 1}


@pytest.mark.parametrize(("start", "end"), [(-DAY, 0), (DAY, 2 * DAY), (5, 5)])
def test_a_range_without_records_is_empty(tmp_path, start, end):
    write(tmp_path / "a", events=[event(1, NOON)])
    assert sent(ArchiveRange(tmp_path / "a", start_ms=NOON + start, end_ms=NOON + end)) == []


def test_consecutive_ranges_send_every_record_once(tmp_path):
    write(tmp_path / "a", events=[event(n, NOON + n * DAY // 5) for n in range(20)])
    border = NOON + 7 * DAY // 5
    parts = sent(ArchiveRange(tmp_path / "a", end_ms=border)) + sent(ArchiveRange(tmp_path / "a", start_ms=border))
    assert parts == sent(ArchiveRange(tmp_path / "a"))


def test_rows_without_a_time_and_misplaced_rows_are_sent_on_their_folders_day(tmp_path):
    write(tmp_path / "a", events=[event(1, NOON)])
    put(tmp_path / "a", "events", NOON, [event(2, None), event(3, NOON + 40 * DAY), event(4, 1)])
    found = sent(ArchiveRange(tmp_path / "a"))
    assert [name for _, name, _ in found] == ["e2", "e4", "e1", "e3"]
    assert found[-1][0] == NOON - DAY // 2 + DAY - 1
    assert count(ArchiveRange(tmp_path / "a"))["events"] == 4


def test_files_with_other_column_types_are_read(tmp_path):
    write(tmp_path / "a", events=[event(1, NOON)])
    folder = tmp_path / "a" / "events" / next((tmp_path / "a" / "events").iterdir()).name
    foreign = event(2, NOON - 1)
    columns = {name: pa.array([value]).dictionary_encode() for name, value in foreign.items() if name != "ts"}
    pq.write_table(pa.table(columns | {"ts": pa.array([foreign["ts"]], pa.int64())}), folder / "z.parquet")
    assert [name for _, name, _ in sent(ArchiveRange(tmp_path / "a"))] == ["e2", "e1"]


def test_a_day_of_many_row_groups_is_merged_from_runs_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(event_order, "_SAMPLE", 10)
    times = np.random.default_rng(3).integers(NOON, NOON + DAY // 3, 3_000)
    write(tmp_path / "a", events=[event(0, NOON)])
    folder = next((tmp_path / "a" / "events").iterdir())
    rows = table("events", [event(n, int(ts)) for n, ts in enumerate(times, start=1)])
    pq.write_table(rows, folder / "big.parquet", row_group_size=250)
    pieces = list(sorted_pieces(ArchiveRange(tmp_path / "a"), "events", rows_max=500))
    assert max(map(len, pieces)) <= 500 + 10 * 13
    assert np.array_equal(np.concatenate([piece.times for piece in pieces]), np.sort([NOON, *times]))


def test_missing_archive_is_an_error(tmp_path):
    with pytest.raises(ShopstreamError, match="no archive"):
        count(ArchiveRange(tmp_path / "none"))
