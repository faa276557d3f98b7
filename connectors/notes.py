"""Notes that a program leaves itself in a data folder: whole or not there, whenever it dies."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from connectors.files import write_whole
from features.errors import ShopstreamError

N = TypeVar("N", bound=msgspec.Struct)


def read_note(path: Path, kind: type[N], remedy: str) -> N | None:
    """The note of a file; None where there is none.

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
    """Replaces the note in one step; it has reached the disk when this returns, and is closed to other users."""
    content = msgspec.json.format(msgspec.json.encode(note)) + b"\n"
    write_whole(path, lambda partial: partial.write_bytes(content), mode=0o600)
