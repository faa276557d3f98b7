"""Limits the duration of requests to the live page and the number of concurrent connections.

uvicorn only bounds the time between two requests. A client that sends no request, or one byte an hour, would keep its
connection; a hundred such clients would block all others.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S: Final = 5.0
"""From the opening of a connection, or the first byte after a response, to the last byte of a request's head."""
ANSWER_TIMEOUT_S: Final = 60.0
"""From the end of the request's head to the last byte of the response; also ends clients that do not read."""
CONNECTIONS_MAX: Final = 64
"""Above this number, each new connection closes the one that has waited longest for a request."""


class BoundedProtocol(H11Protocol):
    """A uvicorn connection with time-outs and a connection limit.

    Attributes:
        answers: whether a response is in progress; False while waiting for a request.
        since_s: start of that state, by the clock of the event loop.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self.answers = False
        self.since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Close the longest waiting connection above the limit, and start the time-out for the first request."""
        super().connection_made(transport)
        self._wait()
        silent = [one for one in self.connections if isinstance(one, BoundedProtocol) and not one.answers]
        if len(self.connections) > CONNECTIONS_MAX:
            oldest = min(silent, key=lambda one: one.since_s)
            oldest.transport.close()
            # uvicorn removes it on the loop's next turn only, and several connections may open in one turn
            self.connections.discard(oldest)

    def data_received(self, data: bytes) -> None:
        """Process the data, and restart the time-out if it completes a request."""
        super().data_received(data)
        if self.answers != self._is_answering() or self._timer is None:
            self._wait()

    def on_response_complete(self) -> None:
        """Start the time-out for the next request; until its first byte uvicorn's own time-out applies."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time-out."""
        self._cancel()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        # there is no cycle before the first request
        return not getattr(self.cycle, "response_complete", True)

    def _wait(self) -> None:
        self._cancel()
        self.answers = self._is_answering()
        self.since_s = self.loop.time()
        self._timer = self.loop.call_later(ANSWER_TIMEOUT_S if self.answers else HEAD_TIMEOUT_S, self._too_slow)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        # `close` would wait for the unsent data
        self.transport.abort()
