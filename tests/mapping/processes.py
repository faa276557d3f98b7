"""Kills the workers of `map run`."""

from __future__ import annotations

import signal
import time

import psutil


def kill_workers(process, rng, times=5):
    """Kill a worker several times, each after the parent has restarted it, and stop the command."""

    def has_workers():
        assert process.poll() is None, process.communicate()[1]
        return len(psutil.Process(process.pid).children()) == 2

    try:
        for _ in range(times):
            time.sleep(rng.uniform(1, 4))
            wait_for(has_workers)
            psutil.Process(process.pid).children()[int(rng.integers(2))].kill()
        wait_for(has_workers)
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=60)
        assert process.returncode == 0, output
    finally:
        process.kill()


def wait_for(condition, timeout_s=60):
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.1)
