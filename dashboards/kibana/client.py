"""Waits for a Kibana server and imports the saved objects through its public API."""

from __future__ import annotations

import base64
import http
import json
import ssl
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import urllib3

from dashboards.kibana.rules import Rule
from features.calendar import Calendar
from features.errors import ShopstreamError, UsageError

WAIT_S: Final = 180.0
"""Seconds to wait. A first start takes one to two minutes."""
PAUSE_S: Final = 2.0
REQUEST_TIMEOUT_S: Final = 60.0
FILE_NAME: Final = "shopstream.ndjson"
"""Kibana rejects files with any other extension."""
ZONE_SETTING: Final = "dateFormat:tz"
WEEK_SETTING: Final = "dateFormat:dow"
MESSAGE_CHARS_MAX: Final = 300


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
        try:
            url = urllib3.util.parse_url(self.url)
        except urllib3.exceptions.LocationParseError:
            url = urllib3.util.Url()
        if url.scheme not in ("http", "https") or not url.host:
            raise UsageError(f"{self.url!r} is not a URL of Kibana.", "Give http://host:port or https://host:port.")
        if url.auth is not None:
            raise UsageError("The URL of Kibana contains a user.", "Give --username, and the password in a file.")
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
    path = f"{_prefix(kibana)}/api/saved_objects/_import?overwrite={str(overwrite).lower()}"
    response = _request(kibana, "POST", path, {"file": (FILE_NAME, content, "application/ndjson")})
    if response.status != http.HTTPStatus.OK:
        raise _rejected(kibana, response, "the import")
    result = _json(response)
    if result.get("success") is not True:
        raise _incomplete(result)
    first = next((one for one in map(json.loads, content.splitlines()) if one["type"] == "dashboard"), None)
    path = f"/app/dashboards#/view/{first['id']}" if first else "/app/dashboards"
    return Imported(int(result.get("successCount", 0)), f"{kibana.url.rstrip('/')}{_prefix(kibana)}{path}")


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
            response = _request(kibana, "GET", "/api/status")
        except _UnreachableError as error:
            state = str(error)
        else:
            final = (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND)
            if response.status in final or "Location" in response.headers:
                raise _rejected(kibana, response, "a request for its status")
            level = _json(response).get("status", {}).get("overall", {}).get("level")
            if level == "available":
                return
            state = f"its status is {level or response.status}"
        if time.monotonic() + PAUSE_S > end:
            raise ShopstreamError(
                f"Kibana at {kibana.url} was not ready within {wait_s:.0f} s: {state}.",
                "Check its log: a first start takes up to two minutes. Then import again, or wait longer (--wait).",
            )
        on_wait(state)
        sleep(PAUSE_S)


def set_calendar(kibana: Kibana, calendar: Calendar) -> None:
    """Set the time zone and the first day of the week of a space, for all of its dashboards and users.

    Raises:
        ShopstreamError: Kibana rejects the settings or does not answer.
    """
    changes = {ZONE_SETTING: calendar.time_zone, WEEK_SETTING: calendar.week_start.capitalize()}
    path = f"{_prefix(kibana)}/api/kibana/settings"
    response = _request(kibana, "POST", path, content={"changes": changes})
    if response.status == http.HTTPStatus.OK:
        return
    refused = _rejected(kibana, response, "a change of its settings")
    by_hand = ", ".join(f"{name} to {value}" for name, value in changes.items())
    raise ShopstreamError(
        refused.message, f"The dashboards are imported. Set {by_hand} in Stack Management, Advanced Settings."
    )


def create_rules(kibana: Kibana, rules: Sequence[Rule]) -> int:
    """Create alert rules in the space of Kibana; existing ones keep what their users changed.

    Args:
        kibana: target.
        rules: rules to create.

    Returns:
        Number of rules that did not exist.

    Raises:
        ShopstreamError: Kibana rejects a rule or does not answer. Earlier rules exist then.
    """
    created = 0
    for rule in rules:
        response = _request(kibana, "POST", f"{_prefix(kibana)}/api/alerting/rule/{rule.id}", content=rule.body)
        if response.status == http.HTTPStatus.OK:
            created += 1
        elif response.status != http.HTTPStatus.CONFLICT:
            refused = _rejected(kibana, response, f"the rule {rule.name!r}")
            raise ShopstreamError(
                f"{refused.message} {created} rules were created.",
                "The dashboards are imported. Rules need a user with all privileges for Stack Rules, and "
                "xpack.encryptedSavedObjects.encryptionKey in Kibana's settings.",
            )
    return created


def _check_space(kibana: Kibana) -> None:
    if not kibana.space:
        return
    response = _request(kibana, "GET", f"/api/spaces/space/{urllib.parse.quote(kibana.space, safe='')}")
    if response.status == http.HTTPStatus.NOT_FOUND:
        raise ShopstreamError(
            f"Kibana has no space {kibana.space}.", "Create it (Stack Management, Spaces), or omit --space."
        )
    if response.status != http.HTTPStatus.OK:
        raise _rejected(kibana, response, f"a request for space {kibana.space}")


