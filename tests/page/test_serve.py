"""The command, and the page beside the demo."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from rich.console import Console

from features.errors import ShopstreamError
from shopstream.demo_page import page
from shopstream.demo_screen import Screen
from shopstream.servers import elastic_reader
from shopstream.servers.elastic_reader import READER, write_reader
from shopstream.serving import Listening, bound
from shopstream.settings import Settings


def declared_run(address):
    with urllib.request.urlopen(f"{address}api/declaration", timeout=30) as answer:
        return json.load(answer)["run"]


def test_the_command_serves_until_it_is_interrupted(servers, server_settings):
    environment = {**os.environ, "SHOPSTREAM_HOME": str(server_settings.home)}
    code = "from shopstream.cli import main; main()"
    command = [sys.executable, "-c", code, "dashboards", "serve", "--port", "0", "--run", "some-run"]
    serving = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = serving.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), serving.stderr.read()
        assert declared_run(address) == "some-run"
    finally:
        serving.send_signal(signal.SIGINT)
        _, errors = serving.communicate(timeout=30)
    assert "Traceback" not in errors


@pytest.fixture
def told():
    return io.StringIO()


@pytest.fixture
def screen(told):
    return Screen(Console(file=told, width=300))


def test_the_demo_serves_it_while_it_runs(servers, server_settings, screen, told):
    with page(server_settings, screen, wanted=True) as show:
        address = told.getvalue().split()[-1]
        assert declared_run(address) == server_settings.run
        show()  # no terminal, no browser
    with pytest.raises(OSError, match=r"refused"):
        declared_run(address)


def test_another_port_is_taken_where_the_usual_one_is_not_free(servers, server_settings, screen, told):
    try:
        taken = bound(Listening())
    except ShopstreamError:
        taken = None  # somebody else has it already
    try:
        with page(server_settings, screen, wanted=True):
            assert f":{Listening().port}/" not in told.getvalue()
            assert "http://127.0.0.1:" in told.getvalue()
    finally:
        if taken is not None:
            taken.close()


def test_a_demo_without_a_page_goes_on(tmp_path, screen, told):
    with page(Settings(home=tmp_path), screen, wanted=False) as show:
        show()
    assert told.getvalue() == ""
    with page(Settings(home=tmp_path), screen, wanted=True) as show:
        show()
    assert "no live page" in told.getvalue()
    assert "shopstream up" in told.getvalue()


# --- the user who only reads ------------------------------------------------------------------------------------------
def test_users_of_others_stay(tmp_path):
    (tmp_path / "users").write_text("mine:hash\n")
    (tmp_path / "roles.yml").write_text("# a comment\nmine: {}\n")
    for password in ("one", "two"):
        write_reader(tmp_path, password)
    users = (tmp_path / "users").read_text().splitlines()
    assert users[0] == "mine:hash"
    assert [line.split(":")[0] for line in users] == ["mine", READER]
    assert "two" not in users[1]
    roles = (tmp_path / "roles.yml").read_text()
    assert roles.startswith("# a comment\nmine: {}\n")
    assert json.loads(roles.splitlines()[-1].removeprefix(f"{READER}: "))["indices"] == [
        {"names": ["*-*"], "privileges": ["read", "view_index_metadata"]}
    ]
    assert (tmp_path / "users_roles").read_text() == f"{READER}:{READER}\n"


def test_an_external_elasticsearch_is_asked_as_the_settings_say(tmp_path):
    settings = Settings(
        home=tmp_path, elasticsearch={"url": "https://search.example.com", "username": "shop-read", "password": "x"}
    )
    assert elastic_reader(settings).username == "shop-read"


def test_who_has_no_servers_is_told_to_start_them(tmp_path):
    with pytest.raises(ShopstreamError, match="not running") as error:
        elastic_reader(Settings(home=tmp_path))
    assert "shopstream up" in error.value.remedy
