"""The only clock, and the only source of names, of a simulated world."""

from __future__ import annotations

import uuid as real_uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np

MONOTONIC_START_S = 1e9
"""Ahead of the machine's own, which default values made at import still read."""

BUFFER_MAX = 120
"""Messages that wait before a topic is held back."""
BUFFER_BYTES_MAX = 300 * BUFFER_MAX
"""And their bytes: events meet the bound of messages first, orders this one."""


class Clock:
    """Stands for the module `time` and for the wall clock. It moves only when it is told to."""

    def __init__(self, wall_ms: int) -> None:
        self.now_s = MONOTONIC_START_S
        self.wall_ms = wall_ms

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.pass_s(seconds)

    def wall_clock_ms(self) -> int:
        return self.wall_ms

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.wall_ms += int(seconds * 1_000)


class Names:
    """Stands for the module `uuid`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def uuid4(self) -> real_uuid.UUID:
        return real_uuid.UUID(bytes=self._rng.bytes(16), version=4)


@contextmanager
def installed(clock: Clock, rng: np.random.Generator) -> Iterator[None]:
    """The code under test reads this clock, makes every checkpoint it may, and meets its bounds early."""
    names = Names(rng)
    replaced = {
        "consumers.features.consumer.time": clock,
        "consumers.features.consumer.wall_clock_ms": clock.wall_clock_ms,
        "consumers.features.consumer.BUFFER_RECORDS_MAX": BUFFER_MAX,
        "consumers.features.consumer.BUFFER_BYTES_MAX": BUFFER_BYTES_MAX,
        "consumers.features.consumer.TURN_MAX": BUFFER_MAX,
        "consumers.features.consumer.TURN_BYTES_MAX": BUFFER_BYTES_MAX,
        "consumers.checkpoints.coordinator.time": clock,
        "consumers.checkpoints.coordinator.wall_clock_ms": clock.wall_clock_ms,
        "consumers.checkpoints.coordinator.SHARE_MAX": 1.0,
        "connectors.elasticsearch.bulk.time": clock,
        "consumers.index.consumer.time": clock,
        "consumers.archive.consumer.time": clock,
        "consumers.mapping.consumer.time": clock,
        "connectors.kafka.record_writer.time": clock,
        "consumers.archive.consumer.wall_clock_ms": clock.wall_clock_ms,
        "consumers.features.transactional_topic.time": clock,
        "connectors.kafka.offsets.time": clock,
        "consumers.archive.staging.uuid": names,
        "consumers.checkpoints.store.uuid": names,
        "connectors.files.uuid": names,
        "consumers.checkpoints.store.BLOCKS_MAX": 6,
        "features.state.state.SCAN_ROWS_MIN": 0,
    }
    patches = [patch(name, value) for name, value in replaced.items()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()