def _prefix(kibana: Kibana) -> str:
    return f"/s/{urllib.parse.quote(kibana.space, safe='')}" if kibana.space else ""


# --- error messages ---------------------------------------------------------------------------------------------------


class _UnreachableError(ShopstreamError):
    """No response: another attempt may succeed while Kibana starts."""


def _rejected(kibana: Kibana, response: urllib3.BaseHTTPResponse, request: str) -> ShopstreamError:
    text = response.data[:MESSAGE_CHARS_MAX].decode(errors="replace")
    message = str(_json(response).get("message") or text).strip()
    server = f"Kibana at {kibana.url}"
    match response.status:
        case http.HTTPStatus.UNAUTHORIZED:
            return ShopstreamError(
                f"{server} rejected the credentials.",
                "Give --username with KIBANA_PASSWORD or --password-file, or KIBANA_API_KEY or --api-key-file.",
            )
        case http.HTTPStatus.FORBIDDEN:
            return ShopstreamError(
                f"{server} does not allow {request}: {message}.",
                "Use a user with permission to manage saved objects in that space.",
            )
        case http.HTTPStatus.NOT_FOUND:
            return ShopstreamError(
                f"{server} has no endpoint for {request}: {message}.",
                "Check the URL: it may be Elasticsearch's, or lack Kibana's base path.",
            )
        case http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return ShopstreamError(
                f"{server} rejected {request}: it is too large.", "Raise savedObjects.maxImportPayloadBytes."
            )
    if location := response.headers.get("Location"):
        return ShopstreamError(f"{server} redirected to {location}.", "Give the URL with Kibana's base path.")
    return ShopstreamError(
        f"{server} rejected {request} with status {response.status}: {message}.", "Check Kibana's log."
    )


def _incomplete(result: Mapping[str, Any]) -> ShopstreamError:
    errors = [one for one in result.get("errors", []) if isinstance(one, dict)]
    kinds = {one.get("error", {}).get("type") for one in errors}
    reasons = "; ".join(_reason(one) for one in errors) or "Kibana gave no reason"
    remedies = {
        "conflict": "Replace the existing objects: --overwrite.",
        "ambiguous_conflict": "Replace the existing objects: --overwrite.",
        "missing_references": "Build the file again: `shopstream dashboards build`.",
        "unsupported_type": "Use Kibana of version 8.19, 9.1 or later.",
    }
    remedy = next((text for kind, text in remedies.items() if kind in kinds), "Check Kibana's log.")
    imported = result.get("successCount", 0)
    return ShopstreamError(f"Kibana imported {imported} objects and rejected {len(errors)}: {reasons}.", remedy)


def _reason(failed: Mapping[str, Any]) -> str:
    error = failed.get("error", {})
    text = f"{failed.get('type')} {failed.get('id')} ({error.get('type')}"
    missing = ", ".join(f"{ref.get('type')} {ref.get('id')}" for ref in error.get("references", []))
    return text + (f": {missing})" if missing else f": {error['message']})" if error.get("message") else ")")


# --- requests ---------------------------------------------------------------------------------------------------------


def _request(
    kibana: Kibana,
    method: str,
    path: str,
    fields: Mapping[str, tuple[str, str, str]] | None = None,
    content: Mapping[str, Any] | None = None,
) -> urllib3.BaseHTTPResponse:
    """Send one request without retries or redirects: a multipart form of files, or JSON content."""
    headers = {"kbn-xsrf": "true", **_credentials(kibana)}
    try:
        with urllib3.PoolManager(ssl_context=_tls(kibana), timeout=REQUEST_TIMEOUT_S, retries=False) as pool:
            return pool.request(
                method, kibana.url.rstrip("/") + path, fields=fields, json=content, headers=headers, redirect=False
            )
    except urllib3.exceptions.SSLError as error:
        cause = error.args[0]
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise ShopstreamError(
                f"Kibana at {kibana.url}: its certificate is not trusted: {cause.verify_message}.",
                "Give the file of the certificate authority that signed it: --ca-certs.",
            ) from error
        raise ShopstreamError(f"Kibana at {kibana.url}: no TLS connection: {cause}.", "Try http://.") from error
    except urllib3.exceptions.HTTPError as error:
        raise _UnreachableError(f"Kibana at {kibana.url} does not answer ({error})", "Check the URL.") from error


def _tls(kibana: Kibana) -> ssl.SSLContext | None:
    if kibana.url.startswith("http:"):
        return None
    try:
        return ssl.create_default_context(cafile=kibana.ca_certs)
    except OSError as error:
        raise UsageError(
            f"The file of the certificate authority, {kibana.ca_certs}, cannot be read.", "Correct --ca-certs."
        ) from error


def _json(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """Return the body as an object; empty if it is not one."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _credentials(kibana: Kibana) -> dict[str, str]:
    if kibana.api_key is not None:
        return {"Authorization": f"ApiKey {kibana.api_key}"}
    if kibana.username is None:
        return {}
    pair = f"{kibana.username}:{kibana.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
