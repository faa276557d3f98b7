"""Check that the run of a command exists; the error lists the existing runs."""

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
    """Check for the run in Elasticsearch, as the user that reads it there.

    Args:
        settings: settings with Elasticsearch and the run.

    Raises:
        ShopstreamError: there is no such run, or Elasticsearch does not answer.
    """
    with open_client(elastic_connection(embedded.elastic_endpoint(settings, read_only=True)), connections=1) as client:
        if not aliases.is_visible(client, settings.run, run_definitions(contact=False)):
            raise _unknown(settings.run, "in Elasticsearch", aliases.views(client))


def check_anywhere(settings: Settings, state: str | None = None) -> None:
    """Check for the run in Kafka, Elasticsearch and the data folder; passes if one of them does not answer.

    Args:
        settings: settings with the servers, the data folder and the run.
        state: local path or URI of the checkpoints; None: below the data folder.

    Raises:
        ShopstreamError: there is no such run in any of them.
    """
    found = runs_job.overview(settings, consume_job.state_folder(settings, state))
    if settings.run not in found.runs and not found.problems:
        raise _unknown(settings.run, "in Kafka, Elasticsearch or the data folder", found.runs)


def _unknown(run: str, where: str, known: Iterable[str]) -> ShopstreamError:
    names = ", ".join(sorted(known))
    remedy = f"There are: {names}." if names else "There is none yet: `shopstream consume` makes one."
    return ShopstreamError(f"There is no run {run} {where}.", remedy)
