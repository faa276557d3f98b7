"""Whatever is no record, or comes too late, is a letter with its bytes; its neighbours count, and the counts add up."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.loops import loop_rows
from oracle.rows import assert_same_rows, feature_frame
from oracle.shop import DAY, HOUR
from oracle.wire import bad_messages, wire_message
from stream.bench import Bench

from connectors.clock import wall_clock_ms

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def bench(servers, run_name, tmp_path):
    bench = Bench(servers, run_name, tmp_path / "state", partitions=3)
    yield bench
    bench.client.close()


def neighbours(now_ms: int, rng) -> tuple[list, list, list]:
    """Valid events and orders of the last day, and such as are too late: last, so that they surely are."""
    events = [
        {"event_id": f"e{n}", "event_type": "product_view", "customer_id": f"c{n % 7}", "session_id": f"s{n % 14}"}
        | {"ts": now_ms - 20 * HOUR + n * 60_000, "device": "mobile", "category": "abc"[n % 3]}
        for n in range(700)
    ]
    orders = [
        {"order_id": f"o{n}", "customer_id": f"c{n % 7}", "ts": now_ms - DAY + n, "updated_ts": now_ms - HOUR - n}
        | {"status": "placed", "total": 1.5, "items": None}
        for n in range(100)
    ]
    late = [("events", {**events[n], "event_id": f"late{n}", "ts": events[n]["ts"] - 70 * HOUR}) for n in range(20)] + [
        ("orders", {**orders[n], "order_id": f"late{n}", "ts": now_ms - 403 * DAY, "updated_ts": now_ms - 4 * DAY})
        for n in range(20)
    ]
    return events, orders, late


def test_every_kind_of_invalid_record_becomes_a_dead_letter(bench):
    now_ms, rng = wall_clock_ms(), np.random.default_rng(5)
    events, orders, late = neighbours(now_ms, rng)
    good = [*(wire_message("events", e, rng) for e in events), *(wire_message("orders", o, rng) for o in orders)]
    twice = [good[int(n)] for n in rng.integers(0, len(events), 30)]
    # the brokers themselves refuse a message without a key on a compacted topic
    bad = [m for m in bad_messages(now_ms) if m.topic != "customers" or m.key is not None]
    # the broken ones lie among the good, in a random order; records keep their own order, so that none is late
    positions = np.sort(rng.integers(0, len(good) + 1, len(bad)))
    mixed: list = []
    waiting = [bad[int(n)] for n in rng.permutation(len(bad))]
    for n, message in enumerate([*good, None]):
        while len(mixed) - n < len(positions) and positions[len(mixed) - n] <= n:
            mixed.append(waiting[len(mixed) - n])
        if message is not None:
            mixed.append(message)
    assert len(mixed) == len(good) + len(bad)
    placed = bench.publish((m.topic, m.key, m.value) for m in [*mixed, *twice])
    placed_late = bench.publish(
        (topic, row["customer_id"].encode(), wire_message(topic, row, rng).value) for topic, row in late
    )

    (progress,) = bench.consume(now_ms + DAY)

    assert progress.consumed == len(placed) + len(placed_late)
    assert (progress.rejected, progress.late, progress.duplicates) == (len(bad), len(late), len(twice))
    assert progress.consumed == progress.applied + progress.duplicates + progress.rejected + progress.late
    assert_same_rows(bench.feature_frame(), feature_frame(loop_rows(events, orders, now_ms + DAY)))

    dead_letters = {}
    for message in bench.messages("dead-letter"):
        headers = dict(message.headers())
        assert list(headers) == ["error", "topic", "partition", "offset"]
        at = (headers["topic"].decode(), int(headers["partition"]), int(headers["offset"]))
        assert at not in dead_letters
        dead_letters[at] = (message.key(), message.value(), headers["error"].decode())
    by_position = {**placed, **placed_late}
    expected = {(f"{bench.run}.{m.topic}", m.key, m.value): m for m in bad}
    assert len(dead_letters) == len(bad) + len(late)
    for at, (key, value, error) in dead_letters.items():
        assert by_position[at] == (key, value), "the bytes that came"
        if at in placed_late:
            assert error.startswith("too late")
            continue
        kind = expected.pop((at[0], key, value))
        assert len(error) > 10
        assert kind.field in error, f"{kind.name}: {error!r} does not say what is wrong"
    assert not expected, [m.name for m in expected.values()]
