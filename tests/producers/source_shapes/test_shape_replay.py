"""A replay in source shapes, without Kafka: what is sent, how it is counted, how it goes on."""

from zoneinfo import ZoneInfo

import pytest
from archives import DAY, NOON, event, order, write
from mapped_back import events_of, mapper_of, orders_of

from connectors.messages.mapped import Message
from producers.archive.event_order import ArchiveRange
from producers.replay import undelivered
from producers.source_shapes.replay import ShapeReplay, replay_shapes
from producers.source_shapes.shape import Faults

SHAPES = ("segment", "shopify")
UTC = ZoneInfo("UTC")
CLEAN = Faults()


@pytest.fixture
def archive(tmp_path):
    return write(
        tmp_path / "a",
        events=[event(n, NOON + n * 3_600_000) for n in range(60)],
        orders=[order(n, NOON + n * 7_200_000) for n in range(30)],
        customers=[{"customer_id": "c0", "name": "Ada L", "email": "ada@shop.example"}],
    )


def run(archive, publisher, fake_clock, *, faults=CLEAN, interrupted=lambda: False, **span):
    options = ShapeReplay(ArchiveRange(archive, **span), SHAPES, faults, UTC)
    return replay_shapes(options, publisher.open, fake_clock.clock(), interrupted, lambda _: None)


def mapped(publisher, number):
    values = [value for _, topic, _, value in publisher.sent if topic == number]
    return mapper_of(SHAPES[number]).map([Message(value, f"t-0-{n}") for n, value in enumerate(values)])


def test_records_go_to_the_topic_of_their_shape(archive, publisher, fake_clock):
    report = run(archive, publisher, fake_clock)
    assert report.complete
    assert report.refused == 0
    assert len(publisher.sent) == 90
    assert {one.event_id for one in events_of(mapped(publisher, 0))} == {f"e{n}" for n in range(60)}
    assert len(orders_of(mapped(publisher, 1))) == 30


def test_stopped_replay_goes_on_without_a_loss(archive, new_publisher, fake_clock):
    faults = Faults(dirt=0.3, seed=2)
    first = new_publisher(fake_clock, take=70)
    report = run(archive, first, fake_clock, faults=faults, interrupted=lambda: first.sent_total >= 70)
    assert not report.complete
    assert report.resume_ms is not None
    assert report.resume_ms % DAY == 0
    second = new_publisher(fake_clock)
    assert run(archive, second, fake_clock, faults=faults, start_ms=report.resume_ms).complete
    both = events_of(mapped(first, 0)) + events_of(mapped(second, 0))
    assert {one.event_id for one in both} == {f"e{n}" for n in range(60)}
    assert len({one.event_id: one.ts for one in both}) == len({(one.event_id, one.ts) for one in both})
    assert set(orders_of(mapped(first, 1))) | set(orders_of(mapped(second, 1))) == set(
        orders_of(mapped(whole(archive, new_publisher, fake_clock), 1))
    )


def whole(archive, new_publisher, fake_clock):
    publisher = new_publisher(fake_clock)
    run(archive, publisher, fake_clock)
    return publisher


def test_messages_that_were_not_acknowledged_fail_the_replay(archive, new_publisher, fake_clock):
    report = run(archive, new_publisher(fake_clock, fail=[3]), fake_clock)
    assert not report.complete
    assert report.resume_ms is None
    assert "1 of 90 messages" in str(undelivered(report.delivery))


def test_records_that_a_shape_cannot_say_are_counted(tmp_path, publisher, fake_clock):
    archive = write(tmp_path / "a", orders=[order(1, NOON, status="void"), order(2, NOON, order_id="null")])
    report = run(archive, publisher, fake_clock)
    assert publisher.sent == []
    assert report.refused == 2


def test_names_and_addresses_of_profiles_are_in_the_messages(archive, publisher, fake_clock):
    run(archive, publisher, fake_clock)
    assert any(b'"email":"ada@shop.example","first_name":"Ada"' in value for value in publisher.values)
