"""Stores which notifications could not be delivered, one JSON line each, in a file of the data folder.

An alert stays in its topic for 90 days, so a line holds its position and no field of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from pathlib import Path

import msgspec

from connectors.files import open_private_log, write_whole
from features.errors import ShopstreamError


class SetAsideEntry(msgspec.Struct, frozen=True):
    """A notification that could not be delivered.

    Attributes:
        at: time at which it was set aside, ISO 8601.
        target: name of the target.
        partition: partition of the alert in its topic.
        offset: offset of the alert.
        reason: reason in words.
    """

    at: str
    target: str
    partition: int
    offset: int
    reason: str

    @property
    def position(self) -> tuple[str, int, int]:
        """Target, partition and offset: a second line of it is a repetition."""
        return self.target, self.partition, self.offset


class SetAside:
    """The file of the notifications that could not be delivered; may be used by several threads.

    Args:
        path: path of the file; it need not exist.

    Attributes:
        path: as given.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def add(self, entry: SetAsideEntry) -> None:
        """Append an entry. It is on disk on return. Raises ShopstreamError."""
        try:
            with self._lock, open_private_log(self.path) as file:
                # a line break first ends a line that a crash cut short
                file.write(b"\n" + msgspec.json.encode(entry) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ShopstreamError(f"{self.path} cannot be written: {error.strerror}.") from error

    def entries(self) -> list[SetAsideEntry]:
        """Return the entries, oldest first, each position once. A line cut short by a crash is left out."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        entries: dict[tuple[str, int, int], SetAsideEntry] = {}
        for line in lines:
            try:
                entry = msgspec.json.decode(line, type=SetAsideEntry)
            except msgspec.MsgspecError:
                continue
            entries[entry.position] = entry
        return list(entries.values())

    def remove(self, positions: Collection[tuple[str, int, int]]) -> None:
        """Remove the entries of positions."""
        with self._lock:
            left = [entry for entry in self.entries() if entry.position not in positions]
            content = b"".join(msgspec.json.encode(entry) + b"\n" for entry in left)
            write_whole(self.path, lambda path: path.write_bytes(content), mode=0o600)
