"""The embedded Elasticsearch's users: `elastic`, who may do everything, and the one who may only read.

The distribution cannot store users in an index, so they stand in the files of its file realm, which it reads when it
starts, with hashes of their passwords. Its keystore would give the password of `elastic` to whoever can read the file.
What others have written into these files stays.
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
"""Name of the user with all rights."""
READER: Final = "shopstream-reader"
"""Name of the user who may only read, whom the live page asks as, and of its role."""
ALL_RUNS: Final = "*"
_ROUNDS: Final = 10_000
_SALT_BYTES: Final = 32


def write_users(config: Path, admin_password: str, reader_password: str) -> None:
    """Gives the server both users.

    Args:
        config: the server's folder of settings.
        admin_password: of `elastic`; its hash is kept.
        reader_password: of `shopstream-reader`, likewise.
    """
    role = json.dumps(elastic_role("read", ALL_RUNS))
    _put_line(config / "roles.yml", f"{READER}:", f"{READER}: {role}")
    _put_line(config / "users", f"{READER}:", f"{READER}:{_hashed(reader_password)}")
    _put_line(config / "users_roles", f"{READER}:", f"{READER}:{READER}")
    _put_line(config / "users_roles", f"superuser:{ADMIN}", f"superuser:{ADMIN}")
    # last: where this line stands, the keystore does not hold the password any more
    _put_line(config / "users", f"{ADMIN}:", f"{ADMIN}:{_hashed(admin_password)}")


def has_admin(config: Path) -> bool:
    """Whether the files have the user `elastic`; earlier versions kept its password in the keystore."""
    return any(line.startswith(f"{ADMIN}:") for line in _lines(config / "users"))


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.is_file() else []


def _put_line(path: Path, replaces: str, line: str) -> None:
    others = [one for one in _lines(path) if not one.startswith(replaces)]
    path.write_text("\n".join([*others, line]) + "\n", "utf-8")


def _hashed(password: str) -> str:
    """As the file realm takes it."""
    salt = os.urandom(_SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 32)
    return f"{{PBKDF2}}{_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
