from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from rich.console import Console
from security.pair import add_kafka_users, clear, foreign_authority, write_elastic_users
from security.watched import STARTED, command_lines
from security.world import build

from shopstream.embedded import down, up
from shopstream.settings import ElasticsearchSettings, KafkaSettings, Settings

KAFKA_USERS = {
    "producer": "produce", "mapper": "map", "consumer": "consume", "notifier": "notify", "watcher": "watch",
    "owner": "admin",
}  # fmt: skip
ELASTIC_USERS = {"writer": "write", "reader": "read", "owner": "admin"}
HOME_VARIABLE = "SHOPTEST_SECURE_HOME"
"""A data folder whose secure servers are used and left running: for who writes tests here."""


@pytest.fixture(scope="session")
def secure_settings():
    stored = os.environ.get(HOME_VARIABLE)
    home = Path(stored) if stored else Path(tempfile.mkdtemp(prefix="shopstream-secure-"))
    home.mkdir(exist_ok=True)
    home.chmod(0o711)
    settings = Settings(
        home=home,
        secure=True,
        kafka=KafkaSettings(heap="256m"),
        elasticsearch=ElasticsearchSettings(heap="512m"),
    )
    yield settings
    if not stored:
        down(settings)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def secure(secure_settings):
    """Both servers with TLS and passwords, and a user for each duty; as `up` makes them."""
    fresh = not (secure_settings.home / "servers.json").is_file()
    if fresh:
        write_elastic_users(secure_settings.home / "elasticsearch", ELASTIC_USERS)
    with command_lines() as seen:
        endpoints = up(secure_settings, Console(quiet=True))
    STARTED.update(seen)
    if not fresh:
        clear(endpoints)
    if fresh:
        add_kafka_users(endpoints.kafka.client_properties(), KAFKA_USERS)
    return endpoints


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    return foreign_authority(tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="session")
def world(secure, tmp_path_factory):
    """A small shop that has gone the whole way through the secure pair."""
    return build(secure, tmp_path_factory.mktemp("world"))
