"""A docker engine with compose, and the project of docker-compose.yml on it, under a name and on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from compose.reading import ROOT
from confluent_kafka import Consumer, TopicPartition

REQUIRED = "SHOPTEST_COMPOSE"
IMAGES = ("apache/kafka:4.1.0", "elasticsearch:9.2.0", "kibana:9.2.0", "shopstream:0.1.0")
STANDIN = "/run.py"
"""What a stand-in of tools/standins runs."""


def absent(reason: str) -> None:
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(f"{reason} (make test-compose needs it)")
    pytest.skip(reason)


def said(*words: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, **more)


def compose_tool() -> list[str]:
    """`docker compose`, or the older program of its own; skips where there is no engine."""
    if shutil.which("docker") is None or said("docker", "info").returncode:
        absent("no docker engine answers here")
    if said("docker", "compose", "version").returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose") is None:
        absent("the docker engine has no compose")
    return ["docker-compose"]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Project:
    """The project, brought up or not."""

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
        # the profiles of the file count in every version of compose only from the environment
        environment = {**os.environ, "COMPOSE_PROFILES": "demo"}
        done = subprocess.run(
            call, capture_output=True, text=True, check=False, timeout=timeout_s, env=environment, cwd=ROOT
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *more: str) -> None:
        self("up", "--detach", "--no-build", *more, timeout_s=600)

    def ids(self, service: str) -> list[str]:
        """Containers of it, those that have ended too."""
        labels = {"project": self.name, "service": service, "oneoff": "False"}
        asked = [
            word for name, value in labels.items() for word in ("--filter", f"label=com.docker.compose.{name}={value}")
        ]
        return said("docker", "ps", "--all", "--quiet", *asked).stdout.split()

    def state(self, container: str) -> dict:
        return json.loads(said("docker", "inspect", "--format", "{{json .State}}", container).stdout)

    def health(self, service: str) -> set[str]:
        return {self.state(one).get("Health", {}).get("Status", "none") for one in self.ids(service)}

    def shopstream(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command within the consumer's container, as Elasticsearch's superuser: the writer may not list indices."""
        login = {"USERNAME": "elastic", "PASSWORD": self.values["ELASTIC_PASSWORD"]}
        given = [f"--env=SHOPSTREAM_ELASTICSEARCH__{name}={value}" for name, value in login.items()]
        return said("docker", "exec", *given, self.ids("consumer")[0], "shopstream", *words)

    def run(self) -> dict:
        """What the run holds, everywhere."""
        done = self.shopstream("runs", "list", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["runs"]["shop"]

    def events(self) -> tuple[int, int]:
        """Different ones in Kafka, and documents in Elasticsearch; a `live` that is started again repeats some."""
        documents = sum(found["documents"] for name, found in self.run()["indices"].items() if "events" in name)
        return len(self.event_ids()), documents

    def event_ids(self) -> set[str]:
        """Of every message of the topic, read from outside."""
        server = f"localhost:{self.values['KAFKA_PORT']}"
        consumer = Consumer({"bootstrap.servers": server, "group.id": "outside", "log_level": 0})
        try:
            topic = consumer.list_topics("shop.events", timeout=20).topics["shop.events"]
            parts = [TopicPartition("shop.events", number, 0) for number in topic.partitions]
            left = sum(consumer.get_watermark_offsets(part, timeout=20)[1] for part in parts)
            consumer.assign(parts)
            found: set[str] = set()
            while left > 0:
                messages = consumer.consume(min(left, 10_000), 20)
                assert messages, "Kafka gives no more"
                found.update(json.loads(one.value())["event_id"] for one in messages)
                left -= len(messages)
            return found
        finally:
            consumer.close()


def until(seconds: float, true, what: str):
    """Waits until `true()` gives something; fails with what it gave last."""
    end_s = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end_s, f"not within {seconds:.0f} s: {what}"
        time.sleep(2)
    return found
