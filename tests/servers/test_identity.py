"""Who a process is: steps of the wall clock, records of format 1, records that are lost, locks."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from features.errors import ShopstreamError
from shopstream.embedded import lifecycle, process, process_identity, removal, state_file
from shopstream.embedded.process import Launch
from shopstream.embedded.process_identity import Identity
from shopstream.embedded.state_file import Record, ServerRecord
from shopstream.settings import KafkaSettings, Settings

QUIET = Console(quiet=True)
STEPS_S = [1, -1, 3600, -3600, 86_400, -86_400]
CAN_MOUNT = sys.platform == "linux" and shutil.which("unshare") and os.geteuid() == 0
PROBE = """
import sys
from pathlib import Path
import psutil
from shopstream.embedded import state_file
entry = state_file.read(Path(sys.argv[1])).kafka
print(entry.is_running(), round(psutil.Process(entry.identity.pid).create_time()))
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Launch]:
    """How to start a process whose command line ends as that of the data folder's Kafka."""
    (tmp_path / "kafka").mkdir()
    code = "import time; print('ready', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, "kafka.Kafka", str(tmp_path / "kafka" / "server.properties")]
    launch = Launch(command, {}, tmp_path, tmp_path / "logs" / "kafka.log")
    yield launch
    if (left := lifecycle.running(tmp_path, "kafka", None)) is not None:
        process.stop(left, 5)


def started(launch: Launch, home: Path) -> Identity:
    result = process.start(launch)
    state_file.write(home, Record(kafka=ServerRecord("4.1.0", 1, 2, result)))
    deadline = time.monotonic() + 20
    while "ready" not in process.tail(launch.log):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


@pytest.mark.skipif(not CAN_MOUNT, reason="only root can give a process another /proc/stat")
@pytest.mark.parametrize("step_s", STEPS_S)
def test_clock_step_does_not_change_a_process_identity(step_s: int, broker: Launch, tmp_path: Path) -> None:
    started(broker, tmp_path)

    def probe(*before: str) -> tuple[str, int]:
        command = [*before, sys.executable, "-c", PROBE, str(tmp_path)]
        running, created = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return running, int(created)

    # what a step of the clock changes for a process: the time of boot, which all others are counted from
    lines = Path("/proc/stat").read_text().splitlines()
    stepped = [f"btime {int(line.split()[1]) + step_s}" if line.startswith("btime") else line for line in lines]
    (tmp_path / "stat").write_text("\n".join(stepped) + "\n")
    mount = f'mount --bind {tmp_path / "stat"} /proc/stat && exec "$@"'
    _, created = probe()
    running, created_after = probe("unshare", "-m", "sh", "-c", mount, "sh")
    assert abs(created_after - created - step_s) <= 1  # the step was seen
    assert running == "True"


def test_process_with_brackets_in_its_name_is_parsed(tmp_path: Path) -> None:
    program = tmp_path / "a) R (b"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    child = subprocess.Popen([program, "60"])
    try:
        result = Identity.of(child.pid)
        assert result.process() is not None
        assert Identity(child.pid, result.start + "0").process() is None
    finally:
        child.kill()
        child.wait()
    assert result.process() is None


def old_form(home: Path, pid: int) -> None:
    """In format 1, by a clock that has been set since."""
    entry = {"version": "4.1.0", "port": 1, "inner_port": 2, "identity": {"pid": pid, "create_time": 12.5}}
    (home / state_file.RECORD_FILE).write_text(json.dumps({"kafka": entry, "elasticsearch": None}))


def test_state_file_of_format_1_retains_its_running_server(broker: Launch, tmp_path: Path) -> None:
    result = started(broker, tmp_path)
    old_form(tmp_path, result.pid)
    known = state_file.read(tmp_path).kafka
    assert known is not None
    assert known.identity == result
    assert known.is_running()
    with pytest.raises(ShopstreamError, match="still runs"):
        removal.remove_data(Settings(home=tmp_path))
    assert [stopped.name for stopped in lifecycle.down(Settings(home=tmp_path))] == ["kafka"]
    assert result.process() is None


def test_state_file_of_format_1_matches_no_foreign_process(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    child = subprocess.Popen(["sleep", "60"])
    try:
        old_form(tmp_path / "home", child.pid)
        known = state_file.read(tmp_path / "home").kafka
        assert known is not None
        assert not known.is_running()
        assert lifecycle.down(Settings(home=tmp_path / "home")) == []
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("lost", [True, False])
def test_server_missing_from_the_state_file_is_detected(lost: bool, broker: Launch, tmp_path: Path) -> None:
    """As after an `up` that was killed between start and note, or after the record was deleted."""
    result = started(broker, tmp_path)
    entry = ServerRecord("4.1.0", 1, 2)
    state_file.write(tmp_path, Record() if lost else Record(kafka=entry))
    change_log = lifecycle._ServerRecords(tmp_path, state_file.read(tmp_path))
    server = lifecycle.Servers.of(Settings(home=tmp_path), change_log.known).kafka
    assert server is not None
    if lost:
        with pytest.raises(ShopstreamError, match="lacks it") as caught:
            lifecycle._runs(server, change_log, QUIET)
        assert "shopstream down" in caught.value.remedy
    else:
        assert lifecycle._runs(server, change_log, QUIET)
        known = state_file.read(tmp_path).kafka
        assert known is not None
        assert known.identity == result
    with pytest.raises(ShopstreamError, match="still runs"):
        removal.remove_data(Settings(home=tmp_path))
    assert [stopped.name for stopped in lifecycle.down(Settings(home=tmp_path))] == ["kafka"]
    assert result.process() is None


def test_server_of_another_data_folder_is_not_matched(broker: Launch, tmp_path: Path) -> None:
    started(broker, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    assert lifecycle.running(other, "kafka", None) is None
    assert lifecycle.running(tmp_path, "elasticsearch", None) is None


def test_lock_is_held_while_the_server_runs(tmp_path: Path) -> None:
    path = lifecycle.lock_file(tmp_path, "kafka")
    with process_identity.held(path) as lock:
        code = "import time; time.sleep(60)"
        result = process.start(Launch([sys.executable, "-c", code], {}, tmp_path, tmp_path / "log" / "x", lock=lock))
    try:
        with pytest.raises(ShopstreamError, match="holds") as caught, process_identity.held(path, wait_s=0.2):
            pass
        assert str(path) in caught.value.remedy
        state_file.write(tmp_path, Record())
        with pytest.raises(ShopstreamError, match="holds"):
            removal.remove_data(Settings(home=tmp_path))
        assert tmp_path.exists()
    finally:
        process.stop(result, 5)
    with process_identity.held(path, wait_s=0):
        pass


def test_lock_is_awaited_while_a_tool_exits(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process_identity.held(path) as lock:
        subprocess.Popen(["sleep", "0.5"], pass_fds=[lock])
    with process_identity.held(path):
        pass


def test_no_server_is_started_while_the_lock_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_identity, "LOCK_WAIT_S", 0)
    settings = Settings(home=tmp_path, kafka=KafkaSettings(port=29_092))
    change_log = lifecycle._ServerRecords(tmp_path, Record())
    server = lifecycle.Servers.of(settings, change_log.known).kafka
    assert server is not None
    with process_identity.held(lifecycle.lock_file(tmp_path, "kafka")), pytest.raises(ShopstreamError, match="holds"):
        lifecycle._start_all([server], change_log, settings, QUIET)
    assert not (tmp_path / "kafka").exists()
