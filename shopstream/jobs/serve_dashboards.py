"""Serves the live page on a port: opens the Elasticsearch connection, the socket and the web server."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.elasticsearch.aliases import alias_sets
from connectors.elasticsearch.client import elastic_connection, open_client
from connectors.elasticsearch.search import Searcher
from connectors.elasticsearch.workspace import Workspace
from connectors.formats.rules_file import builtin_rules, default_rules, parse_rules
from dashboards.boards import DASHBOARDS
from dashboards.web.app import Source, build
from features.calendar import Calendar
from features.errors import ShopstreamError
from shopstream import embedded
from shopstream.jobs.contacts import EFFECT_FILE, effect_sentence
from shopstream.jobs.produce import wall_clock
from shopstream.jobs.shop_calendar import run_calendar
from shopstream.runtime import http_server
from shopstream.settings import Settings

LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
CONNECTIONS: Final = 8
REQUESTS_MAX: Final = 200
"""Maximum number of concurrent requests; further ones get status 503."""
SEARCH_TIMEOUT_S: Final = 10.0


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
def source(settings: Settings, segments_folder: Path) -> Iterator[Source]:
    """Open the data source of the page for `settings.run`, with a connection of its own.

    Args:
        settings: address of Elasticsearch, and the run.
        segments_folder: folder of the customer table; it need not exist.

    Raises:
        ShopstreamError: the embedded Elasticsearch does not run, or a setting is wrong.
    """
    endpoint = embedded.page_endpoint(settings)
    clock = wall_clock()
    with open_client(elastic_connection(endpoint), connections=CONNECTIONS) as client:
        searcher = Searcher(client.options(request_timeout=SEARCH_TIMEOUT_S), settings.run)

        def calendar() -> Calendar:
            return run_calendar(client, settings.run, settings.shop)

        money = settings.shop.money
        actions, workspace = action_texts(), Workspace(client, settings.run)
        yield Source(
            DASHBOARDS,
            settings.run,
            searcher,
            segments_folder,
            clock.wall_ms,
            time.monotonic,
            calendar,
            money,
            actions,
            workspace,
            hold_out=settings.hold_out.to_rule(),
            effect=lambda: effect_sentence(segments_folder / EFFECT_FILE),
            has_other_runs=lambda: len(alias_sets(client)) > 1,
        )


def action_texts() -> dict[str, str]:
    """Return action -> its text, of all built-in rules files; texts of the default rules come first."""
    texts = [parse_rules(text, name).document.actions for name, text in builtin_rules().items()]
    return {action: text for actions in (*texts, default_rules().document.actions) for action, text in actions.items()}


def listen(listening: Listening) -> socket.socket:
    """Open a listening socket.

    Raises:
        ShopstreamError: the address or the port is not available.
    """
    try:
        return http_server.listen(listening.host, listening.port)
    except (OSError, OverflowError) as error:
        raise ShopstreamError(
            f"The page cannot listen on {listening.host}:{listening.port}: {error}.",
            "Give another --port, or 0 for a free one; --host takes an address of this machine.",
        ) from error


def address(opened: socket.socket) -> str:
    """Return the URL for a browser."""
    host, port = opened.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


@contextlib.contextmanager
def serve_in_thread(settings: Settings, segments_folder: Path, listening: Listening) -> Iterator[str]:
    """Serve the page in a thread within the context; yields its URL. Raises as `source` and `listen`."""
    with source(settings, segments_folder) as opened, serve_source(opened, listening) as url:
        yield url


@contextlib.contextmanager
def serve_source(source: Source, listening: Listening) -> Iterator[str]:
    """Serve the page over any data source in a thread within the context; yields its URL. Raises as `listen`."""
    application = build(source, listening.allowed)
    opened = listen(listening)
    url = address(opened)
    with http_server.serve_in_thread(application, opened, "page", requests_max=REQUESTS_MAX):
        yield url
