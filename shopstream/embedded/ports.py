"""Chooses ports on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import Final

LOOPBACK: Final = "127.0.0.1"
NEIGHBOURS: Final = 200
"""Number of ports above the preferred one to try before the system chooses one."""


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the JVM does: TIME_WAIT is no obstacle
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(preferred: int, taken: Collection[int] = ()) -> int:
    """Return the preferred port, else the next free one above it, else any free one.

    Args:
        preferred: port to try first.
        taken: ports reserved for other servers, never chosen.
    """
    for port in range(preferred, min(preferred + NEIGHBOURS, 65_536)):
        if port not in taken and is_free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    return port if port not in taken else choose(preferred, taken)


def accepts(port: int, timeout_s: float = 0.5) -> bool:
    """Return whether a process listens on this loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout_s).close()
    except OSError:
        return False
    return True
