"""Starts measured processes together and combines their reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from features.errors import ShopstreamError

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 1_800.0
SETTLE_S = 0.3
"""Pause between ready and go, so that the work of joining the group has ended."""


@dataclass(frozen=True, slots=True)
class Lap:
    """One measurement; for several processes sums, and times from the first start to the last end.

    Attributes:
        records: number of events to read.
        read_s: seconds until all were applied.
        done_s: seconds until everything was also written, acknowledged and committed.
        cpu_s: user and system time of the processes from the start to `done`.
        peak_mb: highest resident memory, summed over the processes.
        startup_s: seconds from the start of the process until it was ready to read.
        others_cores: processor cores that everything else on the machine used, brokers included.
        yardstick_s: CPU seconds of a fixed piece of work, before and after, since the speed of a core varies.
        figures: report of each process.
    """

    name: str
    records: int
    read_s: float
    done_s: float
    cpu_s: float
    peak_mb: float
    startup_s: float
    others_cores: float
    yardstick_s: float
    figures: tuple[Mapping[str, Any], ...]

    @property
    def rate(self) -> float:
        """Events per second, until everything is durable."""
        return self.records / self.done_s

    @property
    def read_rate(self) -> float:
        """Events per second, until all are applied."""
        return self.records / self.read_s

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds per million events."""
        return self.cpu_s / self.records * 1e6


def run(
    name: str,
    records: int,
    script: str,
    tasks: Sequence[Mapping[str, Any]],
    log: Path,
    *,
    python: str = sys.executable,
) -> Lap:
    """Measure a script of this folder, one process for each task.

    Raises:
        ShopstreamError: a process failed; the message contains the end of its log.
    """
    with log.open("a") as errors:
        begun_s = time.monotonic()
        processes = [_spawn(python, script, task, errors) for task in tasks]
        watchdog = threading.Timer(TIMEOUT_S, _kill, (processes,))
        watchdog.start()
        try:
            for process in processes:
                _read_line(process, "ready", log)
            startup_s = time.monotonic() - begun_s
            time.sleep(SETTLE_S)
            before_s = yardstick_s()
            busy_s = _busy_s()
            _send_all(processes, "go")
            for process in processes:
                _read_line(process, "read", log)
            _send_all(processes, "finish")
            reports = [json.loads(_read_line(process, "{", log)) for process in processes]
            busy_s = _busy_s() - busy_s
        finally:
            watchdog.cancel()
            for process in processes:
                _wait(process)
    start_s = min(report["started_s"] for report in reports)
    done_s = max(report["done_s"] for report in reports) - start_s
    cpu_s = sum(report["cpu_s"] for report in reports)
    return Lap(
        name,
        records,
        max(report["read_s"] for report in reports) - start_s,
        done_s,
        cpu_s,
        sum(report["peak_mb"] for report in reports),
        startup_s,
        max(0.0, busy_s - cpu_s) / done_s,
        (before_s + yardstick_s()) / 2,
        tuple(reports),
    )


def yardstick_s() -> float:
    """Return the CPU seconds of a fixed piece of similar work: decoding JSON to objects."""
    decode = msgspec.json.Decoder().decode
    text = b'{"event_id":"e43d881b9d92","event_type":"page_view","ts":1737418287759,"items":[1,2,3]}'
    begun_s = time.thread_time()
    for _ in range(10):
        made = [decode(text) for _ in range(10_000)]
    assert made
    return time.thread_time() - begun_s


def _spawn(python: str, script: str, task: Mapping[str, Any], errors: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [python, str(ROOT / "benchmarks" / script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    # a line and not an argument: it may contain a password, and arguments are visible to all users
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    return process


def _read_line(process: subprocess.Popen[str], start: str, log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return line
    tail = "\n".join(log.read_text().splitlines()[-15:])
    raise ShopstreamError(f"A measured process ended before it printed {start!r}:\n{tail}", f"Full log: {log}")


def _send_all(processes: Sequence[subprocess.Popen[str]], command: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(command + "\n")
        process.stdin.flush()


def _wait(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _kill(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()


def _busy_s() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))
