"""Reports which servers run, their topics and groups, and the progress of the consumers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from connectors.elasticsearch import admin as elastic_admin
from connectors.kafka import admin as kafka_admin
from connectors.kafka.admin import GroupLag, TopicSize
from features.errors import ShopstreamError
from shopstream.embedded import state_file
from shopstream.embedded.elasticsearch import ElasticsearchServer
from shopstream.embedded.kafka import KafkaServer
from shopstream.embedded.servers import Servers
from shopstream.embedded.state_file import ServerRecord
from shopstream.settings import Settings

Mode = Literal["embedded", "external"]
CHECK_TIMEOUT_S: Final = 5
_STOPPED: Final = "not running; `shopstream up` starts it"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """Status of one server.

    Args:
        mode: whether the server is embedded or external.
        healthy: whether it answered just now and misses no primary shard.
        address: `host:port,...` of Kafka, the URL of Elasticsearch; None for an embedded one never started.
        version: version of the server; None if unknown (an external Kafka does not report it).
        pid: process id of a running embedded server.
        problem: description of the problem; None when healthy.
    """

    mode: Mode
    healthy: bool
    address: str | None = None
    version: str | None = None
    pid: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """Status of both servers, the run's topics and groups, and the consumers' metrics."""

    home: Path
    run: str
    kafka: ServerStatus
    elasticsearch: ServerStatus
    username: str | None = None
    password_file: Path | None = None
    kafka_login: Mapping[str, str | None] = field(default_factory=dict)
    """Login of a client of a secure embedded Kafka; no secret."""
    ca_file: Path | None = None
    """Certificate authority to trust, if Elasticsearch uses TLS."""
    topics: list[TopicSize] = field(default_factory=list)
    groups: list[GroupLag] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    """The last report of each worker of the run, by role and number."""

    def healthy(self) -> bool:
        """Return whether both servers are healthy."""
        return self.kafka.healthy and self.elasticsearch.healthy

    def as_json(self) -> dict[str, Any]:
        """Return the output of `status --json`; it has no secret, only the path of the password file."""
        return {
            "home": str(self.home),
            "run": self.run,
            "kafka": {
                "bootstrap_servers": self.kafka.address,
                **self.kafka_login,
                **_common(self.kafka),
                "topics": {
                    topic.topic: {"partitions": topic.partitions, "messages": topic.messages} for topic in self.topics
                },
                "groups": {
                    group.group: {
                        "state": group.state,
                        "members": group.members,
                        "lag": group.lag,
                        "lag_by_topic": group.lag_by_topic,
                    }
                    for group in self.groups
                },
            },
            "elasticsearch": {
                "url": self.elasticsearch.address,
                "username": self.username,
                "password_file": str(self.password_file) if self.password_file else None,
                "ca_file": str(self.ca_file) if self.ca_file else None,
                **_common(self.elasticsearch),
            },
            "metrics": self.metrics,
        }


def _common(server: ServerStatus) -> dict[str, Any]:
    return {
        "mode": server.mode,
        "healthy": server.healthy,
        "version": server.version,
        "pid": server.pid,
        "problem": server.problem,
    }


def status(settings: Settings) -> Status:
    """Query both servers and read the consumers' reports. Never raises for a server that is down."""
    servers = Servers.of(settings, state_file.read(settings.home))
    kafka, topics, groups = _kafka(servers)
    elastic, username = _elasticsearch(servers)
    password_file = settings.elasticsearch.password_file
    if servers.elasticsearch is not None and servers.elasticsearch.password_file.is_file():
        password_file = servers.elasticsearch.password_file
    return Status(
        home=settings.home,
        run=settings.run,
        kafka=kafka,
        elasticsearch=elastic,
        username=username,
        password_file=password_file,
        kafka_login=servers.kafka.shown_login() if servers.kafka is not None else {},
        ca_file=servers.elastic_authority(),
        topics=topics,
        groups=groups,
        metrics=read_metrics(settings.home / "metrics", settings.run),
    )


def _recorded(server: KafkaServer | ElasticsearchServer | None, entry: ServerRecord | None) -> ServerStatus:
    """Return the status of a server before any request to it; an embedded one that does not run has a problem."""
    if server is None:
        return ServerStatus("external", healthy=False)
    if entry is None:
        return ServerStatus("embedded", healthy=False, problem=_STOPPED)
    recorded = ServerStatus("embedded", healthy=False, address=server.address(entry.port), version=entry.version)
    if entry.identity is None:
        return replace(recorded, problem=_STOPPED)
    if not entry.is_running():
        return replace(recorded, problem=f"process {entry.identity.pid} has ended; `shopstream up` starts it again")
    return replace(recorded, pid=entry.identity.pid)


def _kafka(servers: Servers) -> tuple[ServerStatus, list[TopicSize], list[GroupLag]]:
    server = _recorded(servers.kafka, servers.known.kafka)
    if server.problem:
        return server, [], []
    run = servers.settings.run
    try:
        endpoint = servers.kafka_endpoint()
        server = replace(server, address=endpoint.bootstrap_servers)
        kafka_admin.check(endpoint, CHECK_TIMEOUT_S)
        topics = kafka_admin.topic_sizes(endpoint, f"{run}.")
        groups = kafka_admin.group_lags(endpoint, run)
    except ShopstreamError as error:
        return replace(server, problem=str(error)), [], []
    return replace(server, healthy=True), topics, groups


def _elasticsearch(servers: Servers) -> tuple[ServerStatus, str | None]:
    server = _recorded(servers.elasticsearch, servers.known.elasticsearch)
    if server.problem:
        return server, None
    try:
        endpoint = servers.elastic_endpoint()
        server = replace(server, address=endpoint.url)
        health = elastic_admin.check(endpoint, CHECK_TIMEOUT_S)
    except ShopstreamError as error:
        return replace(server, problem=str(error)), None
    problem = "red: a primary shard is missing" if health.status == "red" else None
    return replace(server, healthy=problem is None, version=health.version, problem=problem), endpoint.username


def read_metrics(folder: Path, run: str) -> dict[str, Any]:
    """Read the reports of a run's workers, `RUN-ROLE-NUMBER.json`, by `ROLE-NUMBER`; damaged ones are left out."""
    reports: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        # a run may be called `shop-features`: only a role and a number may follow the run's name
        match = re.fullmatch(rf"{re.escape(run)}-([a-z]+-\d+)", path.stem)
        if match is None:
            continue
        try:
            report = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(report, dict):
            reports[match[1]] = report
    return reports
