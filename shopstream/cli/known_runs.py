"""Commands that read a run that was named: there is one of that name, or they say which there are."""

from __future__ import annotations

from collections.abc import Iterable

from connectors.elasticsearch import aliases
from connectors.elasticsearch.client import elastic_connection, open_client
from consumers.index_definitions import run_definitions
from features.errors import ShopstreamError
from shopstream import embedded
from shopstream.jobs import consume as consume_job
from shopstream.jobs import runs as runs_job
from shopstream.settings import Settings


def check_view(settings: Settings) -> None:
    """Looks for the run in Elasticsearch, as whoever reads it there asks for it.

    Args:
        settings: where Elasticsearch is, and the run.

    Raises:
        ShopstreamError: there is no such run, or Elasticsearch does not answer.
    """
    with open_client(elastic_connection(embedded.elastic_reader(settings)), connections=1) as client:
        if not aliases.is_visible(client, settings.run, run_definitions(contact=False)):
            raise _unknown(settings.run, "in Elasticsearch", aliases.views(client))


def check_anywhere(settings: Settings, state: str | None = None) -> None:
    """Looks for the run in Kafka, Elasticsearch and the data folder; passes where one of them does not answer.

    Args:
        settings: where they are, and the run.
        state: local path or URI of the checkpoints; None: below the data folder.

    Raises:
        ShopstreamError: nothing is called so anywhere.
    """
    found = runs_job.overview(settings, consume_job.state_folder(settings, state))
    if settings.run not in found.runs and not found.problems:
        raise _unknown(settings.run, "in Kafka, Elasticsearch or the data folder", found.runs)


def _unknown(run: str, where: str, known: Iterable[str]) -> ShopstreamError:
    names = ", ".join(sorted(known))
    remedy = f"There are: {names}." if names else "There is none yet: `shopstream consume` makes one."
    return ShopstreamError(f"There is no run {run} {where}.", remedy)
