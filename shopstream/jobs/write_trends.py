"""From an archive's analysis into the indices of a run: servers found, templates made, periods replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.client import check, elastic_connection, open_client, open_sink
from connectors.elasticsearch.period_writer import Replaced, Trend, replace
from consumers.index_definitions import trend_definitions
from shopstream import embedded
from shopstream.settings import Settings


def write_trends(
    settings: Settings, trends: Sequence[Trend], on_written: Callable[[int], None] = lambda _: None
) -> list[Replaced]:
    """Writes trends into the indices of `settings.run`; what they held of the same periods is replaced.

    Args:
        settings: where Elasticsearch is, and the run.
        trends: to be written.
        on_written: told how many documents more stand there.

    Raises:
        ShopstreamError: Elasticsearch does not answer or refuses.
    """
    connection = elastic_connection(embedded.elastic_endpoint(settings))
    with open_client(connection) as client:
        check(client)
        install(client, settings.run, trend_definitions())
        with open_sink(connection) as sink:
            return [replace(client, sink, settings.run, trend, on_written) for trend in trends]


def check_elastic(settings: Settings) -> None:
    """Fails at once, before the work, where Elasticsearch does not answer. Raises ShopstreamError."""
    with open_client(elastic_connection(embedded.elastic_endpoint(settings))) as client:
        check(client)
