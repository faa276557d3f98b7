"""The bulk sink: writes documents and acknowledges each of them exactly, without losing any.

The sink does not depend on a client. It receives `send`, which posts one bulk body and returns the result of each item,
or raises `SendError` with a verdict. `connectors.elasticsearch.client` has the real `send`, the tests a scripted one.
Threads only send requests. Callbacks run in the caller's thread, in `poll`.

An item has one of four outcomes. It is written. It has a conflict if a newer version exists or `create` found the
document; that counts as success. It is rejected if it can never be written; the caller then writes a dead letter. It is
refused for now after an overload, a lost connection or a fault of its index. The sink then retries it alone, with
growing pauses and without a limit. Wrong credentials end the sink.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import structlog

from connectors.elasticsearch.documents import (
    ACTION_BYTES,
    Doc,
    ItemResult,
    Outcome,
    Rejected,
    Send,
    SendError,
    SinkOptions,
    SinkStats,
    Verdict,
    encode_bulk,
)
from features.errors import ShopstreamError

log = structlog.get_logger("elasticsearch")

LOG_EVERY_S: Final = 10.0
LATENCIES_MAX: Final = 512


@dataclass(slots=True)
class _Submission:
    docs: Sequence[Doc]
    on_done: Callable[[Outcome], None]
    started_s: float
    open_requests: int
    written: int = 0
    conflicts: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    def outcome(self, now_s: float) -> Outcome:
        rejected = tuple(sorted(self.rejected, key=lambda r: r.position))
        return Outcome(self.docs, self.written, tuple(sorted(self.conflicts)), rejected, now_s - self.started_s)


@dataclass(slots=True)
class _Request:
    """Consecutive positions of a submission and their results so far."""

    submission: _Submission
    positions: range
    size: int
    written: int = 0
    conflicts: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class BulkSink:
    """Writes documents in bulk over several connections, without any order between submissions.

    Not thread-safe. Use it as a context manager, or `close` it.

    Args:
        send: function that posts one bulk body.
        options: bounds of the sink.
        seed: seed of the jitter between attempts; None takes one from the system.
        release: function called once at the end; closes the client that `send` uses.
    """

    def __init__(
        self,
        send: Send,
        options: SinkOptions | None = None,
        *,
        seed: int | None = None,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._send = send
        self._release = release
        self._options = options or SinkOptions()
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._done: deque[_Submission] = deque()
        self._change = threading.Condition()
        self._closing = threading.Event()
        self._fatal: ShopstreamError | None = None
        self._last_error: str | None = None
        self._blocked = False
        self._logged_s = -LOG_EVERY_S
        self._docs = 0
        self._bytes = 0
        self._undelivered = 0
        self._requests_done = self._written = self._conflicts = self._rejected = self._retries = self._bytes_sent = 0
        self._latencies: deque[float] = deque(maxlen=LATENCIES_MAX)
        seeds = np.random.SeedSequence(seed).spawn(self._options.connections)
        self._threads = [
            threading.Thread(
                target=self._send_requests, args=(np.random.default_rng(s),), name=f"bulk-{i}", daemon=True
            )
            for i, s in enumerate(seeds)
        ]
        for thread in self._threads:
            thread.start()

    # --- called by the caller ---

    @property
    def in_flight(self) -> int:
        """Documents submitted but not yet acknowledged."""
        return self._docs

    @property
    def unfinished(self) -> int:
        """Submissions whose callback has not run yet."""
        return self._undelivered

    @property
    def last_error(self) -> str | None:
        """Reason why documents are refused at the moment; None without a problem."""
        return self._last_error

    @property
    def blocked(self) -> bool:
        """Return whether the problem needs an operator."""
        return self._last_error is not None and self._blocked

    def free(self) -> int:
        """Return the number of documents that `submit` accepts without waiting."""
        room = self._options.queue_docs_max - self._docs
        return 0 if self._bytes >= self._options.queue_bytes_max else max(0, room)

    def submit(self, docs: Sequence[Doc], on_done: Callable[[Outcome], None]) -> None:
        """Queue documents for writing. Wait while the sink is full.

        Args:
            docs: documents, which the caller must not change afterwards. An idle sink accepts more than its bound.
            on_done: callback that runs once, in a later `poll`, `wait` or `flush`.

        Raises:
            ShopstreamError: the sink has ended (wrong credentials).
        """
        self._raise_fatal()
        requests = list(self._cut(docs))
        size = sum(size for _, size in requests)
        submission = _Submission(docs, on_done, time.monotonic(), len(requests))
        with self._change:
            self._change.wait_for(lambda: self._fatal is not None or self._fits(len(docs)))
            self._raise_fatal()
            self._docs += len(docs)
            self._bytes += size
            self._undelivered += 1
            if not requests:
                self._done.append(submission)
        for positions, request_size in requests:
            self._requests.put(_Request(submission, positions, request_size))

    def poll(self) -> int:
        """Run the callbacks of finished submissions and return their number.

        Raises:
            ShopstreamError: the sink has ended (wrong credentials).
        """
        ran = 0
        while self._done:
            submission = self._done.popleft()
            self._undelivered -= 1
            submission.on_done(submission.outcome(time.monotonic()))
            ran += 1
        self._raise_fatal()
        return ran

    def wait(self, timeout_s: float) -> int:
        """Wait up to `timeout_s` for a submission to finish, then `poll`."""
        with self._change:
            self._change.wait_for(lambda: self._fatal is not None or bool(self._done), timeout_s)
        return self.poll()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until every submission is finished and its callback has run. Return False after a time-out.

        Raises:
            ShopstreamError: the sink has ended (wrong credentials).
        """
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._undelivered:
            left_s = 1.0 if end_s is None else end_s - time.monotonic()
            if left_s <= 0:
                return False
            self.wait(min(left_s, 1.0))
        return True

    def stats(self) -> SinkStats:
        """Return counts and latencies."""
        with self._change:
            latencies = np.array(self._latencies or [0.0]) * 1_000
            p50, p99 = np.percentile(latencies, [50, 99]).tolist()
            return SinkStats(
                self._requests_done,
                self._written,
                self._conflicts,
                self._rejected,
                self._retries,
                self._bytes_sent,
                p50,
                p99,
                self._last_error,
            )

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the threads. Documents in flight may or may not be written, and no callback runs."""
        self._closing.set()
        for _ in self._threads:
            self._requests.put(None)
        end_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fits(self, docs: int) -> bool:
        # bytes as `free` counts them: at most one submission exceeds their bound
        fits = self._docs + docs <= self._options.queue_docs_max and self._bytes < self._options.queue_bytes_max
        return fits or self._docs == 0

    def _cut(self, docs: Sequence[Doc]) -> list[tuple[range, int]]:
        """Split documents into requests by the document and byte bounds. Return the positions and size of each."""
        cut: list[tuple[range, int]] = []
        first = size = 0
        for position, doc in enumerate(docs):
            doc_size = len(doc.body) + len(doc.id) + len(doc.index) + ACTION_BYTES
            if position > first and (
                position - first == self._options.docs_max or size + doc_size > self._options.bytes_max
            ):
                cut.append((range(first, position), size))
                first, size = position, 0
            size += doc_size
        if docs:
            cut.append((range(first, len(docs)), size))
        return cut

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    # --- called by the threads ---

    def _send_requests(self, rng: np.random.Generator) -> None:
        while (request := self._requests.get()) is not None and not self._closing.is_set():
            started_s = time.monotonic()
            try:
                finished = self._deliver(request, rng)
            except ShopstreamError as error:
                self._end(error)
                return
            except Exception as error:
                if self._closing.is_set():
                    return  # the client was closed during the wait
                # if the thread ended without an error, the caller would wait for ever
                log.exception("the bulk sink failed")
                self._end(ShopstreamError(f"The bulk sink failed: {error!r}.", "This is a bug: please report it."))
                return
            if finished:
                self._finish(request, time.monotonic() - started_s)

    def _end(self, error: ShopstreamError) -> None:
        with self._change:
            self._fatal = self._fatal or error
            self._closing.set()
            self._change.notify_all()

    def _deliver(self, request: _Request, rng: np.random.Generator) -> bool:
        """Send until every item has a final result. Return False if the sink was closed before."""
        docs = request.submission.docs
        groups: list[Sequence[int]] = [request.positions]
        tries = 0
        while groups:
            if self._closing.is_set():
                return False
            group = groups.pop()
            body = encode_bulk(docs, group)
            try:
                results = self._send(body)
            except SendError as error:
                if error.verdict is Verdict.FATAL:
                    raise error.error or ShopstreamError(error.reason) from error
                if error.verdict is not Verdict.SPLIT:
                    groups.append(group)
                    tries += 1
                    self._pause(error.verdict, error.reason, len(group), tries, rng)
                elif len(group) == 1:
                    request.rejected.append(Rejected(group[0], error.reason))
                else:
                    half = len(group) // 2
                    groups += [group[half:], group[:half]]
                continue
            self._bytes_sent += len(body)
            again, verdict, reason = record_results(request, group, results)
            if again:
                groups.append(again)
                tries += 1
                self._pause(verdict, reason, len(again), tries, rng)
            else:
                tries = 0
                self._recovered()
        return True

    def _pause(self, verdict: Verdict, reason: str, docs: int, tries: int, rng: np.random.Generator) -> None:
        options = self._options
        pause_s = min(options.pause_max_s, options.pause_s * 2.0 ** min(tries - 1, 30)) * (0.5 + 0.5 * rng.random())
        with self._change:
            self._retries += docs
            self._last_error, self._blocked = reason, verdict is Verdict.BLOCKED
            now_s = time.monotonic()
            # a single refusal under load is normal; a block needs an operator and is logged immediately
            log_now = now_s - self._logged_s >= LOG_EVERY_S and (tries > 2 or verdict is Verdict.BLOCKED)
            if log_now:
                self._logged_s = now_s
        if log_now:
            log.warning(
                "Elasticsearch accepts no documents; nothing is lost, retrying",
                blocked=verdict is Verdict.BLOCKED,
                reason=reason,
                next_try_s=round(pause_s, 1),
            )
        self._closing.wait(pause_s)

    def _recovered(self) -> None:
        if self._last_error is not None:
            self._last_error = None
            if self._logged_s >= 0:
                log.info("Elasticsearch accepts documents again")
                self._logged_s = -LOG_EVERY_S

    def _finish(self, request: _Request, latency_s: float) -> None:
        submission = request.submission
        with self._change:
            submission.written += request.written
            submission.conflicts += request.conflicts
            submission.rejected += request.rejected
            submission.open_requests -= 1
            self._docs -= len(request.positions)
            self._bytes -= request.size
            self._requests_done += 1
            self._written += request.written
            self._conflicts += len(request.conflicts)
            self._rejected += len(request.rejected)
            self._latencies.append(latency_s)
            if submission.open_requests == 0:
                self._done.append(submission)
            self._change.notify_all()


def record_results(
    request: _Request, group: Sequence[int], results: Sequence[ItemResult] | None
) -> tuple[list[int], Verdict, str]:
    """Record the results of a group of positions. Return those to retry, the worst verdict and its reason.

    Raises:
        ShopstreamError: an item was refused permanently (no right to write to its index).
    """
    if results is None:
        request.written += len(group)
        return [], Verdict.WRITTEN, ""
    again: list[int] = []
    worst, reason = Verdict.RETRY, ""
    for position, result in zip(group, results, strict=True):
        match result.verdict:
            case Verdict.WRITTEN:
                request.written += 1
            case Verdict.CONFLICT:
                request.conflicts.append(position)
            case Verdict.REJECTED:
                request.rejected.append(Rejected(position, result.reason))
            case Verdict.RETRY | Verdict.BLOCKED:
                again.append(position)
                if not reason or result.verdict is Verdict.BLOCKED:
                    worst, reason = result.verdict, result.reason
            case _:
                raise ShopstreamError(
                    f"Elasticsearch refuses to write to {request.submission.docs[position].index}: {result.reason}.",
                    "Grant the user the right to create and write the run's indices.",
                )
    return again, worst, reason
