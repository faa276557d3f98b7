"""The command, and the page beside the demo."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from rich.console import Console

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.client import connection, open_client
from consumers.index_definitions import run_definitions
from dashboards.web.app import Source
from features.errors import ShopstreamError
from shopstream.demo.demo import serve_page
from shopstream.demo.screen import Screen
from shopstream.embedded import elastic_endpoint
from shopstream.embedded.elastic_users import PAGE, READER, write_users
from shopstream.jobs.serve_dashboards import Listening, listen, serve_source
from shopstream.runtime import http_server
from shopstream.settings import Settings


def empty_search(*_):
    return {}


empty_search.many = lambda searches: [{} for _ in searches]


@pytest.fixture
def hasty(tmp_path, monkeypatch):
    """A page over nothing, whose clients must hurry; gives how to reach it."""
    monkeypatch.setattr(http_server, "HEAD_TIMEOUT_S", 1.0)
    monkeypatch.setattr(http_server, "ANSWER_TIMEOUT_S", 3.0)
    result = Source((), "some-run", empty_search, tmp_path, lambda: 0, time.monotonic)
    with serve_source(result, Listening(port=0)) as address:
        yield address, ("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))


def closed_within(client, seconds):
    client.settimeout(seconds)
    try:
        while client.recv(65_536):
            pass
        return True  # noqa: TRY300 - the end of the stream
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET /"])
def test_client_with_an_incomplete_request_head_is_closed(hasty, sent):
    with socket.create_connection(hasty[1]) as client:
        client.sendall(sent)
        assert closed_within(client, 10)


def trickle(client, seconds):
    """Sends a byte now and then; raises OSError when it is closed."""
    end_s = time.monotonic() + seconds
    for byte in itertools.cycle(b"X-Slow: 1\r\n"):
        client.sendall(bytes([byte]))
        time.sleep(0.1)
        assert time.monotonic() < end_s


def test_client_that_sends_single_bytes_slowly_is_closed(hasty):
    began_s = time.monotonic()
    with socket.create_connection(hasty[1]) as client, pytest.raises((ConnectionError, BrokenPipeError)):
        trickle(client, 10)
    assert time.monotonic() - began_s > 0.9


def test_incomplete_second_request_head_closes_the_connection(hasty):
    with socket.create_connection(hasty[1]) as client:
        client.sendall(b"GET /api/declaration HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /")
        assert closed_within(client, 10)


def test_request_is_served_among_silent_clients(hasty):
    with contextlib.ExitStack() as held:
        silent = [
            held.enter_context(socket.create_connection(hasty[1])) for _ in range(3 * http_server.CONNECTIONS_MAX)
        ]
        assert declared_run(hasty[0]) == "some-run"
        assert sum(not closed_within(client, 0.01) for client in silent) <= http_server.CONNECTIONS_MAX
        time.sleep(2)
        assert all(closed_within(client, 0.1) for client in silent)
    assert declared_run(hasty[0]) == "some-run"


def declared_run(address):
    with urllib.request.urlopen(f"{address}api/declaration", timeout=30) as answer:
        return json.load(answer)["run"]


def test_unknown_run_is_refused_with_the_names_of_existing_runs(servers, server_settings, run_name):
    with open_client(connection(servers)) as client:
        install(client, run_name, run_definitions(contact=False))
    environment = {**os.environ, "SHOPSTREAM_HOME": str(server_settings.home)}
    code = "from shopstream.cli.app import main; main()"
    command = [sys.executable, "-c", code, "dashboards", "serve", "--port", "0", "--run", f"{run_name}-x"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    message = " ".join(done.stderr.split())
    assert done.returncode == 1
    assert f"There is no run {run_name}-x in Elasticsearch" in message
    assert run_name in message.partition("Runs:")[2]


def test_missing_default_run_is_reported_with_the_names_of_existing_runs(servers, server_settings, run_name):
    with open_client(connection(servers)) as client:
        install(client, run_name, run_definitions(contact=False))
    environment = {
        **os.environ, "SHOPSTREAM_HOME": str(server_settings.home), "SHOPSTREAM_RUN": f"{run_name}-x",
    }  # fmt: skip
    code = "from shopstream.cli.app import main; main()"
    command = [sys.executable, "-c", code, "dashboards", "serve", "--port", "0"]
    serving = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert declared_run(serving.stdout.readline().strip()) == f"{run_name}-x"
    finally:
        serving.send_signal(signal.SIGINT)
        _, errors = serving.communicate(timeout=30)
    message = " ".join(errors.split())
    assert f"there is no run {run_name}-x yet" in message
    assert run_name in message.partition("selects one of:")[2]


def test_serve_command_runs_until_it_is_interrupted(servers, server_settings, run_name):
    with open_client(connection(servers)) as client:
        install(client, run_name, run_definitions(contact=False))
    environment = {**os.environ, "SHOPSTREAM_HOME": str(server_settings.home)}
    code = "from shopstream.cli.app import main; main()"
    command = [sys.executable, "-c", code, "dashboards", "serve", "--port", "0", "--run", run_name]
    serving = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = serving.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), serving.stderr.read()
        assert declared_run(address) == run_name
    finally:
        serving.send_signal(signal.SIGINT)
        _, errors = serving.communicate(timeout=30)
    assert (serving.returncode, "Traceback" in errors) == (0, False)


@pytest.fixture
def output():
    return io.StringIO()


@pytest.fixture
def screen(output):
    return Screen(Console(file=output, width=300))


def test_demo_serves_the_page_while_it_runs(servers, server_settings, screen, output):
    with contextlib.ExitStack() as page:
        address = serve_page(page, server_settings, screen)
        assert output.getvalue().split()[-1] == address
        assert declared_run(address) == server_settings.run
    with pytest.raises(OSError, match=r"refused"):
        declared_run(address)


def test_page_uses_another_port_when_the_default_one_is_in_use(servers, server_settings, screen):
    try:
        taken = listen(Listening())
    except ShopstreamError:
        taken = None  # another process has it already
    try:
        with contextlib.ExitStack() as page:
            address = serve_page(page, server_settings, screen)
            assert address.startswith("http://127.0.0.1:")
            assert f":{Listening().port}/" not in address
    finally:
        if taken is not None:
            taken.close()


def test_demo_continues_when_its_page_cannot_be_served(tmp_path, screen, output):
    with contextlib.ExitStack() as page:
        assert serve_page(page, Settings(home=tmp_path), screen) is None
    assert "no live page" in output.getvalue()
    assert "shopstream up" in output.getvalue()


# --- the user who only reads ------------------------------------------------------------------------------------------
def test_users_from_other_sources_are_unchanged(tmp_path):
    (tmp_path / "users").write_text("mine:hash\n")
    (tmp_path / "roles.yml").write_text("# a comment\nmine: {}\n")
    for password in ("one", "two"):
        write_users(tmp_path, f"admin-{password}", password, f"page-{password}")
    users = (tmp_path / "users").read_text().splitlines()
    assert users[0] == "mine:hash"
    assert [line.split(":")[0] for line in users] == ["mine", READER, PAGE, "elastic"]
    assert "two" not in "".join(users)
    roles = (tmp_path / "roles.yml").read_text()
    assert roles.startswith("# a comment\nmine: {}\n")
    roles_of = {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in roles.splitlines()[2:]}
    (indices,) = roles_of[READER]["indices"]
    assert indices["privileges"] == ["read", "view_index_metadata"]
    assert {"*-customers", "*-customers-000001", "*-events-????.??"} <= set(indices["names"])
    assert (tmp_path / "users_roles").read_text() == f"{READER}:{READER}\n{PAGE}:{PAGE}\nsuperuser:elastic\n"


def test_external_elasticsearch_uses_the_connection_of_the_settings(tmp_path):
    settings = Settings(
        home=tmp_path, elasticsearch={"url": "https://search.example.com", "username": "shop-read", "password": "x"}
    )
    assert elastic_endpoint(settings, read_only=True).username == "shop-read"


def test_missing_servers_give_an_error_that_names_up(tmp_path):
    with pytest.raises(ShopstreamError, match="not running") as error:
        elastic_endpoint(Settings(home=tmp_path), read_only=True)
    assert "shopstream up" in error.value.remedy
