"""Serves the live page on a port: opens the Elasticsearch connection, the socket and the web server."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from connectors.elasticsearch.client import elastic_connection, open_client
from connectors.elasticsearch.search import Searcher
from dashboards.boards import DASHBOARDS
from dashboards.web.app import Source, build
from features.errors import ShopstreamError
from shopstream import embedded
from shopstream.jobs.produce import wall_clock
from shopstream.runtime.http_server import BoundedProtocol
from shopstream.settings import Settings

LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
CONNECTIONS: Final = 8
REQUESTS_MAX: Final = 100
"""Maximum number of concurrent requests; further ones get status 503."""
SEARCH_TIMEOUT_S: Final = 10.0
STARTED_WITHIN_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Listening:
    """Address of the page.

    Attributes:
        host: address of an interface; the loopback interface is reachable from this machine only.
        port: port number; 0 takes a free one.
        names: further accepted host names.
    """

    host: str = "127.0.0.1"
    port: int = 8050
    names: tuple[str, ...] = ()

    @property
    def allowed(self) -> tuple[str, ...]:
        """All accepted host names."""
        return tuple(dict.fromkeys(name.lower() for name in (*LOCAL_NAMES, self.host, *self.names)))


@contextlib.contextmanager
def source(settings: Settings, mart: Path) -> Iterator[Source]:
    """Open the data source of the page for `settings.run`, with a connection of its own.

    Args:
        settings: address of Elasticsearch, and the run.
        mart: folder of the customer table; it need not exist.

    Raises:
        ShopstreamError: the embedded Elasticsearch does not run, or a setting is wrong.
    """
    endpoint = embedded.elastic_endpoint(settings, read_only=True)
    clock = wall_clock()
    with open_client(elastic_connection(endpoint), connections=CONNECTIONS) as client:
        searcher = Searcher(client.options(request_timeout=SEARCH_TIMEOUT_S), settings.run)
        yield Source(DASHBOARDS, settings.run, searcher, mart, clock.wall_ms, time.monotonic)


def bound(listening: Listening) -> socket.socket:
    """Open a listening socket.

    Raises:
        ShopstreamError: the address or the port is not available.
    """
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((listening.host, listening.port))
        found.listen()
    except (OSError, OverflowError) as error:
        found.close()
        raise ShopstreamError(
            f"The page cannot listen on {listening.host}:{listening.port}: {error}.",
            "Give another --port, or 0 for a free one; --host takes an address of this machine.",
        ) from error
    return found


def address(taken: socket.socket) -> str:
    """Return the URL for a browser."""
    host, port = taken.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def server(found: Source, listening: Listening) -> uvicorn.Server:
    """Build the web server; its `run(sockets=[...])` returns when `should_exit` is set or a signal comes."""
    return uvicorn.Server(
        uvicorn.Config(
            build(found, listening.allowed),
            http=BoundedProtocol,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=REQUESTS_MAX,
            timeout_graceful_shutdown=3,
            lifespan="off",
            ws="none",
        )
    )


@contextlib.contextmanager
def beside(settings: Settings, mart: Path, listening: Listening) -> Iterator[str]:
    """Serve the page in a thread within the context; yields its URL. Raises as `source` and `bound`."""
    with source(settings, mart) as found, open_page(found, listening) as where:
        yield where


@contextlib.contextmanager
def open_page(found: Source, listening: Listening) -> Iterator[str]:
    """Serve the page over any source in a thread within the context; yields its URL."""
    with contextlib.closing(bound(listening)) as taken:
        serving = server(found, listening)
        thread = threading.Thread(target=lambda: serving.run(sockets=[taken]), name="page", daemon=True)
        thread.start()
        try:
            _await(lambda: serving.started)
            yield address(taken)
        finally:
            serving.should_exit = True
            thread.join(STARTED_WITHIN_S)


def _await(ready: Callable[[], bool]) -> None:
    end_s = time.monotonic() + STARTED_WITHIN_S
    while not ready():
        if time.monotonic() > end_s:
            raise ShopstreamError("The page's server did not start.", "Run `shopstream dashboards serve` by itself.")
        time.sleep(0.02)
