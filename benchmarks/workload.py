"""Creates the measured topics: the synthetic shop's history, sent like real arrivals.

One record in five is up to five minutes late, one event in a hundred is sent twice, one in a thousand is invalid. The
archive contains every record once, so the expected rows are those of `shopstream features`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from connectors.kafka.client import consumer_config, ensure_topics, open_consumer
from connectors.kafka.offsets import end_offsets
from features.errors import ShopstreamError
from features.schema import DAY_MS, SOURCE_TOPICS, topic_name
from producers.archive import event_order
from producers.archive.archive import read_customers
from producers.archive.event_order import ArchiveRange
from producers.dirt import SPOILERS
from producers.messages import Messages, join
from producers.publisher import Publisher
from producers.shop.generate import generate
from producers.shop.shop import Shop

PARTITIONS: Final = 4
END_MS: Final = 20_200 * DAY_MS
"""A midnight in the past: no record is ahead of its append time."""
EVENTS_A_DAY: Final = 200 / 365
"""Events of a customer per day, as in the demo; defines the days of a number of events."""
LATE_SHARE: Final = 0.2
LATE_MS_MAX: Final = 300_000
REPEATED_SHARE: Final = 0.01
SPOILED_SHARE: Final = 0.001
EVENTS: Final = SOURCE_TOPICS.index("events")
Ends = list[tuple[str, int, int]]
"""Full topic name, partition, offset."""


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a shop."""

    customers: int
    events: int

    @property
    def days(self) -> int:
        """Days that the demo's customers need for so many events, at least 2."""
        return max(2, min(3_660, round(self.events / self.customers / EVENTS_A_DAY)))


@dataclass(frozen=True, slots=True)
class Sent:
    """Records sent to a run's topics.

    Attributes:
        events: messages on the topic of events; `repeated` of them are duplicates and `spoiled` are invalid.
        orders: messages on the topic of orders.
        event_bytes: mean size of the value of an event.
        high_ms: highest time of a record.
        ends: end offsets of the topics.
    """

    events: int
    repeated: int
    spoiled: int
    orders: int
    event_bytes: float
    high_ms: int
    ends: Ends


def make_archive(size: Size, directory: Path) -> None:
    """Generate the shop's archive."""
    shop = Shop(end_ms=END_MS, customers=size.customers, events=size.events, days=size.days)
    generate(shop, directory)


def send(properties: Mapping[str, str], run: str, span: ArchiveRange, *, profiles: bool = True) -> Sent:
    """Send a part of an archive to the topics of a run; missing topics are created.

    Raises:
        ShopstreamError: a message was not acknowledged.
    """
    ensure_topics(properties, run, PARTITIONS, replicas=1)
    publisher = Publisher(properties, run)
    counts = np.zeros(len(SOURCE_TOPICS), np.int64)
    arrivals = Arrivals(np.random.default_rng(1))
    size = high_ms = 0

    def publish(messages: Messages) -> None:
        publisher.send(messages, 0, len(messages), lambda: False)

    if profiles and (table := read_customers(span.directory)) is not None:
        for messages in event_order.profiles(table):
            publish(messages)
    for messages in arrivals.spread(event_order.in_time_order(span)):
        publish(messages)
        counts += np.bincount(messages.topics, minlength=len(SOURCE_TOPICS))
        size += sum(
            len(value or b"") for value, topic in zip(messages.values, messages.topics.tolist(), strict=True)
            if topic == EVENTS
        )  # fmt: skip
    delivery = publisher.finish()
    if delivery.failed_total:
        raise ShopstreamError(f"{delivery.failed_total:,} messages failed: {'; '.join(delivery.reasons)}.")
    high_ms = arrivals.high_ms
    events, orders = int(counts[EVENTS]), int(counts[SOURCE_TOPICS.index("orders")])
    ends = ends_of(properties, run)
    return Sent(events, arrivals.repeated, arrivals.spoiled, orders, size / max(events, 1), high_ms, ends)


def ends_of(properties: Mapping[str, str], run: str) -> Ends:
    """Return the current end offsets of a run's topics."""
    consumer = open_consumer(consumer_config(properties, f"{run}-ends"))
    try:
        offsets = end_offsets(consumer, [topic_name(run, topic) for topic in SOURCE_TOPICS])
    finally:
        consumer.close()
    return [(topic, partition, offset) for (topic, partition), offset in offsets.items()]


class Arrivals:
    """Puts messages into the order of arrival and adds duplicates and invalid messages."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self.repeated = self.spoiled = self.high_ms = 0

    def spread(self, chunks: Iterator[Messages]) -> Iterator[Messages]:
        """Yield the messages of chunks, which ascend in time, in the order of arrival."""
        held: list[Messages] = []
        for messages in chunks:
            if not len(messages):
                continue
            now_ms = int(messages.times[-1])
            self.high_ms = max(self.high_ms, now_ms)
            waiting = join([*held, self._late(messages), *self._added(messages)])
            order = np.argsort(waiting.times, kind="stable")
            due = int(np.searchsorted(waiting.times[order], now_ms, side="right"))
            yield waiting.reordered(order[:due])
            held = [waiting.reordered(order[due:])]
        if held:
            yield from held

    def _late(self, messages: Messages) -> Messages:
        late = self._random.random(len(messages)) < LATE_SHARE
        delay = np.where(late, self._random.integers(0, LATE_MS_MAX, len(messages)), 0)
        return Messages(messages.times + delay, messages.topics, messages.keys, messages.values)

    def _added(self, messages: Messages) -> Iterator[Messages]:
        chance = self._random.random(len(messages))
        events = messages.topics == EVENTS
        spoiled = np.flatnonzero(events & (chance < SPOILED_SHARE))
        repeated = np.flatnonzero(events & (chance >= SPOILED_SHARE) & (chance < SPOILED_SHARE + REPEATED_SHARE))
        self.spoiled += len(spoiled)
        self.repeated += len(repeated)
        again = messages.reordered(repeated)
        yield Messages(again.times + LATE_MS_MAX, again.topics, again.keys, again.values)
        wrong = messages.reordered(spoiled)
        values = [spoil(value or b"") for value in wrong.values]
        yield Messages(wrong.times, wrong.topics, wrong.keys, values)


def spoil(value: bytes) -> bytes:
    """Return valid JSON that is not a valid event."""
    return SPOILERS["unknown word"](value, msgspec.json.decode(value))
