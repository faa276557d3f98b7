"""`make env`: .env out of .env.example, each secret generated, readable by its owner alone.

    python3 tools/env.py [FOLDER]

A value that stands in .env already is left as it is, so it may be run again after an update. A secret that is empty
there, as in a copy of .env.example, is generated. It needs Python alone.
"""
# ruff: noqa: INP001 - a script of the repository, part of no package

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

EXAMPLE, TARGET = ".env.example", ".env"
OPEN = ("", "(generated)")
"""Values of a secret that is to be generated; the second one stood in .env.example before."""
SECRET_BYTES = 24
"""32 characters that need no quoting anywhere; Kibana's keys have to be so long."""


def settings(text: str) -> dict[str, str]:
    """Name -> value of the lines that set something."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def filled(example: str, there: str) -> str:
    """What .env is to hold.

    Args:
        example: .env.example.
        there: .env as it is; empty where there is none.
    """
    wanted, known = settings(example), settings(there)
    generated = {name for name, value in wanted.items() if value in OPEN}
    if not there:
        return _generate(example, generated)
    there = _generate(there, generated)
    missing = "".join(f"{name}={value}\n" for name, value in wanted.items() if name not in known)
    if not missing:
        return there
    return there.rstrip("\n") + "\n\n" + _generate(missing, generated)


def _generate(text: str, names: set[str]) -> str:
    """The text with secrets for these names where they are open; all else as it was."""

    def line(one: str) -> str:
        name, _, value = one.partition("=")
        if name.strip() not in names or value.strip() not in OPEN:
            return one
        return f"{name.strip()}={secrets.token_urlsafe(SECRET_BYTES)}\n"

    return "".join(map(line, text.splitlines(keepends=True)))


def main(folder: Path) -> int:
    """Writes .env in `folder`; nothing is lost when it is interrupted."""
    target = folder / TARGET
    there = target.read_text("utf-8") if target.exists() else ""
    content = filled((folder / EXAMPLE).read_text("utf-8"), there)
    fresh = folder / f"{TARGET}.new"
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    fresh.replace(target)
    said = "is as it was" if content == there else "has new values" if there else "is made, with secrets of its own"
    sys.stdout.write(f"{target} {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]))
