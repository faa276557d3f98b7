"""Determines the servers of a data folder: embedded, or external if the settings name one; their endpoints and TLS."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
from rich.console import Console

from connectors.endpoints import ElasticEndpoint, KafkaEndpoint
from features.errors import ShopstreamError
from shopstream.embedded import artifacts, process
from shopstream.embedded.account import server_account
from shopstream.embedded.certificates import Certificates
from shopstream.embedded.elastic_users import ADMIN
from shopstream.embedded.elasticsearch import ElasticsearchServer
from shopstream.embedded.kafka import KafkaServer
from shopstream.embedded.state_file import Record, ServerRecord
from shopstream.settings import Settings, external_elasticsearch, external_kafka


class EmbeddedServer(Protocol):
    """The part of an embedded server that the life cycle uses."""

    @property
    def name(self) -> str: ...  # noqa: D102 - `kafka` or `elasticsearch`
    @property
    def title(self) -> str: ...  # noqa: D102 - the same, for people
    @property
    def inner_port(self) -> int: ...  # noqa: D102
    @property
    def version(self) -> str: ...  # noqa: D102
    @property
    def secure(self) -> bool: ...  # noqa: D102
    @property
    def preferred_port(self) -> int: ...  # noqa: D102
    def needed(self) -> tuple[artifacts.Artifact, ...]: ...  # noqa: D102
    def prepare(self, port: int, inner_port: int, console: Console, lock: int) -> process.Launch: ...  # noqa: D102
    def is_healthy(self, port: int) -> bool: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of a data folder: embedded, or external if the settings name one.

    Attributes:
        settings: settings of the servers.
        known: state of the embedded servers.
        kafka: embedded Kafka; None if the settings name an external one.
        elasticsearch: embedded Elasticsearch; None if the settings name an external one.
    """

    settings: Settings
    known: Record
    kafka: KafkaServer | None
    elasticsearch: ElasticsearchServer | None

    @classmethod
    def of(cls, settings: Settings, known: Record) -> Servers:
        """Build the embedded servers of these settings; a server started before keeps its TLS mode."""
        lock = artifacts.read_lock()
        kafka = elastic = None
        if settings.kafka.bootstrap_servers is None:
            secure = _is_secure(known.kafka, settings)
            kafka = KafkaServer(settings, lock.kafka, lock.version("kafka"), secure)
        if settings.elasticsearch.url is None:
            account = server_account(
                settings.elasticsearch.run_as, settings.home / "elasticsearch", root=os.geteuid() == 0
            )
            secure = _is_secure(known.elasticsearch, settings)
            elastic = ElasticsearchServer(settings, lock.elasticsearch[0], account, secure)
        return cls(settings, known, kafka, elastic)

    def embedded(self) -> list[EmbeddedServer]:
        """Return the embedded servers."""
        return [server for server in (self.kafka, self.elasticsearch) if server is not None]

    def kafka_endpoint(self) -> KafkaEndpoint:
        """Return Kafka's endpoint; the embedded one must have been started before."""
        if (external := external_kafka(self.settings.kafka)) is not None:
            return external
        assert self.kafka is not None
        assert self.known.kafka is not None
        return self.kafka.endpoint(self.known.kafka.port)

    def elastic_endpoint(self, username: str = ADMIN) -> ElasticEndpoint:
        """Return Elasticsearch's endpoint; the embedded one must have been started before.

        Args:
            username: user of the embedded one.
        """
        if (external := external_elasticsearch(self.settings.elasticsearch)) is not None:
            return external
        assert self.elasticsearch is not None
        assert self.known.elasticsearch is not None
        return self.elasticsearch.endpoint(self.known.elasticsearch.port, username)

    def elastic_authority(self) -> Path | None:
        """Return the file of the authority that clients of Elasticsearch trust; None without one."""
        if self.elasticsearch is None:
            return self.settings.elasticsearch.ca_certs
        return Certificates.of(self.settings.home).authority if self.elasticsearch.secure else None


def _is_secure(entry: ServerRecord | None, settings: Settings) -> bool:
    return bool(settings.secure) if entry is None else entry.secure


def with_tls_mode(known: Record, secure: bool | None) -> Record:
    """Return the record with the TLS mode of the settings for the servers that do not run.

    Raises:
        ShopstreamError: a server runs in the other mode.
    """
    if secure is None:
        return known
    changed: dict[str, ServerRecord] = {}
    for name, title in (("kafka", "Kafka"), ("elasticsearch", "Elasticsearch")):
        entry: ServerRecord | None = getattr(known, name)
        if entry is None or entry.secure == secure:
            continue
        if entry.is_running():
            raise ShopstreamError(
                f"{title} runs {'without' if secure else 'with'} TLS, but SHOPSTREAM_SECURE is {str(secure).lower()}.",
                "Run `shopstream down` first; `up` then starts it the other way.",
            )
        changed[name] = msgspec.structs.replace(entry, secure=secure)
    return msgspec.structs.replace(known, **changed)
