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
Heard = tuple[str, str]

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
        "Kafka at {where} does not take this way to log in: {said}.",
        "Set sasl.mechanism to one that it names; one that names none asks for no password, so take SASL_ out of "
        "security.protocol.",
        final=True,
    ),
    _Kind(
        lambda name, _: name in _AUTHENTICATION,
        "Kafka at {where} refused the credentials: {said}.",
        "Check sasl.mechanism, sasl.username and sasl.password in the Kafka properties.",
        final=True,
    ),
    _Kind(
        lambda _, text: "PLAINTEXT broker listener" in text or "wrong version number" in text,
        "Kafka at {where} speaks no TLS: {said}.",
        "Take SSL out of security.protocol (PLAINTEXT or SASL_PLAINTEXT), or correct the port in bootstrap.servers.",
        final=True,
    ),
    _Kind(
        lambda name, text: name == "_SSL" and "certificate verify failed" in text,
        "The certificate of Kafka at {where} is not trusted: {said}.",
        "Name the file of the authority that signed it as ssl.ca.location in the Kafka properties, and connect by a "
        "name that stands in the certificate.",
        final=True,
    ),
    _Kind(
        lambda name, _: name == "_SSL",
        "No TLS connection to Kafka at {where}: {said}.",
        "Check security.protocol and the ssl... words in the Kafka properties.",
        final=True,
    ),
    _Kind(
        lambda name, _: name == "_RESOLVE",
        "The host of Kafka at {where} is not known: {said}.",
        "Check bootstrap.servers.",
    ),
    _Kind(
        lambda _, text: "Disconnected" in text and "APIVERSION_QUERY" in text,
        "Kafka at {where} hung up at the first word: {said}.",
        "It may want TLS: set security.protocol to SSL or SASL_SSL, and ssl.ca.location, in the Kafka properties.",
    ),
    _Kind(
        lambda name, text: name == LOG and "Disconnected" in text and "state UP" in text,
        "Kafka at {where} hung up after the first word: {said}.",
        "It may want a password: set security.protocol to SASL_SSL or SASL_PLAINTEXT, and sasl.mechanism, "
        "sasl.username and sasl.password, in the Kafka properties.",
    ),
    _Kind(
        lambda name, _: name in ("_TRANSPORT", "_TIMED_OUT", LOG),
        "Kafka at {where} does not answer: {said}.",
        "Start it (`shopstream up`) or correct bootstrap.servers.",
    ),
)


def unreachable(where: str, heard: Sequence[Heard]) -> ShopstreamError:
    """Return the most specific error.

    Args:
        where: addresses that were tried.
        heard: messages of the client, without secrets.
    """
    for kind in _KINDS:
        for name, text in heard:
            if kind.applies(name, text):
                return ShopstreamError(kind.message.format(where=where, said=_bare(text)), kind.remedy)
    return ShopstreamError(f"Kafka at {where} does not answer.", _KINDS[-1].remedy)


def is_final(heard: Sequence[Heard]) -> bool:
    """Return whether retrying cannot help: credentials, certificates and the like."""
    return any(kind.final and kind.applies(name, text) for kind in _KINDS for name, text in heard)


def _bare(text: str) -> str:
    """Remove the client's own prefixes and suffixes from the text."""
    return _AFTER.sub("", _BEFORE.sub("", text)).rstrip(". ")
