"""Checks Elasticsearch: readiness, version and health of the cluster.

`GET /` is not used because the embedded distribution does not have it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from connectors.elasticsearch.client import ElasticConnection, open_client, readable_error
from connectors.endpoints import ElasticEndpoint


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """Version and health of a cluster that responded."""

    version: str
    status: str
    """`green`, `yellow` or `red`."""


@contextmanager
def _client(endpoint: ElasticEndpoint, timeout_s: float) -> Iterator[Elasticsearch]:
    options = {"request_timeout": timeout_s, **endpoint.options}
    connection = ElasticConnection(endpoint.url, endpoint.username, endpoint.password, options=options)
    with open_client(connection, connections=1) as client:
        yield client


def is_ready(endpoint: ElasticEndpoint, timeout_s: float = 5) -> bool:
    """Return whether the cluster accepts the credentials and all primary shards are available."""
    try:
        with _client(endpoint, timeout_s) as client:
            return client.cluster.health()["status"] in {"green", "yellow"}
    except (ApiError, TransportError):
        return False


def check(endpoint: ElasticEndpoint, timeout_s: float = 10) -> ClusterHealth:
    """Return the cluster's version and health.

    Raises:
        ShopstreamError: the cluster does not respond or refuses the credentials.
    """
    try:
        with _client(endpoint, timeout_s) as client:
            status = client.cluster.health()["status"]
            nodes = client.nodes.info(node_id="_local", filter_path="nodes.*.version")["nodes"]
    except (ApiError, TransportError) as error:
        raise readable_error(error, f"Elasticsearch at {endpoint.url}") from error
    return ClusterHealth(version=next(iter(nodes.values()))["version"], status=status)


def quiet_client_logs() -> None:
    """Silence the transport, which logs each refused connection of a health check as a warning with a traceback."""
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
