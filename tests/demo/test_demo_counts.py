"""The sums of the summary, the demo's memory, and what it decides about a run that is there already."""

from __future__ import annotations

import pytest

from consumers.audit import AuditResult, TopicCount
from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS
from producers.shop.shop import Shop
from shopstream.demo.demo import Demo
from shopstream.demo.queries import DocumentCounts, Scores
from shopstream.demo.summary import Audit, Line, lines
from shopstream.jobs.demo_memory import DemoState, memory_file, read, write
from shopstream.settings import Settings

SHOP = Shop(end_ms=20_000 * DAY_MS, seed=7, customers=10, events=100, days=30)


def an_audit(**changes):
    indices = {"events": 100, "customers": 9, "sessions": 20, "orders": 5, "order-items": 8} | changes.pop(
        "indices", {}
    )
    topics = {
        "events": TopicCount(messages=103, letters=2, distinct=100),
        "orders": TopicCount(messages=6, letters=0, distinct=5),
        "customers": TopicCount(messages=10, letters=0, distinct=10),
    } | changes.pop("topics", {})
    seen = {"customers": 9, "profiles_unseen": 1, "sessions": 20, "feature_rows": 9}
    counts = {"with_profile": 9, "order_lines": 8}
    seen |= {name: value for name, value in changes.items() if name in seen}
    counts |= {name: value for name, value in changes.items() if name in counts}
    scores = changes.get("scored")
    found = None if scores is None else Scores(scores, [], [], 0)
    return Audit(AuditResult(topics, **seen), DocumentCounts(indices, **counts), [], [], [], found)


SENT = DemoState(SHOP, "replayed", {"events": 103, "orders": 6, "customers": 10})


def wrong(audit, memory=SENT):
    return [line.what for line in lines(audit, memory) if not line.holds]


def test_sums_that_hold():
    assert wrong(an_audit()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"indices": {"events": 99}}, ["events"]),
        ({"indices": {"events": 101}}, ["events"]),
        ({"topics": {"events": TopicCount(103, 2, 101)}}, ["events"]),
        ({"indices": {"orders": 6}}, ["orders"]),
        ({"indices": {"customers": 10}}, ["customers"]),
        ({"with_profile": 10}, ["profiles"]),
        ({"feature_rows": 8}, ["rows in Kafka"]),
        ({"sessions": 21}, ["sessions"]),
        ({"scored": 8}, ["scored"]),
        ({"scored": 9}, []),
        ({"order_lines": 9}, ["order lines"]),
    ],
)
def test_one_count_that_differs_is_named(changes, expected):
    assert wrong(an_audit(**changes)) == expected


def test_what_was_sent_must_be_in_kafka():
    assert wrong(an_audit(), SENT.with_sent({"events": 1}, live_open=False)) == ["events"]


def test_after_a_live_shop_that_was_cut_off_the_number_sent_is_not_known():
    assert wrong(an_audit(), SENT.with_sent({"events": 1}, live_open=True)) == []
    assert [line.sent for line in lines(an_audit(), SENT.with_sent({}, live_open=True))[:3]] == [None, None, None]


def test_dead_letters_and_repeats_count():
    assert Line("events", 10, 10, letters=3, repeated=2, elsewhere=0, elastic=5).holds
    assert not Line("events", 10, 10, letters=3, repeated=2, elsewhere=0, elastic=6).holds


def test_what_was_compacted_away_may_have_been_a_tombstone():
    topics = {"customers": TopicCount(messages=11, letters=0, distinct=9, compacted=2)}
    assert wrong(an_audit(topics=topics, with_profile=8)) == []
    assert wrong(an_audit(topics=topics, with_profile=9)) == ["profiles"]
    lost = {"customers": TopicCount(messages=9, letters=0, distinct=9, compacted=0)}
    assert wrong(an_audit(topics=lost, with_profile=8)) == ["profiles"]


# --- memory ---


def test_the_memory_is_kept_by_run(tmp_path):
    one, other = Settings(home=tmp_path, run="one"), Settings(home=tmp_path, run="other")
    write(one, SENT)
    assert read(one) == SENT
    assert read(other) is None


def test_a_damaged_memory_is_told(tmp_path):
    settings = Settings(home=tmp_path, run="one")
    write(settings, SENT)
    memory_file(settings).write_text("{")
    with pytest.raises(ShopstreamError, match="damaged"):
        read(settings)


# --- the shop ---


def test_history_ends_at_a_midnight_14_days_ago():
    shop = Demo(customers=10, events=100, days=30).shop(20_014 * DAY_MS + 12_345)
    assert shop.end_ms == 20_000 * DAY_MS
    assert shop == SHOP


def test_the_shop_of_another_day_is_the_same_demo():
    demo = Demo(customers=10, events=100, days=30)
    assert demo.is_of(demo.shop(20_900 * DAY_MS))
    assert not Demo(customers=10, events=100, days=31).is_of(SHOP)


def test_an_impossible_shop_is_a_usage_error():
    with pytest.raises(UsageError):
        Demo(customers=0).shop(20_000 * DAY_MS)
