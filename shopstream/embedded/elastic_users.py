"""Writes the users of the embedded Elasticsearch: `elastic` with all permissions, a read-only user, and the page's.

The distribution cannot store users in an index. They are kept as password hashes in the files of its file realm, which
it reads at startup. Its keystore would reveal the password of `elastic` to anyone who can read the file. Other entries
of these files are kept.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from consumers.permissions import ElasticDuty, elastic_role

ADMIN: Final = "elastic"
"""Name of the user with all permissions."""
READER: Final = "shopstream-reader"
"""Name of the read-only user, and of its role."""
PAGE: Final = "shopstream-page"
"""Name of the user of the live page, who also writes what its readers note, and of its role."""
_DUTIES: Final[Mapping[str, ElasticDuty]] = {READER: "read", PAGE: "page"}
"""User -> the duty whose permissions it has on all runs."""
ALL_RUNS: Final = "*"
_ROUNDS: Final = 10_000
_SALT_BYTES: Final = 32


def write_users(config: Path, admin_password: str, reader_password: str, page_password: str) -> None:
    """Write the three users to the server's files.

    Args:
        config: configuration folder of the server.
        admin_password: password of `elastic`; only its hash is stored.
        reader_password: password of `shopstream-reader`, likewise.
        page_password: password of `shopstream-page`, likewise.
    """
    write_limited_user(config, READER, reader_password)
    write_limited_user(config, PAGE, page_password)
    _put_line(config / "users_roles", f"superuser:{ADMIN}", f"superuser:{ADMIN}")
    # last: this line marks that the keystore no longer holds the password
    _put_line(config / "users", f"{ADMIN}:", f"{ADMIN}:{_hashed(admin_password)}")


def write_limited_user(config: Path, name: str, password: str) -> None:
    """Write a user who has the permissions of one duty, and its role. A running server reads them within seconds.

    Args:
        config: configuration folder of the server.
        name: READER or PAGE.
        password: password of the user; only its hash is stored.
    """
    role = json.dumps(elastic_role(_DUTIES[name], ALL_RUNS))
    _put_line(config / "roles.yml", f"{name}:", f"{name}: {role}")
    _put_line(config / "users", f"{name}:", f"{name}:{_hashed(password)}")
    _put_line(config / "users_roles", f"{name}:", f"{name}:{name}")


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
