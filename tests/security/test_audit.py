"""The audit's verdicts: what could not be looked up is never taken for clean."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("audit", ROOT / "tools" / "audit.py")
KNOWN = {"name": "a", "version": "1", "vulns": []}
FAULTY = {"name": "b", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.fixture(scope="module")
def audit():
    module = importlib.util.module_from_spec(SPEC)
    import sys  # noqa: PLC0415

    sys.modules["audit"] = module  # dataclasses look their module up
    SPEC.loader.exec_module(module)
    yield module
    del sys.modules["audit"]


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ([KNOWN], None, 0),
        ([KNOWN, FAULTY], None, 1),
        ([FAULTY, SKIPPED], [SKIPPED], 1),
        ([KNOWN, SKIPPED], [KNOWN, SKIPPED], 3),
        ([SKIPPED], [KNOWN], 0),
        ([], [], 3),
    ],
)
def test_exit_code_follows_the_audit_report(audit, monkeypatch, capsys, first, second, code):
    reports = iter([first, second])
    monkeypatch.setattr(audit, "look_up", lambda _lock, _service: audit.read_report({"dependencies": next(reports)}))
    assert audit.audit_dependencies([Path("x.lock")]) == code
    output = capsys.readouterr().out
    assert ("NOT AUDITED" in output) is (code == 3)
    assert ("X-1" in output) is (code == 1)


def test_every_lock_file_is_audited(audit):
    assert {"dev.lock", "image.lock"} <= {path.name for path in audit.LOCKS}


def test_unavailable_audit_service_is_an_error(audit, monkeypatch):
    done = audit.subprocess.CompletedProcess([], 1, "", "Traceback\nConnectionError: (Caused by nobody)\n")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    assert audit.audit_dependencies([Path("x.lock")]) == 3
