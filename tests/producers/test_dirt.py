"""Dirt: what is planted is refused by the decoder, to the last message; what is delayed still counts."""

from collections import Counter

import msgspec
import numpy as np
import polars as pl
import pytest
from archives import NOON, event, order, table

from features.records.decode import decode
from features.schema import EVENT_LATENESS_MS, SOURCE_TOPICS
from producers.dirt import DELAY_MS_MAX, SPOILERS, TOO_LATE, WRONG_KEY, MessageDirt
from producers.messages import encode, join

APPENDED = NOON + 400 * 86_400_000


def clean(rows=4_000, step_ms=60_000):
    events = [event(n, NOON + n * step_ms, price=2.5, product_id="p") for n in range(rows)]
    orders = [order(n, NOON + n * step_ms * 4) for n in range(rows // 4)]
    parts = [
        encode(topic, pl.from_arrow(table(topic, records)), np.array([r.get("updated_ts", r["ts"]) for r in records]))
        for topic, records in (("events", events), ("orders", orders))
    ]
    messages = join(parts)
    return messages.reordered(np.argsort(messages.times, kind="stable"))


def chunks(messages, size=700):
    for start in range(0, len(messages), size):
        yield messages.reordered(np.arange(start, min(start + size, len(messages))))


def spoilt(fraction=0.2, seed=1, **kind):
    dirt = MessageDirt(fraction, seed)
    return dirt, join(list(dirt.spoil(chunks(clean(**kind)))))


def planted(dirt):
    return {kind: number for kind, number in dirt.planted.items() if not kind.endswith("(counts)")}


def test_decoder_rejects_exactly_the_planted_messages():
    dirt, messages = spoilt()
    refused = 0
    for number, topic in enumerate(SOURCE_TOPICS[:2]):
        rows = np.flatnonzero(messages.topics == number).tolist()
        values, keys = [messages.values[r] for r in rows], [messages.keys[r] for r in rows]
        refused += len(decode(topic, values, keys, [APPENDED] * len(rows)).rejected)
    kinds = planted(dirt)
    assert refused == sum(kinds.values()) - kinds[TOO_LATE]
    assert set(kinds) == {*SPOILERS, WRONG_KEY, TOO_LATE}


def test_late_messages_are_older_than_the_horizon_and_delayed_ones_are_not():
    dirt, messages = spoilt(step_ms=600_000)
    rows = np.flatnonzero(messages.topics == 0).tolist()
    values, keys = [messages.values[r] for r in rows], [messages.keys[r] for r in rows]
    highest, too_late, late = 0, 0, 0
    for record in decode("events", values, keys, [APPENDED] * len(rows)).records:
        too_late += record.ts < highest - EVENT_LATENESS_MS
        late += highest - EVENT_LATENESS_MS <= record.ts < highest
        assert not highest - EVENT_LATENESS_MS <= record.ts < highest - DELAY_MS_MAX
        highest = max(highest, record.ts)
    assert too_late == planted(dirt)[TOO_LATE]
    assert late > 100


def test_every_record_is_sent_once_plus_the_planted_messages():
    dirt, messages = spoilt()
    before, after = Counter(clean().values), Counter(messages.values)
    assert not before - after
    assert len(messages) == len(clean()) + sum(planted(dirt).values())
    assert np.all(np.diff(messages.times) >= 0)


def test_gap_in_the_records_makes_no_record_late():
    messages = clean(rows=100)
    gap = join(
        [messages, encode("events", pl.from_arrow(table("events", [event(0, NOON + 9**10)])), np.array([NOON + 9**10]))]
    )
    out = join(list(MessageDirt(1.0, 2).spoil(chunks(gap, 90))))
    last = out.values.index(gap.values[-1]) if gap.values[-1] in out.values else len(out)
    assert last >= len(messages)


@pytest.mark.parametrize("kind", SPOILERS)
@pytest.mark.parametrize("topic", ["events", "orders"])
def test_each_kind_of_dirt_is_rejected_on_each_topic(kind, topic):
    record = event(1, NOON) if topic == "events" else order(1, NOON)
    value = msgspec.json.encode(record)
    spoilt_value = SPOILERS[kind](value, record)
    assert decode(topic, [value], [b"c1"], [APPENDED]).rejected == []
    assert len(decode(topic, [spoilt_value], [b"c1"], [APPENDED]).rejected) == 1


def test_dirt_never_makes_an_invalid_record_valid():
    invalid = encode("events", pl.from_arrow(table("events", [event(n, -1) for n in range(50)])), np.arange(50))
    dirt = MessageDirt(1.0, 3)
    out = join(list(dirt.spoil(iter([invalid]))))
    assert planted(dirt) == {}
    assert Counter(out.values) == Counter(invalid.values)


def test_dirt_is_determined_by_its_seed():
    assert spoilt(seed=4)[1].values == spoilt(seed=4)[1].values
    assert spoilt(seed=4)[1].values != spoilt(seed=5)[1].values
