"""Commands that read a run that was named: there is one of that name, or they say which there are."""

from __future__ import annotations

from collections.abc import Iterable

from consumers import indices
from consumers.elastic import open_client
from features.errors import ShopstreamError
from shopstream import consuming, runs, servers
from shopstream.settings import Settings


def check_view(settings: Settings) -> None:
    """Looks for the run in Elasticsearch, as whoever reads it there asks for it.

    Args:
        settings: where Elasticsearch is, and the run.

    Raises:
        ShopstreamError: there is no such run, or Elasticsearch does not answer.
    """
    with open_client(consuming.elastic_connection(servers.elastic_reader(settings)), connections=1) as client:
        if not indices.is_visible(client, settings.run, consuming.definitions(contact=False)):
            raise _unknown(settings.run, "in Elasticsearch", indices.views(client))


def check_anywhere(settings: Settings, state: str | None = None) -> None:
    """Looks for the run in Kafka, Elasticsearch and the data folder; passes where one of them does not answer.

    Args:
        settings: where they are, and the run.
        state: local path or URI of the checkpoints; None: below the data folder.

    Raises:
        ShopstreamError: nothing is called so anywhere.
    """
    found = runs.overview(settings, consuming.state_folder(settings, state))
    if settings.run not in found.runs and not found.problems:
        raise _unknown(settings.run, "in Kafka, Elasticsearch or the data folder", found.runs)


def _unknown(run: str, where: str, known: Iterable[str]) -> ShopstreamError:
    names = ", ".join(sorted(known))
    remedy = f"There are: {names}." if names else "There is none yet: `shopstream consume` makes one."
    return ShopstreamError(f"There is no run {run} {where}.", remedy)
