"""The Elasticsearch client: connection, start-up check, readable errors, transport of the bulk sink.

`connectors.elasticsearch.verdicts` decides what an HTTP status or an error type means for a document.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import elastic_transport
import elasticsearch
import msgspec
from elasticsearch import Elasticsearch

from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.documents import (
    ItemResult,
    SendError,
    SinkOptions,
    Verdict,
)
from connectors.elasticsearch.verdicts import clip, error_text, is_block, item_verdict, request_verdict
from connectors.endpoints import ElasticEndpoint, Endpoints
from features.errors import ShopstreamError

ID_BYTES_MAX: Final = 512
CHECK_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 60.0

_BULK_RESPONSE: Final = {
    "filter_path": "errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by"
}
_BULK_HEADERS: Final = {"content-type": "application/x-ndjson", "accept": "application/json"}


@dataclass(frozen=True)
class ElasticConnection:
    """Address and credentials of Elasticsearch. Its text form holds no secret.

    Attributes:
        url: `http(s)://host:port`. A user and password in it are moved to the fields below.
        username: user name, together with `password`.
        api_key: API key, instead of user name and password.
        ca_certs: path of the certificate authority's file, for TLS.
        options: any further option of the Python client (`verify_certs`, `http_compress`, …).
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ca_certs: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.username is None:
            return
        host = parts.netloc.rpartition("@")[2]
        unquote = urllib.parse.unquote
        object.__setattr__(self, "url", urllib.parse.urlunsplit(parts._replace(netloc=host)))
        object.__setattr__(self, "username", self.username or unquote(parts.username))
        object.__setattr__(self, "password", self.password or unquote(parts.password or ""))


class _FastJson(elastic_transport.JsonSerializer):
    """Parses responses five times as fast as the standard library."""

    mimetype = "application/vnd.elasticsearch+json"

    def json_loads(self, data: bytes) -> object:
        return msgspec.json.decode(data)


def open_client(connection: ElasticConnection, *, connections: int = 4) -> Elasticsearch:
    """Open a client that does not retry. The calling code decides what to retry.

    Raises:
        ShopstreamError: the client does not know an option.
    """
    options: dict[str, Any] = {
        "request_timeout": REQUEST_TIMEOUT_S,
        "max_retries": 0,
        "retry_on_timeout": False,
        "connections_per_node": connections,
        "serializers": {_FastJson.mimetype: _FastJson()},
    }
    if connection.ca_certs is not None:
        options["ca_certs"] = connection.ca_certs
    if connection.api_key is not None:
        options["api_key"] = connection.api_key
    elif connection.username is not None:
        options["basic_auth"] = (connection.username, connection.password or "")
    options |= connection.options
    trusted = options.get("ca_certs")
    if trusted is not None and not os.access(trusted, os.R_OK):
        raise ShopstreamError(
            f"The file of the certificate authority, {trusted}, does not exist or cannot be read.",
            "Correct elasticsearch.ca_certs (SHOPSTREAM_ELASTICSEARCH__CA_CERTS).",
        )
    try:
        return Elasticsearch(connection.url, **options)
    except (TypeError, ValueError, OSError) as error:
        raise ShopstreamError(
            f"The Elasticsearch settings for {connection.url} are wrong: {error}.", "Correct them in the settings."
        ) from error


def check(client: Elasticsearch, timeout_s: float = CHECK_TIMEOUT_S) -> str:
    """Query the server once and return its version.

    Raises:
        ShopstreamError: within about `timeout_s`: not reachable, TLS or credentials refused, not an Elasticsearch.
    """
    try:
        # `GET /` is a separate module, which a minimal server lacks
        nodes = client.options(request_timeout=timeout_s).nodes.info(filter_path="nodes.*.version")["nodes"]
    except elasticsearch.UnsupportedProductError as error:
        raise ShopstreamError(
            f"The server at {_addresses(client)} is not Elasticsearch.", "Check the URL in the settings."
        ) from error
    except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
        raise readable_error(error, f"Elasticsearch at {_addresses(client)}") from error
    return min(str(node["version"]) for node in nodes.values())


def _addresses(client: Elasticsearch) -> str:
    return ", ".join(node.base_url for node in client.transport.node_pool.all())


def readable_error(error: elasticsearch.ApiError | elasticsearch.TransportError, what: str) -> ShopstreamError:
    """Convert a client error to a readable message with a remedy.

    Args:
        error: error that the client raised.
        what: object of the request, for the message.
    """
    return _refused(error, what) if isinstance(error, elasticsearch.ApiError) else _unreached(error, what)


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Convert errors that the client raises in the block, as `readable_error` does.

    Raises:
        ShopstreamError: the request failed.
    """
    try:
        yield
    except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
        raise readable_error(error, what) from error


def _refused(error: elasticsearch.ApiError, what: str) -> ShopstreamError:
    status, message = error.status_code, error_text(error.body)
    if status == 401:
        return ShopstreamError(
            f"{what}: the credentials were refused.",
            "Check user name and password, or the API key (it may have expired), in the settings.",
        )
    if status == 403 and not is_block(error.body):
        return ShopstreamError(f"{what}: not allowed: {message}.", "Grant the permissions, or use another user.")
    return ShopstreamError(f"{what}: refused with {status}: {message}.")


def _unreached(error: elasticsearch.TransportError, what: str) -> ShopstreamError:
    why = _root(error)
    message = clip(str(why) or type(why).__name__)
    if isinstance(why, ssl.SSLCertVerificationError):
        return ShopstreamError(
            f"{what}: its certificate is not trusted: {why.verify_message}.",
            "Set elasticsearch.ca_certs to the file of the authority that signed it, and connect by a name that "
            "the certificate contains.",
        )
    if isinstance(why, ssl.SSLError) and re.search("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE", message):
        return ShopstreamError(f"{what} does not use TLS.", "Use http:// in elasticsearch.url, or correct the port.")
    if isinstance(error, elasticsearch.SSLError | elastic_transport.TlsError):
        return ShopstreamError(f"{what}: no TLS connection: {message}.", "Check the URL and elasticsearch.ca_certs.")
    if isinstance(why, http.client.RemoteDisconnected):
        return ShopstreamError(
            f"{what} closed the connection without a response.",
            "It may require TLS: use https:// in elasticsearch.url, and set elasticsearch.ca_certs to the authority.",
        )
    return ShopstreamError(
        f"{_unreachable(what)} ({_reason(message)}).",
        "Start it with `shopstream up`, or check `elasticsearch.url` in the settings.",
    )


def _unreachable(what: str) -> str:
    return f"Can't reach {what}" if what.startswith("Elasticsearch") else f"{what}: can't reach Elasticsearch"


def _reason(message: str) -> str:
    """Return the message of an error of the operating system in lower case, without its number."""
    text = re.sub(r"^\[Errno -?\d+\] ", "", message)
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _root(error: BaseException) -> BaseException:
    """Return the innermost cause: the operating system's error is the most precise."""
    while (inner := error.__cause__ or next((a for a in error.args if isinstance(a, BaseException)), None)) is not None:
        error = inner
    return error


