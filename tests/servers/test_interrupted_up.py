"""The real servers when `up` is ended at each of its steps, in a data folder whose name has letters beyond ASCII."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from shopstream import embedded
from shopstream.embedded import artifacts, elasticsearch, kafka
from shopstream.settings import ElasticsearchSettings, KafkaSettings, Settings

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.xdist_group("disturbed")]
COMMAND = [sys.executable, "-c", "from shopstream.cli.app import main; main()"]
WAIT_S = 180


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A data folder of its own, and a cache that holds the downloads but no unpacked server."""
    top = Path(tempfile.mkdtemp(prefix="shopstream-disturbed-"))
    top.chmod(0o711)
    downloads = Settings().cache
    lock = artifacts.read_lock()
    for one in (*lock.kafka, *lock.elasticsearch):
        if one.path(downloads).is_file():
            one.path(top / "cache").parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one.path(downloads), one.path(top / "cache"))
    result = Settings(
        home=top / "hö mé",
        cache=top / "cache",
        kafka=KafkaSettings(heap="256m", port=19_092),
        elasticsearch=ElasticsearchSettings(heap="512m", port=19_200),
    )
    yield result
    embedded.down(result)
    shutil.rmtree(top)


def command(settings: Settings, *words: str) -> subprocess.Popen[str]:
    own = {
        "SHOPSTREAM_HOME": str(settings.home),
        "SHOPSTREAM_CACHE": str(settings.cache),
        "SHOPSTREAM_KAFKA__HEAP": settings.kafka.heap,
        "SHOPSTREAM_KAFKA__PORT": str(settings.kafka.port),
        "SHOPSTREAM_ELASTICSEARCH__HEAP": settings.elasticsearch.heap,
        "SHOPSTREAM_ELASTICSEARCH__PORT": str(settings.elasticsearch.port),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.Popen(
        [*COMMAND, *words],
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=settings.cache,
    )


def succeed(settings: Settings, *words: str) -> str:
    running = command(settings, *words)
    output, _ = running.communicate(timeout=2 * WAIT_S)
    assert running.returncode == 0, output
    return output


def command_lines() -> list[list[str]]:
    entries = []
    for process in psutil.process_iter():
        try:
            entries.append(process.cmdline())
        except psutil.Error:
            continue
    return entries


def unpacking(settings: Settings) -> bool:
    return any(settings.cache.glob(".unpack-*/*"))


def formatting(settings: Settings) -> bool:
    config = f"--config={settings.home / 'kafka' / 'server.properties'}"
    return any(config in line for line in command_lines())


def kafka_starting(settings: Settings) -> bool:
    return any(kafka.owns(settings.home, line) for line in command_lines())


def elasticsearch_starting(settings: Settings) -> bool:
    return any(elasticsearch.owns(settings.home, line) for line in command_lines())


def processes(settings: Settings) -> list[list[str]]:
    """All of Java that names the data folder."""
    return [line for line in command_lines() if line and "java" in line[0] and str(settings.home) in " ".join(line)]


def end_up_while(reached: Callable[[Settings], bool], settings: Settings, number: int) -> None:
    running = command(settings, "up")
    deadline = time.monotonic() + WAIT_S
    while not reached(settings):
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(number)
    running.communicate(timeout=WAIT_S)
    assert running.returncode != 0


def cut_off_keystore(settings: Settings) -> None:
    """The keystore as an Elasticsearch leaves it that was killed while it wrote the first one."""
    config = settings.home / "elasticsearch" / "config"
    (config / "elasticsearch.keystore").rename(config / "elasticsearch.keystore.tmp")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_up_killed_at_any_step_is_completed_by_the_next_one(number: int, settings: Settings) -> None:
    for reached in (formatting, unpacking, kafka_starting, elasticsearch_starting):
        if reached is unpacking:  # the first `up` may have done it, beside Kafka
            shutil.rmtree(settings.cache / "trees", ignore_errors=True)
        end_up_while(reached, settings, number)
    succeed(settings, "up")
    lines = command_lines()
    assert sum(kafka.owns(settings.home, line) for line in lines) == 1
    assert sum(elasticsearch.owns(settings.home, line) for line in lines) == 1
    # healthy immediately: `up` has waited for servers that were still starting
    admin = AdminClient(embedded.endpoints(settings).kafka.client_properties())
    for future in admin.create_topics([NewTopic("shop.kept", 1, 1)]).values():
        future.result(timeout=30)
    assert embedded.status(settings).healthy()
    assert (settings.home / "kafka" / "data" / "shop.kept-0").is_dir()
    assert {path.name for path in settings.home.parent.iterdir()} == {"cache", "hö mé"}

    assert "kafka stopped" in succeed(settings, "down")
    assert processes(settings) == []
    cut_off_keystore(settings)
    succeed(settings, "up")
    admin = AdminClient(embedded.endpoints(settings).kafka.client_properties())
    assert "shop.kept" in admin.list_topics(timeout=30).topics
    succeed(settings, "down", "--data", "--yes")
    assert processes(settings) == []
    assert [path.name for path in settings.home.parent.iterdir()] == ["cache"]
