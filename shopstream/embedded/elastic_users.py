"""Writes the users of the embedded Elasticsearch: `elastic` with all permissions, and a read-only user.

The distribution cannot store users in an index. They are kept as password hashes in the files of its file realm, which
it reads at startup. Its keystore would reveal the password of `elastic` to anyone who can read the file. Other entries
of these files are kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Final

from consumers.permissions import elastic_role

ADMIN: Final = "elastic"
"""Name of the user with all permissions."""
READER: Final = "shopstream-reader"
"""Name of the read-only user of the live page, and of its role."""
ALL_RUNS: Final = "*"
_ROUNDS: Final = 10_000
_SALT_BYTES: Final = 32


def write_users(config: Path, admin_password: str, reader_password: str) -> None:
    """Write both users to the server's files.

    Args:
        config: configuration folder of the server.
        admin_password: password of `elastic`; only its hash is stored.
        reader_password: password of `shopstream-reader`; only its hash is stored.
    """
    role = json.dumps(elastic_role("read", ALL_RUNS))
    _put_line(config / "roles.yml", f"{READER}:", f"{READER}: {role}")
    _put_line(config / "users", f"{READER}:", f"{READER}:{_hashed(reader_password)}")
    _put_line(config / "users_roles", f"{READER}:", f"{READER}:{READER}")
    _put_line(config / "users_roles", f"superuser:{ADMIN}", f"superuser:{ADMIN}")
    # last: this line marks that the keystore no longer holds the password
    _put_line(config / "users", f"{ADMIN}:", f"{ADMIN}:{_hashed(admin_password)}")


def has_admin(config: Path) -> bool:
    """Return whether the files have the user `elastic`; without it, the keystore holds the password (format 1)."""
    return any(line.startswith(f"{ADMIN}:") for line in _lines(config / "users"))


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.is_file() else []


def _put_line(path: Path, replaces: str, line: str) -> None:
    others = [one for one in _lines(path) if not one.startswith(replaces)]
    path.write_text("\n".join([*others, line]) + "\n", "utf-8")


def _hashed(password: str) -> str:
    """Hash a password in the format of the file realm."""
    salt = os.urandom(_SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 32)
    return f"{{PBKDF2}}{_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