def stored_version(client: Elasticsearch, index: str, document_id: str) -> int | None:
    """Return the field `version` of a document, or None if a search finds none. Unrefreshed data is not read."""
    response = client.search(
        index=index,
        query={"ids": {"values": [document_id]}},
        source_includes=["version"],
        size=1,
        filter_path="hits.hits._source",
    )
    hits = response.get("hits", {}).get("hits", [])
    return int(hits[0]["_source"]["version"]) if hits else None


def delete_documents(client: Elasticsearch, index: str, ids: Sequence[str], *, refresh: bool = False) -> None:
    """Delete documents by id. Missing documents are ignored.

    Raises:
        ShopstreamError: the server refuses a deletion.
        elasticsearch.ApiError: the server refuses the request.
        elasticsearch.TransportError: the server does not respond.
    """
    if not ids:
        return
    response = client.bulk(index=index, operations=[{"delete": {"_id": one}} for one in ids], refresh=refresh)
    for item in response["items"]:
        status, error = item["delete"]["status"], item["delete"].get("error")
        if error is not None and status != 404:
            raise ShopstreamError(
                f"Documents of {index} could not be deleted: {error_text({'error': error})}.",
                f"Grant the user the permission `delete` on {index}."
                if status == 403 and not is_block({"error": error})
                else "",
            )


# --- ids --------------------------------------------------------------------------------------------------------------


def document_id(*parts: str) -> str:
    """Return a document id: one part unchanged, or several joined so that different lists of parts have different ids.

    An id above 512 bytes of UTF-8 becomes its SHA-256 in hexadecimal.
    """
    if len(parts) == 1:
        (joined,) = parts
    else:
        # bars within a part are escaped: ("a|b", "c") and ("a", "b|c") stay different
        joined = "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)
    if len(joined) <= ID_BYTES_MAX // 4:
        return joined
    encoded = joined.encode()
    return joined if len(encoded) <= ID_BYTES_MAX else hashlib.sha256(encoded).hexdigest()


# --- the transport of the bulk sink -----------------------------------------------------------------------------------


def open_sink(connection: ElasticConnection, options: SinkOptions | None = None) -> BulkSink:
    """Open a bulk sink with a client of its own and check the connection.

    Raises:
        ShopstreamError: as `check`.
    """
    options = options or SinkOptions()
    client = open_client(connection, connections=options.connections)
    try:
        check(client)
    except BaseException:
        client.close()
        raise
    return BulkSink(BulkTransport(client), options, release=client.close)


class BulkTransport:
    """Posts bulk bodies and parses the responses; called from several threads."""

    def __init__(self, client: Elasticsearch) -> None:
        self._client = client

    def __call__(self, body: bytes) -> list[ItemResult] | None:
        """Send one request. Return None when every item was written.

        Raises:
            SendError: the request as a whole failed, so there are no results of items.
        """
        try:
            response = self._client.perform_request(
                "POST", "/_bulk", params=_BULK_RESPONSE, headers=_BULK_HEADERS, body=body, endpoint_id="bulk"
            ).body
        except elasticsearch.UnsupportedProductError as error:
            raise SendError(Verdict.BLOCKED, "the server is not Elasticsearch") from error
        except elasticsearch.ApiError as error:
            raise request_verdict(error.status_code, error.body) from error
        except elasticsearch.SerializationError as error:
            raise SendError(Verdict.RETRY, "the response is truncated or not JSON") from error
        except elasticsearch.TransportError as error:
            raise SendError(Verdict.RETRY, clip(f"{type(error).__name__}: {error}")) from error
        if not isinstance(response, dict) or "errors" not in response:
            raise SendError(Verdict.BLOCKED, f"not the response to a bulk request: {clip(str(response))}")
        if not response["errors"]:
            return None
        return [item_verdict(item["status"], item.get("error")) for line in response["items"] for item in line.values()]


def connection(endpoints: Endpoints) -> ElasticConnection:
    """Return the connection to Elasticsearch as this module's functions expect it."""
    return elastic_connection(endpoints.elasticsearch)


def elastic_connection(elastic: ElasticEndpoint) -> ElasticConnection:
    """Return the same connection for callers that do not need Kafka."""
    return ElasticConnection(elastic.url, elastic.username, elastic.password, options=elastic.options)
