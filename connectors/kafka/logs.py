"""Passes librdkafka's log lines to structlog without secrets and without floods."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog

log = structlog.get_logger("kafka")

_PASSING: Final = (
    "Coordinator load in progress",
    "Coordinator not available",
    "Not coordinator",
    "Leader not available",
)
"""Errors of a broker that is starting or moving a partition. The client retries until it succeeds or times out."""
_SECRET_WORDS: Final = ("password", "secret", "sasl.jaas", "token", ".pem", "oauthbearer.config")


class ClientLog:
    """Passes librdkafka's log lines to structlog. Counts repeated lines instead of writing them, and redacts secrets.

    Args:
        properties: properties of the client; values of secret ones never reach the log.
        name: client name, bound to every line as `client`.
    """

    REPEATS_SHOWN_EVERY: Final = 100

    def __init__(self, properties: Mapping[str, Any], name: str) -> None:
        self._secrets = tuple(str(v) for k, v in properties.items() if is_secret(k) and len(str(v)) > 3)
        self._log = log.bind(client=name)
        self._seen: dict[str, int] = {}

    def log(self, level: int, fmt: str, *args: object) -> None:
        """Log one line, with the signature of `logging.Logger.log`."""
        text = redact(fmt % args if args else fmt, self._secrets)
        # librdkafka ends lines with the elapsed time in brackets: without it, repeated lines are equal
        kind = text.split(" (", 1)[0]
        if len(self._seen) > 1000:
            self._seen.clear()
        count = self._seen[kind] = self._seen.get(kind, 0) + 1
        if any(condition in text for condition in _PASSING):
            level = logging.DEBUG
        if count == 1 or count % self.REPEATS_SHOWN_EVERY == 0:
            self._log.log(level, "librdkafka", message=text, times=count)


def is_secret(name: str) -> bool:
    """Return whether a client property of this name holds a secret."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace each of `secrets` in `text` by `***`."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
