"""Background processes: detached, recognised, stopped."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from features.errors import ShopstreamError
from shopstream.embedded import process
from shopstream.embedded.process import Launch
from shopstream.embedded.process_identity import Identity

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


def launch(tmp_path: Path, code: str) -> Launch:
    return Launch([sys.executable, "-c", code], {"SECRET_OF_TEST": "1"}, tmp_path, tmp_path / "logs" / "x.log")


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in process.tail(log):
        assert time.monotonic() < deadline, process.tail(log)
        time.sleep(0.02)


def test_process_runs_in_its_own_session_with_the_given_environment_only(tmp_path: Path) -> None:
    code = "import os, time; print(sorted(os.environ), os.getsid(0) == os.getpid(), flush=True); time.sleep(60)"
    start = launch(tmp_path, code)
    identity = process.start(start)
    try:
        wait_for(start.log, "True")
        assert "PYTEST_CURRENT_TEST" not in process.tail(start.log)
        assert identity.process() is not None
    finally:
        assert process.stop(identity, 10)
    assert identity.process() is None


def test_process_that_ignores_sigterm_is_killed_and_reported(tmp_path: Path) -> None:
    start = launch(tmp_path, STUBBORN)
    identity = process.start(start)
    wait_for(start.log, "ready")
    assert process.stop(identity, 0.3) is False
    assert identity.process() is None


def test_child_processes_end_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]);"
        "print('child', child.pid, flush=True); time.sleep(60)"
    )
    start = launch(tmp_path, code)
    identity = process.start(start)
    wait_for(start.log, "ready")
    child = int(process.tail(start.log).split("child ")[1].split()[0])
    assert process.stop(identity, 0.3) is False
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_later_process_with_the_same_pid_has_another_identity() -> None:
    me = Identity.of(os.getpid())
    assert me.process() is not None
    boot, _, ticks = me.start.rpartition(":")
    for start in (f"{boot}:{int(ticks) - 1}", f"another-boot:{ticks}", ""):
        earlier = Identity(me.pid, start)
        assert earlier.process() is None
        assert process.stop(earlier, 1)  # and we are still here


def test_a_zombie_is_not_running() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    identity = Identity.of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity.process() is None
    child.wait()


def test_missing_program_is_an_error(tmp_path: Path) -> None:
    absent = Launch([str(tmp_path / "absent")], {}, tmp_path, tmp_path / "x.log")
    with pytest.raises(ShopstreamError, match="could not be started"):
        process.start(absent)


def test_error_of_a_tool_holds_its_output_and_not_its_input(tmp_path: Path) -> None:
    start = launch(tmp_path, "")
    command = [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit('no such keystore')"]
    with pytest.raises(ShopstreamError, match="no such keystore") as caught:
        process.run(command, start, stdin="geheim")
    assert "geheim" not in str(caught.value)


def test_long_log_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_BYTES_MAX", 10)
    start = launch(tmp_path, "")
    start.log.parent.mkdir()
    start.log.write_text("of an earlier start\n")
    process.stop(process.start(start), 5)
    assert start.log.with_suffix(".log.1").read_text() == "of an earlier start\n"


def test_tail_returns_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert process.tail(log, 2) == "line 9998\nline 9999"
    assert process.tail(tmp_path / "absent") == ""


def test_logs_are_private_under_any_umask(tmp_path: Path) -> None:
    start = launch(tmp_path, "")
    start.log.parent.mkdir()
    start.log.touch(0o644)  # readable by others
    before = os.umask(0)
    try:
        process.stop(process.start(start), 5)
    finally:
        os.umask(before)
    assert stat.S_IMODE(start.log.stat().st_mode) == 0o600
    assert stat.S_IMODE(start.log.parent.stat().st_mode) == 0o700
