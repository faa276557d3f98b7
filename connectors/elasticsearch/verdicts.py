"""Maps the HTTP status and error type of an Elasticsearch response to a verdict on a document or request.

A document becomes a dead letter only for an error that is the document's own. Every other refusal, known or not, is
attributed to the index or the server. The document is retried until an operator has fixed the cause, so nothing is
lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from connectors.elasticsearch.documents import ItemResult, SendError, Verdict
from features.errors import ShopstreamError

REASON_CHARS_MAX: Final = 500

_OF_DOCUMENTS: Final = frozenset({"document_parsing_exception"})
"""Error types for a value that its field cannot hold. Other documents can still be written."""
_OF_LONG_TERMS: Final = "immense term"
"""The only document error that Lucene detects, after the parser. Its type is `illegal_argument_exception`."""
_OF_BODIES: Final = frozenset(
    {"action_request_validation_exception", "x_content_parse_exception", "json_parse_exception"}
)
"""Error types of a whole request caused by one of its documents: an id that is too long, a line that is not JSON."""
_REMEDIES: Final = {
    "invalid_alias_name_exception": "an index has the name of an alias: reindex it under another name or delete it",
    "strict_dynamic_mapping_exception": "the index has an older mapping: start `shopstream consume` again, which "
    "extends it",
    "index_closed_exception": "open the index",
}
"""Error type -> remedy, for errors whose Elasticsearch message does not give one."""


def item_verdict(status: int, error: Mapping[str, Any] | None) -> ItemResult:
    """Return the meaning of the result of one item.

    Args:
        status: HTTP status of the item.
        error: error object of the item.
    """
    if status < 300:
        return ItemResult(Verdict.WRITTEN)
    cause = error or {}
    remedy = _REMEDIES.get(str(cause.get("type")), "")
    return ItemResult(_refusal(status, cause), error_text({"error": cause}) + (f" ({remedy})" if remedy else ""))


def _refusal(status: int, error: Mapping[str, Any]) -> Verdict:
    if status == 409:
        return Verdict.CONFLICT
    if is_block({"error": error}):
        return Verdict.BLOCKED
    if status == 429 or status >= 500:
        return Verdict.RETRY
    if status in (401, 403):
        return Verdict.FATAL
    is_of_document = error.get("type") in _OF_DOCUMENTS or _OF_LONG_TERMS in str(error.get("reason"))
    return Verdict.REJECTED if status == 413 or is_of_document else Verdict.BLOCKED


def request_verdict(status: int, body: object) -> SendError:
    """Return the meaning of an error status for a whole bulk request."""
    message = f"{status} {error_text(body)}"
    if is_block(body):
        return SendError(Verdict.BLOCKED, message)
    if status in (401, 403):
        error = ShopstreamError(
            f"Elasticsearch refuses the bulk request: {message}.",
            "Check the credentials in the settings and their permissions.",
        )
        return SendError(Verdict.FATAL, message, error)
    if status in (408, 429) or status >= 500:
        return SendError(Verdict.RETRY, message)
    if status == 413 or (status == 400 and _error_of(body).get("type") in _OF_BODIES):
        # too large, or one malformed line breaks the whole request: halving it isolates the cause
        return SendError(Verdict.SPLIT, message)
    # a cluster setting, or a message of a proxy: not caused by a document
    return SendError(Verdict.BLOCKED, message)


def is_block(body: object) -> bool:
    """Return whether writing is blocked, on purpose or by a full disk: a temporary 403, unlike missing permissions."""
    return _error_of(body).get("type") == "cluster_block_exception"


def error_text(body: object) -> str:
    """Return an error body as one line."""
    error = _error_of(body)
    if not error:
        return clip(str(body))
    cause = error.get("caused_by")
    deeper = f" ({cause.get('reason')})" if isinstance(cause, Mapping) and cause.get("reason") else ""
    return clip(f"{error.get('type')}: {error.get('reason')}{deeper}")


def clip(text: str) -> str:
    """Return the text, cut to `REASON_CHARS_MAX`."""
    return text if len(text) <= REASON_CHARS_MAX else text[: REASON_CHARS_MAX - 1] + "…"


def _error_of(body: object) -> Mapping[str, Any]:
    error = body.get("error") if isinstance(body, Mapping) else None
    return error if isinstance(error, Mapping) else {}
