"""The health check of containers: each kind of target, well and not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shopstream.runtime import probe


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.strip("/")))
        self.end_headers()
        self.wfile.write(b"why it is so")

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(("status", "well"), [(200, True), (204, True), (302, False), (404, False), (503, False)])
def test_http_probe_succeeds_for_healthy_statuses_only(port, status, well, capsys):
    assert probe.main([f"http://127.0.0.1:{port}/{status}"]) == (0 if well else 1)
    assert (capsys.readouterr().out == "") is well


def test_http_probe_prints_the_reason_of_an_unhealthy_target(port, capsys):
    probe.main([f"http://127.0.0.1:{port}/503"])
    assert "503 why it is so" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_probe_of_a_closed_port_fails(kind, closed_port):
    assert probe.main([f"{kind}://127.0.0.1:{closed_port}"]) == 1


def test_tcp_probe_of_an_open_port_succeeds(port):
    assert probe.main([f"tcp://127.0.0.1:{port}"]) == 0


BEHIND = "written 61 s ahead of the clock, which was set back: nothing has been written since"


@pytest.mark.parametrize(
    ("age_s", "message"), [(60, None), (61, "written 61 s ago, the bound is 60 s"), (-60, None), (-61, BEHIND)]
)
def test_file_probe_succeeds_up_to_the_maximum_age(tmp_path, age_s, message):
    file = tmp_path / "alive"
    file.touch()
    os.utime(file, (1_000, 1_000))
    assert probe.problem(f"fresh:{file}:60", lambda: 1_000 + age_s) == message


def test_file_probe_of_a_missing_file_fails(tmp_path):
    assert probe.main([f"fresh:{tmp_path / 'none'}:60"]) == 1


def test_probe_succeeds_when_one_of_several_files_is_fresh(port):
    well, sick = f"http://127.0.0.1:{port}/200", f"http://127.0.0.1:{port}/500"
    assert probe.main([well, well]) == 0
    assert probe.main([well, sick]) == 1


@pytest.mark.parametrize("target", ["ftp://x", "tcp://nowhere", "fresh:/tmp/x:soon", "fresh"])
def test_invalid_target_is_a_usage_error(target):
    assert probe.main([target]) == 2


def test_probe_module_reads_its_target_from_the_environment(port):
    call = [sys.executable, "-m", "shopstream.runtime.probe"]
    for probed, code in ((f"http://127.0.0.1:{port}/200", 0), (f"http://127.0.0.1:{port}/500", 1), ("", 0)):
        environment = {**os.environ, "PROBE": probed}
        assert subprocess.run(call, env=environment, capture_output=True, check=False).returncode == code
