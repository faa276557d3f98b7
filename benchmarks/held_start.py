"""Holds a consumer of the project back until the runner starts the measurement."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.client import Client
from connectors.kafka.source import Source


class HeldStart:
    """Start of a measurement: paused, then assigned and ready, then resumed, then started by the first record.

    Args:
        client: connection to the runner.
        source: source of the consumer; it is paused.
        partitions: number of partitions that the worker waits for.
    """

    def __init__(self, client: Client, source: Source, partitions: int) -> None:
        self._client, self._source, self._partitions = client, source, partitions
        self._is_ready = self._is_released = False
        self.is_started = False
        source.pause()

    def check(self, owned: int, has_read: Callable[[], bool]) -> bool:
        """Enter the next phase if it is due; return whether the clock was started, again or for the first time.

        Args:
            owned: number of partitions that are assigned.
            has_read: callback whether a record was read.
        """
        if not self._is_ready and owned == self._partitions:
            self._is_ready = True
            self._client.ready()
        if not self._client.go.is_set() or self.is_started:
            return False
        if not self._is_released:
            self._is_released = True
            self._source.resume()
        self.is_started = has_read()
        if not self.is_started:
            self._client.start()
        return not self.is_started
