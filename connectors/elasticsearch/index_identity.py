"""Detects whether an index was deleted and recreated, or restored from a snapshot, under the same name.

Acknowledged documents are in the former index. A writer therefore stores the identity of an index next to its offsets
and compares it. It writes again what the current index may lack. A thread polls the identities.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from connectors.elasticsearch.aliases import Client
from connectors.elasticsearch.client import ElasticConnection, open_client, translate_errors
from connectors.elasticsearch.mappings import belongs_to
from features.errors import ShopstreamError
from features.schema import index_name

log = structlog.get_logger("indices")

POLL_EVERY_S: Final = 5.0

Fetch = Callable[[], Mapping[str, str]]
"""Returns concrete index -> identity of all indices of interest. Raises ShopstreamError."""


class Identities:
    """Caches the identities of a run's indices. They are at most a few seconds old.

    Args:
        look: function that queries the server.
        release: function called at the end; closes the client that `look` uses.
        every_s: seconds between two queries; default: `POLL_EVERY_S`.

    Attributes:
        current: concrete index -> identity; a new mapping after each query.

    Raises:
        ShopstreamError: the first query failed.
    """

    def __init__(
        self, fetch: Fetch, release: Callable[[], None] = lambda: None, *, every_s: float | None = None
    ) -> None:
        self._fetch, self._release = fetch, release
        self._every_s = POLL_EVERY_S if every_s is None else every_s
        try:
            self.current = fetch()
        except BaseException:
            release()
            raise
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="identities", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Query the identities now instead of at the next interval.

        Raises:
            ShopstreamError: the server does not respond or refuses.
        """
        self.current = self._fetch()

    def close(self) -> None:
        """Stop the thread and close the client."""
        self._closed.set()
        self._thread.join(5.0)
        self._release()

    def _poll(self) -> None:
        while not self._closed.wait(self._every_s):
            try:
                self.current = self._fetch()
            except ShopstreamError as error:
                log.debug("index identities are not available", error=str(error))


def open_identities(elastic: ElasticConnection, run: str, names: Sequence[str]) -> Identities:
    """Open the cache of a run's index identities with a client of its own.

    Args:
        elastic: connection to Elasticsearch.
        run: name of the run.
        names: index names without the run.

    Raises:
        ShopstreamError: the server does not respond or refuses.
    """
    client = open_client(elastic, connections=1)
    return Identities(lambda: index_ids(client, run, names), client.close)


def index_ids(client: Client, run: str, names: Sequence[str]) -> dict[str, str]:
    """Return each concrete index of a run with an identity that changes when the index is recreated or restored.

    Args:
        client: Elasticsearch client.
        run: name of the run.
        names: index names without the run.
    """
    # restoring over a closed index keeps its uuid but changes its history uuid
    settings = ("index.uuid", "index.history.uuid")
    with translate_errors(f"The indices of run {run}"):
        settings_by_index = client.indices.get_settings(
            index=index_name(run, "*"), name=list(settings), expand_wildcards="all", flat_settings=True
        )
    return {
        concrete: "/".join(entry["settings"][key] for key in settings if key in entry["settings"])
        for concrete, entry in settings_by_index.items()
        if any(belongs_to(run, name, concrete) for name in names)
    }
