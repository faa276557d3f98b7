"""Explains why Kafka could not be reached, with a remedy. Pure: it interprets the client's messages.

librdkafka reports the same failure in several places: as an error, or only in its log when a broker disconnects without
a response. Both are passed as (name of the error or `LOG`, text).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from features.errors import ShopstreamError

LOG: Final = "LOG"
"""Name for a line of the client's log."""
ClientMessage = tuple[str, str]

_AUTHENTICATION: Final = ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED")
_BEFORE: Final = re.compile(r"^(?:[A-Z]+ \[\S+\] \[thrd:\S+\]: )?(?:(?:\w+://)?[^\s/]+/(?:bootstrap|\d+): )?")
_AFTER: Final = re.compile(r" ?\(after \d+ms in state \w+(?:, \d+ identical error\(s\) suppressed)?\)$")


@dataclass(frozen=True, slots=True)
class _Kind:
    applies: Callable[[str, str], bool]
    message: str
    remedy: str
    final: bool = False
    """Whether retrying cannot help."""


_KINDS: Final = (
    _Kind(
        lambda name, text: name in _AUTHENTICATION and "supported mechanisms" in text,
        "Kafka at {where} does not support this SASL mechanism: {reason}.",
        "Set sasl.mechanism to one that it lists. If it lists none, it needs no password: remove SASL_ from "
        "security.protocol.",
        final=True,
    ),
    _Kind(
        lambda name, _: name in _AUTHENTICATION,
        "Kafka at {where} refused the credentials: {reason}.",
        "Check sasl.mechanism, sasl.username and sasl.password in the Kafka properties.",
        final=True,
    ),
    _Kind(
        lambda _, text: "PLAINTEXT broker listener" in text or "wrong version number" in text,
        "Kafka at {where} does not use TLS: {reason}.",
        "Remove SSL from security.protocol (PLAINTEXT or SASL_PLAINTEXT), or correct the port in bootstrap.servers.",
        final=True,
    ),
    _Kind(
        lambda name, text: name == "_SSL" and "certificate verify failed" in text,
        "The certificate of Kafka at {where} is not trusted: {reason}.",
        "Set ssl.ca.location in the Kafka properties to the file of the authority that signed it, and connect by a "
        "name that the certificate contains.",
        final=True,
    ),
    _Kind(
        lambda name, _: name == "_SSL",
        "No TLS connection to Kafka at {where}: {reason}.",
        "Check security.protocol and the ssl... settings in the Kafka properties.",
        final=True,
    ),
    _Kind(
        lambda name, _: name == "_RESOLVE",
        "The host of Kafka at {where} is not known: {reason}.",
        "Check bootstrap.servers.",
    ),
    _Kind(
        lambda _, text: "Disconnected" in text and "APIVERSION_QUERY" in text,
        "Kafka at {where} closed the connection at the first request: {reason}.",
        "It may require TLS: set security.protocol to SSL or SASL_SSL, and ssl.ca.location, in the Kafka properties.",
    ),
    _Kind(
        lambda name, text: name == LOG and "Disconnected" in text and "state UP" in text,
        "Kafka at {where} closed the connection after the first request: {reason}.",
        "It may require a password: set security.protocol to SASL_SSL or SASL_PLAINTEXT, and sasl.mechanism, "
        "sasl.username and sasl.password, in the Kafka properties.",
    ),
    _Kind(
        lambda name, _: name in ("_TRANSPORT", "_TIMED_OUT", LOG),
        "Kafka at {where} does not answer: {reason}.",
        "Start it (`shopstream up`) or correct bootstrap.servers.",
    ),
)


def unreachable(where: str, messages: Sequence[ClientMessage]) -> ShopstreamError:
    """Return the most specific error.

    Args:
        where: addresses that were tried.
        messages: messages of the client, without secrets.
    """
    for kind in _KINDS:
        for name, text in messages:
            if kind.applies(name, text):
                return ShopstreamError(kind.message.format(where=where, reason=_bare(text)), kind.remedy)
    return ShopstreamError(f"Kafka at {where} does not answer.", _KINDS[-1].remedy)


def is_final(messages: Sequence[ClientMessage]) -> bool:
    """Return whether retrying cannot help: credentials, certificates and the like."""
    return any(kind.final and kind.applies(name, text) for kind in _KINDS for name, text in messages)


def _bare(text: str) -> str:
    """Remove the client's own prefixes and suffixes from the text."""
    return _AFTER.sub("", _BEFORE.sub("", text)).rstrip(". ")
