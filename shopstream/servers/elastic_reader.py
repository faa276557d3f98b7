"""The embedded Elasticsearch's user who may only read: whom the live page asks as.

The distribution has no users of its own making, so the user stands in the files of its file realm, which it reads when
it starts. What others have written into these files stays.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Final

from consumers.rights import elastic_role

READER: Final = "shopstream-reader"
"""Name of the user, and of the role."""
ALL_RUNS: Final = "*"
_ROUNDS: Final = 10_000
_SALT_BYTES: Final = 32


def write_reader(config: Path, password: str) -> None:
    """Gives the server this user.

    Args:
        config: the server's folder of settings.
        password: of the user; its hash is kept.
    """
    role = json.dumps(elastic_role("read", ALL_RUNS))
    for file, line in (
        ("roles.yml", f"{READER}: {role}"),
        ("users", f"{READER}:{_hashed(password)}"),
        ("users_roles", f"{READER}:{READER}"),
    ):
        _put_line(config / file, line)


def _put_line(path: Path, line: str) -> None:
    kept = path.read_text("utf-8").splitlines() if path.is_file() else []
    others = [one for one in kept if not one.startswith(f"{READER}:")]
    path.write_text("\n".join([*others, line]) + "\n", "utf-8")


def _hashed(password: str) -> str:
    """As the file realm takes it."""
    salt = os.urandom(_SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 32)
    return f"{{PBKDF2}}{_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
