"""Accepts requests that write: refuses those of foreign pages, and checks the body against a declared type.

A page of another site can send a form to this server, but no JSON with a header of its own: the browser would ask the
server first, which never agrees. Browsers also name the page's origin, which must be this server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request

from connectors.elasticsearch.workspace import ConflictError
from features.errors import ShopstreamError, UsageError

BODY_BYTES_MAX: Final = 16_384
HEADER: Final = "X-Shopstream"
HEADER_VALUE: Final = "page"

_RELOAD: Final = "Reload the page and try again."
Body = TypeVar("Body", bound=msgspec.Struct)


class RefusedRequestError(ShopstreamError):
    """A request that is refused for its form.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.status = status


def check_origin(headers: Mapping[str, str]) -> None:
    """Refuse a request that a page of another site may have sent.

    Args:
        headers: headers of the request; names in lower case.

    Raises:
        RefusedRequestError: the header of the page is missing, or the origin is another one.
    """
    if headers.get(HEADER.lower()) != HEADER_VALUE:
        raise RefusedRequestError(403, "The request was not sent by this page.", f"Send the header {HEADER}: page.")
    site = headers.get("sec-fetch-site", "same-origin")
    origin = headers.get("origin")
    if site != "same-origin" or (origin is not None and urlsplit(origin).netloc != headers.get("host")):
        raise RefusedRequestError(403, "The request comes from another site.", "Use the page of this server.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedRequestError(415, "The body must be JSON.", "Send Content-Type: application/json.")


async def read_body(request: Request) -> bytes:
    """Return the body of a request. Raises RefusedRequestError if it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise RefusedRequestError(413, f"The body is longer than {BODY_BYTES_MAX} bytes.", _RELOAD)
    return bytes(body)


def parse_body(body: bytes, kind: type[Body]) -> Body:
    """Return a body as its declared type.

    Raises:
        UsageError: the body is no JSON, or has an unknown field or a value out of bounds.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"The request is wrong: {error}.", _RELOAD) from error


def response_status(error: Any) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, RefusedRequestError):
        return error.status
    if isinstance(error, ConflictError):
        return 409
    return 400 if isinstance(error, UsageError) else 503
