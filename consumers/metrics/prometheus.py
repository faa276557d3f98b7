"""Computes rates from a worker's counts, and writes the metrics file that `status` reads."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Final

WINDOW_S: Final = 5.0
"""Window of a rate: short, so that the rate falls to 0 soon after the flow stops."""

Figure = int | float | str | None


def figures(progress: object) -> dict[str, Figure]:
    """Return a role's progress or totals as one flat mapping; nested fields move to the top level.

    Args:
        progress: a dataclass of numbers, strings and None, and of dataclasses of such.
    """
    assert is_dataclass(progress)
    assert not isinstance(progress, type)
    flat: dict[str, Figure] = {}
    for name, value in asdict(progress).items():
        flat |= value if isinstance(value, Mapping) else {name: value}
    return flat


def add_figures(parts: Sequence[Mapping[str, Figure]]) -> dict[str, Figure]:
    """Combine several workers' figures: add counts, take the highest time and drift, and the first text."""
    total: dict[str, Figure] = {}
    for part in parts:
        for name, value in part.items():
            before = total.get(name)
            if before is None or isinstance(value, str) or isinstance(before, str):
                total[name] = value if before is None else before
            elif value is not None:
                highest = name.endswith(("_ts", "_ms", "_s")) or name.startswith("psi.")
                total[name] = max(before, value) if highest else before + value
    return total


class RateMeter:
    """Rate of one count, from readings at given times (monotonic seconds)."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._readings: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None
        self._grown_s = 0.0

    def read(self, count: int, now_s: float) -> None:
        """Record a reading; a lower count than the last one restarts the meter."""
        if self._readings and count < self._readings[-1][1]:
            self._readings.clear()
            self._first = None
        if self._first is None:
            self._first = (now_s, count)
        if not self._readings or count > self._readings[-1][1]:
            self._grown_s = now_s
        self._readings.append((now_s, count))
        while len(self._readings) > 2 and now_s - self._readings[1][0] >= self._window_s:
            self._readings.popleft()

    @property
    def per_s(self) -> float:
        """Rate over the last `window_s` seconds."""
        return _rate(self._readings[0], self._readings[-1]) if self._readings else 0.0

    @property
    def mean_per_s(self) -> float:
        """Rate from the first reading until the count last grew: the rate while there was work."""
        if self._first is None:
            return 0.0
        return _rate(self._first, (self._grown_s, self._readings[-1][1]))


def _rate(start: tuple[float, int], end: tuple[float, int]) -> float:
    seconds = end[0] - start[0]
    return (end[1] - start[1]) / seconds if seconds > 0 else 0.0


def metrics_file(folder: Path, run: str, role: str, worker: int) -> Path:
    """Return the path of a worker's metrics file: `RUN-ROLE-WORKER.json`."""
    return folder / f"{run}-{role}-{worker}.json"


def write_metrics(path: Path, values: Mapping[str, Any]) -> None:
    """Replace the file atomically: a reader sees the old metrics or the new ones.

    A full disk must not stop a consumer, so write errors are ignored.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(values, indent=1) + "\n")
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
