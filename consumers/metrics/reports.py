"""Derives a worker's reports from its metrics: rates, totals of several workers, pipeline documents, metrics files."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from consumers.metrics.definitions import DRIFT_PREFIX, METRICS, Figure, Metric, Progress, metric_of
from features.schema import Field, FieldKind

RATE_WINDOW_S: Final = 5.0
"""Window of a rate: short, so that the rate falls to 0 soon after the flow stops."""
WRITTEN: Final = ("written", "rows_written", "sessions_written", "orders_written")
"""Counters of the documents and rows written; rows of the feature topic repeat the customers' rows."""
PENDING: Final = ("dirty", "waiting_records")
"""Figures of the rows and records that are not written yet; a role has one of them."""


def _kind_of(metric: Metric) -> FieldKind:
    if metric.unit == "epoch ms":
        return "time"
    return "float" if metric.unit in ("s", "ms", "1/s") else "int"


PIPELINE_FIELDS: Final[tuple[Field, ...]] = (
    Field("at", "time", required=True),
    Field("role", "string", required=True),
    Field("worker", "int", required=True),
    Field("host", "string", required=True),
    Field("state", "string"),
    Field("trouble", "string"),
    Field("topic", "string"),
    Field("partition", "int"),
    Field("bundle", "string"),
    Field("documents", "int"),
    *{m.index_field: Field(m.index_field, _kind_of(m)) for m in METRICS.values() if m.index_field}.values(),
    Field("feature", "string"),
    Field("psi", "float"),
)
"""Fields of a document of `RUN-pipeline`: the status of a worker. `at` is the only wall-clock field of any index.

A document with `feature` holds the drift of that feature from the model's training data (`psi`).
"""


def figures(progress: Progress) -> dict[str, Figure]:
    """Return a role's progress as one flat mapping; figures with a prefix move to the top level."""
    values = asdict(progress)
    prefixed = [values.pop(name, {}) for name in ("drift", "left_out_by", "dropped_by", "path_fill")]
    return {**values, **{name: value for figures in prefixed for name, value in figures.items()}}


def merged(reports: Sequence[Mapping[str, Figure]]) -> dict[str, Figure]:
    """Combine several workers' figures as their metrics declare; others by the maximum, text by its first value."""
    total: dict[str, Figure] = {}
    for report in reports:
        for name, value in report.items():
            before = total.get(name)
            if isinstance(before, int | float) and isinstance(value, int | float):
                metric = metric_of(name)
                adds = metric is not None and metric.merge == "sum"
                total[name] = before + value if adds else max(before, value)
            elif before is None:
                total[name] = value
    return total


def rows_of(figures: Mapping[str, Figure]) -> int:
    """Return the number of documents and rows that a worker has written."""
    return sum(int(figures.get(name) or 0) for name in WRITTEN)


def pending_of(figures: Mapping[str, Figure]) -> int:
    """Return the number of rows or records that a worker has not written yet."""
    return sum(int(figures.get(name) or 0) for name in PENDING)


def readings(figures: Mapping[str, Figure]) -> Iterator[tuple[Metric, float]]:
    """Yield each declared metric that the report contains, with its reported value."""
    for name, value in figures.items():
        metric = metric_of(name)
        if metric is not None and isinstance(value, int | float) and value != metric.unknown:
            yield metric, value


def drifts(figures: Mapping[str, Figure]) -> Iterator[tuple[str, float]]:
    """Yield each feature with a reported drift, and its population stability index."""
    for name, value in figures.items():
        if name.startswith(DRIFT_PREFIX) and isinstance(value, int | float):
            yield name.removeprefix(DRIFT_PREFIX), value


def pipeline_documents(
    figures: Mapping[str, Figure], *, role: str, worker: int, host: str, state: str, last_error: str | None, at_ms: int
) -> list[dict[str, Any]]:
    """Return the documents of one worker at one moment: its status, and one per feature with a known drift.

    Args:
        figures: reported metrics, with those that the parent process adds.
        role: role of the worker.
        worker: number of the worker.
        host: name of the worker's machine.
        state: stage of the worker.
        last_error: error that the worker currently has.
        at_ms: wall clock, epoch ms.
    """
    identity = {"at": at_ms, "role": role, "worker": worker, "host": host}
    document = {**identity, "state": state, "documents": rows_of(figures)}
    if last_error:
        document["trouble"] = last_error
    if figures.get("bundle"):
        document["bundle"] = figures["bundle"]
    for metric, value in readings(figures):
        if metric.index_field:
            document[metric.index_field] = round(float(value), 3) if _kind_of(metric) == "float" else int(value)
    return [document, *({**identity, "feature": name, "psi": round(psi, 6)} for name, psi in drifts(figures))]


class RateMeter:
    """Rate of one count, from readings at given times (monotonic seconds)."""

    def __init__(self, window_s: float = RATE_WINDOW_S) -> None:
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
