"""Measures search freshness: follows one document at a time from its append until a search finds it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from connectors.clock import wall_clock_ms

log = structlog.get_logger("freshness")

SEARCH_EVERY_S: Final = 0.1
GIVE_UP_AFTER_S: Final = 60.0
SAMPLES: Final = 2_000

FindVersion = Callable[[str], int | None]
"""Function from a document id to the version that a search finds; None if it finds none."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A document that was acknowledged and may not be visible yet."""

    document_id: str
    version: int
    appended_ms: int


class Freshness:
    """Follows acknowledged documents in a thread until a search finds them.

    Args:
        find_version: search of the index; errors count as not found.
        close: callback at the end that closes the client of `find_version`.
    """

    def __init__(self, find_version: FindVersion, close: Callable[[], None] = lambda: None) -> None:
        self._find_version = find_version
        self._close = close
        self._next: Followed | None = None
        self._wake = threading.Event()
        self._closed = False
        self._samples: deque[int] = deque(maxlen=SAMPLES)
        self._thread = threading.Thread(target=self._follow_all, name="freshness", daemon=True)
        self._thread.start()

    @property
    def is_free(self) -> bool:
        """Whether a document can be followed now."""
        return self._next is None

    def follow(self, document: Followed) -> None:
        """Follow this document unless another one is being followed."""
        if self._next is None:
            self._next = document
            self._wake.set()

    def percentile(self, share: float) -> float:
        """Return the milliseconds from append to visibility, over the latest documents; 0 without any."""
        samples = list(self._samples)
        return float(np.percentile(samples, share)) if samples else 0.0

    def close(self) -> None:
        """End the thread and close the client."""
        self._closed = True
        self._wake.set()
        self._thread.join(5.0)
        self._close()

    def _follow_all(self) -> None:
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            document = self._next
            if document is not None:
                self._follow(document)
                self._next = None

    def _follow(self, document: Followed) -> None:
        give_up_s = time.monotonic() + GIVE_UP_AFTER_S
        while not self._closed and time.monotonic() < give_up_s:
            try:
                version = self._find_version(document.document_id)
            except Exception as error:  # noqa: BLE001 - a measurement must never stop what it measures
                log.debug("the search for a written document failed", error=str(error))
                version = None
            if version is not None and version >= document.version:
                self._samples.append(wall_clock_ms() - document.appended_ms)
                return
            time.sleep(SEARCH_EVERY_S)
