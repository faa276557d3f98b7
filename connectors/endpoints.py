"""Where the servers are: what every client needs to connect, and nothing else."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class KafkaEndpoint:
    """A Kafka to connect to.

    Args:
        bootstrap_servers: `host:port,...`.
        properties: librdkafka properties of the user (security and the like); may hold secrets, so never shown.
    """

    bootstrap_servers: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    def client_properties(self) -> dict[str, str]:
        """All librdkafka properties of a connection, as `confluent_kafka` clients take them."""
        return {**self.properties, "bootstrap.servers": self.bootstrap_servers}


@dataclass(frozen=True, slots=True)
class ElasticEndpoint:
    """An Elasticsearch to connect to.

    Args:
        url: `http(s)://host:port`.
        username: None where an API key or nothing authenticates.
        password: never shown.
        options: further keywords of the Elasticsearch client (api_key, ca_certs ...); never shown.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def client_options(self) -> dict[str, Any]:
        """All keywords of a client, as `elasticsearch.Elasticsearch` takes them."""
        options: dict[str, Any] = {**self.options, "hosts": [self.url]}
        if self.username is not None:
            options["basic_auth"] = (self.username, self.password or "")
        return options


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Both servers."""

    kafka: KafkaEndpoint
    elasticsearch: ElasticEndpoint


def without_login(url: str) -> tuple[str, str | None, str | None]:
    """A URL without the user and password that may stand in it, and these: it is shown, they never are."""
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return url, None, None
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
