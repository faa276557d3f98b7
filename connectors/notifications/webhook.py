"""Posts notifications to a webhook: one attempt with bounded times, without redirects.

The address of a webhook is a secret (Slack and Teams check nothing else), so no message or error contains it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import email.utils
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import urllib3
from urllib3 import exceptions

from connectors.clock import wall_clock_ms
from connectors.notifications.outcome import DELIVERED, Outcome
from features.errors import UsageError

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 15.0
ANSWER_BYTES_MAX: Final = 4_096
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix
SECRET_BYTES_MIN: Final = 24
_RETRIED: Final = frozenset({408, 425, 429})
"""Status codes below 500 after which a repetition may succeed."""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Address of a webhook.

    Attributes:
        url: `http(s)://...`; never shown.
        secret: key of the signatures; empty: requests are not signed. Never shown.
        ca_certs: file of the certificate authority; None: those of the system.
    """

    url: str = field(repr=False)
    secret: bytes = field(default=b"", repr=False)
    ca_certs: str | None = None


def is_webhook_url(url: str) -> bool:
    """Return whether a text is a complete http or https URL that can be requested."""
    if any(one.isspace() or not one.isprintable() for one in url):
        return False
    try:
        parts = urllib3.util.parse_url(url)
        # as the connection does: empty and too long parts of a name fail only then
        (parts.host or "").encode("idna")
    except (exceptions.LocationParseError, UnicodeError):
        return False
    return parts.scheme in {"http", "https"} and bool(parts.host) and parts.port != 0


def signing_key(secret: str, setting: str) -> bytes:
    """Return the key of a signing secret: `whsec_` and base64, as Standard Webhooks defines it.

    Args:
        secret: text of the secret.
        setting: name of the setting, for the error.

    Raises:
        UsageError: the text has another form, or the key is too short.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) < SECRET_BYTES_MIN:
        raise UsageError(
            f"The secret of {setting} is not {SECRET_PREFIX} and base64 of at least {SECRET_BYTES_MIN} bytes.",
            f'Create one: `echo "{SECRET_PREFIX}$(openssl rand -base64 32)"`.',
        )
    return key


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the header `webhook-signature` of Standard Webhooks: HMAC-SHA256 of `ID.TIMESTAMP.BODY`, as base64."""
    content = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


class WebhookSender:
    """Posts JSON bodies to one webhook. Not for concurrent use.

    Args:
        endpoint: address of the webhook.
    """

    def __init__(self, endpoint: WebhookEndpoint) -> None:
        self._endpoint = endpoint
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            ca_certs=endpoint.ca_certs,
        )

    def send(self, message_id: str, body: bytes) -> Outcome:
        """Post a body once. Every 2xx status is a delivery, whatever follows it.

        Args:
            message_id: id of the notification, which is the same in each attempt.
            body: JSON.
        """
        timestamp_s = wall_clock_ms() // 1_000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "shopstream",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_s),
        }
        if self._endpoint.secret:
            headers["webhook-signature"] = signature(self._endpoint.secret, message_id, timestamp_s, body)
        try:
            response = self._pool.request(
                "POST", self._endpoint.url, body=body, headers=headers, redirect=False, preload_content=False
            )
        except exceptions.LocationValueError:
            return Outcome("refused", "the address is not valid")
        except exceptions.HTTPError as error:
            return Outcome("retry", _reason(error))
        # one read, so that a short body leaves the connection usable; a slow or endless one is cut off
        with contextlib.suppress(exceptions.HTTPError):
            response.read1(ANSWER_BYTES_MAX)
        response.close()
        return _outcome(response.status, response.headers)


def _outcome(status: int, headers: Mapping[str, str]) -> Outcome:
    if 200 <= status < 300:
        return DELIVERED
    if status in _RETRIED or status >= 500:
        return Outcome("retry", f"status {status}", retry_after_s(headers.get("Retry-After")))
    if 300 <= status < 400:
        return Outcome("refused", f"status {status}: the address redirects to another one, which is not followed")
    return Outcome("refused", f"status {status}")


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds of a header `Retry-After`, which has seconds or a date; None without a usable one."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - wall_clock_ms() / 1_000)


_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (exceptions.NameResolutionError, "the host name is not known"),
    (exceptions.ConnectTimeoutError, f"no connection within {CONNECT_TIMEOUT_S:.0f} s"),
    (exceptions.NewConnectionError, "the connection was refused"),
    (exceptions.ReadTimeoutError, f"no answer within {READ_TIMEOUT_S:.0f} s"),
    (exceptions.SSLError, "the TLS certificate or handshake failed"),
    (exceptions.ProtocolError, "the connection was closed before the answer"),
)


def _reason(error: exceptions.HTTPError) -> str:
    """Return the reason of a failure: the text of the library holds the address."""
    return next((text for kind, text in _REASONS if isinstance(error, kind)), f"{type(error).__name__}")
