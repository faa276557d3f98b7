"""The log of the consumers in a container: a person reads it, so the figures of a role come at a human rate."""

from __future__ import annotations

import structlog

from shopstream.runtime import run_workers


def test_progress_is_logged_twice_a_minute(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(run_workers.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(run_workers.worker_tables, "json_lines", lambda _: [(role, {"role": role}) for role in "abc"])
    with structlog.testing.capture_logs() as lines, run_workers._lines() as show:
        for second in range(1, 121):
            now_s[0] = float(second)
            show([])
    assert len(lines) == 4 * 3
    assert {line["role"] for line in lines} == set("abc")
