"""Stores small state files in a data folder atomically, for the program's own later use."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from connectors.files import write_whole
from features.errors import ShopstreamError

N = TypeVar("N", bound=msgspec.Struct)


def read_note(path: Path, kind: type[N], remedy: str) -> N | None:
    """Return the note in a file, or None if the file is missing.

    Raises:
        ShopstreamError: the file is damaged; with `remedy`.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ShopstreamError(f"{path} is damaged: {error}.", remedy) from error


def write_note(path: Path, note: msgspec.Struct) -> None:
    """Replace the note atomically. It is on disk on return and closed to other users."""
    content = msgspec.json.format(msgspec.json.encode(note)) + b"\n"
    write_whole(path, lambda partial: partial.write_bytes(content), mode=0o600)
