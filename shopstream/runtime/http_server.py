"""Serves HTTP applications in threads; limits the duration of requests and the number of concurrent connections.

uvicorn only bounds the time between two requests. A client that sends no request, or one byte an hour, would keep its
connection; a hundred such clients would block all others.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S: Final = 5.0
"""From the opening of a connection, or the first byte after a response, to the last byte of a request's head."""
ANSWER_TIMEOUT_S: Final = 60.0
"""From the end of the request's head to the last byte of the response; also ends clients that do not read."""
CONNECTIONS_MAX: Final = 128
"""Above this number, each new connection closes the one that has waited longest for a request."""
START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 3
"""Longest wait for responses in progress when a server stops."""
LOG_LEVEL: Final = "error"
"""Failures of an application are logged, requests that are not HTTP are not. uvicorn has one level in a process."""


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


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises OSError or OverflowError."""
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen()
    except BaseException:
        opened.close()
        raise
    return opened


@contextmanager
def serve_in_thread(
    application: Any, opened: socket.socket, name: str, *, requests_max: int | None = None
) -> Iterator[None]:
    """Serve an ASGI application on a socket in a thread.

    Args:
        application: the application.
        opened: listening socket; closed at the end.
        name: name of the thread.
        requests_max: maximum number of concurrent requests; further ones get status 503. None: no limit.

    Raises:
        TimeoutError: the server did not start.
    """
    server = uvicorn.Server(
        uvicorn.Config(
            application, http=BoundedProtocol, log_config=None, log_level=LOG_LEVEL, access_log=False,
            limit_concurrency=requests_max,
            server_header=False, timeout_graceful_shutdown=STOP_TIMEOUT_S, lifespan="off", ws="none",
        )
    )  # fmt: skip
    thread = threading.Thread(target=lambda: server.run(sockets=[opened]), name=name, daemon=True)
    with opened:
        thread.start()
        try:
            end_s = time.monotonic() + START_TIMEOUT_S
            while not server.started:
                if time.monotonic() > end_s:
                    raise TimeoutError(f"the server {name} did not start within {START_TIMEOUT_S:.0f} s")
                time.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            thread.join(START_TIMEOUT_S)
