"""A stream that goes on while something breaks: an archive's messages at a pace, then the rest without a pause."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from connectors.kafka import client as kafka
from features.schema import SOURCE_TOPICS
from producers.archive import event_order
from producers.archive.archive import read_customers
from producers.shop.generate import generate
from producers.shop.shop import Shop

Sent = tuple[str, bytes | None, bytes | None]
"""Topic without the run's name, key, value."""
PORTION_S = 0.1
STAGES = (0.4, 0.7, 1.0)
"""Shares of the messages at which it waits for `go_on`, so that every partition is sent something after it."""


def history(shop: Shop, directory: Path) -> list[Sent]:
    """A shop's history as a replay sends it: profiles, then events and orders in the order of their times."""
    generate(shop, directory)
    chunks = itertools.chain(
        event_order.profiles(read_customers(directory)), event_order.in_time_order(event_order.ArchiveRange(directory))
    )
    return [
        (SOURCE_TOPICS[topic], key, value)
        for chunk in chunks
        for topic, key, value in zip(chunk.topics.tolist(), chunk.keys, chunk.values, strict=True)
    ]


class Feeder:
    """Sends messages in a thread of its own.

    Args:
        properties: of the cluster.
        run: the run's name.
        messages: all there are.
        records_per_s: until `hurry`.
    """

    def __init__(self, properties: Mapping[str, Any], run: str, messages: Sequence[Sent], records_per_s: float) -> None:
        self._producer = kafka.open_producer(kafka.producer_config(properties))
        self._run, self._messages, self._per_s = run, messages, records_per_s
        self._hurry = threading.Event()
        self._stage = 0
        self._failed: list[str] = []
        self.sent = 0
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def send_share(self, share: float, topics: Sequence[str] = SOURCE_TOPICS) -> None:
        """Sends up to this share of the messages, without a pace; returns when they are acknowledged."""
        stop = int(len(self._messages) * share)
        for topic, key, value in self._messages[self.sent : stop]:
            if topic in topics:
                self._send(f"{self._run}.{topic}", key, value)
        self.sent = stop
        assert self._producer.flush(60) == 0

    def go_on(self) -> int:
        """Lets it pass the next of the stages; returns the time of the record sent last, epoch ms."""
        at_ts = self._sent_ts()
        self._stage += 1
        return at_ts

    def hurry(self) -> None:
        """The rest goes as fast as it can; returns when all is acknowledged."""
        self._hurry.set()
        if self._thread.ident is None:
            self._thread.start()
        self._thread.join(400)
        assert not self._thread.is_alive()
        assert self._producer.flush(60) == 0
        assert not self._failed, self._failed[0]

    def _sent_ts(self) -> int:
        record = msgspec.json.decode(self._messages[self.sent - 1][2] or b"{}")
        return int(record.get("updated_ts") or record.get("ts") or 0)

    @property
    def last(self) -> bytes | None:
        """Value of the message sent last."""
        return self._messages[self.sent - 1][2] if self.sent else None

    def _feed(self) -> None:
        while self.sent < len(self._messages):
            if self._hurry.is_set():
                target = len(self._messages)
            else:
                until = int(len(self._messages) * STAGES[min(self._stage, len(STAGES) - 1)])
                target = min(until, self.sent + int(PORTION_S * self._per_s))
            for topic, key, value in self._messages[self.sent : target]:
                self._send(f"{self._run}.{topic}", key, value)
                self.sent += 1
            self._producer.poll(0)
            self._hurry.wait(PORTION_S)

    def _send(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._failed.append(str(error))
