"""Starting and remembering, with stand-ins for the servers: what happens when a start goes wrong."""

import io
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest
from child_processes import children_that_run
from rich.console import Console

from features.errors import ShopstreamError
from shopstream.embedded import lifecycle, ports, process, process_identity, removal, state_file
from shopstream.embedded.artifacts import Artifact
from shopstream.embedded.process import Launch
from shopstream.embedded.process_identity import Identity
from shopstream.embedded.state_file import Record, ServerRecord
from shopstream.embedded.status import read_metrics
from shopstream.settings import Settings

LISTEN = """
import socket, sys, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listener.bind(("127.0.0.1", int(sys.argv[1])))
except OSError as error:
    sys.exit(f"java.net.BindException: {error.strerror}")
listener.listen()
time.sleep(60)
"""
QUIET = Console(quiet=True)


@dataclass
class FakeServer:
    """A program that listens on its port; `stolen` counts the starts that find it taken after it was chosen."""

    home: Path
    code: str = LISTEN
    stolen: int = 0
    name: str = "kafka"
    title: str = "Kafka"
    version: str = "1"
    preferred_port: int = 29_092
    inner_port: int = 29_093
    secure: bool = False

    def needed(self) -> tuple[Artifact, ...]:
        return ()

    def prepare(self, port: int, inner_port: int, console: Console, lock: int) -> Launch:
        code = self.code
        if self.stolen:
            self.stolen -= 1
            code = "import sys; sys.exit('java.net.BindException: Address already in use')"
        return Launch(
            [sys.executable, "-c", code, str(port)], {}, self.home, self.home / "logs" / "kafka.log", lock=lock
        )

    def is_healthy(self, port: int) -> bool:
        return ports.accepts(port)


def start(server: FakeServer, **settings: float) -> ServerRecord:
    change_log = lifecycle._ServerRecords(server.home, state_file.read(server.home))
    lifecycle._start_all([server], change_log, Settings(home=server.home, **settings), QUIET)
    entry = state_file.read(server.home).kafka
    assert entry is not None
    return entry


def end(entry: ServerRecord) -> None:
    assert entry.identity is not None
    assert process.stop(entry.identity, 10)


def test_started_server_is_recorded(tmp_path: Path) -> None:
    entry = start(FakeServer(tmp_path))
    assert entry.is_running()
    assert ports.accepts(entry.port)
    end(entry)
    assert not entry.is_running()


def test_restart_reuses_the_port(tmp_path: Path) -> None:
    first = start(FakeServer(tmp_path))
    end(first)
    again = start(FakeServer(tmp_path, preferred_port=29_500))
    end(again)
    assert again.port == first.port


def test_port_in_use_at_a_restart_is_replaced(tmp_path: Path) -> None:
    entry = start(FakeServer(tmp_path, stolen=2))
    assert entry.is_running()
    assert ports.accepts(entry.port)
    assert entry.port > 29_092
    end(entry)


def test_an_inner_port_in_use_at_a_restart_leaves_the_port_that_clients_know(tmp_path: Path) -> None:
    with socket.socket() as other:

        class Robbed(FakeServer):
            def prepare(self, port: int, inner_port: int, console: Console, lock: int) -> Launch:
                if self.stolen:
                    other.bind(("127.0.0.1", inner_port))
                    other.listen()
                return super().prepare(port, inner_port, console, lock)

        entry = start(Robbed(tmp_path, preferred_port=29_600, inner_port=29_700, stolen=1))
        end(entry)
    assert entry.port == 29_600
    assert entry.inner_port > 29_700


def test_ports_that_are_always_in_use_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ShopstreamError, match="Address already in use"):
        start(FakeServer(tmp_path, stolen=lifecycle.PORT_ATTEMPTS))


def test_server_that_exits_at_start_is_an_error_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(ShopstreamError, match=r"ended while starting(.|\n)*no memory for you") as caught:
        start(FakeServer(tmp_path, code="import sys; sys.exit('no memory for you')"))
    assert "doctor" in caught.value.remedy
    entry = state_file.read(tmp_path).kafka
    assert entry is not None
    assert entry.identity is None


def test_server_that_hangs_at_start_is_stopped(tmp_path: Path) -> None:
    code = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(ShopstreamError, match="was not healthy within 1 s"):
        start(FakeServer(tmp_path, code=code), start_timeout_s=1)
    pid = int(process.tail(tmp_path / "logs" / "kafka.log").split()[-1])
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_an_interrupted_start_is_undone(tmp_path: Path) -> None:
    server = FakeServer(tmp_path, code="import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)")
    change_log = lifecycle._ServerRecords(tmp_path, Record())
    change_log.interrupted.set()
    with pytest.raises(ShopstreamError, match="interrupted"):
        lifecycle._start_all([server], change_log, Settings(home=tmp_path), QUIET)
    entry = state_file.read(tmp_path).kafka
    assert entry is not None
    assert entry.identity is None
    assert not children_that_run("time.sleep(60)")


