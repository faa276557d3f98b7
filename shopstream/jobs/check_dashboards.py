"""Checks the dashboards: their declaration, the file for Kibana, and every search against a running Elasticsearch."""

from __future__ import annotations

import time
from collections.abc import Mapping

from connectors.elasticsearch.client import check, elastic_connection, open_client
from connectors.elasticsearch.search import Searcher
from consumers.index_definitions import run_definitions
from dashboards import checks
from dashboards.boards import DASHBOARDS
from dashboards.boards.data import PIPELINE
from dashboards.kibana.saved_objects import saved_objects, used
from dashboards.kibana.structure import structure_faults
from dashboards.panels import Data
from dashboards.validation import faults
from features.schema import FieldKind
from shopstream import embedded
from shopstream.jobs.shop_calendar import run_calendar
from shopstream.settings import Settings


def declared_kinds() -> Mapping[str, Mapping[str, FieldKind]]:
    """Return index (without the run) -> field -> kind, for every index a run can have."""
    return {
        definition.name: {field.name: field.kind for field in definition.fields}
        for definition in run_definitions(contact=False)
    }


def declaration_faults(run: str) -> list[str]:
    """Return the faults that need no server: in the declaration, and in the structure of the file for Kibana."""
    return [*faults(DASHBOARDS, declared_kinds()), *structure_faults(saved_objects(DASHBOARDS, run))]


def check_panels(settings: Settings, as_of_ms: int | None, repeat: int) -> list[checks.CheckResult]:
    """Run the search of every panel over `settings.run`.

    Args:
        settings: address of Elasticsearch, and the run.
        as_of_ms: end of the time ranges, epoch ms; None: the newest document.
        repeat: number of times each search runs.

    Raises:
        ShopstreamError: Elasticsearch does not answer.
    """
    with open_client(elastic_connection(embedded.elastic_endpoint(settings))) as client:
        check(client)
        search = Searcher(client, settings.run)
        types = {data.index: search.types(data.index) for data in used(DASHBOARDS)}
        end = _fixed(as_of_ms) if as_of_ms is not None else checks.ends(search, PIPELINE)
        calendar = run_calendar(client, settings.run, settings.shop)
        return checks.check(DASHBOARDS, search, end, time.perf_counter, types, declared_kinds(), repeat, calendar)


def _fixed(as_of_ms: int) -> checks.Clock:
    def end(data: Data) -> int:  # noqa: ARG001 - every panel ends there
        return as_of_ms

    return end
