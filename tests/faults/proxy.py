"""A TCP proxy in front of a server, which can hold what a client sends, or let it through at a rate."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.parse
from typing import Self

CHUNK = 16_384
CONFLICT = b'"status":409'
BULK = b"POST /_bulk"


class Proxy:
    """Listens on a port of its own; use as a context manager.

    Args:
        target: `http://host:port` of the server.
    """

    def __init__(self, target: str) -> None:
        parts = urllib.parse.urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = threading.Event()
        self._open.set()
        self._lock = threading.Lock()
        self._bytes_per_s: float | None = None
        self._due_s = 0.0
        self._sockets: list[socket.socket] = []
        self.held_bulks = 0
        self.sent_bytes = 0
        self.conflicts = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def hold(self) -> None:
        """Nothing that a client sends from now on gets through."""
        self.held_bulks = 0
        self._open.clear()

    def release(self) -> None:
        """What was held gets through, and all else."""
        self._open.set()

    def limit(self, bytes_per_s: float | None) -> None:
        """How much of what clients send gets through; None is all."""
        with self._lock:
            self._bytes_per_s = bytes_per_s
            self._due_s = time.monotonic()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += [client, server]
            for pump, origin, end in ((self._forth, client, server), (self._back, server, client)):
                threading.Thread(target=self._carry, args=(pump, origin, end), daemon=True).start()

    def _carry(self, pump, origin: socket.socket, end: socket.socket) -> None:
        with contextlib.suppress(OSError):
            pump(origin, end)
        for each in (origin, end):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _forth(self, origin: socket.socket, end: socket.socket) -> None:
        while data := origin.recv(CHUNK):
            if not self._open.is_set():
                self.held_bulks += BULK in data
            self._open.wait()
            self._wait_for_turn(len(data))
            self.sent_bytes += len(data)
            end.sendall(data)

    def _back(self, origin: socket.socket, end: socket.socket) -> None:
        rest = b""
        while data := origin.recv(CHUNK):
            seen = rest + data
            self.conflicts += seen.count(CONFLICT)
            rest = seen[-len(CONFLICT) + 1 :]
            end.sendall(data)

    def _wait_for_turn(self, size: int) -> None:
        with self._lock:
            if self._bytes_per_s is None:
                return
            now_s = time.monotonic()
            self._due_s = max(self._due_s, now_s) + size / self._bytes_per_s
            pause_s = self._due_s - now_s
        time.sleep(pause_s)