def test_stale_pid_is_detected(tmp_path: Path) -> None:
    reused = ServerRecord("4.1.0", 29_092, 29_093, Identity(os.getpid(), "of an earlier boot:1"))
    state_file.write(tmp_path, Record(kafka=reused))
    message = Console(file=io.StringIO(), width=200)
    change_log = lifecycle._ServerRecords(tmp_path, state_file.read(tmp_path))
    assert not lifecycle._runs(FakeServer(tmp_path), change_log, message)
    assert "was not stopped properly" in message.file.getvalue()
    with pytest.raises(ShopstreamError, match="Kafka is not running") as caught:
        lifecycle.endpoints(Settings(home=tmp_path))
    assert "shopstream up" in caught.value.remedy
    assert lifecycle.down(Settings(home=tmp_path)) == []  # and this process lives


SLOW = "import time; time.sleep(1)\n" + LISTEN


def left_behind(server: FakeServer) -> lifecycle._ServerRecords:
    """As by an `up` that was ended right after the start."""
    entry = lifecycle._choose_ports(server, lifecycle._ServerRecords(server.home, Record()))
    with process_identity.held(lifecycle.lock_file(server.home, server.name)) as lock:
        result = process.start(server.prepare(entry.port, entry.inner_port, QUIET, lock))
    state_file.write(server.home, Record(kafka=msgspec.structs.replace(entry, identity=result)))
    return lifecycle._ServerRecords(server.home, state_file.read(server.home))


def test_up_waits_for_a_running_server_that_is_not_ready(tmp_path: Path) -> None:
    server = FakeServer(tmp_path, code=SLOW)
    change_log = left_behind(server)
    assert lifecycle._runs(server, change_log, QUIET)
    entry = change_log.of("kafka")
    assert entry is not None
    assert not ports.accepts(entry.port)
    assert lifecycle._await_running(server, change_log, Settings(home=tmp_path), QUIET)
    assert ports.accepts(entry.port)
    end(entry)


def test_up_restarts_a_server_that_exits_before_it_is_ready(tmp_path: Path) -> None:
    server = FakeServer(tmp_path, code="import time; time.sleep(0.5)")
    change_log = left_behind(server)
    assert lifecycle._runs(server, change_log, QUIET)
    assert not lifecycle._await_running(server, change_log, Settings(home=tmp_path), QUIET)
    assert not lifecycle._runs(server, change_log, QUIET)


def test_up_reports_a_server_that_is_never_ready(tmp_path: Path) -> None:
    server = FakeServer(tmp_path, code="import time; print('stuck', flush=True); time.sleep(60)")
    change_log = left_behind(server)
    with pytest.raises(ShopstreamError, match=r"was not healthy(.|\n)*stuck") as caught:
        lifecycle._await_running(server, change_log, Settings(home=tmp_path, start_timeout_s=1), QUIET)
    assert "shopstream down" in caught.value.remedy
    entry = change_log.of("kafka")
    assert entry is not None
    assert entry.is_running()  # it may be at work on its log
    end(entry)


def test_state_file_reads_back_as_written_and_damage_is_named(tmp_path: Path) -> None:
    assert state_file.read(tmp_path) == Record()
    written = Record(kafka=ServerRecord("4.1.0", 1, 2, Identity(3, "boot:4")))
    state_file.write(tmp_path, written)
    assert state_file.read(tmp_path) == written
    (tmp_path / state_file.RECORD_FILE).write_text('{"kafka": 1}')
    with pytest.raises(ShopstreamError, match=r"servers\.json is damaged"):
        state_file.read(tmp_path)


def test_removal_deletes_data_folders_only(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    with pytest.raises(ShopstreamError, match="not a data folder"):
        removal.remove_data(Settings(home=precious))
    state_file.write(precious, Record(kafka=ServerRecord("1", 1, 2, Identity.of(os.getpid()))))
    with pytest.raises(ShopstreamError, match="still runs"):
        removal.remove_data(Settings(home=precious))
    state_file.write(precious, Record())
    removal.remove_data(Settings(home=precious))
    assert not precious.exists()


def test_status_reads_the_reports_of_its_run_only(tmp_path: Path) -> None:
    report = {"state": "running", "freshness_p50_ms": 800}
    for name in ("shop-features-0", "shop-b-features-0", "other-index-1"):
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    (tmp_path / "shop-index-0.json").write_text('{"sta')
    assert read_metrics(tmp_path, "shop") == {"features-0": report}
    assert read_metrics(tmp_path, "shop-b") == {"features-0": report}
    assert read_metrics(tmp_path / "absent", "shop") == {}
