"""A replay as a whole, without Kafka: what is sent, what is told, how it goes on."""

import json

import pytest
from archives import DAY, NOON, event, order, write

from producers.archive.event_order import ArchiveRange
from producers.dirt import MessageDirt
from producers.replay import ReplayOptions, failure, replay


@pytest.fixture
def archive(tmp_path):
    return write(
        tmp_path / "a",
        events=[event(n, NOON + n * 1_000) for n in range(50)],
        orders=[order(n, NOON + n * 5_000) for n in range(10)],
        customers=[{"customer_id": f"c{n}"} for n in range(7)],
    )


def run(options, publisher, fake_clock, interrupted=lambda: False):
    seen = []
    report = replay(options, publisher.open, fake_clock.clock(), interrupted, seen.append)
    return report, seen


def names(publisher):
    records = [json.loads(value) for value in publisher.values]
    return [record.get("event_id") or record.get("order_id") or record["customer_id"] for record in records]


def test_profiles_are_sent_first_and_all_messages_are_counted(archive, publisher, fake_clock):
    options = ReplayOptions(ArchiveRange(archive))
    report, seen = run(options, publisher, fake_clock)
    assert report.delivery.sent == report.delivery.delivered == {"customers": 7, "events": 50, "orders": 10}
    assert names(publisher)[:9] == [*(f"c{n}" for n in range(7)), "e0", "o0"]
    assert options.size() == 67 == seen[-1].sent
    assert report.complete
    assert report.resume_ms is None
    assert failure(report) is None


def test_only_requested_topics_are_sent(archive, publisher, fake_clock):
    report, _ = run(ReplayOptions(ArchiveRange(archive, topics=("orders",)), customers=False), publisher, fake_clock)
    assert report.delivery.sent == {"orders": 10}


def test_replay_speed_paces_the_messages(archive, publisher, fake_clock):
    report, _ = run(ReplayOptions(ArchiveRange(archive), speed=10.0), publisher, fake_clock)
    assert report.seconds == pytest.approx(4.9, abs=0.1)


@pytest.mark.parametrize("stop_after", [7, 8, 20, 66])
def test_interrupted_replay_resumes_where_it_stopped(archive, new_publisher, fake_clock, stop_after):
    first = new_publisher(fake_clock, take=stop_after)
    report, _ = run(ReplayOptions(ArchiveRange(archive)), first, fake_clock, lambda: first.sent_total >= stop_after)
    assert not report.complete
    second = new_publisher(fake_clock)
    again, _ = run(ReplayOptions(ArchiveRange(archive, start_ms=report.resume_ms)), second, fake_clock)
    assert again.complete
    assert {*names(first), *names(second)} == {
        *names(first)[:7],
        *(f"e{n}" for n in range(50)),
        *(f"o{n}" for n in range(10)),
    }
    assert len(names(second)) < 7 + 60 - (stop_after - 7) + 2


def test_replay_stopped_among_the_profiles_restarts(archive, new_publisher, fake_clock):
    first = new_publisher(fake_clock, take=3)
    report, _ = run(ReplayOptions(ArchiveRange(archive)), first, fake_clock)
    assert not report.complete
    assert report.resume_ms is None


def test_failed_messages_are_reported_and_within_the_resume_range(archive, new_publisher, fake_clock):
    publisher = new_publisher(fake_clock, fail=[30, 40])
    report, _ = run(ReplayOptions(ArchiveRange(archive)), publisher, fake_clock)
    assert not report.complete
    failed = [json.loads(publisher.values[at]) for at in (30, 40)]
    assert report.resume_ms == min(record.get("updated_ts") or record["ts"] for record in failed)
    assert sum(report.delivery.delivered.values()) == 65
    error = failure(report)
    assert "2 of 67" in error.message
    assert "no reason" in error.message


def test_failed_profiles_resume_at_the_start_of_the_span(archive, new_publisher, fake_clock):
    report, _ = run(
        ReplayOptions(ArchiveRange(archive, start_ms=NOON - DAY)), new_publisher(fake_clock, fail=[2]), fake_clock
    )
    assert report.resume_ms == NOON - DAY


def test_replay_with_dirt_sends_every_record(archive, publisher, fake_clock):
    report, _ = run(ReplayOptions(ArchiveRange(archive), dirt=MessageDirt(1.0, 5)), publisher, fake_clock)
    whole = {f"e{n}".encode() for n in range(50)} | {f"o{n}".encode() for n in range(10)}
    assert all(any(b'"' + name + b'"' in value for value in publisher.values) for name in whole)
    assert report.planted
