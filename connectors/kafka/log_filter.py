"""What librdkafka logs of conditions that pass by themselves: no warnings for a person."""

from __future__ import annotations

from typing import Final

_PASSING: Final = (
    "Coordinator load in progress",
    "Coordinator not available",
    "Not coordinator",
    "Leader not available",
)
"""Answers of a broker that is starting or moving a partition; the client asks again until it succeeds or times out."""


def is_passing(line: str) -> bool:
    """Whether a log line tells of a condition that the client waits out."""
    return any(text in line for text in _PASSING)
