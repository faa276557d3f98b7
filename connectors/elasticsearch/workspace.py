"""Writes single documents that readers of the page own: states of the work list, notes, saved views.

A write names the version of the document that its author saw. Another version is a conflict, so that no change is
overwritten unseen. Documents are searchable as soon as a write returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import elasticsearch
from elasticsearch import Elasticsearch, helpers

from connectors.elasticsearch.client import delete_documents, document_id, readable_error, translate_errors
from connectors.elasticsearch.mappings import alias
from features.errors import ShopstreamError

_NEWER: Final = "The page shows the newer state."
PRIVILEGES: Final = ("read", "indices:data/write/index", "indices:data/write/bulk", "delete")


class ConflictError(ShopstreamError):
    """A document has another version than the author of a write saw."""


def version_of(hit: Mapping[str, Any]) -> str:
    """Return the version of a search hit, from a search with `seq_no_primary_term`."""
    return f"{hit['_seq_no']}.{hit['_primary_term']}"


def contact_key(customer_id: str, at_ms: int) -> str:
    """Return the id of a contact in the log: a document besides the customer's present state.

    Args:
        customer_id: id of the customer.
        at_ms: time of the contact, epoch ms.
    """
    return document_id(customer_id, str(at_ms))


class Workspace:
    """Writes documents through the aliases of one run, so that they are those that its readers find.

    Args:
        client: Elasticsearch client. Its owner closes it.
        run: name of the run.
    """

    def __init__(self, client: Elasticsearch, run: str) -> None:
        self._client = client
        self._run = run

    def write(self, index: str, document_id: str, document: Mapping[str, Any], version: str) -> None:
        """Create a document, or replace one of a known version.

        Args:
            index: index name without the run: `contacts`.
            document_id: id of the document.
            document: fields of the document.
            version: version that the author saw; empty: there was no document.

        Raises:
            ConflictError: the document has another version, or exists already.
            ShopstreamError: Elasticsearch does not answer, or refuses.
        """
        known: dict[str, Any] = _known(version) if version else {"op_type": "create"}

        def send(name: str) -> object:
            # without the alias, a server would create an index of its name, which no run could use
            return self._client.index(
                index=name, id=document_id, document=document, refresh=True, require_alias=True, **known
            )

        self._change(index, send)

    def delete(self, index: str, document_id: str, version: str) -> None:
        """Delete a document of a known version.

        Args:
            index: index name without the run.
            document_id: id of the document.
            version: version that the author saw; empty: any.

        Raises:
            ConflictError: the document has another version, or does not exist.
            ShopstreamError: Elasticsearch does not answer, or refuses.
        """
        known: dict[str, Any] = _known(version) if version else {}
        self._change(index, lambda name: self._client.delete(index=name, id=document_id, refresh=True, **known))

    def obstacle(self, indices: tuple[str, ...]) -> str:
        """Return why the documents of these indices cannot be written; empty if they can.

        Raises:
            ShopstreamError: Elasticsearch does not answer.
        """
        names = [alias(self._run, index) for index in indices]
        try:
            allowed = self._client.security.has_privileges(index=[{"names": names, "privileges": list(PRIVILEGES)}])
            if not allowed["has_all_requested"]:
                return "The Elasticsearch user of the page may not write: it needs the permissions of the duty `page`."
        except elasticsearch.ApiError as error:
            # a cluster without security has no such question, and everybody may write
            if error.status_code not in (400, 404, 405, 500):
                raise readable_error(error, "The permissions of the page") from error
        except elasticsearch.TransportError as error:
            raise readable_error(error, "Elasticsearch") from error
        try:
            missing = [name for name in names if not self._client.indices.exists(index=name)]
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            raise readable_error(error, "The indices of the page") from error
        return f"The run has no index {missing[0]} yet: start `shopstream consume` once." if missing else ""

    def _change(self, index: str, send: Callable[[str], object]) -> None:
        name = alias(self._run, index)
        try:
            send(name)
        except elasticsearch.ConflictError as error:
            raise ConflictError("Somebody else has changed this meanwhile.", _NEWER) from error
        except elasticsearch.NotFoundError as error:
            if "result" in error.body:  # the document, not the index
                raise ConflictError("Somebody else has removed this meanwhile.", _NEWER) from error
            raise readable_error(error, f"The index {name}") from error
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            raise readable_error(error, f"The index {name}") from error


def copy_documents(client: Elasticsearch, source: str, target: str) -> int:
    """Make the documents of an index those of another one; return their number.

    Args:
        client: Elasticsearch client.
        source: concrete index to read; a missing one changes nothing.
        target: concrete index, whose other documents are deleted.

    Raises:
        ShopstreamError: Elasticsearch does not answer, or refuses.
    """
    with translate_errors(f"The copy of {source} to {target}"):
        if not client.indices.exists(index=source):
            return 0
        for index in (source, target):
            client.indices.refresh(index=index)
        documents = [(hit["_id"], hit["_source"]) for hit in helpers.scan(client, index=source)]
        others = {hit["_id"] for hit in helpers.scan(client, index=target, _source=False)} - {
            key for key, _ in documents
        }
        delete_documents(client, target, sorted(others))
        actions = [{"_index": target, "_id": key, "_source": document} for key, document in documents]
        _, failed = helpers.bulk(client, actions, refresh=True, raise_on_error=False)
    if failed:
        raise ShopstreamError(f"Documents of {source} could not be copied to {target}: {failed}.", "Try again.")
    return len(documents)


def _known(version: str) -> dict[str, int]:
    number, _, term = version.partition(".")
    return {"if_seq_no": int(number), "if_primary_term": int(term)}
