"""Waits for a Kibana server and imports the saved objects through its public API."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from features.errors import ShopstreamError, UsageError

WAIT_S: Final = 180.0
"""Seconds to wait. A first start takes one to two minutes."""
PAUSE_S: Final = 2.0
REQUEST_TIMEOUT_S: Final = 60.0
FILE_NAME: Final = "shopstream.ndjson"
"""Kibana rejects files with any other extension."""
SAID_CHARS_MAX: Final = 300


@dataclass(frozen=True)
class Kibana:
    """Address and credentials of Kibana. Its text form contains no secret.

    Attributes:
        url: `http(s)://host:port`, with Kibana's base path if it has one.
        space: target space of the import; empty: the default space.
        username: user name, together with `password`.
        api_key: encoded API key, instead of user name and password.
        ca_certs: file of the certificate authority, for TLS.
    """

    url: str
    space: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ca_certs: str | None = None

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{self.url!r} is not a URL of Kibana.", "Give http://host:port or https://host:port.")
        if parts.username is not None:
            raise UsageError("The URL of Kibana holds a user.", "Give --username, and the password in a file.")
        if self.api_key is not None and self.username is not None:
            raise UsageError("Both an API key and a user are given.", "Give one of them.")


@dataclass(frozen=True, slots=True)
class Imported:
    """Result of an import.

    Attributes:
        objects: number of imported saved objects.
        address: address of the first dashboard.
    """

    objects: int
    address: str


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    location: str = ""

    def json(self) -> dict[str, Any]:
        """Return the body as an object; empty if it is not one."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def import_file(
    kibana: Kibana,
    content: str,
    *,
    overwrite: bool = False,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Imported:
    """Import saved objects.

    Args:
        kibana: target of the import.
        content: NDJSON.
        overwrite: whether to replace objects with the same ids. Otherwise an existing object makes the import fail.
        wait_s: longest wait for Kibana to become ready.
        on_wait: callback that receives the reason for waiting.
        sleep: sleep function between two attempts.

    Raises:
        ShopstreamError: Kibana does not answer in time, rejects the import, or could not import every object. Objects
            that failed do not exist then; others may.
    """
    wait(kibana, wait_s, on_wait, sleep)
    _check_space(kibana)
    answer = _request(
        kibana,
        "POST",
        f"{_prefix(kibana)}/api/saved_objects/_import?overwrite={str(overwrite).lower()}",
        *_multipart(content),
    )
    if answer.status != http.HTTPStatus.OK:
        raise _refused(kibana, answer, "the import")
    said = answer.json()
    if said.get("success") is not True:
        raise _not_taken(said)
    first = next((one for one in map(json.loads, content.splitlines()) if one["type"] == "dashboard"), None)
    path = f"/app/dashboards#/view/{first['id']}" if first else "/app/dashboards"
    return Imported(int(said.get("successCount", 0)), f"{kibana.url.rstrip('/')}{_prefix(kibana)}{path}")


