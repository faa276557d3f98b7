"""Client of a measured process: gets ready, waits for the start, and reports progress and figures.

Exchanges lines with the runner (benchmarks/runner.py): reads one line of JSON with the task, then `go`, then `finish`;
prints `ready`, `read` and one line of JSON with the figures. Needs only the standard library, since the application of
another stream library runs in its own environment.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from typing import Any


class Client:
    """Connection to the runner. Times are seconds of the monotonic clock, which all processes of a machine share."""

    def __init__(self) -> None:
        self.task: dict[str, Any] = json.loads(sys.stdin.readline())
        self.go = threading.Event()
        self.finish = threading.Event()
        self._started_s = self._started_cpu_s = 0.0
        self._read_s = self._read_cpu_s = 0.0

    def ready(self) -> None:
        """Report that everything is open; `go` is set when the measurement may begin."""
        threading.Thread(target=self._read_commands, daemon=True).start()
        self._print("ready")

    def start(self) -> None:
        """Start the clock before each turn that may get the first records; the last call counts.

        Half a second passes in librdkafka between resuming a partition and its first records, however fast the
        reader is. It belongs to the start of a process and not to its rate.
        """
        self._started_s, self._started_cpu_s = time.monotonic(), cpu_s()

    def read(self) -> None:
        """Report that all records are applied; only the first call counts."""
        if not self._read_s:
            self._read_s, self._read_cpu_s = time.monotonic(), cpu_s()
            self._print("read")

    def done(self, **figures: Any) -> None:
        """Report that everything is written and committed; must follow `read`."""
        done_s, done_cpu_s = time.monotonic(), cpu_s()
        self.done_at(done_s, done_cpu_s, **figures)

    def done_at(self, done_s: float, done_cpu_s: float, **figures: Any) -> None:
        """Report like `done`, for a given time."""
        report = {
            "started_s": self._started_s,
            "read_s": self._read_s,
            "done_s": done_s,
            "cpu_read_s": self._read_cpu_s - self._started_cpu_s,
            "cpu_s": done_cpu_s - self._started_cpu_s,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            / (1024 if sys.platform != "darwin" else 2**20),
            **figures,
        }
        self._print(json.dumps(report))

    def _read_commands(self) -> None:
        for line in sys.stdin:
            {"go": self.go, "finish": self.finish}[line.strip()].set()

    @staticmethod
    def _print(line: str) -> None:
        print(line, flush=True)


def cpu_s() -> float:
    """Return user and system seconds of this process with all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
