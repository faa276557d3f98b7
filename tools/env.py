"""Creates .env from .env.example for `make env`: generates each secret; only the owner can read the file.

    python3 tools/env.py [FOLDER]

Existing values of .env stay, so a second run after an update is safe. An empty secret, as in a copy of .env.example, is
generated. Only Python is required.
"""
# ruff: noqa: INP001 - a script of the repository, part of no package

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

EXAMPLE, TARGET = ".env.example", ".env"
OPEN = ("", "(generated)")
"""Values of a secret that has to be generated."""
SECRET_BYTES = 24
"""Gives 32 characters that need no quoting; Kibana requires keys of this length."""


def settings(text: str) -> dict[str, str]:
    """Return name -> value of the lines with an assignment."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def filled(example: str, current: str) -> str:
    """Return the new content of .env.

    Args:
        example: content of .env.example.
        current: content of .env; empty if there is no file.
    """
    expected, known = settings(example), settings(current)
    generated = {name for name, value in expected.items() if value in OPEN}
    if not current:
        return _generate(example, generated)
    current = _generate(current, generated)
    missing = "".join(f"{name}={value}\n" for name, value in expected.items() if name not in known)
    if not missing:
        return current
    return current.rstrip("\n") + "\n\n" + _generate(missing, generated)


def _generate(text: str, names: set[str]) -> str:
    """Return the text with a secret for each of the names without a value."""

    def line(one: str) -> str:
        name, _, value = one.partition("=")
        if name.strip() not in names or value.strip() not in OPEN:
            return one
        return f"{name.strip()}={secrets.token_urlsafe(SECRET_BYTES)}\n"

    return "".join(map(line, text.splitlines(keepends=True)))


def main(folder: Path) -> int:
    """Write .env in `folder` atomically."""
    target = folder / TARGET
    current = target.read_text("utf-8") if target.exists() else ""
    content = filled((folder / EXAMPLE).read_text("utf-8"), current)
    fresh = folder / f"{TARGET}.new"
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    fresh.replace(target)
    result = "is unchanged" if content == current else "has new values" if current else "is created with new secrets"
    sys.stdout.write(f"{target} {result}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]))
