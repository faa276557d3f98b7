"""Where the servers are: what every client needs to connect, and nothing else."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from features.errors import ShopstreamError
from shopstream.settings import ElasticsearchSettings, KafkaSettings


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


def external_kafka(settings: KafkaSettings) -> KafkaEndpoint | None:
    """The Kafka named by the settings, or None where the embedded one is to run."""
    if settings.bootstrap_servers is None:
        return None
    return KafkaEndpoint(settings.bootstrap_servers, dict(settings.properties))


def external_elasticsearch(settings: ElasticsearchSettings) -> ElasticEndpoint | None:
    """The Elasticsearch named by the settings, or None where the embedded one is to run.

    Raises:
        ShopstreamError: the password file cannot be read.
    """
    if settings.url is None:
        return None
    password = settings.password.get_secret_value() if settings.password else None
    if settings.password_file is not None:
        try:
            password = settings.password_file.read_text("utf-8").strip()
        except OSError as error:
            raise ShopstreamError(
                f"The password file {settings.password_file} cannot be read: {error.strerror}.",
                "Correct elasticsearch.password_file (SHOPSTREAM_ELASTICSEARCH__PASSWORD_FILE).",
            ) from error
    options = dict(settings.options)
    if settings.api_key is not None:
        options["api_key"] = settings.api_key.get_secret_value()
    if settings.ca_certs is not None:
        options["ca_certs"] = str(settings.ca_certs)
    url, *in_url = without_login(settings.url)
    password = in_url[1] if password is None else password
    username = settings.username or in_url[0] or ("elastic" if password is not None else None)
    return ElasticEndpoint(url, username, password, options)


def without_login(url: str) -> tuple[str, str | None, str | None]:
    """A URL without the user and password that may stand in it, and these: it is shown, they never are."""
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return url, None, None
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
