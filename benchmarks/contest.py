"""Starting measured processes, letting them begin together, and adding up what they tell."""

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
QUIET_S = 0.3
"""Between ready and go, so that what joining the group has set off is over."""


@dataclass(frozen=True, slots=True)
class Lap:
    """One measurement; of several processes the sums, and the times from the first start to the last end.

    Attributes:
        records: events that were to be read.
        read_s: until all were applied.
        done_s: until everything was also written, acknowledged and committed.
        cpu_s: user and system time of the processes from the start to `done`.
        peak_mb: highest resident memory, summed over the processes.
        startup_s: from the start of the process until it was ready to read.
        others_cores: processor cores that everything else on the machine used meanwhile, brokers included.
        yardstick_s: CPU seconds of a fixed piece of work, before and after: a core is not always as fast.
        figures: what each process tells beside.
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
        """Events a second, until everything is durable."""
        return self.records / self.done_s

    @property
    def read_rate(self) -> float:
        """Events a second, until all are applied."""
        return self.records / self.read_s

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds a million events."""
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
        ShopstreamError: a process failed; the message has the end of what it wrote.
    """
    with log.open("a") as errors:
        begun_s = time.monotonic()
        processes = [_spawn(python, script, task, errors) for task in tasks]
        watchdog = threading.Timer(TIMEOUT_S, _kill, (processes,))
        watchdog.start()
        try:
            for process in processes:
                _hear(process, "ready", log)
            startup_s = time.monotonic() - begun_s
            time.sleep(QUIET_S)
            before_s = yardstick_s()
            busy_s = _busy_s()
            _tell(processes, "go")
            for process in processes:
                _hear(process, "read", log)
            _tell(processes, "finish")
            told = [json.loads(_hear(process, "{", log)) for process in processes]
            busy_s = _busy_s() - busy_s
        finally:
            watchdog.cancel()
            for process in processes:
                _end(process)
    start_s = min(one["started_s"] for one in told)
    done_s = max(one["done_s"] for one in told) - start_s
    cpu_s = sum(one["cpu_s"] for one in told)
    return Lap(
        name,
        records,
        max(one["read_s"] for one in told) - start_s,
        done_s,
        cpu_s,
        sum(one["peak_mb"] for one in told),
        startup_s,
        max(0.0, busy_s - cpu_s) / done_s,
        (before_s + yardstick_s()) / 2,
        tuple(told),
    )


def yardstick_s() -> float:
    """CPU seconds of a fixed piece of work like that of the measured: making objects out of JSON."""
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
    # a line and not an argument: it may hold a password, and arguments are seen by everyone
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    return process


def _hear(process: subprocess.Popen[str], start: str, log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return line
    tail = "\n".join(log.read_text().splitlines()[-15:])
    raise ShopstreamError(f"A measured process ended before it said {start!r}:\n{tail}", f"The whole of it: {log}")


def _tell(processes: Sequence[subprocess.Popen[str]], word: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(word + "\n")
        process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> None:
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
