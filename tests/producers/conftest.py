"""Nothing here needs a server: a publisher that keeps what it is given, and a clock that only sleeps forward."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from producers.messages import Messages
from producers.pacing import Clock
from producers.publisher import Delivery


class FakePublisher:
    """Keeps what was sent with the clock's reading; stands in for producers.publisher.Publisher."""

    def __init__(self, clock=None, take=None, fail=()):
        self.sent = []
        self.clock = clock
        self.take = take
        self.fail = set(fail)
        self.hopeless = False
        self.on_failure = lambda topic, value: None

    def open(self, on_failure):
        self.on_failure = on_failure
        return self

    @property
    def sent_total(self):
        return len(self.sent)

    def send(self, messages: Messages, start, stop, interrupted):
        for at in range(start, stop):
            if self.take is not None and len(self.sent) >= self.take:
                return at
            now = None if self.clock is None else self.clock.now_s
            self.sent.append((now, int(messages.topics[at]), messages.keys[at], messages.values[at]))
        return stop

    def poll(self):
        pass

    def finish(self, timeout_s=None):
        topics = ("events", "orders", "customers")
        sent, failed = {}, {}
        for at, (_, topic, _, value) in enumerate(self.sent):
            sent[topics[topic]] = sent.get(topics[topic], 0) + 1
            if at in self.fail:
                failed[topics[topic]] = failed.get(topics[topic], 0) + 1
                self.on_failure(topics[topic], value)
        return Delivery(sent, failed, ("no reason (1)",) if failed else ())

    @property
    def values(self):
        return [value for _, _, _, value in self.sent]


class FakeClock:
    def __init__(self, wall_ms=0):
        self.now_s = 100.0
        self.wall_start_ms = wall_ms
        self.sleeps = []

    def sleep(self, seconds):
        assert seconds > 0
        self.sleeps.append(seconds)
        self.now_s += seconds

    def clock(self):
        return Clock(lambda: self.now_s, lambda: self.wall_start_ms + int((self.now_s - 100.0) * 1000), self.sleep)


@pytest.fixture
def fake_clock():
    return FakeClock()


@pytest.fixture
def publisher(fake_clock):
    return FakePublisher(fake_clock)


@pytest.fixture
def new_publisher():
    return FakePublisher