def wait(
    kibana: Kibana,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until Kibana reports that it is available. A response alone does not suffice.

    Raises:
        ShopstreamError: it is not available within `wait_s`, or it rejects the credentials.
    """
    end = time.monotonic() + wait_s
    while True:
        try:
            answer = _request(kibana, "GET", "/api/status")
        except _UnreachableError as error:
            state = str(error)
        else:
            final = (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND)
            if answer.status in final or answer.location:
                raise _refused(kibana, answer, "its status")
            level = answer.json().get("status", {}).get("overall", {}).get("level")
            if level == "available":
                return
            state = f"it says {level or answer.status}"
        if time.monotonic() + PAUSE_S > end:
            raise ShopstreamError(
                f"Kibana at {kibana.url} was not ready within {wait_s:.0f} s: {state}.",
                "Look at its log; a first start takes up to two minutes. Then import again, or wait longer (--wait).",
            )
        on_wait(state)
        sleep(PAUSE_S)


def _check_space(kibana: Kibana) -> None:
    if not kibana.space:
        return
    answer = _request(kibana, "GET", f"/api/spaces/space/{urllib.parse.quote(kibana.space, safe='')}")
    if answer.status == http.HTTPStatus.NOT_FOUND:
        raise ShopstreamError(
            f"Kibana has no space {kibana.space}.", "Make it (Stack Management, Spaces), or leave out --space."
        )
    if answer.status != http.HTTPStatus.OK:
        raise _refused(kibana, answer, f"space {kibana.space}")


def _prefix(kibana: Kibana) -> str:
    return f"/s/{urllib.parse.quote(kibana.space, safe='')}" if kibana.space else ""


def _multipart(content: str) -> tuple[bytes, dict[str, str]]:
    """Return a form that contains the file, and the headers that define its boundary."""
    data = content.encode()
    border = f"shopstream-{hashlib.sha256(data).hexdigest()[:32]}"
    head = (
        f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{FILE_NAME}"\r\n'
        "Content-Type: application/ndjson\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{border}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={border}"}


# --- error messages ---------------------------------------------------------------------------------------------------


class _UnreachableError(ShopstreamError):
    """No response: another attempt may succeed while Kibana starts."""


def _refused(kibana: Kibana, answer: _Answer, what: str) -> ShopstreamError:
    said = str(answer.json().get("message") or answer.body[:SAID_CHARS_MAX].decode(errors="replace")).strip()
    where = f"Kibana at {kibana.url}"
    match answer.status:
        case http.HTTPStatus.UNAUTHORIZED:
            return ShopstreamError(
                f"{where} refused the credentials.",
                "Give --username with KIBANA_PASSWORD or --password-file, or KIBANA_API_KEY or --api-key-file.",
            )
        case http.HTTPStatus.FORBIDDEN:
            return ShopstreamError(
                f"{where} does not allow {what}: {said}.",
                "Take a user with the right to manage saved objects in that space.",
            )
        case http.HTTPStatus.NOT_FOUND:
            return ShopstreamError(
                f"{where} does not know {what}: {said}.",
                "Check the URL: it may be Elasticsearch's, or lack Kibana's base path.",
            )
        case http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return ShopstreamError(
                f"{where} refused {what}: it is too large.", "Raise savedObjects.maxImportPayloadBytes."
            )
    if answer.location:
        return ShopstreamError(f"{where} sent on to {answer.location}.", "Give the URL with Kibana's base path.")
    return ShopstreamError(f"{where} refused {what} with {answer.status}: {said}.", "Look at Kibana's log.")


def _not_taken(said: Mapping[str, Any]) -> ShopstreamError:
    errors = [one for one in said.get("errors", []) if isinstance(one, dict)]
    kinds = {one.get("error", {}).get("type") for one in errors}
    lines = "; ".join(_told(one) for one in errors) or "it did not say why"
    remedies = {
        "conflict": "Replace what is there: --overwrite.",
        "ambiguous_conflict": "Replace what is there: --overwrite.",
        "missing_references": "Build the file anew: `shopstream dashboards build`.",
        "unsupported_type": "Take a Kibana of version 8.19, 9.1 or later.",
    }
    remedy = next((text for kind, text in remedies.items() if kind in kinds), "Look at Kibana's log.")
    taken = said.get("successCount", 0)
    return ShopstreamError(f"Kibana took {taken} objects and could not take {len(errors)}: {lines}.", remedy)


def _told(one: Mapping[str, Any]) -> str:
    error = one.get("error", {})
    said = f"{one.get('type')} {one.get('id')} ({error.get('type')}"
    missing = ", ".join(f"{ref.get('type')} {ref.get('id')}" for ref in error.get("references", []))
    return said + (f": {missing})" if missing else f": {error['message']})" if error.get("message") else ")")


# --- requests ---------------------------------------------------------------------------------------------------------


def _request(
    kibana: Kibana, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> _Answer:
    parts = urllib.parse.urlsplit(kibana.url)
    connection = _connection(kibana, parts)
    try:
        connection.request(
            method, parts.path.rstrip("/") + path, body, {"kbn-xsrf": "true", **_credentials(kibana), **(headers or {})}
        )
        answer = connection.getresponse()
        return _Answer(answer.status, answer.read(), answer.getheader("Location") or "")
    except ssl.SSLCertVerificationError as error:
        raise ShopstreamError(
            f"Kibana at {kibana.url}: its certificate is not trusted: {error.verify_message}.",
            "Name the file of the authority that signed it: --ca-certs.",
        ) from error
    except ssl.SSLError as error:
        raise ShopstreamError(f"Kibana at {kibana.url}: no TLS connection: {error.reason}.", "Try http://.") from error
    except (OSError, http.client.HTTPException) as error:
        raise _UnreachableError(
            f"Kibana at {kibana.url} does not answer ({str(error) or type(error).__name__})", "Check the URL."
        ) from error
    finally:
        connection.close()


def _connection(kibana: Kibana, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=REQUEST_TIMEOUT_S)
    try:
        context = ssl.create_default_context(cafile=kibana.ca_certs)
    except OSError as error:
        raise UsageError(
            f"The file of the certificate authority, {kibana.ca_certs}, cannot be read.", "Correct --ca-certs."
        ) from error
    return http.client.HTTPSConnection(host, parts.port, timeout=REQUEST_TIMEOUT_S, context=context)


def _credentials(kibana: Kibana) -> dict[str, str]:
    if kibana.api_key is not None:
        return {"Authorization": f"ApiKey {kibana.api_key}"}
    if kibana.username is None:
        return {}
    pair = f"{kibana.username}:{kibana.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
