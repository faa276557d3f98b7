"""Reads the wall clock and formats points in time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from features.schema import TS_MAX


def wall_clock_ms() -> int:
    """Return the wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def iso(time_ms: int) -> str:
    """Return epoch ms as `2025-01-31T18:00:00.250Z`, the format that `--from` accepts."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + min(time_ms, TS_MAX) * timedelta(milliseconds=1)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
