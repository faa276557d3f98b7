"""Runs the searches of dashboards against the aliases of a run and returns the field types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import elasticsearch
from elasticsearch import Elasticsearch

from connectors.elasticsearch.client import readable_error
from connectors.elasticsearch.mappings import alias
from features.errors import ShopstreamError

CONCURRENT_SEARCHES: Final = 4
"""Concurrent searches of a dashboard in Elasticsearch."""


class Searcher:
    """Searches the indices of one run.

    Args:
        client: Elasticsearch client. Its owner closes it.
        run: name of the run whose aliases are searched.
    """

    def __init__(self, client: Elasticsearch, run: str) -> None:
        self._client = client
        self._run = run

    def __call__(self, index: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the response to a search.

        Args:
            index: index name without the run: `sessions`. A missing index returns a response without aggregations.
            body: body of `_search`.

        Raises:
            ShopstreamError: Elasticsearch does not respond, or refuses.
        """
        try:
            response = self._client.search(
                index=alias(self._run, index), body=dict(body), ignore_unavailable=True, request_cache=False
            )
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            raise readable_error(error, f"The search of {alias(self._run, index)}") from error
        content: Mapping[str, Any] = response.body
        return content

    def many(self, searches: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Mapping[str, Any] | ShopstreamError]:
        """Return the responses to several searches in one request. A failed search returns its error.

        Args:
            searches: pairs of index name without the run, and body.

        Raises:
            ShopstreamError: Elasticsearch does not respond, or refuses all searches.
        """
        if not searches:
            return []
        lines: list[Mapping[str, Any]] = []
        for index, body in searches:
            lines += [{"index": alias(self._run, index), "ignore_unavailable": True}, body]
        try:
            response = self._client.msearch(searches=lines, max_concurrent_searches=CONCURRENT_SEARCHES)
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            raise readable_error(error, "Elasticsearch") from error
        return [_result(one, index) for one, (index, _) in zip(response.body["responses"], searches, strict=True)]

    def types(self, index: str) -> dict[str, str]:
        """Return field -> Elasticsearch type; empty if the index is missing.

        If a field has different types in the months of an index, the last month's type is returned.
        """
        try:
            response = self._client.indices.get_mapping(index=alias(self._run, index), ignore_unavailable=True)
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            raise readable_error(error, f"The mapping of {alias(self._run, index)}") from error
        types: dict[str, str] = {}
        for _, one in sorted(response.body.items()):
            for name, field in one["mappings"].get("properties", {}).items():
                types[name] = field.get("type", "object")
        return types


def _result(one: Mapping[str, Any], index: str) -> Mapping[str, Any] | ShopstreamError:
    if "error" not in one:
        return one
    causes = one["error"].get("root_cause") or [one["error"]]
    return ShopstreamError(
        f"The search of {index} failed: {causes[0].get('reason', 'no reason given')}.",
        "Run `shopstream dashboards check`: it lists the wrong fields and indices.",
    )
