"""Which index is which: one that was deleted and made anew, or restored from a snapshot, keeps only its name.

What was acknowledged is in the index of then. So whoever has written to an index remembers its identity beside its
offsets, compares, and writes again what the index of now may lack. The looks go on in a thread of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog

from connectors.elasticsearch.aliases import Client
from connectors.elasticsearch.client import ElasticConnection, failures_told, open_client
from connectors.elasticsearch.mappings import belongs_to
from features.errors import ShopstreamError
from features.schema import index_name

log = structlog.get_logger("indices")

LOOK_EVERY_S: Final = 5.0

Look = Callable[[], Mapping[str, str]]
"""Concrete index -> its identity, of all indices of interest. Raises ShopstreamError."""


class Identities:
    """Knows the identities of a run's indices as of a few seconds ago.

    Args:
        look: asks the server.
        release: called at the end: closes the client that `look` uses.
        every_s: between two looks; default: `LOOK_EVERY_S`.

    Attributes:
        current: concrete index -> identity; another mapping after each look.

    Raises:
        ShopstreamError: the first look failed.
    """

    def __init__(self, look: Look, release: Callable[[], None] = lambda: None, *, every_s: float | None = None) -> None:
        self._look, self._release = look, release
        self._every_s = LOOK_EVERY_S if every_s is None else every_s
        try:
            self.current = look()
        except BaseException:
            release()
            raise
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look_again, name="identities", daemon=True)
        self._thread.start()

    def look_now(self) -> None:
        """Looks at once instead of in a few seconds.

        Raises:
            ShopstreamError: the server does not answer or refuses.
        """
        self.current = self._look()

    def close(self) -> None:
        """End the thread and let go of the client."""
        self._closed.set()
        self._thread.join(5.0)
        self._release()

    def _look_again(self) -> None:
        while not self._closed.wait(self._every_s):
            try:
                self.current = self._look()
            except ShopstreamError as error:
                log.debug("could not look at the indices", said=str(error))


def open_identities(elastic: ElasticConnection, run: str, names: Sequence[str]) -> Identities:
    """The identities of a run's indices, looked at through a client of its own.

    Args:
        elastic: where Elasticsearch is.
        run: the run's name.
        names: of the indices, without the run.

    Raises:
        ShopstreamError: the server does not answer or refuses.
    """
    client = open_client(elastic, connections=1)
    return Identities(lambda: index_ids(client, run, names), client.close)


def index_ids(client: Client, run: str, names: Sequence[str]) -> dict[str, str]:
    """Each concrete index of a run with what tells it from another one of its name, made anew or restored.

    Args:
        client: of the server.
        run: the run's name.
        names: of the indices, without the run.
    """
    # restoring over an index that is closed keeps its uuid, but gives its history another
    wanted = ("index.uuid", "index.history.uuid")
    with failures_told(f"The indices of run {run}"):
        found = client.indices.get_settings(
            index=index_name(run, "*"), name=list(wanted), expand_wildcards="all", flat_settings=True
        )
    return {
        concrete: "/".join(entry["settings"][key] for key in wanted if key in entry["settings"])
        for concrete, entry in found.items()
        if any(belongs_to(run, name, concrete) for name in names)
    }
