"""Erases one customer's profile from the indices of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import elasticsearch
from elasticsearch import Elasticsearch, helpers

from connectors.elasticsearch.client import delete_documents, document_id, readable_error
from connectors.elasticsearch.mappings import write_index
from features.definitions import ROW_FIELDS
from features.errors import ShopstreamError
from features.schema import Customer, record_fields
from features.workspace import CONTACTS

TRIES: Final = 10
HITS_MAX: Final = 1_000
PURGE_TIMEOUT_S: Final = 600.0
PROFILE_FIELDS: Final = frozenset(field.name for field in record_fields(Customer)) - {
    "customer_id",
    *(field.name for field in ROW_FIELDS),
}
"""Fields that a profile adds to a document of `customers`."""


def forget_in_index(client: Elasticsearch, run: str, customer_id: str) -> bool:
    """Remove the profile from the customer's document; return whether there was one.

    A consumer may write a newer document at any time; the document is then checked again.

    Raises:
        ShopstreamError: the server does not answer or refuses, or the profile reappears repeatedly.
    """
    index, key = write_index(run, "customers"), document_id(customer_id)
    changed = False
    try:
        for _ in range(TRIES):
            answer = client.options(ignore_status=404).get(index=index, id=key)
            body = answer.get("_source") or {}
            remaining = _without_profile(body)
            if len(remaining) == len(body):
                return changed
            changed = True
            with suppress(elasticsearch.ConflictError):
                client.index(
                    index=index, id=key, document=remaining, version=answer["_version"], version_type="external_gte"
                )
            time.sleep(0.2)
    except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
        raise readable_error(error, f"The index {index}") from error
    raise ShopstreamError(f"The profile reappeared in {index} {TRIES} times.", "Try again in a minute.")


def forget_in_alerts(client: Elasticsearch, run: str, customer_id: str) -> int:
    """Remove the profile's fields from the customer's alerts of format 1; return the number of alerts changed.

    An index that is missing, or is deleted meanwhile, holds nothing. A closed one is an error.

    Raises:
        ShopstreamError: as `forget_in_index`.
    """
    index = write_index(run, "alerts")
    fields = [{"exists": {"field": name}} for name in sorted(PROFILE_FIELDS)]
    query = {"bool": {"filter": [{"term": {"customer_id": customer_id}}], "should": fields, "minimum_should_match": 1}}
    changed: set[str] = set()
    try:
        for _ in range(TRIES):
            client.indices.refresh(index=index)
            answer = client.search(index=index, query=query, size=HITS_MAX, seq_no_primary_term=True)
            hits = answer["hits"]["hits"]
            if not hits:
                return len(changed)
            for hit in hits:
                changed.add(hit["_id"])
                with suppress(elasticsearch.ConflictError):
                    client.index(
                        index=index,
                        id=hit["_id"],
                        document=_without_profile(hit["_source"]),
                        if_seq_no=hit["_seq_no"],
                        if_primary_term=hit["_primary_term"],
                    )
    except elasticsearch.NotFoundError:
        return len(changed)
    except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
        raise readable_error(error, f"The index {index}") from error
    raise ShopstreamError(f"{index} still holds alerts with fields of the profile.", "Try again.")


def forget_contact(client: Elasticsearch, run: str, customer_id: str) -> bool:
    """Delete the customer's state on the work list and their contacts; return whether there was one.

    An index that is missing holds nothing.

    Raises:
        ShopstreamError: the server does not answer or refuses.
    """
    index = write_index(run, CONTACTS)
    try:
        client.indices.refresh(index=index)
        hits = helpers.scan(client, index=index, query={"query": {"term": {"customer_id": customer_id}}}, _source=False)
        keys = [hit["_id"] for hit in hits]
        delete_documents(client, index, keys)
        client.indices.refresh(index=index)
    except elasticsearch.NotFoundError:
        return False
    except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
        raise readable_error(error, f"The index {index}") from error
    return bool(keys)


def purge(client: Elasticsearch, run: str) -> None:
    """Force-merge the segments of customers, alerts and contacts, which drops the old versions of documents.

    An index that is missing, or is deleted meanwhile, holds nothing.

    Raises:
        ShopstreamError: the server does not answer or refuses.
    """
    for index in (write_index(run, name) for name in ("customers", "alerts", CONTACTS)):
        try:
            client.options(request_timeout=PURGE_TIMEOUT_S).indices.forcemerge(
                index=index, max_num_segments=1, flush=True
            )
        except elasticsearch.NotFoundError:
            continue
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            raise readable_error(error, f"The index {index}") from error


def _without_profile(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in PROFILE_FIELDS}
