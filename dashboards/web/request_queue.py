"""Bounds the requests that are computed at a time: shares equal ones, queues the rest, drops abandoned ones.

The searches of a dashboard use all cores of a small server. Sixty dashboards that are computed at the same time would
all be too late. A few are computed at a time, in the order of arrival.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from dashboards.web.boards import Searches
from features.errors import ShopstreamError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the queue.

    Attributes:
        computing: requests that are computed at the same time.
        queued: requests that may wait; a further one is refused with `ServerBusyError`.
        fresh_s: age in seconds up to which a result answers an equal request.
        patience_s: wait in seconds after which an older result answers, if there is one.
        stale_s: greatest age of such a result, in seconds.
        remembered: number of results that are remembered.
    """

    computing: int = 4
    queued: int = 100
    fresh_s: float = 1.0
    patience_s: float = 5.0
    stale_s: float = 600.0
    remembered: int = 60


DEFAULT_LIMITS: Final = Limits()


class ServerBusyError(ShopstreamError):
    """Too many requests are waiting."""

    def __init__(self, queued: int) -> None:
        super().__init__(f"The server is busy: {queued} requests are waiting.", "The page retries automatically.")


class Abandoned(Exception):  # noqa: N818 - no fault: the reader went away
    """Nobody waits for the result any more."""


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a request.

    Attributes:
        value: the result.
        age_s: its age in seconds, if it is an older one given because the server is busy; else None.
    """

    value: Any
    age_s: float | None = None


class StoppableSearches:
    """Searches that stop between two requests to Elasticsearch if nobody waits for the result any more."""

    def __init__(self, search: Searches, stopped: threading.Event) -> None:
        self._search = search
        self._stopped = stopped

    def __call__(self, index: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the response to a search. Raises Abandoned and ShopstreamError."""
        self._check()
        return self._search(index, body)

    def many(self, searches: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Mapping[str, Any] | ShopstreamError]:
        """Return the responses to several searches, or the error of each. Raises Abandoned and ShopstreamError."""
        self._check()
        return self._search.many(searches)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Abandoned


class _Computation:
    """A result that is being computed, or waits for its turn."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.waiting = 0
        self.running = False
        self.task: asyncio.Task[Any] | None = None


Compute = Callable[[Searches], Any]


class RequestQueue:
    """Computes results in threads, a few at a time. All methods run in one event loop.

    Args:
        search: searches that results are computed from.
        timer: seconds since an arbitrary start.
        limits: bounds.
    """

    def __init__(self, search: Searches, timer: Callable[[], float], limits: Limits = DEFAULT_LIMITS) -> None:
        self._search = search
        self._timer = timer
        self._limits = limits
        self._slots = asyncio.Semaphore(self._limits.computing)
        self._pending: dict[Hashable, _Computation] = {}
        self._results: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._writes = 0

    def forget(self) -> None:
        """Share no result whose computation began before: something was written."""
        self._writes += 1
        self._results.clear()

    @property
    def queued(self) -> int:
        """Number of requests that wait for their turn."""
        return sum(not one.running for one in self._pending.values())

    async def result(
        self, key: Hashable, compute: Compute, disconnected: Callable[[], Awaitable[None]], *, stale: bool = True
    ) -> Result:
        """Return a recent result for `key`, or the result of `compute`.

        Args:
            key: equal requests have equal keys.
            compute: function of the searches; runs in a thread.
            disconnected: returns when the client has gone.
            stale: whether an older result may answer while the server is busy. A file has no place for its age.

        Raises:
            Abandoned: the client has gone.
            ServerBusyError: too many requests wait.
            ShopstreamError: the error of `compute`.
        """
        key = (self._writes, key)
        known = self._results.get(key)
        if known is not None and self._timer() - known[0] <= self._limits.fresh_s:
            return Result(known[1])
        one = self._pending.get(key)
        if one is None or one.stopped.is_set():
            if self.queued >= self._limits.queued:
                raise ServerBusyError(self.queued)
            one = self._start(key, compute)
        one.waiting += 1
        gone = asyncio.ensure_future(disconnected())
        try:
            return await self._first_of(key if stale else None, one, gone)
        finally:
            gone.cancel()
            one.waiting -= 1
            if not one.waiting:
                self._stop(one)

    async def _first_of(self, key: Hashable | None, one: _Computation, gone: asyncio.Future[None]) -> Result:
        """Return the result, an older one if the result takes too long; raise Abandoned if the client goes first."""
        assert one.task is not None
        patience_s = self._limits.patience_s if self._older(key) is not None else None
        done, _ = await asyncio.wait({one.task, gone}, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not done and (older := self._older(key)) is not None:
            one.waiting += 1  # the next request takes the result
            return older
        if not done:
            done, _ = await asyncio.wait({one.task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if one.task in done:
            return Result(one.task.result())
        raise Abandoned

    def _older(self, key: Hashable) -> Result | None:
        if key not in self._results:
            return None
        made_s, value = self._results[key]
        age_s = self._timer() - made_s
        return Result(value, age_s) if age_s <= self._limits.stale_s else None

    def _start(self, key: Hashable, compute: Compute) -> _Computation:
        one = self._pending[key] = _Computation()
        one.task = asyncio.create_task(self._compute(key, one, compute))
        # an error that nobody waits for any more is not worth a line in the log
        one.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return one

    async def _compute(self, key: Hashable, one: _Computation, compute: Compute) -> Any:
        try:
            async with self._slots:
                one.running = True
                value = await run_in_threadpool(compute, StoppableSearches(self._search, one.stopped))
            self._remember(key, value)
            return value
        finally:
            if self._pending.get(key) is one:
                del self._pending[key]

    def _remember(self, key: Hashable, value: Any) -> None:
        self._results[key] = (self._timer(), value)
        self._results.move_to_end(key)
        while len(self._results) > self._limits.remembered:
            self._results.popitem(last=False)

    def _stop(self, one: _Computation) -> None:
        """Stop a computation that nobody waits for; one that runs ends before its next search."""
        assert one.task is not None
        if not one.task.done():
            one.stopped.set()
            if not one.running:
                one.task.cancel()
