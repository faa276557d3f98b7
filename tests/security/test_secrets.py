"""Secrets: in no log, no output, no command line, no checkpoint, and in no file that others can read."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import psutil
import pytest
from consume.command_line import call
from security.pair import ELASTIC_PASSWORD, KAFKA_PASSWORD, secrets_of, variables
from security.watched import STARTED, files, holding

from shopstream.embedded import state_file

WRONG = "wr0ng-but-still-s3cret"


@pytest.fixture(scope="module")
def secrets(world, secure_settings):
    return [*secrets_of(secure_settings.home), KAFKA_PASSWORD, ELASTIC_PASSWORD, WRONG]


def test_printed_text_holds_no_secret(world, secrets):
    assert [word for word in secrets if word in world.output] == []


def test_no_command_line_of_a_process_holds_a_secret(world, secrets):
    assert len(world.seen) > 10
    assert [line for line in world.seen | STARTED for word in secrets if word.encode() in line] == []


def test_no_file_of_the_run_holds_a_secret(world, secrets):
    stored = list(files(world.home))
    assert any("logs" in path.parts for path in stored)
    assert any("state" in path.parts for path in stored)
    assert holding(world.home, secrets) == {}


def test_server_files_with_secrets_are_private(secure, secure_settings, secrets):
    result = holding(secure_settings.home, secrets)
    assert result
    for path in result:
        assert _is_closed(path, secure_settings.home), path
    assert not any("logs" in path.parts for path in result)


def test_keys_are_private(secure, secure_settings):
    home = secure_settings.home
    for path in [home / "secrets" / "server.p12", (home / "elasticsearch").resolve() / "config" / "server.p12"]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert b"PRIVATE" not in (home / "ca.pem").read_bytes()
    assert not (home / "kafka" / "format.args").exists()


def _is_closed(path: Path, home: Path) -> bool:
    """Neither the file nor all folders on the way let others in."""
    way = [path, *(parent for parent in path.parents if parent.is_relative_to(home) or home not in parent.parents)]
    return any(stat.S_IMODE(location.stat().st_mode) & 0o007 == 0 for location in way[:-1])


def test_environment_of_the_servers_holds_no_secret(secure, secure_settings, secrets):
    known = state_file.read(secure_settings.home)
    for entry in (known.kafka, known.elasticsearch):
        main = psutil.Process(entry.identity.pid)
        for process in [main, *main.children(recursive=True)]:
            given = Path(f"/proc/{process.pid}/environ").read_bytes()
            assert [word for word in secrets if word.encode() in given] == []


def test_checkpoints_and_archive_are_private(world):
    written = [path for path in files(world.home) if {"state", "archive"}.intersection(path.parts)]
    assert written
    assert [path for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


LONGER = pytest.mark.campaign
WRONG_SETTINGS = [
    pytest.param({"kafka": {"sasl.password": WRONG}}, ["--debug", "consume"], id="Kafka password"),
    pytest.param(
        {"kafka": {"sasl.password": WRONG, "debug": "security,conf"}}, ["--debug", "status"], id="librdkafka debug"
    ),
    pytest.param({"kafka": {"sasl.pasword": WRONG}}, ["--debug", "consume"], id="misspelt property", marks=LONGER),
    pytest.param({"elastic": {"password": WRONG}}, ["--debug", "consume"], id="password"),
    pytest.param(
        {"elastic": {"password": None, "username": None, "api_key": WRONG}},
        ["--debug", "status"],
        id="key",
        marks=LONGER,
    ),
    pytest.param(
        {"elastic": {"password": None, "username": None, "options": json.dumps({"api_key": WRONG})}},
        ["status"],
        id="key as an option",
        marks=LONGER,
    ),
    pytest.param(
        {"elastic": {"options": json.dumps({"bearer_atuh": WRONG})}}, ["--debug", "consume"], id="misspelt option"
    ),
    pytest.param(
        {"elastic": {"options": json.dumps({"headers": {"authorization": f"Bearer {WRONG}"}})}},
        ["status"],
        id="header",
        marks=LONGER,
    ),
    pytest.param(
        {"elastic": {"options": f'{{"api_key": "{WRONG}'}}, ["--debug", "status"], id="broken JSON", marks=LONGER
    ),
    pytest.param({"elastic": {"password_file": f"/nowhere/{os.getpid()}"}}, ["status"], id="no file", marks=LONGER),
]


@pytest.mark.parametrize(("changes", "arguments"), WRONG_SETTINGS)
def test_error_does_not_repeat_a_wrong_secret(secure, tmp_path, changes, arguments):
    done = call(arguments, variables(tmp_path, secure, **changes), 60)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert WRONG not in done.stdout + done.stderr
    assert secure.elasticsearch.password not in done.stdout + done.stderr
    assert secure.kafka.properties["sasl.password"] not in done.stdout + done.stderr
    assert holding(tmp_path, [WRONG]) == {}


def test_password_in_a_url_is_used_and_not_shown(secure, tmp_path):
    elastic = secure.elasticsearch
    host = elastic.url.removeprefix("https://")
    for password, code in ((elastic.password, 0), (WRONG, 1)):
        url = f"https://{elastic.username}:{password}@{host}"
        result = variables(tmp_path, secure, elastic={"url": url, "username": None, "password": None})
        done = call(["status", "--json"], result, 60)
        assert done.returncode == code, done.stdout + done.stderr
        assert password not in done.stdout + done.stderr
