"""The side of a measured process: it gets ready, waits for the start, tells when it has read all, and what it took.

Speaks lines with the process that started it (benchmarks/contest.py): in comes one line of JSON with the task, then
`go`, then `finish`; out go `ready`, `read` and one line of JSON with the figures. Only the standard library, since the
application of another stream library runs in an environment of its own.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from typing import Any


class Gate:
    """Times are seconds of the monotonic clock, which all processes of a machine share."""

    def __init__(self) -> None:
        self.task: dict[str, Any] = json.loads(sys.stdin.readline())
        self.go = threading.Event()
        self.finish = threading.Event()
        self._started_s = self._started_cpu_s = 0.0
        self._read_s = self._read_cpu_s = 0.0

    def ready(self) -> None:
        """Everything is open; `go` is set when the measurement may begin."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._say("ready")

    def start(self) -> None:
        """The next turn may be the one that gets the first records; the last call counts.

        Half a second passes in librdkafka between the release of a partition and its first records, however fast the
        reader is; it belongs to the start of a process and not to its rate.
        """
        self._started_s, self._started_cpu_s = time.monotonic(), cpu_s()

    def read(self) -> None:
        """All records are applied; only the first call counts."""
        if not self._read_s:
            self._read_s, self._read_cpu_s = time.monotonic(), cpu_s()
            self._say("read")

    def done(self, **figures: Any) -> None:
        """Everything is written and committed; must follow `read`."""
        done_s, done_cpu_s = time.monotonic(), cpu_s()
        self.report(done_s, done_cpu_s, **figures)

    def report(self, done_s: float, done_cpu_s: float, **figures: Any) -> None:
        """As `done`, with the moment given."""
        told = {
            "started_s": self._started_s,
            "read_s": self._read_s,
            "done_s": done_s,
            "cpu_read_s": self._read_cpu_s - self._started_cpu_s,
            "cpu_s": done_cpu_s - self._started_cpu_s,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            / (1024 if sys.platform != "darwin" else 2**20),
            **figures,
        }
        self._say(json.dumps(told))

    def _listen(self) -> None:
        for line in sys.stdin:
            {"go": self.go, "finish": self.finish}[line.strip()].set()

    @staticmethod
    def _say(line: str) -> None:
        print(line, flush=True)


def cpu_s() -> float:
    """User and system seconds of this process, all of its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
