"""Configures logging: console lines at a terminal, JSON lines otherwise, and a worker's warnings to its parent."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog

SendLine = Callable[[str, str, Mapping[str, Any]], None]
"""Callback with level, event and fields of a log line."""


def configure_logs(*, json: bool, debug: bool = False, stream: TextIO | None = None) -> None:
    """Configure the logging of this process; called once, by a command.

    Args:
        json: whether to write one JSON object a line instead of console lines.
        debug: whether to log debug lines.
        stream: output stream; standard error by default.
    """
    _quiet_clients()
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    _configure([*_common(utc=json), renderer], debug=debug, stream=stream)


def log_to_parent(send: SendLine, *, debug: bool = False) -> None:
    """Configure the logging of a worker: JSON to standard error (its log file), and warnings also to its parent."""
    _quiet_clients()

    def forward(_logger: object, level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if level in ("warning", "error", "critical", "exception"):
            fields = {name: value for name, value in line.items() if name not in ("event", "level", "at", "exc_info")}
            send("error" if level == "exception" else level, str(line.get("event", "")), fields)
        return line

    processors = [
        *_common(utc=True),
        forward,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    _configure(processors, debug=debug, stream=None)


def _common(*, utc: bool) -> list[Any]:
    stamp = structlog.processors.TimeStamper(
        fmt="iso" if utc else "%H:%M:%S", utc=utc, key="at" if utc else "timestamp"
    )
    return [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, stamp]


def _configure(processors: list[Any], *, debug: bool, stream: TextIO | None) -> None:
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def _quiet_clients() -> None:
    """Silence the retry warnings of the client libraries, which would duplicate our own log lines."""
    for name in ("elastic_transport", "elasticsearch", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
