"""One pair of real servers for the whole test session, also under pytest-xdist, and which worker runs which file.

The controller (or the only process) names a data folder in an environment variable that its workers inherit. The first
test that needs the servers starts them there (`up` is a no-op for all others), and the controller stops them at the
end. Set SHOPTEST_HOME to the data folder of servers that run already, and they are used and left running.
"""
# ruff: noqa: E402 - the environment is set before libraries read it

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # the workers use all cores already: more threads of one, which wait for each other, only cost time
    for _variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")
# commands in processes of their own, of which there are hundreds, would compile the whole program each
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

import pytest
import structlog
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from elasticsearch import Elasticsearch
from hypothesis import HealthCheck, settings
from rich.console import Console
from xdist.scheduler import LoadFileScheduling

from shopstream.embedded import Endpoints, down, up
from shopstream.settings import Settings

HOME_VARIABLE = "SHOPTEST_HOME"
RETAINED_SETTINGS = ("SHOPSTREAM_CACHE", "SHOPSTREAM_MAVEN_URL")
"""Variables of the developer that tests should honour; all others would make them depend on the machine."""

TOGETHER = frozenset(f"tests/{name}" for name in ("cleaning", "faults", "panels", "security", "shop", "training"))
"""Folders whose files share servers, runs or models of their own: one worker runs them all, and makes these once."""

# how long an example takes is the machine's affair: compiled code may come from a cold cache, others may be at work
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

_home_of_session = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    for variable in [name for name in os.environ if name.startswith("SHOPSTREAM_") and name not in RETAINED_SETTINGS]:
        del os.environ[variable]
    if HOME_VARIABLE not in os.environ:
        home = Path(tempfile.mkdtemp(prefix="shopstream-tests-"))
        home.chmod(0o711)  # as root, Elasticsearch runs as another user, who has to reach its data
        os.environ[HOME_VARIABLE] = str(home)
        config.stash[_home_of_session] = home


def pytest_unconfigure(config: pytest.Config) -> None:
    home = config.stash.get(_home_of_session, None)
    if home is None:
        return  # a worker, or servers that are not ours
    try:
        down(Settings(home=home))
    finally:
        shutil.rmtree(home, ignore_errors=True)
        del os.environ[HOME_VARIABLE]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "campaign" not in config.option.markexpr:
        longer = [item for item in items if item.get_closest_marker("campaign")]
        config.hook.pytest_deselected(items=longer)
        items[:] = [item for item in items if item not in longer]
    for item in items:
        if "servers" in getattr(item, "fixturenames", ()):
            item.add_marker("servers")
    if hasattr(config, "workerinput"):
        slow = Counter(scope_of(item.nodeid) for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[scope_of(item.nodeid)])


def scope_of(nodeid: str) -> str:
    """The file or folder whose tests one worker runs."""
    file = nodeid.partition("::")[0]
    folder = file.rpartition("/")[0]
    return folder if folder in TOGETHER else file


class SlowFirst(LoadFileScheduling):
    """Files in the order of collection, in which those with slow tests come first: a slow one last runs alone."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SlowFirst | None:
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return SlowFirst(config, log)


@pytest.fixture(autouse=True)
def logging_of_the_test() -> Iterator[None]:
    """A command that runs in the process of its test configures the logging, which later tests must not inherit."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def server_settings() -> Settings:
    """The settings under which the shared servers run."""
    return Settings(home=Path(os.environ[HOME_VARIABLE]))


@pytest.fixture(scope="session")
def servers(server_settings: Settings) -> Endpoints:
    """The shared real Kafka and Elasticsearch. Use `run_name` for topics and indices, so that tests do not meet."""
    endpoints = up(server_settings, Console(stderr=True, quiet=True))
    _compact_often(AdminClient(endpoints.kafka.client_properties()))
    return endpoints


def _compact_often(admin: AdminClient) -> None:
    """Erasure waits for log compaction, which by default looks for work every 15 seconds."""
    entry = ConfigEntry("log.cleaner.backoff.ms", "500", incremental_operation=AlterConfigOpType.SET)
    broker = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    for future in admin.incremental_alter_configs([broker]).values():
        future.result(timeout=30)


@pytest.fixture
def run_name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A run of the test's own; its topics, groups and indices are removed afterwards."""
    name = f"t{uuid.uuid4().hex[:10]}"
    yield name
    if "servers" in request.fixturenames:
        _remove_run(request.getfixturevalue("servers"), name)


@pytest.fixture(scope="module")
def shared_run(servers: Endpoints) -> Iterator[str]:
    """A run that the tests of a file share."""
    name = f"t{uuid.uuid4().hex[:10]}"
    yield name
    _remove_run(servers, name)


def _remove_run(endpoints: Endpoints, run: str) -> None:
    """Hundreds of small indices would reach the node's limit of shards before the session ends."""
    admin = AdminClient(endpoints.kafka.client_properties())
    if topics := [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(f"{run}.")]:
        for future in admin.delete_topics(topics).values():
            future.result(timeout=30)
    with Elasticsearch(**endpoints.elasticsearch.client_options()) as client:
        if indices := list(client.indices.get(index=f"{run}-*", expand_wildcards="all", filter_path="*.aliases")):
            client.indices.delete(index=",".join(indices))
        for template in client.indices.get_index_template()["index_templates"]:
            if template["name"].startswith(f"{run}-"):
                client.indices.delete_index_template(name=template["name"])
