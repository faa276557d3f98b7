"""Reads and writes the log of contacts of a run, and finds known customers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from elasticsearch import Elasticsearch, helpers

from connectors.elasticsearch.client import document_id, translate_errors
from connectors.elasticsearch.mappings import alias
from connectors.elasticsearch.workspace import contact_key
from features.errors import ShopstreamError

_BATCH: Final = 1_000


class ContactLog:
    """Contacts of one run, in the index of the work list's states.

    Args:
        client: Elasticsearch client. Its owner closes it.
        run: name of the run.
        index: index name without the run: `contacts`.

    Raises:
        ShopstreamError: the run has no such index, or Elasticsearch does not answer.
    """

    def __init__(self, client: Elasticsearch, run: str, index: str) -> None:
        self._client = client
        self._run = run
        self._index = alias(run, index)
        with translate_errors(f"The index {self._index}"):
            exists = client.indices.exists(index=self._index)
        if not exists:
            raise ShopstreamError(
                f"There is no run {run} with a log of contacts in Elasticsearch.",
                "`shopstream runs list` lists the runs; `shopstream consume` creates the indices of a run.",
            )

    def read(self) -> list[tuple[str, int]]:
        """Return customer and time, epoch ms, of every contact, in no order; some twice. Raises ShopstreamError."""
        body = {"query": {"term": {"state": "done"}}, "_source": ["customer_id", "at_ts"]}
        with translate_errors(f"The index {self._index}"):
            hits = helpers.scan(self._client, index=self._index, query=body)
            return [(hit["_source"]["customer_id"], int(hit["_source"]["at_ts"])) for hit in hits]

    def known(self, customer_ids: Sequence[str]) -> set[str]:
        """Return those of some customers whom the run knows. Raises ShopstreamError."""
        known: set[str] = set()
        index = alias(self._run, "customers")
        for start in range(0, len(customer_ids), _BATCH):
            query = {"terms": {"customer_id": list(customer_ids[start : start + _BATCH])}}
            with translate_errors(f"The index {index}"):
                response = self._client.search(index=index, query=query, size=_BATCH, source_includes=["customer_id"])
            known.update(hit["_source"]["customer_id"] for hit in response["hits"]["hits"])
        return known

    def write(self, contacts: Sequence[Mapping[str, Any]], states: Sequence[Mapping[str, Any]]) -> None:
        """Write contacts to the log, and states of customers who have none.

        Args:
            contacts: fields of `features.workspace.Contact`; the same contact twice is one document.
            states: the same; a customer's present state is kept.

        Raises:
            ShopstreamError: Elasticsearch does not answer, or refuses.
        """
        logged: Iterator[dict[str, Any]] = (
            {"_id": contact_key(one["customer_id"], one["at_ts"]), "_source": one} for one in contacts
        )
        created: Iterator[dict[str, Any]] = (
            {"_op_type": "create", "_id": document_id(one["customer_id"]), "_source": one} for one in states
        )
        for actions in (logged, created):
            with translate_errors(f"The index {self._index}"):
                answers = helpers.streaming_bulk(
                    self._client,
                    actions,
                    index=self._index,
                    require_alias=True,
                    refresh="wait_for",
                    raise_on_error=False,
                )
                refused = [next(iter(answer.values())) for done, answer in answers if not done]
            if wrong := [one for one in refused if one["status"] != HTTPStatus.CONFLICT]:  # a state is kept
                raise ShopstreamError(f"{len(wrong)} contacts could not be written: {wrong[0]}.", "Try again.")
