"""The corpus through a partition of the stream: what is no record is a letter with its bytes, and the others count."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from fuzz.corpus import DAY, NOW, TOPICS, Sent, messages
from fuzz.judge import Refused, Removed, Unsure, judge
from oracle.loops import loop_rows
from oracle.rows import assert_same_rows, feature_frame
from oracle.wire import split_late

from connectors.kafka.source import Batch
from connectors.kafka.source import Partition as Where
from consumers.state.partition import PartitionState
from features.definitions import evaluate

MESSAGES = 1_500
HALF_DAY = DAY // 2
IDS = {"events": "event_id", "orders": "order_id", "customers": "customer_id"}


def fed(topic: str, seed: int) -> tuple[list[Sent], list[dict | None]]:
    """Messages and beside each the record that it is, without those that break what a shop promises of its ids."""
    sent, rows, seen = [], [], set()
    for one in islice(messages(topic, seed), MESSAGES):
        verdict = judge(topic, one.value, one.key, one.append_ms)
        if isinstance(verdict, Unsure):
            continue
        row = None
        if not isinstance(verdict, Refused | Removed):
            # ids are unique, and a session lasts no longer than a day
            if topic == "events" and abs(verdict["ts"] - NOW) > HALF_DAY:
                continue
            if topic != "customers" and verdict[IDS[topic]] in seen:
                continue
            seen.add(verdict[IDS[topic]])
            row = verdict
        sent.append(one)
        rows.append(row if row is not None else (None if isinstance(verdict, Refused) else {}))
    return sent, rows


@pytest.mark.parametrize("seed", range(3))
def test_invalid_messages_change_nothing_and_their_neighbours_are_applied(seed):
    rng = np.random.default_rng(seed)
    partition = PartitionState(0)
    dead_letters, counting = [], {}
    for topic in TOPICS:
        sent, rows = fed(topic, seed)
        start = 0
        while start < len(sent):
            stop = start + int(rng.choice((1, 2, 50, 700)))
            part = sent[start:stop]
            offsets = range(start, start + len(part))
            partition.receive(
                Batch(
                    Where(topic, 0),
                    offsets,
                    [s.value for s in part],
                    [s.key for s in part],
                    [s.append_ms for s in part],
                )
            )
            start = stop
        dead_letters += [
            (topic, n, s.key, s.value) for n, (s, row) in enumerate(zip(sent, rows, strict=True)) if row is None
        ]
        good = [row for row in rows if row]
        late: list[dict] = []
        if topic != "customers":
            good, late = split_late(topic, good)
        is_late = {id(row) for row in late}
        dead_letters += [
            (topic, n, s.key, s.value) for n, (s, row) in enumerate(zip(sent, rows, strict=True)) if id(row) in is_late
        ]
        counting[topic] = good
        partition.reached_end(topic)
    partition.advance()

    counts = partition.counts
    assert counts.consumed == counts.valid + counts.rejected + counts.late
    assert sorted(((x.topic, x.offset, x.key, x.value) for x in partition.rejected), key=repr) == sorted(
        dead_letters, key=repr
    )
    assert all(dead_letter.error for dead_letter in partition.rejected)
    assert partition.dry
    as_of = NOW + 3 * DAY
    everyone = np.arange(partition.state.customer_count, dtype=np.int32)
    got = evaluate(partition.state, everyone, as_of)
    expected = feature_frame(loop_rows(counting["events"], counting["orders"], as_of))
    assert expected.height > 8
    assert_same_rows(got.select(expected.columns), expected)
