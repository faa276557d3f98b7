"""The live shop as messages: time order, no gap on resuming, never ahead of the wall clock."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.schema import DAY_MS, SOURCE_TOPICS
from producers.live import RESUME_OVERLAP_MS, live, live_messages, resume_from
from producers.shop.shop import Shop, build

END = 20_000 * DAY_MS


@pytest.fixture(scope="module")
def model():
    return build(Shop(end_ms=END, customers=300, events=20_000, days=60))


def first(model, number, **options):
    out = []
    for messages in live_messages(model, **options):
        topics = [SOURCE_TOPICS[topic] for topic in messages.topics]
        out.extend(zip(messages.times.tolist(), topics, messages.keys, messages.values, strict=True))
        if len(out) >= number:
            return out[:number]
    raise AssertionError


def test_message_times_ascend_and_equal_those_of_the_records(model):
    found = first(model, 3_000, start_ms=END, rate=5.0)
    times = [time for time, _, _, _ in found]
    assert times == sorted(times)
    for time, topic, key, value in found:
        record = json.loads(value)
        assert record["customer_id"].encode() == key
        assert record[{"events": "ts", "orders": "updated_ts", "customers": "signup_ts"}[topic]] == time
    assert {topic for _, topic, _, _ in found} >= {"events", "orders"}


def test_later_start_gives_the_same_records_from_that_time(model):
    whole = first(model, 1_500, start_ms=END)
    middle = whole[700][0]
    later = first(model, 700, start_ms=middle)
    assert later == [message for message in whole if message[0] >= middle][:700]


def test_live_stream_never_passes_the_wall_clock_and_stops_on_request(model, publisher, fake_clock):
    fake_clock.wall_start_ms = END + 600_000
    until_s = fake_clock.now_s + 30
    report = live(
        model, publisher.open, fake_clock.clock(), lambda: fake_clock.now_s >= until_s, lambda _: None,
        start_ms=END, speed=60.0, rate=2.0,
    )  # fmt: skip
    assert report.delivery.sent == report.delivery.delivered
    assert report.resume_ms > END + 600_000
    for now_s, topic, _, value in publisher.sent:
        record = json.loads(value)
        time = record.get("updated_ts") or record.get("ts") or record["signup_ts"]
        assert time <= fake_clock.wall_start_ms + (now_s - 100.0) * 1_000
        assert topic in (0, 1, 2)
    counted = sum(json.loads(value).get("ts", 0) <= END + 600_000 for value in publisher.values)
    assert counted == pytest.approx(1_200, rel=0.3)


@given(st.none() | st.integers(END - DAY_MS, END + DAY_MS))
def test_live_stream_resumes_at_the_end_of_history_or_before_the_newest_event(newest):
    class Model:
        class shop:  # noqa: N801
            end_ms = END

    assert resume_from(Model, newest) == max(END, (newest or 0) - RESUME_OVERLAP_MS)


def test_message_times_are_int64(model):
    assert next(iter(live_messages(model, END))).times.dtype == np.int64
