"""Sends e-mail through an SMTP server: one attempt, on a connection of its own, with bounded times."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final, Literal

from connectors.notifications.outcome import DELIVERED, Outcome

TIMEOUT_S: Final = 15.0
"""Longest wait for each answer of the server."""
Encryption = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class SmtpEndpoint:
    """Connection to an SMTP server.

    Attributes:
        host: host name or address.
        port: port number.
        encryption: `starttls`, `tls` from the first byte on, or `none`.
        username: user name; None: no login.
        password: password; never shown.
        ca_certs: file of the certificate authority; None: those of the system.
    """

    host: str
    port: int
    encryption: Encryption
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_certs: str | None = None


def send_mail(endpoint: SmtpEndpoint, message: EmailMessage, recipient: str) -> Outcome:
    """Send a message to one recipient, once.

    Args:
        endpoint: SMTP server.
        message: message with `From`, `To` and `Message-ID`.
        recipient: address of the recipient.
    """
    sender = str(message["From"].addresses[0].addr_spec)
    server: smtplib.SMTP | None = None
    try:
        server = _connected(endpoint)
        if endpoint.username is not None:
            server.login(endpoint.username, endpoint.password or "")
        server.send_message(message, sender, [recipient])
    except (smtplib.SMTPException, OSError) as error:
        return _outcome(error)
    finally:
        if server is not None:
            # the outcome is known: a failing farewell changes nothing
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()
            server.close()
    return DELIVERED


def _connected(endpoint: SmtpEndpoint) -> smtplib.SMTP:
    if endpoint.encryption == "none":
        return smtplib.SMTP(endpoint.host, endpoint.port, timeout=TIMEOUT_S)
    context = ssl.create_default_context(cafile=endpoint.ca_certs)
    if endpoint.encryption == "tls":
        return smtplib.SMTP_SSL(endpoint.host, endpoint.port, timeout=TIMEOUT_S, context=context)
    server = smtplib.SMTP(endpoint.host, endpoint.port, timeout=TIMEOUT_S)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _outcome(error: Exception) -> Outcome:
    """Return the outcome of a failure, without the server's text: codes from 500 on are final."""
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=recipients):
            code, reason = next(iter(recipients.values()))[0], "the recipient is refused"
        case smtplib.SMTPAuthenticationError(smtp_code=code):
            reason = "the login is refused"
        case smtplib.SMTPResponseException(smtp_code=code):
            reason = "the message is refused"
        case smtplib.SMTPNotSupportedError():
            code, reason = 500, "the server does not support the chosen encryption, login or characters"
        case ssl.SSLError():
            code, reason = 0, "the TLS certificate or handshake failed"
        case TimeoutError():
            code, reason = 0, f"no answer within {TIMEOUT_S:.0f} s"
        case _:
            code, reason = 0, f"the connection failed, {type(error).__name__}"
    text = f"{reason} (code {code})" if code else reason
    return Outcome("refused" if code >= 500 else "retry", text)
