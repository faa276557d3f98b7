"""A docker engine with compose, and the project of docker-compose.yml on it, under a name and on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import docker
import pytest
from compose.reading import ROOT
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from docker.errors import DockerException, ImageNotFound
from docker.models.containers import Container
from elasticsearch import ApiError, Elasticsearch

from features.schema import SOURCE_TOPICS

REQUIRED = "SHOPTEST_COMPOSE"
OURS = "shopstream:0.1.0"
IMAGES = ("apache/kafka:4.1.0", "elasticsearch:9.2.0", "kibana:9.2.0", OURS)
STANDIN = "/run.py"
"""What a stand-in of tools/standins runs."""
KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"


def absent(reason: str) -> None:
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{reason} (make test-compose needs it)")
    pytest.skip(reason)


def engine() -> docker.DockerClient:
    """The engine of this machine; skips where none answers."""
    try:
        return docker.from_env(timeout=120)
    except DockerException as error:
        absent(f"no docker engine answers here: {error}")


def missing_images(client: docker.DockerClient) -> list[str]:
    def is_there(name: str) -> bool:
        try:
            return bool(client.images.get(name))
        except ImageNotFound:
            return False

    return [name for name in IMAGES if not is_there(name)]


def compose_tool() -> list[str]:
    """`docker compose`, or the older program of its own, of which the SDK has neither; skips where there is none."""
    if shutil.which("docker") and captured("docker", "compose", "version").returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose") is None:
        absent("the docker engine has no compose")
    return ["docker-compose"]


def captured(*words: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, **more)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Left:
    """What an engine keeps: containers, volumes (those without a name too) and networks."""

    containers: frozenset[str]
    volumes: frozenset[str]
    networks: frozenset[str]

    @classmethod
    def on(cls, client: docker.DockerClient) -> Left:
        return cls(
            frozenset(one.id for one in client.containers.list(all=True, ignore_removed=True)),
            frozenset(one.id for one in client.volumes.list()),
            frozenset(one.id for one in client.networks.list()),
        )

    def beyond(self, before: Left) -> Left:
        return Left(self.containers - before.containers, self.volumes - before.volumes, self.networks - before.networks)


NOTHING = Left(frozenset(), frozenset(), frozenset())


@dataclass(frozen=True)
class Project:
    """The project, brought up or not."""

    client: docker.DockerClient
    tool: list[str]
    env: Path
    values: dict[str, str]
    name: str
    override: bool

    def __call__(self, *words: str, timeout_s: float = 300) -> str:
        files = ["-f", str(ROOT / "docker-compose.yml")]
        if self.override:
            files += ["-f", str(ROOT / "tools" / "standins" / "compose.yml")]
        call = [*self.tool, "--env-file", str(self.env), "-p", self.name, *files, *words]
        done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=timeout_s, cwd=ROOT)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *more: str) -> None:
        self("up", "--detach", "--no-build", *more, timeout_s=600)

    def down(self, *more: str) -> None:
        self("down", *more)

    def containers(self, service: str) -> list[Container]:
        """Of a service, as they are now; those that have ended too."""
        labels = {"project": self.name, "service": service, "oneoff": "False"}
        requests = [f"com.docker.compose.{name}={value}" for name, value in labels.items()]
        return self.client.containers.list(all=True, ignore_removed=True, filters={"label": requests})

    def health(self, service: str) -> set[str]:
        return {one.health for one in self.containers(service)}

    def healthy(self, services: Iterable[str], seconds: float = 240) -> None:
        for service in services:
            until(seconds, lambda service=service: self.health(service) == {"healthy"}, f"{service} is healthy")

    def kill(self, container: Container) -> None:
        """Its process dies, as by the kernel's hand; not `docker kill`, after which the engine starts nothing again."""
        number = str(container.attrs["State"]["Pid"])
        self.client.containers.run(
            OURS, ["-c", KILL, number], entrypoint="python3", user="0", pid_mode="host", remove=True
        )

    def was_restarted(self, container: Container) -> bool:
        """Whether the engine has done it, since `container` was looked at."""
        return self.client.containers.get(container.id).attrs["RestartCount"] > container.attrs["RestartCount"]

    def in_consumer(self, *words: str) -> tuple[int, str]:
        """Exit code and everything that a command in the consumer's container said."""
        code, output = self.containers("consumer")[0].exec_run([*words])
        return code, output.decode()

    @property
    def kafka(self) -> str:
        return f"localhost:{self.values['KAFKA_PORT']}"

    def documents(self) -> dict[str, int]:
        """Of the indices `shop-events*`, `shop-orders*` and `shop-customers*`, asked for from outside.

        Empty while the shards of an index are still being started.
        """
        url, password = f"http://localhost:{self.values['ELASTICSEARCH_PORT']}", self.values["ELASTIC_PASSWORD"]
        with Elasticsearch(url, basic_auth=("elastic", password), request_timeout=30) as elastic:
            try:
                return {what: int(elastic.count(index=f"shop-{what}*")["count"]) for what in SOURCE_TOPICS}
            except ApiError as error:
                if error.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                return {}

    @contextmanager
    def reading(self, topic: str) -> Iterator[tuple[Consumer, list[TopicPartition]]]:
        """A reader from outside, and the partitions of the run's topic up to their ends."""
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": "outside", "log_level": 0})
        name = f"shop.{topic}"
        try:
            parts = consumer.list_topics(name, timeout=20).topics[name].partitions
            ends = [consumer.get_watermark_offsets(TopicPartition(name, one), timeout=20)[1] for one in parts]
            yield consumer, [TopicPartition(name, *each) for each in zip(parts, ends, strict=True)]
        finally:
            consumer.close()

    def sent(self, topic: str) -> int:
        """Messages of the run's topic, repeated ones too."""
        with self.reading(topic) as (_, ends):
            return sum(one.offset for one in ends)

    def messages(self, topic: str) -> list[dict]:
        """Every message of the run's topic."""
        result: list[dict] = []
        with self.reading(topic) as (consumer, ends):
            consumer.assign([TopicPartition(one.topic, one.partition, 0) for one in ends])
            number = sum(one.offset for one in ends)
            while len(result) < number:
                messages = consumer.consume(min(number - len(result), 10_000), 20)
                assert messages, "Kafka gives no more"
                result += [json.loads(one.value()) for one in messages]
        return result

    def shares(self, role: str) -> list[frozenset[tuple[str, int]]]:
        """Of each member of a role's group, the partitions that it owns."""
        admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        requested = admin.describe_consumer_groups([f"shop-{role}"], request_timeout=20)
        members = requested[f"shop-{role}"].result().members
        return [frozenset((part.topic, part.partition) for part in one.assignment.topic_partitions) for one in members]


def until(seconds: float, true, what: str | Callable[[], str]):
    """Waits until `true()` gives something, which it returns; fails in the words of `what`."""
    end_s = time.monotonic() + seconds
    while not (result := true()):
        requested = what if isinstance(what, str) else what()
        assert time.monotonic() < end_s, f"not within {seconds:.0f} s: {requested}"
        time.sleep(2)
    return result
