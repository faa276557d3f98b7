"""Writes the secrets of docker-compose.yml to files: `python -m shopstream.runtime.secret_files FOLDER`.

Its service `secrets` runs this before any other. A value in the environment (from .env) is used, an existing one is
kept, and any other is generated. Each folder below FOLDER is a volume that only one kind of service mounts:

    setup           all secrets, in files with the names of the variables
    elasticsearch   password of the user elastic
    kibana          settings with its password and keys, in the form of kibana.yml
    consumer, trainer, web   password of the service's user

`FOLDER --show NAME` prints one secret. It needs only the standard library, and root only to give files to the users of
the images.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECRET_BYTES: Final = 24
"""Gives 32 characters that need no quoting."""
OPEN: Final = ("", "(generated)")
"""Values of the environment that mean: generate one."""
KIBANA_SETTINGS: Final = {
    "KIBANA_PASSWORD": "elasticsearch.password",
    "KIBANA_OBJECTS_KEY": "xpack.encryptedSavedObjects.encryptionKey",
    "KIBANA_SESSION_KEY": "xpack.security.encryptionKey",
    "KIBANA_REPORTS_KEY": "xpack.reporting.encryptionKey",
}
KEY_CHARS_MIN: Final = 32
"""Minimum length of Kibana's keys."""
NAMES: Final = (
    "ELASTIC_PASSWORD",
    "WRITER_PASSWORD",
    "READER_PASSWORD",
    "PAGE_PASSWORD",
    "TRAINER_PASSWORD",
    "ANALYST_PASSWORD",
    *KIBANA_SETTINGS,
)


@dataclass(frozen=True, slots=True)
class Reader:
    """User and group that a container has, and the mode of the files that are for it."""

    user: int
    group: int
    mode: int


SHOPSTREAM: Final = Reader(10001, 0, 0o440)
"""User of Shopstream's image. The group lets this program read a file again, as it runs without DAC_OVERRIDE."""
ELASTIC: Final = Reader(1000, 0, 0o400)
"""User of the images of Elasticsearch and Kibana. Elasticsearch refuses a file that a group can read."""
PARTS: Final = {
    "elasticsearch": ("ELASTIC_PASSWORD", ELASTIC),
    "consumer": ("WRITER_PASSWORD", SHOPSTREAM),
    "trainer": ("TRAINER_PASSWORD", SHOPSTREAM),
    "web": ("PAGE_PASSWORD", SHOPSTREAM),
}
"""Folder -> the one secret in it, and who reads it."""
ALL: Final = "setup"


def write_secrets(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Write every file below a folder.

    Args:
        folder: folder with a subfolder for each kind of service; they are created if missing.
        environment: variables; a value that is not open replaces the stored one.

    Returns:
        Names of the secrets, and the action taken for each.

    Raises:
        ValueError: a given key is too short for Kibana.
        OSError: a folder cannot be written.
    """
    values, done = dict[str, str](), dict[str, str]()
    for name in NAMES:
        stored, given = _stored(folder / ALL / name), environment.get(name, "").strip()
        values[name] = stored or secrets.token_urlsafe(SECRET_BYTES) if given in OPEN else given
        if name.endswith("_KEY") and len(values[name]) < KEY_CHARS_MIN:
            raise ValueError(f"{name} has {len(values[name])} characters; Kibana requires at least {KEY_CHARS_MIN}")
        if stored != values[name]:
            done[name] = "is generated" if given in OPEN else "is taken from the environment"
        else:
            done[name] = "is unchanged"
    for name, value in values.items():
        _write(folder / ALL / name, value, SHOPSTREAM)
    for part, (name, reader) in PARTS.items():
        _write(folder / part / name, values[name], reader)
    kibana = {setting: values[name] for name, setting in KIBANA_SETTINGS.items()}
    _write(folder / "kibana" / "kibana.yml", json.dumps(kibana, indent=1), ELASTIC)
    return done


def _stored(path: Path) -> str:
    return path.read_text("utf-8").strip() if path.exists() else ""


def _write(path: Path, text: str, reader: Reader) -> None:
    """Write a file atomically; only root can give it to its reader, any other user keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        os.fchmod(file.fileno(), reader.mode)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), reader.user, reader.group)
    fresh.replace(path)


def main(arguments: Sequence[str]) -> int:
    """Write the secrets of a folder, or print one."""
    parser = argparse.ArgumentParser(prog="secret_files", description="Writes the secrets of docker-compose.yml.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--show", metavar="NAME", choices=NAMES, help="print this secret")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.show:
            sys.stdout.write(_stored(chosen.folder / ALL / chosen.show) + "\n")
        else:
            for name, action in write_secrets(chosen.folder, os.environ).items():
                sys.stdout.write(f"{name} {action}\n")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
