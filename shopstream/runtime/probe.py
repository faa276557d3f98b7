"""Checks the health of containers: `python -m shopstream.runtime.probe TARGET ...` exits with 0 if all are healthy.

It runs every few seconds in the container of the checked program, so it needs only the standard library.

    http://host:port/path      answers with 2xx
    tcp://host:port            accepts a connection
    fresh:PATH:SECONDS         the file was written within this number of seconds
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 4.0
USAGE: Final = 2
BODY_BYTES_MAX: Final = 2_000


def problem(target: str, now_s: Callable[[], float]) -> str | None:
    """Return the problem of a target; None if it is healthy.

    Args:
        target: target in one of the forms of the module docstring.
        now_s: clock with epoch seconds; read for `fresh:` only.

    Raises:
        ValueError: the kind of target is unknown.
    """
    kind, colon, rest = target.partition(":")
    match kind:
        case "http":
            return _http(target)
        case "tcp":
            return _tcp(target)
        case "fresh" if colon:
            path, _, seconds = rest.rpartition(":")
            return _fresh(Path(path), float(seconds), now_s())
    raise ValueError(f"{target!r} is not one of http://..., tcp://..., fresh:PATH:SECONDS")


def _http(target: str) -> str | None:
    parts = urllib.parse.urlsplit(target)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        body = answer.read(BODY_BYTES_MAX).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    is_ok = http.HTTPStatus.OK <= answer.status < http.HTTPStatus.MULTIPLE_CHOICES
    return None if is_ok else f"{answer.status} {body}"


def _tcp(target: str) -> str | None:
    parts = urllib.parse.urlsplit(target)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{target!r} names no host and port")
    try:
        socket.create_connection((parts.hostname, parts.port), TIMEOUT_S).close()
    except OSError as error:
        return str(error)
    return None


def _fresh(path: Path, seconds_max: float, now_s: float) -> str | None:
    try:
        age_s = now_s - path.stat().st_mtime
    except OSError as error:
        return error.strerror or type(error).__name__
    if age_s < -seconds_max:
        return f"written {-age_s:.0f} s ahead of the clock, which was set back: nothing has been written since"
    return None if age_s <= seconds_max else f"written {age_s:.0f} s ago, the bound is {seconds_max:.0f} s"


def main(targets: Sequence[str] | None = None) -> int:
    """Check every target and print the problems; return 0, 1 or, for a usage error, 2.

    Args:
        targets: targets to check; default: the arguments, or the variable PROBE if there are none.
    """
    checked = list(sys.argv[1:] if targets is None else targets) or os.environ.get("PROBE", "").split()
    bad = 0
    for target in checked:
        try:
            problem_text = problem(target, time.time)  # noqa: TID251 - the age of a file needs the clock, here only
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            return USAGE
        if problem_text is not None:
            bad = 1
            sys.stdout.write(f"{target}: {problem_text}\n")
    return bad


if __name__ == "__main__":
    sys.exit(main())
