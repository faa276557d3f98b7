"""Messages on hold: released by the time of their partition, in order, each with its records or its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.messages.mapped import Mapped, MappedRecord
from consumers.mapping.held_messages import NO_TIME, STEP_MS, UNKNOWN_TIME, HeldMessages


def record(message, time_ms):
    return MappedRecord("events", b"c", b"{}", message, time_ms)


def held(*batches):
    """Messages of one partition; each batch is a list of lists of times."""
    result, offset = HeldMessages(), 0
    for batch in batches:
        mapped = Mapped([record(number, t) for number, times in enumerate(batch) for t in times])
        result.put(range(offset, offset + len(batch)), mapped)
        offset += len(batch)
    return result


def offsets(released):
    return [offset for one in released for offset in one.offsets]


def test_messages_up_to_the_time_are_released_in_order():
    queue = held([[10], [20], [30]], [[40], [50]])
    assert offsets(queue.release(30)) == [0, 1, 2]
    assert (queue.count, queue.lowest_ms(at_end=False)) == (2, 40)
    assert offsets(queue.release(50)) == [3, 4]
    assert queue.count == queue.size_bytes == 0


def test_late_message_has_the_time_of_its_partition():
    queue = held([[100], [7], [101]])
    assert offsets(queue.release(100)) == [0, 1]
    assert queue.lowest_ms(at_end=False) == 101


def test_events_more_than_48_hours_behind_their_partition_are_counted():
    high = 100 * STEP_MS
    times = [high - 8 * STEP_MS, high - 8 * STEP_MS - 1]
    mapped = Mapped([record(0, high), *(record(n + 1, t) for n, t in enumerate(times))])
    mapped.records.append(MappedRecord("orders", b"c", b"{}", 2, 1))
    queue = HeldMessages()
    assert queue.put([0, 1, 2], mapped) == 1
    assert queue.put([3], Mapped([record(0, times[1])])) == 1


def test_message_of_several_records_waits_for_its_highest_time():
    queue = held([[10, 90], [20]])
    assert offsets(queue.release(89)) == []
    assert [len(one.records) for one in queue.release(90)] == [3]


def test_messages_without_records_go_with_those_before_them():
    queue = HeldMessages()
    queue.put([4, 5, 9], Mapped([record(1, 50)], {0: "tombstone"}, {2: "not JSON"}))
    [first] = queue.release(0)
    assert (first.offsets, first.left_out, first.refused) == ([4], {4: "tombstone"}, {})
    [rest] = queue.release(50)
    assert (rest.offsets, rest.left_out, rest.refused) == ([5, 9], {}, {9: "not JSON"})


@pytest.mark.parametrize(("at_end", "expected"), [(True, NO_TIME), (False, UNKNOWN_TIME)])
def test_unread_partition_holds_others_back_until_its_end(at_end, expected):
    assert HeldMessages().lowest_ms(at_end=at_end) == expected


def test_empty_partition_holds_others_back_at_its_last_time():
    queue = held([[70]])
    queue.release(70)
    assert queue.lowest_ms(at_end=False) == 70


times = st.lists(st.integers(1, 400), max_size=30)


@given(st.lists(times, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_partitions_in_step_never_run_ahead_of_the_lowest(partitions, rng):
    """Any times, any batches: written in step, no record comes long after a later one, but by its own disorder."""
    hour = STEP_MS // 6
    streams = [[t * hour for t in one] for one in partitions]
    queues = [HeldMessages() for _ in streams]
    position = [0] * len(streams)
    written: list[tuple[int, int]] = []
    while any(queue.count for queue in queues) or any(p < len(s) for p, s in zip(position, streams, strict=True)):
        number = rng.randrange(len(streams))
        size = rng.randrange(5)
        batch = streams[number][position[number] : position[number] + size]
        if batch:
            mapped = Mapped([record(n, t) for n, t in enumerate(batch)])
            queues[number].put(range(position[number], position[number] + len(batch)), mapped)
            position[number] += len(batch)
        ends = [p >= len(s) for p, s in zip(position, streams, strict=True)]
        lowest = min(queue.lowest_ms(at_end=end) for queue, end in zip(queues, ends, strict=True))
        for n, queue in enumerate(queues):
            for one in queue.release(lowest + STEP_MS):
                written += [(n, r.time_ms) for r in one.records]
    for n, stream in enumerate(streams):
        assert [t for number, t in written if number == n] == stream
    disorder = max((max(s[: i + 1]) - t for s in streams for i, t in enumerate(s)), default=0)
    high = 0
    for _, t in written:
        high = max(high, t)
        assert high - t <= STEP_MS + disorder


def test_dropped_values_are_released_with_their_message():
    queue = HeldMessages()
    mapped = Mapped([record(0, 10), record(1, 20)], dropped={0: ["a", "b"], 1: ["c"]})
    queue.put(range(7, 9), mapped)
    assert [list(one.dropped) for one in queue.release(10)] == [["a", "b"]]
    assert [list(one.dropped) for one in queue.release(20)] == [["c"]]
