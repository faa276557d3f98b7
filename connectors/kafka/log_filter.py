"""Recognises log lines of librdkafka about temporary conditions, which need no warning."""

from __future__ import annotations

from typing import Final

_PASSING: Final = (
    "Coordinator load in progress",
    "Coordinator not available",
    "Not coordinator",
    "Leader not available",
)
"""Errors of a broker that is starting or moving a partition. The client retries until it succeeds or times out."""


def is_passing(line: str) -> bool:
    """Return whether a log line reports a condition that the client waits out."""
    return any(text in line for text in _PASSING)
