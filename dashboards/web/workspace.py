"""Provides notes, saved views and the states of the work list, and writes them. Pure except for its sources."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from connectors.elasticsearch.client import document_id
from connectors.elasticsearch.workspace import ConflictError, contact_key, version_of
from dashboards.panels import Span
from dashboards.queries import TIMEOUT
from dashboards.web.boards import Json, Searches, complete
from features.errors import UsageError
from features.schema import DAY_MS, ID_BYTES_MAX
from features.workspace import (
    CONTACTS,
    DONE_MS,
    NOTES,
    NOTES_MAX,
    VIEW_ADDRESS_CHARS_MAX,
    VIEW_NAME_CHARS_MAX,
    VIEWS,
    VIEWS_MAX,
    Contact,
    ContactState,
    SavedView,
    SnoozeDays,
)

WRITTEN: Final = (CONTACTS, VIEWS)
"""Indices that the page writes. `shopstream note` writes the notes."""

Version = Annotated[str, Meta(max_length=40, pattern=r"^([0-9]{1,19}\.[0-9]{1,19})?\Z")]


class Writer(Protocol):
    """Writes documents of a run that have a known version; `connectors.elasticsearch.workspace.Workspace`."""

    def write(self, index: str, document_id: str, document: Mapping[str, Any], version: str) -> None:
        """Create a document, or replace a version of it. Raises ConflictError, ShopstreamError."""
        ...

    def delete(self, index: str, document_id: str, version: str) -> None:
        """Delete a version of a document. Raises ConflictError, ShopstreamError."""
        ...

    def obstacle(self, indices: tuple[str, ...]) -> str:
        """Return why documents of these indices cannot be written; empty if they can. Raises ShopstreamError."""
        ...


class ContactRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A change of a customer's state.

    Attributes:
        customer_id: id of the customer.
        state: new state; `open` removes the present one.
        version: version of the present state that the reader saw; empty without one.
        days: days of a snooze.
    """

    customer_id: Annotated[str, Meta(min_length=1, max_length=ID_BYTES_MAX)]
    state: ContactState | Literal["open"]
    version: Version
    days: SnoozeDays | None = None


class ViewRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A view to save. The address is a query of this page, so that no saved link leads elsewhere."""

    name: Annotated[str, Meta(min_length=1, max_length=VIEW_NAME_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
    address: Annotated[str, Meta(max_length=VIEW_ADDRESS_CHARS_MAX, pattern=r"^(\?[!-~]*)?\Z")]


class ViewDeletion(msgspec.Struct, forbid_unknown_fields=True):
    """A saved view to delete, by its id."""

    id: Annotated[str, Meta(min_length=1, max_length=ID_BYTES_MAX)]


# --- states of the work list ------------------------------------------------------------------------------------------


def change_contact(request: ContactRequest, writer: Writer, search: Searches, now_ms: int) -> Json:
    """Write the state of a customer, or remove it.

    Args:
        request: requested change.
        writer: writer of the documents.
        search: function that queries Elasticsearch.
        now_ms: wall-clock time, epoch ms.

    Returns:
        The new `state`, and the `version` of its document.

    Raises:
        UsageError: there is no such customer, a snooze has no days, or there is no state to remove.
        ConflictError: the present state is not the one that the reader saw.
        ShopstreamError: Elasticsearch does not answer, or refuses.
    """
    key = document_id(request.customer_id)
    former = _contacted_at(search, key) if request.version else None
    if request.state == "open":
        if not request.version:
            raise UsageError("There is no state to remove.", "Reload the page and try again.")
        writer.delete(CONTACTS, key, request.version)
        if former is not None:  # an imported contact is in the log already
            with contextlib.suppress(ConflictError):
                writer.delete(CONTACTS, contact_key(request.customer_id, former["at_ts"]), "")
        return {"state": "open", "version": ""}
    if (request.state == "snoozed") != (request.days is not None):
        raise UsageError("Only a snooze has a number of days.", "Choose 1, 7 or 30 days.")
    if former is not None:  # the new state replaces that of a contact, which stays in the log
        with contextlib.suppress(ConflictError):
            logged = {**former, "until_ts": 0}
            writer.write(CONTACTS, contact_key(request.customer_id, former["at_ts"]), logged, "")
    as_of_ms = _as_of(search, request.customer_id)
    until_ms = now_ms + (DONE_MS if request.days is None else request.days * DAY_MS)
    contact = Contact(request.customer_id, request.state, now_ms, until_ms, as_of_ms)
    writer.write(CONTACTS, key, msgspec.structs.asdict(contact), request.version)
    return {"state": request.state, "version": _stored_version(search, CONTACTS, key)}


def _contacted_at(search: Searches, key: str) -> Mapping[str, Any] | None:
    """Return the present state of a customer if it is that of a contact."""
    (response,) = complete(search.many([(CONTACTS, {"size": 1, "query": {"ids": {"values": [key]}}})]))
    states = (hit["_source"] for hit in response.get("hits", {}).get("hits", ()))
    return next((state for state in states if state["state"] == "done"), None)


def _as_of(search: Searches, customer_id: str) -> int:
    body = {"size": 1, "_source": ["as_of"], "query": {"bool": {"filter": [{"term": {"customer_id": customer_id}}]}}}
    (response,) = complete(search.many([("customers", body)]))
    hits = response.get("hits", {}).get("hits", ())
    if not hits:
        raise UsageError(f"There is no customer {customer_id[:100]!r}.", "Use a customer of the list.")
    return int(hits[0]["_source"].get("as_of") or 0)


def _stored_version(search: Searches, index: str, key: str) -> str:
    body = {"size": 1, "seq_no_primary_term": True, "_source": False, "query": {"ids": {"values": [key]}}}
    (response,) = complete(search.many([(index, body)]))
    return next((version_of(hit) for hit in response.get("hits", {}).get("hits", ())), "")


# --- notes ------------------------------------------------------------------------------------------------------------


def notes_between(search: Searches, span: Span) -> list[Json]:
    """Return the notes of a time range in order of time, as `id`, `ts` (epoch ms), `day` and `text`.

    Args:
        search: function that queries Elasticsearch.
        span: time range.

    Raises:
        ShopstreamError: Elasticsearch does not answer.
    """
    body = {
        "size": NOTES_MAX,
        "timeout": TIMEOUT,
        "query": {"bool": {"filter": [{"range": {"ts": {"gte": span.from_ms, "lt": span.to_ms}}}]}},
        "sort": [{"ts": "asc"}, {"text": "asc"}],
    }
    (response,) = complete(search.many([(NOTES, body)]))
    return [
        {"id": hit["_id"], **{name: hit["_source"][name] for name in ("ts", "day", "text")}}
        for hit in response.get("hits", {}).get("hits", ())
    ]


# --- saved views ------------------------------------------------------------------------------------------------------


def saved_views(search: Searches) -> list[Json]:
    """Return the saved views by name, as `id`, `name` and `address`. Raises ShopstreamError."""
    body = {"size": VIEWS_MAX, "timeout": TIMEOUT, "query": {"match_all": {}}, "sort": [{"title": "asc"}]}
    (response,) = complete(search.many([(VIEWS, body)]))
    return [
        {"id": hit["_id"], "name": hit["_source"]["title"], "address": hit["_source"]["address"]}
        for hit in response.get("hits", {}).get("hits", ())
    ]


def save_view(request: ViewRequest, writer: Writer, search: Searches, now_ms: int) -> Json:
    """Save a view under a new name; return all views.

    Raises:
        UsageError: the name is blank, or there are too many views.
        ConflictError: there is a view of this name.
        ShopstreamError: Elasticsearch does not answer, or refuses.
    """
    name = request.name.strip()
    if not name:
        raise UsageError("The view has no name.", "Give it one.")
    if len(saved_views(search)) >= VIEWS_MAX:
        raise UsageError(f"There are {VIEWS_MAX} saved views already.", "Delete one first.")
    # the page without parameters has an empty query, which is no link
    view = SavedView(name, request.address or "?", now_ms)
    try:
        writer.write(VIEWS, document_id(name), msgspec.structs.asdict(view), "")
    except ConflictError as error:
        raise ConflictError(f"There is a view {name!r} already.", "Choose another name, or delete it first.") from error
    return {"views": saved_views(search)}


def delete_view(request: ViewDeletion, writer: Writer, search: Searches) -> Json:
    """Delete a view; return all others. Raises ConflictError if it does not exist, ShopstreamError."""
    writer.delete(VIEWS, request.id, "")
    return {"views": saved_views(search)}


def read_only_reason(writer: Writer | None) -> str:
    """Return why the page cannot write; empty if it can. Raises ShopstreamError."""
    return "This page has no connection that may write." if writer is None else writer.obstacle(WRITTEN)


def check_writable(reason: str) -> None:
    """Raise UsageError if there is a reason against writing."""
    if reason:
        raise UsageError(f"The page is read-only. {reason}", "Ask the person who runs `shopstream dashboards serve`.")
