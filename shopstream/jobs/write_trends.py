"""Writes trends of an archive into the indices of a run: creates templates and replaces periods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.client import check, elastic_connection, open_client, open_sink
from connectors.elasticsearch.period_writer import Replaced, Trend, replace
from connectors.elasticsearch.trend_calendars import store_calendar
from consumers.index_definitions import trend_definitions
from features.calendar import Calendar
from shopstream import embedded
from shopstream.jobs.shop_calendar import check_trend_calendar
from shopstream.settings import Settings


def write_trends(
    settings: Settings,
    trends: Sequence[Trend],
    calendar: Calendar,
    on_written: Callable[[int], None] = lambda _: None,
) -> list[Replaced]:
    """Write trends into the indices of `settings.run`; existing documents of the same periods are replaced.

    Args:
        settings: address of Elasticsearch, and the run.
        trends: trends to write.
        calendar: calendar of their periods.
        on_written: called with the number of further documents written.

    Raises:
        UsageError: the other documents of an index are by another calendar.
        ShopstreamError: Elasticsearch does not answer or refuses.
    """
    connection = elastic_connection(embedded.elastic_endpoint(settings))
    with open_client(connection) as client:
        check(client)
        parts = [trend.index for trend in trends if trend.from_ms is not None or trend.to_ms is not None]
        check_trend_calendar(client, settings.run, parts, calendar)
        install(client, settings.run, trend_definitions())
        for trend in trends:
            store_calendar(client, settings.run, trend.index, calendar)
        with open_sink(connection) as sink:
            return [replace(client, sink, settings.run, trend, on_written) for trend in trends]


def check_elastic(settings: Settings) -> None:
    """Fail early, before the long work, if Elasticsearch does not answer. Raises ShopstreamError."""
    with open_client(elastic_connection(embedded.elastic_endpoint(settings))) as client:
        check(client)


def check_part(settings: Settings, indices: Sequence[str], calendar: Calendar) -> None:
    """Fail early if the trends of a range would be by another calendar than the rest. Raises as `write_trends`."""
    with open_client(elastic_connection(embedded.elastic_endpoint(settings))) as client:
        check_trend_calendar(client, settings.run, indices, calendar)
