"""Late is late by the records before, never by the batch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.records.lateness import NO_HIGH, split_late
from features.schema import DAY_MS, EVENT_LATENESS_MS, ORDER_LATENESS_MS


def int64(values):
    return np.array(values, np.int64)


def one_by_one(ts, high, allowance, clock):
    late = []
    for time, tick in zip(ts, clock, strict=True):
        late.append(time < high - allowance)
        high = max(high, tick)
    return late, high


def test_record_behind_by_exactly_the_allowance_is_in_time():
    start = 10 * EVENT_LATENESS_MS
    late, high = split_late(
        int64([start, start - EVENT_LATENESS_MS, start - EVENT_LATENESS_MS - 1, start + 1, start - EVENT_LATENESS_MS]),
        NO_HIGH,
        EVENT_LATENESS_MS,
    )
    assert late.tolist() == [False, False, True, False, True]
    assert high == start + 1


def test_lateness_uses_the_earlier_records_only():
    late, _ = split_late(int64([1, EVENT_LATENESS_MS * 5]), NO_HIGH, EVENT_LATENESS_MS)
    assert late.tolist() == [False, False]


def test_lateness_of_orders_compares_ts_with_updated_ts():
    placed, changed = 500 * DAY_MS, 900 * DAY_MS
    late, high = split_late(
        int64([placed, changed - ORDER_LATENESS_MS, changed - ORDER_LATENESS_MS - 1]),
        NO_HIGH,
        ORDER_LATENESS_MS,
        clock=int64([changed, changed, changed]),
    )
    assert late.tolist() == [False, False, True]
    assert high == changed


def test_empty_batch_does_not_move_the_lateness_clock():
    late, high = split_late(int64([]), 77, EVENT_LATENESS_MS)
    assert late.tolist() == []
    assert high == 77


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), max_size=40), st.data())
def test_lateness_does_not_depend_on_batch_borders(records, data):
    ts, clock = [ts for ts, _ in records], [ts + change for ts, change in records]
    expected, expected_high = one_by_one(ts, NO_HIGH, 10, clock)
    late, high, start = [], NO_HIGH, 0
    while start < len(ts):
        end = data.draw(st.integers(start, len(ts)))
        part, high = split_late(int64(ts[start:end]), high, 10, clock=int64(clock[start:end]))
        late += part.tolist()
        if end == start:
            end = start + 1
            part, high = split_late(int64(ts[start:end]), high, 10, clock=int64(clock[start:end]))
            late += part.tolist()
        start = end
    assert late == expected
    assert high == expected_high
