"""Holds the addresses and credentials that clients need to connect to Kafka, Elasticsearch and schema registries."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class KafkaEndpoint:
    """Connection to a Kafka cluster.

    Args:
        bootstrap_servers: `host:port,...`.
        properties: librdkafka properties of the user (security etc.); may hold secrets, so never shown.
    """

    bootstrap_servers: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)

    def client_properties(self) -> dict[str, str]:
        """Return all librdkafka properties of a connection, as `confluent_kafka` clients expect them."""
        return {**self.properties, "bootstrap.servers": self.bootstrap_servers}


@dataclass(frozen=True, slots=True)
class ElasticEndpoint:
    """Connection to Elasticsearch.

    Args:
        url: `http(s)://host:port`.
        username: user name; None with an API key or without authentication.
        password: password; never shown.
        options: further keyword arguments of the Elasticsearch client (api_key, ca_certs ...); never shown.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def client_options(self) -> dict[str, Any]:
        """Return all keyword arguments of `elasticsearch.Elasticsearch`."""
        options: dict[str, Any] = {**self.options, "hosts": [self.url]}
        if self.username is not None:
            options["basic_auth"] = (self.username, self.password or "")
        return options


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """Connection to a schema registry.

    Args:
        name: name of the registry in the settings.
        url: `http(s)://host:port/path`.
        username: user name; None without authentication.
        password: password; never shown.
        ca_certs: file of the certificate authority, for TLS; None for the authorities of the client library.
    """

    name: str
    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_certs: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Connections to both servers."""

    kafka: KafkaEndpoint
    elasticsearch: ElasticEndpoint


def without_login(url: str) -> tuple[str, str | None, str | None]:
    """Split a URL into the URL without credentials, the user and the password, because the URL is shown."""
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return url, None, None
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
