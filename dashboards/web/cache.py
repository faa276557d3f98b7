"""Caches responses for a second, so that identical concurrent requests share one search."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

LIFETIME_S: Final = 1.0
ENTRIES_MAX: Final = 100

T = TypeVar("T")


class RecentCache:
    """Caches results for a moment. A request for a pending key waits for its result.

    Args:
        timer: seconds since an arbitrary start.
        lifetime_s: lifetime of a result in seconds.
    """

    def __init__(self, timer: Callable[[], float], lifetime_s: float = LIFETIME_S) -> None:
        self._timer = timer
        self._lifetime_s = lifetime_s
        self._mutex = threading.Lock()
        self._entries: dict[object, tuple[float, Future[Any]]] = {}

    def get(self, key: object, compute: Callable[[], T]) -> T:
        """Return a recent result for `key`, or the result of `compute`. Errors are raised and not cached."""
        with self._mutex:
            began_s, future = self._entries.get(key, (0.0, None))
            is_owner = future is None or (future.done() and self._timer() - began_s > self._lifetime_s)
            if is_owner:
                future = Future()
                self._make_room()
                self._entries[key] = (self._timer(), future)
        assert future is not None
        if not is_owner:
            shared: T = future.result()
            return shared
        try:
            future.set_result(compute())
        except BaseException as error:  # noqa: BLE001 - those who wait get it too
            future.set_exception(error)
            with self._mutex:
                self._entries.pop(key, None)
        result: T = future.result()
        return result

    def _make_room(self) -> None:
        while len(self._entries) >= ENTRIES_MAX:
            self._entries.pop(next(iter(self._entries)))
