"""Records the inputs and the creation time of results, in the only result file that holds a creation time."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from connectors.files import write_whole

MADE_FILE: Final = "made.json"


def write_made(folder: Path, made_of: Mapping[str, Any], files: list[str]) -> None:
    """Write `made.json` beside results.

    Args:
        folder: folder of the results.
        made_of: inputs and options, JSON values.
        files: names of the result files, each recorded with its checksum.
    """
    now = datetime.now(UTC)  # noqa: TID251 - this file is where the time of making stands
    said = {
        "made_at": now.isoformat(timespec="seconds"),
        "program": f"shopstream {importlib.metadata.version('shopstream')}",
        "made_of": dict(made_of),
        "files": {name: checksum(folder / name) for name in files},
    }
    text = json.dumps(said, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / MADE_FILE, lambda path: path.write_text(text, "utf-8"))


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
