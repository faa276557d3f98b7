"""How long a client of the live page may take, and how many connections there may be at once.

uvicorn bounds the time between two requests alone: a client that sends no request, or one byte of it an hour, would
keep its connection, and a hundred of them would lock everybody out.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S: Final = 5.0
"""From the opening of a connection, or the first byte after an answer, to the last byte of the head of a request."""
ANSWER_TIMEOUT_S: Final = 60.0
"""From there to the last byte of the answer: a client that reads nothing ends too."""
CONNECTIONS_MAX: Final = 64
"""Above it, the one that has waited longest for a request is closed for each new one."""


class BoundedProtocol(H11Protocol):
    """A connection of uvicorn with these bounds.

    Attributes:
        answers: whether it answers a request; else it waits for one.
        since_s: since when, by the clock of its loop.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self.answers = False
        self.since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Makes room for it, and waits for its first request."""
        super().connection_made(transport)
        self._wait()
        silent = [one for one in self.connections if isinstance(one, BoundedProtocol) and not one.answers]
        if len(self.connections) > CONNECTIONS_MAX:
            oldest = min(silent, key=lambda one: one.since_s)
            oldest.transport.close()
            # uvicorn counts it until the loop's next turn, and many may come in one
            self.connections.discard(oldest)

    def data_received(self, data: bytes) -> None:
        """A request may have become complete by it."""
        super().data_received(data)
        if self.answers != self._is_answering() or self._timer is None:
            self._wait()

    def on_response_complete(self) -> None:
        """The next request may come; until its first byte uvicorn's own time-out holds."""
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
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
        # what is still to be written would be waited for by `close`
        self.transport.abort()
