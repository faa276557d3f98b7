"""Pacing under a clock that only sleeping moves."""

import numpy as np
import pytest

from producers.messages import Messages
from producers.pacing import NAP_S, STEP_S, Pace, Transmitter, nap_s, one_ahead

START = 1_700_000_000_000


def chunk(*offsets_ms):
    times = np.array([START + offset for offset in offsets_ms], np.int64)
    names = [str(int(t - START)).encode() for t in times]
    return Messages(times, np.zeros(len(times), np.uint8), names, names)


@pytest.fixture
def transmitter(publisher, fake_clock):
    return Transmitter(publisher, fake_clock.clock(), lambda: False, lambda _: None)


def moments(publisher):
    """Message -> seconds after the start at which it was sent."""
    return {int(value): now - 100.0 for now, _, _, value in publisher.sent}


@pytest.mark.parametrize("speed", [0.5, 1.0, 60.0])
def test_a_message_is_sent_when_it_is_due_and_not_before(transmitter, publisher, speed):
    assert transmitter.paced(iter([chunk(0, 500), chunk(1_000, 90_000)]), speed) is None
    for offset_ms, sent_s in moments(publisher).items():
        assert offset_ms / 1_000 / speed <= sent_s + 1e-6 <= offset_ms / 1_000 / speed + STEP_S + 0.002


def test_full_speed_never_sleeps(transmitter, publisher, fake_clock):
    assert transmitter.at_full_speed(iter([chunk(0, 5_000_000), chunk(9_000_000)])) is None
    assert fake_clock.sleeps == []
    assert publisher.sent_total == 3


def test_sleeps_are_short_enough_to_notice_a_stop(transmitter, fake_clock):
    transmitter.paced(iter([chunk(0, 60_000)]), 1.0)
    assert max(fake_clock.sleeps) <= NAP_S
    assert nap_s(0.0) == STEP_S


def test_paced_stream_never_passes_the_wall_clock(publisher, fake_clock):
    fake_clock.wall_start_ms = START + 10_000
    transmitter = Transmitter(publisher, fake_clock.clock(), lambda: False, lambda _: None)
    transmitter.paced(iter([chunk(0, 10_000, 12_000, 20_000)]), 100.0, up_to_wall=True)
    sent = moments(publisher)
    assert sent[10_000] == pytest.approx(0.1, abs=0.05)  # still catching up
    assert sent[12_000] == pytest.approx(2.0, abs=0.05)  # at the wall clock the speed is 1
    assert sent[20_000] == pytest.approx(10.0, abs=0.05)


def test_origin_delays_the_first_message(transmitter, publisher):
    transmitter.paced(iter([chunk(2_000)]), 1.0, origin_ms=START)
    assert moments(publisher)[2_000] == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("paced", [True, False])
def test_stop_returns_the_time_of_the_first_unsent_message(new_publisher, fake_clock, paced):
    publisher = new_publisher(fake_clock, take=3)
    transmitter = Transmitter(publisher, fake_clock.clock(), lambda: publisher.sent_total >= 3, lambda _: None)
    chunks = iter([chunk(0, 10), chunk(20, 30, 40), chunk(50)])
    unsent = transmitter.paced(chunks, 1.0) if paced else transmitter.at_full_speed(chunks)
    assert unsent == START + 30


def test_due_time_and_wait_agree():
    pace = Pace(START, 5.0, 3_600.0)
    for event_ms in (START, START + 1, START + 3_600_000, START + 123_456_789):
        at = 5.0 + pace.wait_s(event_ms, 5.0)
        assert pace.due_ms(at + 1e-6) >= event_ms
        assert event_ms == START or pace.due_ms(at - 0.01) < event_ms


def test_one_ahead_yields_all_items_in_order_and_raises_errors():
    def broken():
        yield chunk(1)
        yield chunk(2)
        raise OSError("disk")

    chunks = one_ahead(broken())
    assert [next(chunks).values[0], next(chunks).values[0]] == [b"1", b"2"]
    with pytest.raises(OSError, match="disk"):
        next(chunks)
